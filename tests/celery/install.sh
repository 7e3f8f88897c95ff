#!/usr/bin/env bash
# Installs Celery into target/, once for each list of requirements: `install.sh latest` or `install.sh 5.3`; tests that run
# real workers use it. Its last line is the Python to run them with. Remove the folder to get a newer `latest`.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/venv.sh
version=${1:-latest}
requirements=tests/celery/requirements-$version.txt
target=${CARGO_TARGET_DIR:-target}
if [ ! -e "$requirements" ]; then
    echo "celery: there is no $requirements; use latest or 5.3" >&2
    exit 2
fi
mkdir -p "$target"
home=$(cd "$target" && pwd)/celery-$version
mkdir -p "$home"
exec 9>"$home/lock"
flock 9

if ! cmp --quiet "$requirements" "$home/complete"; then
    make_venv "$home" "$requirements" || exit 1
    cp "$requirements" "$home/complete"
fi
echo "$home/venv/bin/python"
