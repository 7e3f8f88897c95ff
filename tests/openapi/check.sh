#!/usr/bin/env bash
# Holds the API's description against its standard and against a running daemon: openapi-spec-validator reads
# /openapi.json; schemathesis makes requests from it, good and bad ones, and looks whether each answer is one that the
# description promises. `make test` runs it.
#
# Left out, and why, is in schemathesis.toml.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/openapi/common.sh
install_tools
start_daemon tests/openapi/onceover.toml

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
make_clip "$work/clip.mp4"
curl -fs -o "$work/registered" -H "authorization: Bearer $token" -F video_id=lecture-07 -F "file=@$work/clip.mp4" "$url/api/v1/videos"

begun=$SECONDS
here=$PWD
# In a separate folder, since it leaves a cache where it runs.
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
