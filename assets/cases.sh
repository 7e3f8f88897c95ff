#!/bin/sh
# Runs the tests of a hostile or unlucky environment: inputs, files and callers without limits, damaged records, a Redis
# that is full, slow, wrong or unreachable, clocks that are set, folders that are copied, terminals that are closed.
set -eu
modules='bounds|clocks|connections|copies|exposure|input|input_paths|limits|operation|redis_faults|run_bounds|same_input|terminals|webhook_addresses|webhook_fairness|words'
if cargo nextest --version >/dev/null 2>&1; then
	exec cargo nextest run --locked --workspace -E "package(onceover-tests) & test(/^($modules)::/) + test(/(^|::)fuzz::/) + package(onceover-store) & test(/^trials::/)"
fi
cargo test --locked --workspace -- bounds:: clocks:: connections:: copies:: exposure:: input:: input_paths:: limits:: operation:: \
	redis_faults:: run_bounds:: same_input:: terminals:: webhook_addresses:: webhook_fairness:: words:: fuzz:: trials::
