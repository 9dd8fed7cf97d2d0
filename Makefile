# Everything a newcomer runs. `make up` and `make test` set up what they need; nothing is installed outside .venv.

PYTHON ?= python3
UP_PORTS ?= 8200,8210,8220
UP_DATA ?= .data
MINUTES ?= 30

SEEDS ?= 0-199
SECONDS ?= 60

BIN := .venv/bin
SOURCES := cluster node engines deploy docs tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup up down check test test-slow demo-database torture docs bench lock clean simulate

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: .venv/.installed ## Make .venv with the program and the test tools

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.packages: requirements-dev.lock .venv/.created
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

.venv/.installed: pyproject.toml .venv/.packages
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

up: .venv/.installed ## Start three nodes on this machine, until Ctrl-C
	@$(BIN)/python deploy/local/run.py up --data '$(UP_DATA)' --ports '$(UP_PORTS)'

down: ## Stop them and remove their data
	@$(PYTHON) deploy/local/run.py down --data '$(UP_DATA)'

check: .venv/.installed ## ruff, mypy and the fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(SOURCES)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not processes and not slow'

test: .venv/.installed ## All tests but the slow ones, which test-slow runs
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not slow'

test-slow: .venv/.installed ## What takes long: more seeds, new examples, thirty killed leaders, containers
	HYPOTHESIS_PROFILE=new FAULT_KILLS=30 $(BIN)/python -m pytest -q -m slow
	HYPOTHESIS_PROFILE=new FAULT_KILLS=30 $(BIN)/python -m pytest -q tests/processes/test_faults.py tests/processes/test_fuzz.py

torture: .venv/.installed ## Break three nodes for MINUTES under load, and check what the clients saw
	$(BIN)/python -m tests.torture --minutes $(MINUTES)

simulate: .venv/.installed ## Run seeds of the simulated cluster: SEEDS=0-199 SECONDS=60
	@$(BIN)/python -m tests.cluster.simulator --seeds $(SEEDS) --seconds $(SECONDS) --jobs 2

demo-database: .venv/.installed ## Database credentials, step by step, on a PostgreSQL of its own
	@$(BIN)/python -m tests.databases.demo

docs: .venv/.installed ## Write docs/api.md from the route tables
	$(BIN)/python -m docs.make_api

bench: .venv/.installed ## Measure, and compare with the goals in docs/performance.md
	$(BIN)/python -m benchmarks

lock: .venv/.installed ## Pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header \
		--output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --group dev \
		--constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	@rm -f .venv/.packages

clean: ## Remove .venv and what the tools keep; the data of `make up` stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
