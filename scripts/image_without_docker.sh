#!/bin/sh
# Builds the image without a Docker engine, on a base image that it makes, and runs spec, check, discover and read in a
# container against the sandbox, with all vendors: as an unprivileged user, also with a read-only file system, and also
# without a temporary directory.
#
# Needs Debian or Ubuntu with apt, root, and .venv (make setup). Otherwise it exits with 77 and says why.
# WORK=<directory> keeps its files there, so that the next run is faster.
# Its base image has Python 3.11 of Debian 12 and the user `airbyte`, like Airbyte's own, which only a registry has.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
work=${WORK:-$(mktemp -d)}
base=localhost/python-connector-base:local
image=localhost/source-liquidations:test
python=$root/.venv/bin/python
tools="buildah podman runc debootstrap"

skip() {
    echo "skipped: $*"
    exit 77
}

say() {
    printf '%4d s  %s\n' "$(($(date +%s) - started))" "$*"
}

finish() {
    [ -z "${sandbox:-}" ] || kill "$sandbox" 2>/dev/null || true
    [ -n "${WORK:-}" ] || rm -rf "$work"
}
trap finish EXIT

started=$(date +%s)
[ "$(id -u)" = 0 ] || skip "only root can make the base image"
[ -x "$python" ] || skip "there is no .venv; run: make setup"

missing=
for tool in $tools; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || skip "apt-get is needed to install$missing"
    say "installing$missing"
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing; } \
        >"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log"; skip "apt-get could not install$missing"; }
fi

# The container tools keep all their files in this directory.
export CONTAINERS_CONF="$work/containers.conf" CONTAINERS_STORAGE_CONF="$work/storage.conf"
cat >"$CONTAINERS_CONF" <<EOF
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
EOF
grep -q '\boverlay$' /proc/filesystems && driver=overlay || driver=vfs
cat >"$CONTAINERS_STORAGE_CONF" <<EOF
[storage]
driver = "$driver"
graphroot = "$work/storage"
runroot = "$work/run"
EOF


say "making the base image"
if [ ! -e "$work/base/usr/bin/python3" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates,tzdata \
        bookworm "$work/base" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 5 "$work/debootstrap.log"; skip "debootstrap could not fetch a base system"; }
    ln -sf python3 "$work/base/usr/bin/python"
    chroot "$work/base" useradd --uid 1000 --no-create-home --shell /usr/sbin/nologin airbyte
    rm -f "$work/base"/usr/lib/python3*/EXTERNALLY-MANAGED
    rm -rf "$work/base"/var/cache/apt/* "$work/base"/var/lib/apt/lists/*
fi
container=$(buildah from scratch)
buildah add -q "$container" "$work/base" / >/dev/null
buildah commit -q "$container" "$base" >/dev/null
buildah rm "$container" >/dev/null
podman run --rm --pull never "$base" true 2>"$work/stderr.log" ||
    { tail -n 1 "$work/stderr.log"; skip "containers do not run here"; }

say "building the image"
set --
for certificates in "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" /etc/ssl/certs/ca-certificates.crt; do
    [ -f "$certificates" ] && set -- -v "$certificates:/etc/ssl/certs/ca-certificates.crt:ro" && break
done
BUILDAH_ISOLATION=chroot buildah bud --pull-never --network host "$@" --build-arg "BASE_IMAGE=$base" \
    --tag "$image" "$root" >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; exit 1; }
whole=$(buildah inspect --type image --format '{{.Docker.Size}}' "$image" 2>/dev/null || echo "?")
say "built: $(podman image inspect --format '{{.Size}}' "$image" 2>/dev/null || echo "$whole") bytes with its base"

say "starting the sandbox"
mkdir -p "$work/files"
rm -f "$work/sandbox.json"
# The clock that acceptance-test-config.yml names.
(cd "$root" && exec "$python" -m sandbox --port 0 --now 2025-06-04T00:00:00Z --no-limits --rows-per-day 500 \
    --config "$work/sandbox.json") >/dev/null 2>"$work/sandbox.log" &
sandbox=$!
for _ in $(seq 60); do
    [ -s "$work/sandbox.json" ] && break
    sleep 0.5
done
url=$(grep -o -m 1 'http://127\.0\.0\.1:[0-9]*' "$work/sandbox.json")
sed "s#http://127\.0\.0\.1:8900#$url#" "$root/integration_tests/acceptance/config.json" >"$work/files/config.json"

in_container() {
    podman run --rm --pull never -v "$work/files:/files:ro" "$@" 2>>"$work/stderr.log"
}

failed() {
    tail -n 5 "$work/stderr.log" "$work/files/$1.jsonl"
    echo "FAILED: $1" >&2
    exit 1
}

say "checking the user"
user=$(podman run --rm --pull never --entrypoint id "$image" -u)
[ "$user" = 1000 ] || { echo "FAILED: it runs as user $user" >&2; exit 1; }
podman run --rm --pull never --entrypoint sh "$image" -c '! /airbyte/venv/bin/python -m pip --version 2>/dev/null' ||
    { echo "FAILED: pip is in the connector's environment" >&2; exit 1; }
[ "$(podman image inspect --format '{{index .Config.Labels "io.airbyte.name"}}' "$image")" = airbyte/source-liquidations ]
podman image inspect --format '{{json .Config.Env}}' "$image" | grep -q AIRBYTE_ENTRYPOINT=

no_files="--read-only --read-only-tmpfs=false"
# shellcheck disable=SC2086
podman run --rm --pull never $no_files --entrypoint sh "$image" \
    -c 'for place in /tmp /var/tmp "$PWD"; do ! touch "$place/x" 2>/dev/null || exit 1; done' ||
    { echo "FAILED: a temporary directory is writable despite $no_files" >&2; exit 1; }

for mode in "" "--read-only" "$no_files"; do
    say "spec, check, discover, read ${mode:-with default options}"
    # shellcheck disable=SC2086
    {
        in_container $mode "$image" spec >"$work/files/spec.jsonl" || failed spec
        in_container $mode "$image" check --config /files/config.json >"$work/files/check.jsonl" || failed check
        in_container $mode "$image" discover --config /files/config.json >"$work/files/discover.jsonl" || failed discover
        in_container $mode "$image" read --config /files/config.json --catalog /files/discover.jsonl \
            >"$work/files/read.jsonl" || failed read
    }
    grep -q '"type": *"SPEC"' "$work/files/spec.jsonl" || failed spec
    grep -q '"status": *"SUCCEEDED"' "$work/files/check.jsonl" || failed check
    records=$(grep -c '"type": *"RECORD"' "$work/files/read.jsonl") || failed read
    complete=$(grep -c '"status": *"COMPLETE"' "$work/files/read.jsonl") || failed read
    say "read $records records, $complete streams complete"
done
say "done"
