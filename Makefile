# Headworks. `make run` starts the embedded system, `make test` passes all tests; each sets up what it needs.
SHELL := /bin/sh
CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help setup run build test check fmt lint doc docs bench fleet soak powercut plans

help: ## these lines
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

setup: ## install what the build needs (a C compiler, for SQLite and jemalloc)
	@command -v cc >/dev/null 2>&1 || (apt-get update -qq && apt-get install -y -qq build-essential)

run: setup ## start the embedded system in ./data
	$(CARGO) run --release --locked -p headworks-cli -- serve

build: setup ## the release binary, target/release/headworks
	$(CARGO) build --release --locked -p headworks-cli

test: build ## all tests; those in `it` run the release binary and real servers
	tests/install
	$(CARGO) test --workspace --locked

fleet: setup ## a whole fleet on this machine: two of each binary behind nginx, on a Redis, a PostgreSQL and an S3 of its own; PROMETHEUS=1 watches it
	tests/install
	$(CARGO) build --release --locked -p headworks-cli -p headworks-ingest -p headworks-processor -p headworks-catalog --bins
	$(CARGO) run --locked -p headworks-tests --bin fleet

soak: setup ## three minutes of kills and faults under load, then an audit; HEADWORKS_SEED plays one again
	tests/install
	$(CARGO) test --locked -p headworks-tests --test it -- --ignored --nocapture fleet::soak

powercut: setup ## twenty power cuts under load, on a disk that root mounts: ext4, or HEADWORKS_FILE_SYSTEM=xfs
	tests/install
	$(CARGO) test --locked -p headworks-tests --test it -- --ignored --nocapture crash::

plans: setup ## what PostgreSQL does for each question, with a million uploads in its tables
	tests/install
	$(CARGO) test --locked -p headworks-tests --test it -- --ignored --nocapture fleet::postgres::plans

check: setup fmt lint doc test ## everything that must hold; people and CI call the same
	target/release/headworks docs docs --check
	target/release/headworks config check
	target/release/headworks config check --config config/fleet.toml
	target/release/headworks config check --config config/high-load.toml

fmt: ## the format is rustfmt's
	$(CARGO) fmt --all --check

lint: setup ## no warning is left
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc: setup ## the documentation has no broken link
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

docs: build ## write the generated pages anew
	target/release/headworks docs docs

bench: build ## measure beside others, and write benchmarks/results; takes an hour and a half, or more where others share the machine
	tests/install
	benchmarks/peers/install
	$(CARGO) build --release --locked -p headworks-ingest -p headworks-processor -p headworks-tests --bins
	for what in run drain scale journey burst memory stall; do \
		$(CARGO) run --release --locked -p headworks-benchmarks -- $$what --write || exit 1; done
