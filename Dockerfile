# The image holds the wheel and what requirements/runtime.txt locks; the sandbox and the tests stay out.
FROM python:3.13-slim AS build
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

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin scribe
COPY --from=build /opt/scribe /opt/scribe
ENV PATH=/opt/scribe/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8080
ENTRYPOINT ["scribe"]
CMD ["run"]
