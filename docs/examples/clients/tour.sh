#!/bin/sh
# tour.sh TASK VIDEO
set -eu
task=$1 video=$2
onceover=${ONCEOVER_DAEMON:-http://localhost:8788}
call() { curl -sS --fail-with-body -H "Authorization: Bearer ${ONCEOVER_TOKEN:-none}" "$@"; }

# Upload a file into the task's folder.
call -F "file=@$video" "$onceover/v1/files/upload?file_path=$task/in/video.mp4" >&2

# Submit; the path is below the task's folder.
body=$(jq -n --arg task "$task" \
    '{task_name: "ffmpeg.extract_audio", task_id: $task, input_data: {video_path: "in/video.mp4"}}')
call "$onceover/v1/tasks" --json "$body" | jq -c .reuse_info

# Poll until the node has ended.
while :; do
    result=$(call "$onceover/v1/tasks/$task/status?task_name=ffmpeg.extract_audio" | jq .result)
    case $(echo "$result" | jq -r .status) in
        SUCCESS) break ;;
        FAILED | CANCELLED) echo "$result" | jq -r .error >&2; exit 1 ;;
    esac
    sleep 1
done

# Download what it made: the path below share/workflows.
path=$(echo "$result" | jq -r '.output.audio_path | sub(".*/share/workflows/"; "")')
call -o audio.wav "$onceover/v1/files/download/$path"

# What a refused request looks like.
call "$onceover/v1/tasks" --json '{"task_name": "ffmpeg.extract_audio", "input_data": {"video_path": 7}}' \
    | jq -c '.errors[0]' || true
