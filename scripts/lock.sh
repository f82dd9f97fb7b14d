#!/bin/sh
# Rewrites the lock files from pyproject.toml: every version and hash, but no index address.
set -eu

uv=${UV:-.venv/bin/uv}

lock() {
    output=$1
    shift
    "$uv" pip compile pyproject.toml "$@" --universal --python-version 3.10 --generate-hashes --output-file "$output" \
        --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" --quiet
    echo "$output: $(grep -c '==' "$output") packages"
}

lock requirements.lock
lock requirements-dev.lock --group dev
lock requirements-demo.lock --group demo
