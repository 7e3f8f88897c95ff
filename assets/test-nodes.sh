#!/bin/sh
# Runs all nodes for real. The environments, which onceoverd itself installs, are kept in target/environments and made once.
set -eu
target="${CARGO_TARGET_DIR:-$PWD/target}"
export ONCEOVER_ENVIRONMENTS="$target/environments"
"$target/debug/onceoverd" nodes install faster_whisper paddleocr piper campplus spleeter --check

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

fetch_weights() { # fetch_weights SERVICE PROGRAM: those of the service's program, which fetches them
	if ! PYTHONPATH=assets/nodes "$ONCEOVER_ENVIRONMENTS/$1/venv/bin/python" -B "assets/nodes/$1/$2.py" \
		--fetch "$ONCEOVER_SPEECH_MODELS/$1"; then
		echo "blocked: no weights of $1 can be fetched" >&2
	fi
}
fetch_weights campplus diarize_speakers
fetch_weights spleeter separate_vocals

# Programs that keep their models between runs, and those that tell speakers apart; the figures are printed.
python3 -B tests/nodes/real_serving.py
python3 -B tests/nodes/real_diarization.py

if cargo nextest --version >/dev/null 2>&1; then
	# All packages, so that nothing is built with other features than for `make test`.
	cargo nextest run --locked --profile nodes --workspace -E "$tests" --run-ignored only
else
	# shellcheck disable=SC2086
	cargo test --locked --workspace --test real_nodes -- --ignored --test-threads 1 $skipped
fi

# Last, so that it is what one sees: a row for each node, with its figures or why it was not run.
exec python3 -B tests/nodes/real_rows.py "$target/debug/onceoverd"
