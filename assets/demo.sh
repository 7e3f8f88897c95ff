#!/usr/bin/env bash
# The demo: a daemon on a fresh data directory, a sample clip, four requests of which two are answered without any work, and
# a pipeline that is run twice.
# In a terminal it then opens the dashboard; elsewhere it prints the finished stage tree. Expects the programs in
# target/debug (`make demo` builds them first).
set -euo pipefail
cd "$(dirname "$0")/.."

source assets/demo-common.sh
ready() { # As the daemon itself reports it; needs no curl.
    (
        exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
        printf 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$port" >&3
        read -r -t 2 _ status _ <&3 && [ "$status" = 200 ]
    ) 2>/dev/null
}

assets/sample/make-sample.sh "$media"

daemon=
stop() {
    if [ -n "$daemon" ]; then
        kill -TERM "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
}
make_data

port=8788
while listens "$port"; do port=$((20000 + RANDOM % 20000)); done
url=http://127.0.0.1:$port
# Small models where there is no GPU.
[ -e /dev/nvidiactl ] || export ONCEOVER_PROFILE=cpu
say "onceoverd on $url, with its private Redis"
"$bin/onceoverd" --listen "127.0.0.1:$port" --data "$data" --media-root "$media" >"$data/onceoverd.out" 2>&1 </dev/null &
daemon=$!
for ((tries = 0; ; tries++)); do
    if ! kill -0 "$daemon" 2>/dev/null; then
        echo "onceoverd ended before it was ready" >&2
        exit 1
    fi
    if ready; then break; fi
    if [ "$tries" -ge 600 ]; then
        echo "onceoverd is not ready after 30 seconds" >&2
        exit 1
    fi
    sleep 0.05
done

submit() { # submit HEADING NODE
    say "$1"
    "$bin/onceover" --daemon "$url" submit "$2" --task demo --set video_path="$media/clip.mp4" --wait
}
submit "1. Extract the audio: nothing is known yet, so it runs" ffmpeg.extract_audio
submit "2. The same once more: a reuse hit, nothing runs" ffmpeg.extract_audio
submit "3. Another stage of the same task: runs" ffmpeg.extract_keyframes
submit "4. And the first again: still there, a hit" ffmpeg.extract_audio

say "5. A whole video: registered, then sent through a pipeline of five steps; the last gives it its subtitles as a track"
"$bin/onceover" --daemon "$url" register "$media/clip.mp4" --id demo --title "Sample clip"
"$bin/onceover" --daemon "$url" run demo --pipeline sample --wait
say "6. The same pipeline once more: every step is a hit"
"$bin/onceover" --daemon "$url" run demo --pipeline sample --wait

if [ -t 0 ] && [ -t 1 ]; then
    "$bin/onceover" --daemon "$url" --task demo
else
    say "The tasks with their stages"
    "$bin/onceover" --daemon "$url" tree
fi
