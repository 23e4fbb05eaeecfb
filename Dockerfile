# The image holds the wheel and what requirements/runtime.txt locks; the sandbox and the tests stay out.
#
# Python packages are pinned by version and hash. The base image is not: its tag moves with Python's and Debian's
# security fixes, so two builds may differ in them. No digest is written here, as none has been checked. To pin it:
# --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:<the digest that you have checked>
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/scribe
COPY requirements/runtime.txt requirements/demo.txt ./requirements/
RUN /opt/scribe/bin/pip install --require-hashes --requirement requirements/runtime.txt
# The build backend is in the demo's list with its hashes; nothing else of that list is wanted here.
RUN sed -n '/^flit-core==/,/[^\\]$/p' requirements/demo.txt > build.txt \
    && pip install --require-hashes --requirement build.txt
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
RUN pip wheel --no-deps --no-index --no-build-isolation --wheel-dir wheels . \
    && /opt/scribe/bin/pip install --no-deps --no-index wheels/*.whl

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin scribe
COPY --from=build /opt/scribe /opt/scribe
ENV PATH=/opt/scribe/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8080
ENTRYPOINT ["scribe"]
CMD ["run"]
