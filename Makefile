# The one door of this checkout. `make help` lists what it opens.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CHAIN_STAMP := ganache-setup/node_modules/.installed
CHAIN ?= anvil
SOURCES := sdk/src node/src tests ganache-setup docs

.PHONY: help setup demo test test-slow test-ganache check format generate lock chain chain-stop chain-status chain-reset analyse bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}'

setup: $(STAMP) $(CHAIN_STAMP) ## Install everything into this checkout

$(STAMP): requirements.lock requirements-data.lock sdk/pyproject.toml node/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is missing: install it, or name it with PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing the Python packages into $(VENV) (a minute or two, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r requirements-data.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e sdk -e node
	@touch $@

$(CHAIN_STAMP): ganache-setup/package-lock.json
	@command -v npm >/dev/null || { echo "Node.js is missing: install Node.js 20 or newer with npm, then run this again"; exit 1; }
	@echo "Installing the local chain and the Solidity compiler into ganache-setup/node_modules ..."
	@cd ganache-setup && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup ## See the whole product work: chain, three hospitals, three audited computations, proofs, refusals
	@CHAIN=$(CHAIN) $(BIN)/python docs/demo/run.py

test: setup ## Run the tests (Anvil), eight to fifteen minutes on two cores
	@$(BIN)/python -m pytest -n 2 -m "not slow" tests

test-slow: setup ## Run the tests of whole networks that take long: every kind of task, faults in them, the tutorial
	@$(BIN)/python -m pytest -n 2 -m slow tests

test-ganache: setup ## Run the contract and story tests on Ganache
	@CHAIN=ganache $(BIN)/python -m pytest -n 2 tests/contracts tests/integration/story tests/integration/node

check: setup ## Format, lint, types, import direction, generated files
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy sdk/src node/src
	$(BIN)/lint-imports
	$(BIN)/python ganache-setup/build.py --check
	$(BIN)/python -m tallystick.chain.generate --check
	$(BIN)/python -m tallystick.wire.generate --check
	$(BIN)/python docs/reference/generate.py --check

format: setup ## Format the code and mend what the linter can
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

generate: setup ## Make the generated files again: artefacts, wire code, reference pages
	$(BIN)/python ganache-setup/build.py
	$(BIN)/python -m tallystick.chain.generate
	$(BIN)/python -m tallystick.wire.generate
	$(BIN)/python docs/reference/generate.py

lock: ## Compile requirements.in into requirements.lock (needs uv)
	uv pip compile requirements.in -o requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --quiet

chain: setup ## Start the local chain (CHAIN=ganache for Ganache) and deploy the contracts
	@$(BIN)/python ganache-setup/chain.py start --chain $(CHAIN)

chain-stop: setup ## Stop the local chain; its state is kept
	@$(BIN)/python ganache-setup/chain.py stop --chain $(CHAIN)

chain-status: setup ## Say whether the local chain runs, and at which block
	@$(BIN)/python ganache-setup/chain.py status --chain $(CHAIN)

chain-reset: setup ## Stop the local chain and forget its state
	@$(BIN)/python ganache-setup/chain.py reset --chain $(CHAIN)

analyse: setup ## Analyse the contracts: A=static, symbolic, mutation or coverage
	@$(BIN)/python ganache-setup/analysis/run.py $(A)

bench: setup ## List the benchmarks; B=NAME runs one
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.bench $(B)

clean: ## Remove what this Makefile installed and what the demo left
	rm -rf $(VENV) .venvs ganache-setup/node_modules .tallystick
