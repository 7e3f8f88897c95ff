# What the demos share. Sourced from the repository's root by a demo, which defines `stop`: how its programs end.

bin=${CARGO_TARGET_DIR:-target}/debug
for program in onceoverd onceover; do
    [ -x "$bin/$program" ] || {
        echo "$bin/$program is missing; run \`make $(basename "$0" .sh)\`" >&2
        exit 1
    }
done
# Absolute, so that the daemon may use them as they are.
media=$PWD/target/demo/media
# No configuration for real work may reach the demo.
while IFS= read -r name; do unset "$name"; done < <(compgen -e ONCEOVER_)

say() { printf '\n== %s\n' "$*"; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

finish() {
    code=$?
    trap - EXIT
    stop
    if [ "$code" -ne 0 ]; then
        {
            echo
            echo "The demo failed. The last lines of its programs ($data):"
            tail -n 30 "$data"/*.out 2>/dev/null || true
        } >&2
    else
        rm -rf "$data"
    fi
    exit "$code"
}

# Makes a fresh folder, $data, which is removed at the end unless the demo fails. Programs print into files *.out there.
make_data() {
    mkdir -p target/demo
    data=$(mktemp -d "$PWD/target/demo/data-XXXXXX")
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}
