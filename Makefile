.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run build docs lint protos compose test e2e bench fuzz stack clean-local tools install

BINARIES := $(CURDIR)/target/debug
# The tests that start the programs themselves find them here.
export STOCKALERT_BIN_DIR := $(BINARIES)

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: tools ## everything in one process, with a demo user: no server, no account
	cargo run -p stockalert --bin stockalert -- up --demo

build: tools ## every program, for development
	cargo build --workspace --bins

lint: ## format, clippy, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --workspace

docs: ## write docs/api.md anew, from the .proto files
	cargo run -q -p proto --bin api-reference -- docs/api.md

# The rules are in buf.yaml.
protos: ## check the .proto files: names, structure, and that everything has a comment
	npm exec --yes --package=@bufbuild/buf@1.75.0 -- buf lint

compose: ## check docker-compose.yaml against its own rules
	deploy/check-compose

# Tests of recorded prices and answers, which are not part of the repository, run where these name their folders.
REAL_DATA := $(if $(and $(STOCKALERT_MARKET_DATA),$(STOCKALERT_RESPONSES)),,--skip real_data_)

test: install compose protos lint build ## every check and every test, on private Kafka and MariaDB servers
	deploy/local/with-servers env -u KAFKA_BOOTSTRAP_SERVERS -u DATABASE_URL cargo test --workspace -- --include-ignored $(REAL_DATA)

e2e: install build ## the whole-system tests alone, with their output
	deploy/local/with-servers cargo test -p e2e -- --ignored --nocapture

bench: install ## speed in numbers, beside the broker and the client alone; QUICK=1 for rough ones in two minutes
	cargo build --release -p alert-system -p grpc-server -p stockalert -p e2e --bins
	target/release/bench-engine $(if $(QUICK),--quick)
	STOCKALERT_BIN_DIR=$(CURDIR)/target/release deploy/local/with-servers target/release/bench $(if $(QUICK),--quick)
	STOCKALERT_BIN_DIR=$(CURDIR)/target/release deploy/local/with-servers target/release/bench-api $(if $(QUICK),--quick)

# Coverage without sanitizers, so that the stable compiler will do.
fuzz: build ## any bytes as commands, for ten minutes; needs cargo-fuzz (cargo install cargo-fuzz)
	mkdir -p fuzz/corpus/commands
	cargo fuzz run -s none commands fuzz/corpus/commands fuzz/seeds/commands -- -max_total_time=600 -timeout=30 -max_len=4096

stack: install build ## Kafka, MariaDB and every service as its own process, until Ctrl-C; data in .stack/
	deploy/local/stack

clean-local: ## stop what `make stack` left, delete its data and the downloaded Kafka
	deploy/local/servers stop .stack/servers
	rm -rf .stack deploy/local/target

# Says which tools are missing and how to get them.
tools:
	@deploy/local/tools build

# The same, and gets those that can be installed: Debian packages, and Kafka's jars by Maven.
install:
	@deploy/local/servers install
