#!/usr/bin/env bash
# Holds the API's description against a running daemon: schemathesis makes requests from /openapi.json, good and bad ones,
# and looks whether each answer is one that the description promises. `make test` runs it.
#
# Left out, and why, is in schemathesis.toml.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=4.32.5
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
home=$(cd "$target" && pwd)/schemathesis-$version
say() { echo "openapi: $*" >&2; }

if [ ! -e "$home/complete" ]; then
    say "installing schemathesis $version into $home (once)"
    rm -rf "$home"
    mkdir -p "$home"
    if ! { python3 -m venv "$home/venv" &&
        "$home/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"; } \
        >"$home/install.log" 2>&1 </dev/null; then
        cat "$home/install.log" >&2
        say "schemathesis $version could not be installed. It needs python3 with venv (apt-get install python3-venv) and,"
        say "the first time, PyPI or a mirror of it (PIP_INDEX_URL). Nothing was checked, so this counts as a failure."
        exit 1
    fi
    touch "$home/complete"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/onceover-openapi.XXXXXX")
daemon=
finish() {
    if [ -n "$daemon" ]; then
        kill -TERM "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# With a token, so that what asks for one is looked at as well.
token=openapi-check
env -u ONCEOVER_REDIS -u ONCEOVER_CONFIG ONCEOVER_TOKENS="admin:$token" "$target/debug/onceoverd" --listen 127.0.0.1:0 --data "$work/data" \
    --config tests/openapi/onceover.toml </dev/null >"$work/said" 2>&1 &
daemon=$!
url=
for _ in $(seq 300); do
    url=$(sed -n 's/^onceoverd listens on \(http:[^;]*\);.*/\1/p' "$work/said")
    if [ -n "$url" ] && curl -fs -o "$work/ready" "$url/readyz"; then break; fi
    if ! kill -0 "$daemon" 2>/dev/null; then
        cat "$work/said" >&2
        say "onceoverd did not start"
        exit 1
    fi
    sleep 0.1
done
curl -fs -o "$work/ready" "$url/readyz" || { cat "$work/said" >&2; say "onceoverd did not get ready"; exit 1; }

# What the examples of the description speak of.
submit() {
    curl -fs -o "$work/submitted" -H "authorization: Bearer $token" -H 'content-type: application/json' "$url/v1/tasks" -d \
        "{\"task_name\": \"$1\", \"task_id\": \"lecture-07\", \"input_data\": {}}"
}
submit ffmpeg.extract_audio
submit test.fails
ffmpeg -nostdin -v error -f lavfi -i testsrc=size=64x48:rate=5 -t 1 "$work/clip.mp4"
curl -fs -o "$work/registered" -H "authorization: Bearer $token" -F video_id=lecture-07 -F "file=@$work/clip.mp4" "$url/api/v1/videos"

here=$PWD
# In a folder of its own, since it leaves a cache where it runs.
check() (
    cd "$work"
    SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here/tests/openapi PYTHONDONTWRITEBYTECODE=1 \
        "$home/venv/bin/schemathesis" --config-file "$here/tests/openapi/schemathesis.toml" run --no-color --workers 1 \
        --header "Authorization: Bearer $token" --max-examples "${ONCEOVER_OPENAPI_EXAMPLES:-60}" "$url/openapi.json"
)
if ! check >"$work/report" 2>&1 </dev/null; then
    cat "$work/report" >&2
    say "the daemon and its description differ, see above; log of the daemon:"
    tail -n 20 "$work/data/logs/onceoverd.log" >&2
    exit 1
fi
# A passing run says what it did; one that found nothing to do has not passed.
summary=$(grep -A1 '^Test cases:' "$work/report" | tail -n 1 | grep -E '[1-9][0-9]* generated') || { cat "$work/report" >&2; say "no test cases were run"; exit 1; }
kill -0 "$daemon" 2>/dev/null || { cat "$work/said" >&2; say "onceoverd ended while it was asked"; exit 1; }
say "$summary"
