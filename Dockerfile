# The image: the interpreter, the libraries that it loads, what requirements/runtime.txt locks, and the service. It holds
# no shell, no pip and no compiler. docs/operations.md ("The image") tells how to build, check and run it.
#
# Python packages are pinned by version and hash, the base by its tag alone: the tag moves with Python's and Debian's
# security fixes. To pin it: --build-arg PYTHON_IMAGE=python:3.13-slim-trixie@sha256:<the digest that you have checked>
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
# With the same hashes of strings, two builds write the same bytecode.
ENV PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
RUN python3 -m venv installer && python3 -m venv --without-pip /opt/scribe
COPY requirements ./requirements
# A pip.conf of your own is mounted as the secret pip.conf, its authorities (if any) as pip-ca.pem: neither is kept.
# The build backend is in the demo's list with its hashes; nothing else of that list is wanted here.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=pip-ca.pem \
    sed -n '/^flit-core==/,/[^\\]$/p' requirements/demo.txt > build.txt \
    && installer/bin/pip install --require-hashes --requirement build.txt
# Optional extras, separated by spaces; each has a list of its own, with hashes.
ARG EXTRAS=""
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=pip-ca.pem \
    for list in runtime ${EXTRAS}; do \
    installer/bin/pip --python /opt/scribe/bin/python install --require-hashes --requirement "requirements/${list}.txt" \
    || exit 1; done
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
RUN installer/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir wheels . \
    && installer/bin/pip --python /opt/scribe/bin/python install --no-deps --no-index wheels/*.whl
COPY tools/image/layout ./tools/image/layout
RUN python3 -m tools.image.layout /opt/scribe /image

FROM scratch
# In the order of how seldom they change: an update of the service is a layer of 3 MB.
COPY --from=build /image/python /
COPY --from=build /image/packages /
COPY --from=build /image/service /
ENV PATH=/opt/scribe/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# A base whose interpreter or libraries were not laid out as they should be ends the build here.
RUN ["scribe", "--version"]
ARG PYTHON_IMAGE
ARG BASE_DIGEST=unknown
ARG CREATED=unknown
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="scribe" \
      org.opencontainers.image.description="Speech to text over Kafka: requests in, transcripts out." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
USER 10001:10001
WORKDIR /
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["/opt/scribe/bin/python", "-I", "-m", "service.cli.livez"]
ENTRYPOINT ["scribe"]
CMD ["run"]
