# The main targets: `make serve` runs Verve, `make test` checks it, `make bench` measures it. Each
# sets up what it needs and does nothing twice. The scripts in scripts/ do the work.

.DEFAULT_GOAL := help
.PHONY: serve demo kafka test test-full torture simulate fuzz damage mutants
.PHONY: bench accuracy docs lint format wheels clean help

# ARGS go to the program behind a target: make serve ARGS="--workers 2", make test ARGS=tests/unit
ARGS ?=
export VERVE_PYTHON

serve: ## build, install into .venv and serve on 127.0.0.1:8000
	@scripts/serve $(ARGS)

demo: ## two hosts behind HAProxy with Redis, Kafka, callbacks and load, on the loopback
	@scripts/demo $(ARGS)

kafka: ## a real Kafka broker on 127.0.0.1:9092, fetched once, to try the sink out
	@scripts/kafka $(ARGS)

test: ## all checks and tests, a tenth of the full counts
	@scripts/test $(ARGS)

test-full: ## all checks and tests at their full counts
	@scripts/test --full $(ARGS)

torture: ## real components under load and faults, counts judged: ARGS="--minutes 60 --record"
	@scripts/torture $(ARGS)

simulate: ## clusters on virtual time with new seeds: ARGS="--minutes 30 --jobs 2 --record"
	@scripts/simulate $(ARGS)

fuzz: ## random bytes for the readers of requests, files, Redis: ARGS="--minutes 30 --record"
	@scripts/fuzz $(ARGS)

mutants: ## the core with one place changed at a time, which a test must notice: ARGS="--minutes 60"
	@scripts/mutants $(ARGS)

damage: ## flipped bits and files cut short, read by the real code: ARGS="--minutes 30 --record"
	@scripts/damage $(ARGS)

bench: ## measure, side by side in one run: FULL=1 for the long one, ONLY=name for one scenario
	@scripts/bench $(ARGS)

accuracy: ## how far counts of Verve and others are off: ARGS="--only restart,lost --rounds 1"
	@scripts/accuracy $(ARGS)

docs: ## the site of the documentation, into target/docs/html; ARGS=write renews docs/reference/
	@scripts/docs $(ARGS)

lint: ## formatting, lints and types only
	@scripts/lint

format: ## format the code
	@scripts/format

wheels: ## what a release publishes, into dist/, checked and tried: ARGS=TARGET for another one
	@scripts/wheels $(ARGS)

clean: ## remove everything that was built, .venv too
	rm -rf .venv dist target .mypy_cache .pytest_cache .ruff_cache .hypothesis

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
	  while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done
