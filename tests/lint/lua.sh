#!/usr/bin/env bash
# Lints the scripts for Redis with luacheck (Debian's lua-check). `make lint` runs it.
#
# A script is put together from files: what one defines at its top, those after it use. luacheck reads one file at a time, so the
# names that any file defines at its top are given to it as known, and one that no file uses but its own is a fault.
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { echo "lua: $*" >&2; }

if ! command -v luacheck >/dev/null; then
    say "luacheck is not installed: apt-get install lua-check, or assets/install-deps.sh lint"
    exit 1
fi
mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.lua')
# Functions, constants and the short names for what Redis gives: a local of a transition is none of these.
mapfile -t shared < <(sed -nE 's/^local (function )?([A-Za-z_]+).*/\1\2/p' "${files[@]}" |
    sed -nE 's/^function ([A-Za-z_]+)$/\1/p; /^[A-Z_]+$/p; /^(args|call|clock)$/p' | sort -u)
known=()
for name in "${shared[@]}"; do
    known+=(--read-globals "$name")
    if [ "$(cat "${files[@]}" | grep -cw -- "$name")" -gt 1 ]; then known+=(--ignore "2[14]1/$name"); fi
done
luacheck --quiet --config .config/luacheckrc "${known[@]}" -- "${files[@]}" >&2
say "${#files[@]} files are clean"
