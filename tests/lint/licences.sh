#!/usr/bin/env bash
# Holds the dependencies to .config/deny.toml: which crates, licences and registries may be used. `make lint` runs it.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/lint/common.sh
install_tools
PATH=$home/venv/bin:$PATH
if ! command -v cargo-deny >/dev/null; then
    echo "licences: skipped, cargo-deny is not installed (cargo install --locked cargo-deny)" >&2
    exit 0
fi
cargo deny --locked --log-level error --config .config/deny.toml check --hide-inclusion-graph bans licenses sources >&2
