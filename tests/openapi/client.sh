#!/usr/bin/env bash
# Makes a typed Python client from /openapi.json, as assets/clients/README.md tells, and goes through the life of a task with
# it against a running daemon. `make test` runs it.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/openapi/common.sh
install_tools
begun=$SECONDS
make_clip "$work/clip.mp4"
start_daemon tests/openapi/client.toml --media-root "$work"

curl -fs -o "$work/openapi.json" -H "authorization: Bearer $token" "$url/openapi.json"
# Its formatter is beside it.
if ! PATH=$home/venv/bin:$PATH openapi-python-client generate --path "$work/openapi.json" --meta none --fail-on-warning \
    --config assets/clients/python.yaml --output-path "$work/client/onceover_client" >"$work/report" 2>&1 </dev/null; then
    cat "$work/report" >&2
    say "no client can be made of /openapi.json without a warning, see above"
    exit 1
fi
scenario() {
    PYTHONPATH=$work/client PYTHONDONTWRITEBYTECODE=1 ONCEOVER_TOKEN=$token \
        "$home/venv/bin/python" assets/clients/scenario.py "$url" "$work/clip.mp4"
}
if ! scenario >"$work/report" 2>&1 </dev/null; then
    cat "$work/report" >&2
    say "the scenario of the generated client failed, see above; log of the daemon:"
    tail -n 20 "$work/data/logs/onceoverd.log" >&2
    exit 1
fi
# Each step with what it has to show.
while read -r expected; do
    if ! grep -Eq "^$expected" "$work/report"; then
        cat "$work/report" >&2
        say "the scenario of the generated client does not say '$expected'"
        exit 1
    fi
done <<'EXPECTED'
nodes: [0-9]+; ffmpeg.extract_audio takes video_path
submit: pending, absent
status: completed, /.*[.]wav
hit: completed, reused: True, /.*[.]wav
list: .*client-
explanation: a submit would hit
resubmit: pending, forced
cancel: cancelled .*ffmpeg.extract_keyframes
queues: .*cpu [0-9]/
problem: 422 /problems/invalid-request: .*input_data.video_path
delete: success, then 404
EXPECTED
say "a Python client was generated and went through the life of a task ($((SECONDS - begun)) s)"
