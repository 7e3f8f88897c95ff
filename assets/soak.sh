#!/bin/sh
# Runs the long forms of the tests with faults, one after another, and prints N and violations per requirement; then
# simulations for ten minutes, then the fuzz targets, a minute each, then 100,000 stages on 200 simulated Celery
# workers. ONCEOVER_SOAK is the share of a whole soak (1, the default: an hour and a quarter; 0.2: a quarter of an hour).
set -eu
export ONCEOVER_SOAK="${ONCEOVER_SOAK:-1}"
ONCEOVER_SOAK_REPORT="$PWD/${CARGO_TARGET_DIR:-target}/soak.tsv"
export ONCEOVER_SOAK_REPORT
: >"$ONCEOVER_SOAK_REPORT"

ended=0
if cargo nextest --version >/dev/null 2>&1; then
	cargo nextest run --locked --workspace --cargo-profile soak --profile soak -E 'package(onceover-tests) & test(/^faults::/)' || ended=$?
else
	cargo test --locked --workspace --profile soak --test it -- --test-threads 1 faults:: || ended=$?
fi

# Ten minutes of simulations, more seeds than `make test` has time for.
ONCEOVER_SIMULATE_SECONDS="$(awk "BEGIN { print int(600 * $ONCEOVER_SOAK) + 1 }")" \
	cargo test --locked --profile soak -p onceover-daemon --lib -- simulation::the_invariants --nocapture || ended=$?

ONCEOVER_FUZZ_SECONDS="${ONCEOVER_FUZZ_SECONDS:-$(awk "BEGIN { print int(60 * $ONCEOVER_SOAK) + 1 }")}"
export ONCEOVER_FUZZ_SECONDS
if cargo nextest --version >/dev/null 2>&1; then
	cargo nextest run --locked --workspace --cargo-profile soak --profile soak --test-threads 2 -E 'test(/(^|::)fuzz::/)' || ended=$?
else
	cargo test --locked --workspace --profile soak --lib -- --test-threads 2 fuzz:: || ended=$?
fi

# Stages, not minutes, are what is shared out: the workers are all there. Prints its figures for docs/scaling.md.
ONCEOVER_SIMULATED_WORKERS=200
ONCEOVER_SIMULATED_STAGES="${ONCEOVER_SIMULATED_STAGES:-$(awk "BEGIN { print int(100000 * $ONCEOVER_SOAK) + 1 }")}"
export ONCEOVER_SIMULATED_WORKERS ONCEOVER_SIMULATED_STAGES
if cargo nextest --version >/dev/null 2>&1; then
	cargo nextest run --locked --workspace --cargo-profile soak --profile soak --success-output final \
		-E 'package(onceover-tests) & test(/^celery::simulated::/)' || ended=$?
else
	cargo test --locked --workspace --profile soak --test it -- --nocapture celery::simulated:: || ended=$?
fi

echo
sort -n "$ONCEOVER_SOAK_REPORT" | awk -F '\t' '
	BEGIN { printf "%4s  %-82s %9s %6s %8s %10s %7s\n", "req", "what", "N of", "asked", "checks", "violations", "seconds" }
	{ printf "%4s  %-82s %9s %6s %8s %10s %7s\n", $1, $2, $4, $3, $5, $6, $7; n += $6 }
	END { printf "%d violations in %d tests\n", n, NR; exit n > 0 }
' || ended=1
exit "$ended"
