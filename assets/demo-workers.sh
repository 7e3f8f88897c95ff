#!/usr/bin/env bash
# The demo with Celery workers: a broker, two real workers in a virtual environment, and a daemon that sends the nodes of the
# service ffmpeg to them. A stage runs on a worker and is a hit the second time, and so after another node; then a worker is
# killed in the middle of a stage, which the other worker ends as the second attempt. What the workers did is counted in
# their logs, and the demo fails where it is not what it says. Reads nothing from its standard input. Expects the programs
# in target/debug (`make demo-workers` builds them first).
set -euo pipefail
cd "$(dirname "$0")/.."

source assets/demo-common.sh
free_port() {
    local port
    port=$((20000 + RANDOM % 20000))
    while listens "$port"; do port=$((20000 + RANDOM % 20000)); done
    echo "$port"
}
until_true() { # until_true WHAT COMMAND...: waits until the command succeeds
    local what=$1 tries
    shift
    for ((tries = 0; ; tries++)); do
        if "$@"; then return; fi
        if [ "$tries" -ge 1200 ]; then
            echo "waited for a minute for $what" >&2
            exit 1
        fi
        sleep 0.05
    done
}

assets/sample/make-sample.sh "$media"
python=$(tests/celery/install.sh latest | tail -n 1)

declare -A workers=()
broker=
daemon=
stop() {
    for pid in $daemon $broker; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${workers[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
    # Bash tells of each that was killed.
    for pid in $daemon $broker "${workers[@]}"; do wait "$pid" 2>/dev/null || true; done
}
make_data

port=$(free_port)
server=$(command -v valkey-server || command -v redis-server) || {
    echo "neither valkey-server nor redis-server is installed; run assets/install-deps.sh" >&2
    exit 1
}
"$server" --port "$port" --bind 127.0.0.1 --save '' --dir "$data" >"$data/broker.out" 2>&1 </dev/null &
broker=$!
until_true "the broker" listens "$port"
export DEMO_BROKER=redis://127.0.0.1:$port/0 DEMO_RESULTS=redis://127.0.0.1:$port/1 DEMO_HOLD=$data/hold

start_worker() { # start_worker NAME, in a process group by itself
    PYTHONDONTWRITEBYTECODE=1 C_FORCE_ROOT=1 PYTHONPATH=$PWD/assets setsid "$python" -m celery -A demo_worker worker \
        -n "$1@demo" -Q ffmpeg_queue -c 1 -l INFO >"$data/$1.out" 2>&1 </dev/null &
    workers[$1]=$!
}
say "Two Celery workers listen to ffmpeg_queue"
for name in first second; do start_worker "$name"; done
for name in first second; do until_true "the worker $name" grep -q "$name@demo ready" "$data/$name.out"; done

cat >"$data/onceover.toml" <<TOML
[services.ffmpeg]
runner = "celery"
broker = "$DEMO_BROKER"
results = "$DEMO_RESULTS"
TOML
port=$(free_port)
url=http://127.0.0.1:$port
say "onceoverd on $url sends the nodes of the service ffmpeg to them"
"$bin/onceoverd" --listen "127.0.0.1:$port" --data "$data/daemon" --config "$data/onceover.toml" --media-root "$media" \
    >"$data/daemon.out" 2>&1 </dev/null &
daemon=$!
ready() {
    kill -0 "$daemon" 2>/dev/null || {
        echo "onceoverd ended before it was ready" >&2
        exit 1
    }
    # Each says what version it is once it has answered.
    [ "$("$bin/onceover" --daemon "$url" workers --json 2>/dev/null | grep -c '"version": "')" = 2 ]
}
until_true "the daemon with its workers" ready
"$bin/onceover" --daemon "$url" workers

submit() { # submit HEADING NODE TASK
    say "$1"
    "$bin/onceover" --daemon "$url" submit "$2" --task "$3" --set video_path="$media/clip.mp4" --wait
}
received() { # Lists what the workers have begun, a line a message: worker and node.
    local worker
    for worker in first second; do
        sed -n "s/.*Task \\([a-z_.]*\\)\\[.*\\] received\$/$worker \\1/p" "$data/$worker.out"
    done
}
expect_received() { # expect_received COUNT: prints how many messages workers have begun, and fails if it is another number
    local count
    count=$(received | wc -l)
    echo "-> messages that workers have got so far: $count"
    if [ "$count" -ne "$1" ]; then
        echo "there should be $1" >&2
        exit 1
    fi
}
submit "1. Extract the audio: it runs on a worker" ffmpeg.extract_audio demo
expect_received 1
submit "2. The same once more: a reuse hit, no worker is asked" ffmpeg.extract_audio demo
expect_received 1
submit "3. Another node of the same task: it runs on a worker" ffmpeg.extract_keyframes demo
expect_received 2
submit "4. The first node again: its result is still there, a hit" ffmpeg.extract_audio demo
expect_received 2

say "5. A stage begins on a worker, which is killed in the middle of it"
touch "$DEMO_HOLD"
"$bin/onceover" --daemon "$url" submit ffmpeg.extract_audio --task killed --set video_path="$media/clip.mp4"
running() { # Reads the name of the worker that runs the stage.
    local line='s#^killed/ffmpeg.extract_audio *on \([a-z]*\)@demo .*#\1#p'
    name=$("$bin/onceover" --daemon "$url" workers | sed -n "$line")
    [ -n "$name" ]
}
until_true "a worker that runs it" running
lost=$name
"$bin/onceover" --daemon "$url" workers
echo "-> killing the worker '$lost' with all its processes"
kill -KILL -- "-${workers[$lost]}"
wait "${workers[$lost]}" 2>/dev/null || true
unset "workers[$lost]"
rm "$DEMO_HOLD"
submit "6. Joined while it is under way: the other worker ends it, as the second attempt (in about ten seconds)" \
    ffmpeg.extract_audio killed
expect_received 4
for name in "${!workers[@]}"; do echo "-> '$lost' was killed, '$name' has ended its stage"; done

say "The tasks with their stages"
tree=$("$bin/onceover" --daemon "$url" tree)
echo "$tree"
case $tree in
    *"attempt 2"*) ;;
    *)
        echo "the tree shows no second attempt" >&2
        exit 1
        ;;
esac
say "Done: each node ran once, two requests were hits, and a lost worker cost one more attempt and no result"
