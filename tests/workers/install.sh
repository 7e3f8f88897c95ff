#!/usr/bin/env bash
# Installs redis-py into target/, once; the tests of other workers run it. Its last line is the Python to run them with.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=8.1.0
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
home=$(cd "$target" && pwd)/redis-py-$version
mkdir -p "$home"
exec 9>"$home/lock"
flock 9
say() { echo "workers: $*" >&2; }

if [ ! -e "$home/complete" ]; then
    rm -rf "$home/venv"
    if ! { python3 -m venv "$home/venv" &&
        "$home/venv/bin/pip" install --quiet --disable-pip-version-check "redis==$version"; } \
        >"$home/install.log" 2>&1 </dev/null; then
        cat "$home/install.log" >&2
        say "redis-py $version could not be installed. It needs python3 with venv (apt-get install python3-venv) and,"
        say "the first time, PyPI or a mirror of it (PIP_INDEX_URL)."
        exit 1
    fi
    touch "$home/complete"
fi
echo "$home/venv/bin/python"
