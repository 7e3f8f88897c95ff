#!/usr/bin/env bash
# Installs Celery into target/, once for each list of requirements: `install.sh latest` or `install.sh 5.3`. The tests of
# Celery workers run it. Its last line is the Python to run workers with.
set -euo pipefail
cd "$(dirname "$0")/../.."

versions=${1:-latest}
requirements=tests/celery/requirements-$versions.txt
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
home=$(cd "$target" && pwd)/celery-$versions
mkdir -p "$home"
exec 9>"$home/lock"
flock 9
say() { echo "celery: $*" >&2; }

if [ ! -e "$requirements" ]; then
    say "there is no $requirements; ONCEOVER_CELERY names one of tests/celery/requirements-*.txt"
    exit 1
fi
if ! cmp -s "$requirements" "$home/complete"; then
    rm -rf "$home/venv" "$home/complete"
    say "installing $requirements into $home (once)"
    if ! { python3 -m venv "$home/venv" &&
        "$home/venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"; } \
        >"$home/install.log" 2>&1 </dev/null; then
        cat "$home/install.log" >&2
        say "Celery could not be installed. It needs python3 with venv (apt-get install python3-venv) and, the first"
        say "time, PyPI or a mirror of it (PIP_INDEX_URL)."
        exit 1
    fi
    cp "$requirements" "$home/complete"
fi
echo "$home/venv/bin/python"
