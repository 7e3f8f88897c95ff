# Onceover's everyday commands. `make demo` and `make test` are the two a fresh machine needs.
.DEFAULT_GOAL := help
.PHONY: help demo demo-workers test test-celery-5.3 soak-celery simulate-celery test-nodes lock-nodes cases simulate contract contract-docs limits-docs keys-docs reference bench bench-tui script-costs soak deps test-deps build install uninstall lint doc clean signatures

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  make %-15s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: deps ## Run real media work on a sample clip, twice, and watch the second time cost nothing
	cargo build --locked --workspace
	@assets/demo.sh

demo-workers: deps ## Run the demo with two real Celery workers, and kill one of them in the middle of a stage
	cargo build --locked --workspace
	@assets/demo-workers.sh

test: test-deps ## Build everything, run all tests, hold the API against its description
	cargo build --locked --workspace
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --locked --workspace; \
	else \
		cargo test --locked --workspace; \
	fi
	@tests/openapi/check.sh
	@tests/openapi/client.sh

test-celery-5.3: deps ## Run the tests of Celery workers against the oldest versions that are held to work (5.3.4)
	cargo build --locked --workspace
	@if cargo nextest --version >/dev/null 2>&1; then \
		ONCEOVER_CELERY=5.3 cargo nextest run --locked -p onceover-tests --test it -E 'test(/^celery::/)'; \
	else \
		ONCEOVER_CELERY=5.3 cargo test --locked -p onceover-tests --test it -- celery::; \
	fi

soak-celery: deps ## Kill 20 Celery workers while 500 stages run on them, and count what ends twice or not at all
	cargo build --locked --workspace
	ONCEOVER_CELERY_STAGES=500 ONCEOVER_CELERY_KILLS=20 cargo test --locked -p onceover-tests --test it -- \
		celery::soak:: --nocapture

simulate-celery: deps ## Simulate 200 Celery workers that die at random and 100,000 stages (WORKERS= STAGES= DEATHS= MS=)
	cargo build --locked --workspace --profile soak
	ONCEOVER_SIMULATED_WORKERS='$(or $(WORKERS),200)' ONCEOVER_SIMULATED_STAGES='$(or $(STAGES),100000)' \
		$(if $(DEATHS),ONCEOVER_SIMULATED_DEATHS='$(DEATHS)') $(if $(MS),ONCEOVER_SIMULATED_MS='$(MS)') \
		cargo test --locked --profile soak -p onceover-tests --test it -- celery::simulated:: --nocapture

test-nodes: ## Install libraries of nodes from PyPI into target/environments (once), run every node for real, print its figures
	@assets/install-deps.sh nodes
	cargo build --locked --workspace
	@assets/test-nodes.sh

lock-nodes: ## Lock the packages of Python nodes with hashes and sizes, from PyPI (SERVICES="funasr ...": these alone)
	@python3 -B assets/lock-nodes.py $${CARGO_TARGET_DIR:-target}/uv $(SERVICES)

signatures: ## Record the signatures of what nodes call of their Python libraries, from packages of PyPI kept in target/wheels
	@python3 -B tests/nodes/record_signatures.py $${CARGO_TARGET_DIR:-target}/wheels

contract: deps ## Play the older gateway's contract, or against BASE=http://host:8788 [TOKEN= MEDIA= CALLBACK_HOST= REDIS=]
	cargo build --locked --workspace
	@$(if $(TOKEN),ONCEOVER_TOKEN='$(TOKEN)') $${CARGO_TARGET_DIR:-target}/debug/contract $(foreach option,BASE MEDIA CALLBACK_HOST REDIS ONLY,$(if $($(option)),\
		--$(shell echo $(option) | tr A-Z_ a-z-) '$($(option))'))

contract-docs: ## Write the tables of docs/migrating.md from tests/contract/differences.toml
	cargo build --locked --workspace
	@$${CARGO_TARGET_DIR:-target}/debug/contract --write-docs

