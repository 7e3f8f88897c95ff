# What the checks of the API's description share: tools below target/, and a daemon. Sourced from the repository's root.

source tests/venv.sh
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
requirements=tests/openapi/requirements.txt
home=$(cd "$target" && pwd)/openapi-$(sha256sum "$requirements" | cut -c 1-12)
# A token, so that what asks for one is looked at as well.
token=openapi-check
say() { echo "openapi: $*" >&2; }

install_tools() {
    if [ -e "$home/complete" ]; then return; fi
    say "installing $requirements into $home (once)"
    if ! make_venv "$home" "$requirements"; then
        say "nothing was checked, so this counts as a failure"
        exit 1
    fi
    touch "$home/complete"
}

work=$(mktemp -d "${TMPDIR:-/tmp}/onceover-openapi.XXXXXX")
daemon=
url=
finish() {
    if [ -n "$daemon" ]; then
        kill -TERM "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# start_daemon CONFIG [ARGUMENT...]: sets $daemon and $url.
start_daemon() {
    local config=$1
    shift
    : >"$work/said"
    env -u ONCEOVER_REDIS -u ONCEOVER_CONFIG ONCEOVER_TOKENS="admin:$token" "$target/debug/onceoverd" --listen 127.0.0.1:0 \
        --data "$work/data" --config "$config" "$@" </dev/null >"$work/said" 2>&1 &
    daemon=$!
    for _ in $(seq 300); do
        url=$(sed -n 's/^onceoverd listens on \(http:[^;]*\);.*/\1/p' "$work/said")
        if [ -n "$url" ] && curl -fs -o "$work/ready" "$url/readyz"; then return; fi
        if ! kill -0 "$daemon" 2>/dev/null; then
            cat "$work/said" >&2
            say "onceoverd did not start"
            exit 1
        fi
        sleep 0.1
    done
    cat "$work/said" >&2
    say "onceoverd did not get ready"
    exit 1
}

# make_clip FILE
make_clip() {
    ffmpeg -nostdin -v error -f lavfi -i testsrc=size=64x48:rate=5 -f lavfi -i sine=frequency=440 -t 1 -shortest "$1"
}
