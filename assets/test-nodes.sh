#!/bin/sh
# Runs the nodes whose libraries come from PyPI for real. The environments, which onceoverd itself installs, are kept in
# target/environments and made once.
set -eu
target="${CARGO_TARGET_DIR:-$PWD/target}"
export ONCEOVER_ENVIRONMENTS="$target/environments"
for service in faster_whisper paddleocr; do
	"$target/debug/onceoverd" nodes install "$service"
done

if cargo nextest --version >/dev/null 2>&1; then
	# All packages, so that nothing is built with other features than for `make test`.
	exec cargo nextest run --locked --profile nodes --workspace -E 'binary(real_nodes)' --run-ignored only
fi
exec cargo test --locked --workspace --test real_nodes -- --ignored --test-threads 1