limits-docs: ## Write docs/limits.md from the daemon's table of limits
	ONCEOVER_LIMITS=write cargo test --locked -p onceover-daemon --lib limits::

keys-docs: ## Write the table of keys in docs/dashboard.md from the dashboard's registry of actions
	ONCEOVER_KEYS=write cargo test --locked -p onceover-tui --lib actions::

reference: deps ## Record the examples of every node and operation and write docs/technical/reference from them
	cargo build --locked --workspace
	ONCEOVER_REFERENCE=write cargo test --locked --workspace --test it -- reference:: examples:: --nocapture

bench: ## Measure beside what this machine can do at all, as docs/performance.md says; BENCH="--strict" fails when a goal is missed
	@assets/install-deps.sh bench
	cargo build --locked --profile bench -p onceover-daemon -p onceover-tests --bins --bench limits
	cargo bench --locked -p onceover-daemon -p onceover-tests --bench limits -- $(BENCH)

bench-tui: ## Measure the dashboard beside 100,000 tasks, as docs/performance.md says; BENCH_TUI="--only load,idle,open"
	@assets/install-deps.sh bench
	cargo build --locked --profile bench -p onceover-daemon -p onceover-tui -p onceover-tests --bins --bench dashboard
	cargo build --locked --profile bench -p onceover-tui --example bare_frames
	cargo bench --locked -p onceover-tests --bench dashboard -- $(BENCH_TUI)

script-costs: deps ## Measure how long a call of each script takes in Redis (ONCEOVER_SCRIPT_CALLS=1000: fewer calls)
	cargo test --locked -p onceover-store --lib -- --ignored --nocapture the_cost_of_a_call_of_each_script

cases: deps ## Try what hostile and unlucky environments do: limits, damaged records, deep folders, terminals that leave
	cargo build --locked --workspace
	@assets/cases.sh

simulate: deps ## Play daemons, clients and faults from a SEED for some STEPS; without a seed many of them for SECONDS (60)
	ONCEOVER_SIMULATE_SEED='$(SEED)' ONCEOVER_SIMULATE_STEPS='$(STEPS)' ONCEOVER_SIMULATE_SECONDS='$(SECONDS)' \
		cargo test --locked -p onceover-daemon --lib -- simulation::the_invariants --nocapture

soak: deps ## Run the tests with faults for long, and count violations (ONCEOVER_SOAK=0.2: a quarter of an hour)
	cargo build --locked --workspace --profile soak
	@assets/soak.sh

deps: ## Install what is missing of Redis, ffmpeg, espeak-ng and a font (apt-get)
	@assets/install-deps.sh

test-deps: ## The same, and what tests alone need: tmux, xterm, an X server without a screen
	@assets/install-deps.sh test

build: ## Build both programs into target/debug
	cargo build --locked --workspace

install: ## Build both programs for use, put them into ~/.cargo/bin, manual pages and completion into ~/.local/share
	cargo install --locked --path daemon/server
	cargo install --locked --path tui
	@assets/install-manual.sh

uninstall: ## Remove what make install has put there
	@assets/install-manual.sh --remove
	cargo uninstall onceover-daemon onceover-tui

lint: ## Check formatting, code, words, spelling, Lua, licences and API documentation, as CI does
	@assets/install-deps.sh lint
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@python3 tests/lint/words.py
	@tests/lint/spelling.sh
	@tests/lint/lua.sh
	@tests/lint/licences.sh
	@$(MAKE) --no-print-directory doc

# Comments that are the help of a program have <placeholders>, and private items are documented as well.
doc: ## Make the API documentation of the crates, with warnings denied
	RUSTDOCFLAGS='-D warnings -A rustdoc::invalid_html_tags -A rustdoc::private_intra_doc_links' cargo doc --locked --workspace --no-deps --document-private-items

clean: ## Remove what was built, the demo's data included
	cargo clean
