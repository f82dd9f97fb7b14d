# The connector's image, in the form that Airbyte gives its Python connectors: built and run on the base image that
# metadata.yaml names, under an unprivileged user. What it installs is pinned and hashed.
ARG BASE_IMAGE=docker.io/airbyte/python-connector-base:4.0.2@sha256:9fdb1888c4264cf6fee473649ecb593f56f58e5d0096a87ee0b231777e2e3e73

FROM ${BASE_IMAGE} AS builder

WORKDIR /build
COPY requirements.lock requirements-dev.lock ./
# The packages go into an environment of their own, without pip; what builds this one stays out of it.
RUN python -m venv --without-pip /airbyte/venv \
    && python -m pip --python /airbyte/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
    && sed -n '/^poetry-core==/,/[^\\]$/p' requirements-dev.lock > build.lock \
    && python -m pip install --no-cache-dir --no-deps --require-hashes --target /build/tools -r build.lock

COPY pyproject.toml README.md LICENSE ./
COPY source_liquidations ./source_liquidations
# Tests that packages bring along are of no use here.
RUN PYTHONPATH=/build/tools python -m pip --python /airbyte/venv/bin/python install \
        --no-cache-dir --no-deps --no-build-isolation . \
    && find /airbyte/venv/lib -depth -type d -name tests -path '*/site-packages/*' -exec rm -rf {} +


FROM ${BASE_IMAGE}

WORKDIR /airbyte/integration_code
COPY --from=builder /airbyte/venv /airbyte/venv

ENV PYTHONDONTWRITEBYTECODE=1
ENV PYTHONUNBUFFERED=1
# The C library keeps freed pages of each thread for that thread. Two such stores are enough (docs/performance.md).
ENV MALLOC_ARENA_MAX=2
ENV AIRBYTE_ENTRYPOINT="/airbyte/venv/bin/source-liquidations"

# The base image's user `airbyte`, as a number so that Kubernetes can see that it is not root.
USER 1000
ENTRYPOINT ["/airbyte/venv/bin/source-liquidations"]

LABEL io.airbyte.name="airbyte/source-liquidations" \
      io.airbyte.version="0.2.0" \
      org.opencontainers.image.title="airbyte/source-liquidations" \
      org.opencontainers.image.description="Liquidations of crypto derivatives" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="MIT"
