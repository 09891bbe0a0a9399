# Every target is one line that runs cargo or our own binary; nothing is only here.
SHELL := bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
.PHONY: help tools run up down logs test test-fast bars bench order profile check generate clean

# Arguments of the command behind a target, for example: make run ARGS="--data /tmp/second --port 0 --proxy-port 0"
ARGS ?=
# One package only, for example: make test-fast CRATE=task-coordinator
CRATE ?=
SCOPE := $(if $(CRATE),-p $(CRATE),--workspace)
# Rows of `make bench`, all when empty, and whether peers are installed and measured beside ours
ROW ?=
PEERS ?=
# Instances of each service that `make up` starts
REPLICAS ?= 1
# How what images ship is built
DIST := cargo build --profile dist --config deploy/dist.toml
FLAGS := target.x86_64-unknown-linux-gnu.rustflags
ORDER := -Clink-arg=-Wl,--symbol-ordering-file=$(CURDIR)/deploy/order.txt
PROFILE := -Cprofile-use=$(CURDIR)/target/dist.profdata
# Rows that show a compiler what the programs do, and the compiler's own reader of what they counted
WORK := A1 A2 A5 B1 B2 C1 C2 E1 E4 F1
PROFDATA = $(shell rustc --print target-libdir)/../bin/llvm-profdata
export RUST_BACKTRACE ?= 1

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools:
	@command -v cargo >/dev/null || { echo "Rust is missing. Install rustup (https://rustup.rs); it takes the pinned version by itself." >&2; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is missing. Debian, Ubuntu: sudo apt-get install build-essential" >&2; exit 1; }

run: tools ## Start the platform on this machine, answering a chat (Ctrl-C stops it)
	@cargo build --bin sutazai && exec target/debug/sutazai dev $(ARGS)

up: tools ## Start the services as processes over real servers; REPLICAS=2 runs two of each
	@cargo build --release --bin sutazai && target/release/sutazai up --replicas $(REPLICAS) $(ARGS)

down: ## Stop what `make up` started; nothing is left running
	@[ ! -x target/release/sutazai ] || target/release/sutazai down $(ARGS)

logs: ## Follow the logs of what `make up` started
	@target/release/sutazai logs --follow $(ARGS)

test: check ## Everything: checks, all tests, and the platform from a fresh clone
	@cargo test $(SCOPE) --no-fail-fast --all-features -- --test-threads=2 2>&1 | tee target/test.log || failed=1; awk -f .ci/table.awk target/test.log; [ -z "$$failed" ]

test-fast: tools ## Unit, property, contract and flow tests; needs no server but Postgres' programs
	@cargo test $(SCOPE) --no-fail-fast 2>&1 | tee target/test.log || failed=1; awk -f .ci/table.awk target/test.log; [ -z "$$failed" ]

bars: tools ## Hold the platform against its bars of reliability: kills, poison, outages, cancels; 90 minutes
	@BARS=long cargo test --workspace --release --all-features --test bars -- --test-threads=1 --nocapture 2>&1 | tee target/bars.log || failed=1; awk -f .ci/bars.awk target/bars.log; [ -z "$$failed" ]

bench: tools target/dist.profdata ## Measure the platform beside its limits; ROW=A1 one row, PEERS=1 peers too
	@$(DIST) --config '$(FLAGS)=["$(ORDER)","$(PROFILE)"]' --bins && target/dist/bench $(if $(PEERS),--peers) $(ARGS) $(ROW)

order: tools target/dist.profdata ## Write anew which functions the services run, for the linker of what images ship; needs valgrind
	@$(DIST) --config '$(FLAGS)=["$(PROFILE)","-Cstrip=none"]' --target-dir target/order --bins && target/order/dist/bench order deploy/order.txt

# Whole and not -sparse, which is a third as large: functions that never ran would be unknown in place of cold, and
# each program 2 MB larger.
profile: tools ## Write anew what the services do at work, for the compiler of what images ship; 30 minutes
	@[ -x "$(PROFDATA)" ] || { echo "The reader of profiles is missing: rustup component add llvm-tools" >&2; exit 1; }
	@$(DIST) --config '$(FLAGS)=["-Cprofile-generate=$(CURDIR)/target/profile/counts"]' --target-dir target/profile --bins
	@rm -rf target/profile/counts && { target/profile/dist/bench --rounds 1 $(WORK) || [ $$? -eq 1 ]; }
	@"$(PROFDATA)" merge -o target/dist.profdata target/profile/counts && xz -9ec target/dist.profdata > deploy/dist.profdata.xz

target/dist.profdata: deploy/dist.profdata.xz
	@mkdir -p target && xz -dc $< > $@

check: tools ## Format, lints, documentation, generated files
	@cargo fmt --all --check
	@cargo clippy $(SCOPE) --all-targets --all-features -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	@cargo run --quiet --bin sqlx-prepare -- --check
	@cargo run --quiet --bin sutazai -- generate --check

generate: tools ## Write all generated files anew
	@cargo run --quiet --bin sqlx-prepare
	@cargo run --quiet --bin sutazai -- generate
	@GENERATE=1 cargo test --quiet -p backend --lib api_02_the_committed_document_is_fresh

clean: ## Remove what was built; the state in .run/ stays
	@cargo clean
