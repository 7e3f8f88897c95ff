#!/bin/sh
# Runs the nodes whose libraries come from PyPI for real. The environments, which onceoverd itself installs, are kept in
# target/environments and made once.
set -eu
target="${CARGO_TARGET_DIR:-$PWD/target}"
export ONCEOVER_ENVIRONMENTS="$target/environments"
"$target/debug/onceoverd" nodes install faster_whisper paddleocr piper --check

# A model that knows words. If its weights cannot be fetched, the tests that need them are skipped, and that is printed.
export ONCEOVER_SPEECH_MODELS="$target/models"
tests='binary(real_nodes)'
skipped=
if [ ! -e "$ONCEOVER_SPEECH_MODELS/speech/model.bin" ] &&
	! "$ONCEOVER_ENVIRONMENTS/faster_whisper/venv/bin/python" tests/nodes/speech_weights.py "$ONCEOVER_SPEECH_MODELS/speech"; then
	echo 'blocked: no ASR weights can be fetched, so real_nodes::synchrony is not run' >&2
	tests='binary(real_nodes) & not test(/^synchrony::/)'
	skipped='--skip synchrony::'
fi

# Programs that keep their models between runs; the figures are printed.
python3 -B tests/nodes/real_serving.py

if cargo nextest --version >/dev/null 2>&1; then
	# All packages, so that nothing is built with other features than for `make test`.
	exec cargo nextest run --locked --profile nodes --workspace -E "$tests" --run-ignored only
fi
# shellcheck disable=SC2086
exec cargo test --locked --workspace --test real_nodes -- --ignored --test-threads 1 $skipped
