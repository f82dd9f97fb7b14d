#!/bin/sh
# Builds the connector's image with docker, podman or buildah, whichever works.
# IMAGE is its name. BASE_IMAGE replaces the base image of metadata.yaml.
set -eu

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
image=${IMAGE:-airbyte/source-liquidations:$version}
base=${BASE_IMAGE:-$(sed -n 's/^ *baseImage: //p' metadata.yaml)}

if docker info >/dev/null 2>&1; then
    set -- docker build
elif podman info >/dev/null 2>&1; then
    set -- podman build
elif command -v buildah >/dev/null; then
    set -- buildah bud
else
    echo "Neither a running docker nor podman nor buildah was found." >&2
    echo "Run scripts/image_without_docker.sh instead: it installs its tools (Debian or Ubuntu, as root)." >&2
    exit 1
fi
echo "$* on $base"
"$@" --build-arg "BASE_IMAGE=$base" --tag "$image" .
echo "Built $image. Try: ${1} run --rm $image spec"
