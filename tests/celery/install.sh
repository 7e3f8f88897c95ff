#!/usr/bin/env bash
# Installs Celery into target/, once for each list of requirements: `install.sh latest` or `install.sh 5.3`; tests that run
# real workers use it. Its last line is the Python to run them with. Remove the folder to get a newer `latest`.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=${1:-latest}
requirements=tests/celery/requirements-$version.txt
target=${CARGO_TARGET_DIR:-target}
say() { echo "celery: $*" >&2; }
if [ ! -e "$requirements" ]; then
    say "there is no $requirements; use latest or 5.3"
    exit 2
fi
mkdir -p "$target"
home=$(cd "$target" && pwd)/celery-$version
mkdir -p "$home"
exec 9>"$home/lock"
flock 9

if ! cmp --quiet "$requirements" "$home/complete"; then
    rm -rf "$home/venv"
    if ! { python3 -m venv "$home/venv" &&
        "$home/venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"; } \
        >"$home/install.log" 2>&1 </dev/null; then
        cat "$home/install.log" >&2
        say "Celery ($version) could not be installed. It needs python3 with venv (apt-get install python3-venv) and,"
        say "the first time, PyPI or a mirror of it (PIP_INDEX_URL)."
        exit 1
    fi
    cp "$requirements" "$home/complete"
fi
echo "$home/venv/bin/python"
