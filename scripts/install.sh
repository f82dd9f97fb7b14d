#!/bin/sh
# install.sh <directory> <lock>: creates a virtual environment with exactly the packages of a hashed lock file and this
# package, editable.
set -eu

venv=$1
lock=$2

if ! "$venv/bin/python" -c '' 2>/dev/null; then
    python=$(sh "$(dirname "$0")/find_python.sh")
    echo "$venv: a new environment with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi
echo "$venv: installing $(grep -c '==' "$lock") packages of $lock"
sed -n '/^uv==/,/[^\\]$/p' "$lock" >"$venv/uv.lock"
"$venv/bin/pip" install -qq --disable-pip-version-check --no-deps --require-hashes -r "$venv/uv.lock"
export UV_LINK_MODE="${UV_LINK_MODE:-copy}"
if ! "$venv/bin/uv" pip sync -q --python "$venv/bin/python" --require-hashes "$lock"; then
    echo "$venv: uv failed, trying pip" >&2
    "$venv/bin/pip" install -qq --disable-pip-version-check --no-deps --require-hashes -r "$lock"
fi
"$venv/bin/pip" install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
