#!/usr/bin/env bash
# Holds the API's description against its standard and against a running daemon: openapi-spec-validator reads
# /openapi.json; schemathesis makes requests from it, good and bad ones, and looks whether each answer is one that the
# description promises. `make test` runs it.
#
# Left out, and why, is in schemathesis.toml.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
requirements=tests/openapi/requirements.txt
home=$(cd "$target" && pwd)/openapi-$(sha256sum "$requirements" | cut -c 1-12)
say() { echo "openapi: $*" >&2; }

if [ ! -e "$home/complete" ]; then
    say "installing $requirements into $home (once)"
    rm -rf "$home"
    mkdir -p "$home"
    if ! { python3 -m venv "$home/venv" &&
        "$home/venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"; } \
        >"$home/install.log" 2>&1 </dev/null; then
        cat "$home/install.log" >&2
        say "$requirements could not be installed. It needs python3 with venv (apt-get install python3-venv) and, the"
        say "first time, PyPI or a mirror of it (PIP_INDEX_URL). Nothing was checked, so this counts as a failure."
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

curl -fs -o "$work/openapi.json" -H "authorization: Bearer $token" "$url/openapi.json"
begun=$SECONDS
if ! "$home/venv/bin/openapi-spec-validator" --validation-errors all "$work/openapi.json" >"$work/report" 2>&1; then
    cat "$work/report" >&2
    say "/openapi.json is not valid OpenAPI, see above"
    exit 1
fi
say "/openapi.json is valid OpenAPI 3.1 ($((SECONDS - begun)) s)"

# What the examples of the description speak of.
submit() {
    curl -fs -o "$work/submitted" -H "authorization: Bearer $token" -H 'content-type: application/json' "$url/v1/tasks" -d \
        "{\"task_name\": \"$1\", \"task_id\": \"lecture-07\", \"input_data\": {}}"
}
submit ffmpeg.extract_audio
submit test.fails
ffmpeg -nostdin -v error -f lavfi -i testsrc=size=64x48:rate=5 -t 1 "$work/clip.mp4"
curl -fs -o "$work/registered" -H "authorization: Bearer $token" -F video_id=lecture-07 -F "file=@$work/clip.mp4" "$url/api/v1/videos"

begun=$SECONDS
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
say "$summary ($((SECONDS - begun)) s)"
