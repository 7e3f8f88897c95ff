#!/bin/sh
# submit-once.sh KEY VIDEO: one task, however often it is sent with the same key
set -eu
key=$1 video=$2
onceover=${ONCEOVER_DAEMON:-http://localhost:8788}
body=$(jq -n --arg video "$video" '{task_name: "ffmpeg.extract_audio", input_data: {video_path: $video}}')
curl -sS --fail-with-body -H "Authorization: Bearer ${ONCEOVER_TOKEN:-none}" -H "Idempotency-Key: $key" \
    -H 'Prefer: handling=strict' "$onceover/v1/tasks" --json "$body" | jq -r '.task_id // .detail'
