#!/usr/bin/env bash
# Installs the official Standard Webhooks libraries for Python and JavaScript into target/, once; the test of signatures
# runs it. Its last line is the folder: venv/bin/python and, where this machine has Node.js and npm, node_modules are in it.
set -euo pipefail
cd "$(dirname "$0")/../.."

python_version=1.1.0
javascript_version=1.1.1
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
home=$(cd "$target" && pwd)/standardwebhooks-$python_version-$javascript_version
mkdir -p "$home"
exec 9>"$home/lock"
flock 9
say() { echo "signatures: $*" >&2; }

if [ ! -e "$home/python" ]; then
    rm -rf "$home/venv"
    if ! { python3 -m venv "$home/venv" &&
        "$home/venv/bin/pip" install --quiet --disable-pip-version-check "standardwebhooks==$python_version"; } \
        >"$home/install.log" 2>&1 </dev/null; then
        cat "$home/install.log" >&2
        say "standardwebhooks $python_version could not be installed. It needs python3 with venv (apt-get install python3-venv)"
        say "and, the first time, PyPI or a mirror of it (PIP_INDEX_URL)."
        exit 1
    fi
    touch "$home/python"
fi

if [ ! -e "$home/javascript" ] && command -v node >/dev/null && command -v npm >/dev/null; then
    rm -rf "$home/node_modules"
    if ! npm install --prefix "$home" --ignore-scripts --no-save --no-audit --no-fund "standardwebhooks@$javascript_version" \
        >"$home/install.log" 2>&1 </dev/null; then
        cat "$home/install.log" >&2
        say "standardwebhooks $javascript_version could not be installed. It needs, the first time, the npm registry or a mirror of it."
        exit 1
    fi
    touch "$home/javascript"
fi
echo "$home"
