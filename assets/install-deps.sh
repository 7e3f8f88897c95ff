#!/usr/bin/env bash
# Installs what Onceover's demo and tests need beside Rust: a Redis server, ffmpeg, a voice and a font. With `test`, also
# what only tests need, with `bench` or `nodes` what only `make bench` or `make test-nodes` needs; with `lint`, what `make lint`
# needs and nothing else.
# Prints and changes nothing if everything is installed.
set -euo pipefail

missing=()
need() { # need PACKAGE COMMAND...: the package, unless one of the commands is there
    local package=$1 name
    shift
    for name in "$@"; do
        if command -v "$name" >/dev/null; then return; fi
    done
    missing+=("$package")
}
# Test nodes are Python; checks of documents and of the API against its description are Python programs, with folders for
# their libraries.
need python3 python3
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then missing+=(python3-venv); fi
# TLS libraries (C, built once) need a compiler, and so does linking.
need gcc cc
if [ "${1:-}" = lint ]; then need lua-check luacheck; fi
if [ "${1:-}" = bench ]; then need wrk wrk; fi
# Voices of persons, by which speakers are told apart.
if [ "${1:-}" = nodes ]; then need flite flite; fi

needs_of_tests() {
    need redis-server valkey-server redis-server
    need ffmpeg ffmpeg
    need ffmpeg ffprobe
    need espeak-ng espeak-ng
    need curl curl
    # An example for clients in the shell reads JSON with it.
    need jq jq
    # A test of callbacks makes a separate network.
    if [ "$(uname -s)" = Linux ]; then
        need iproute2 ip
        need util-linux unshare
        need util-linux setpriv
    fi
    need_font
}
# Other terminals than the one that tests bring along: tmux, and one with pixels on an X server without a screen.
needs_of_terminals() {
    need tmux tmux
    need xvfb Xvfb
    need xterm xterm
    need x11-apps xwd
    need xdotool xdotool
}
fonts=(/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf "$HOME/.fonts/DejaVuSans.ttf")
need_font() {
    if [ -e "${fonts[0]}" ] || [ -e "${fonts[1]}" ]; then return; fi
    if ! command -v fc-match >/dev/null || [ ! -e "$(fc-match -f '%{file}' sans)" ]; then missing+=(fonts-dejavu-core); fi
}
if [ "${1:-}" != lint ]; then needs_of_tests; fi
if [ "${1:-}" = test ] && [ "$(uname -s)" = Linux ]; then needs_of_terminals; fi
# Without certificates no https client starts.
if [ "$(uname -s)" = Linux ] && [ -z "$(ls -A /etc/ssl/certs 2>/dev/null)$(ls -A /etc/pki/tls/certs 2>/dev/null)" ]; then
    missing+=(ca-certificates)
fi

if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if ! command -v apt-get >/dev/null; then
    {
        echo "Missing here (by their Debian names): ${missing[*]}"
        echo "Install them with this system's packages, for example"
        echo "  dnf install valkey ffmpeg-free espeak-ng dejavu-sans-fonts gcc python3 curl jq iproute"
        echo "  brew install redis ffmpeg espeak-ng font-dejavu python curl jq"
    } >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Missing: ${missing[*]}. As root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A machine that was just started often has its own updates running: wait for their lock.
install() {
    "${as_root[@]}" apt-get -qq update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}"
}
if ! install >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "apt-get could not install: ${missing[*]}" >&2
    exit 1
fi
