# Needs python3 (3.11 or newer) and make; everything else comes by hash into .venv. `make PYTHON=python3.12` picks another one.
# A second call costs nothing: what is installed is stamped, and the stamp is older than what it was made from.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Compiled here, once: where PYTHONDONTWRITEBYTECODE is set, every process would compile torch anew, for half a minute.
INSTALL := $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
# Likewise davy itself, which stands in place and has just been edited: a demo starts eighty processes.
COMPILE := $(BIN)/python -m compileall -q davy
JOBS ?= 2
SEEDS ?= 20
SEED ?= 1
MUTANTS ?= 200
EXAMPLES ?= 2000
PERTURBATIONS ?= 200
SECONDS ?= 600

.PHONY: help
help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

$(UV): requirements/uv.txt
	@command -v $(PYTHON) >/dev/null || { echo "davy needs Python 3.11 or newer: no $(PYTHON) on the PATH (choose one with PYTHON=…)"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "davy needs Python 3.11 or newer: $(PYTHON) is $$($(PYTHON) -V 2>&1) (choose another one with PYTHON=…)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/uv.txt
	@touch $@

# What a contributor and CI need: base, torch, sims and the tools; davy itself is installed in place.
$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml | $(UV)
	$(INSTALL) --require-hashes --requirement requirements/dev.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# The libp2p route, for its tests. One package of it is built here: where that cannot be, they say so and are left out.
$(VENV)/gossip.stamp: requirements/gossip.txt $(VENV)/dev.stamp
	@if printf '#include <Python.h>\n#include <gmp.h>\n' | \
	  $${CC:-cc} -I "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" -fsyntax-only -xc - 2>/dev/null; \
	then set -x; $(INSTALL) --require-hashes --requirement requirements/gossip.txt; \
	else echo "no C compiler, or no headers of Python or GMP: the tests of the libp2p route will be left out"; fi
	@touch $@

# What the demo needs: base and what runs small models, and the backend that installs davy in place.
$(VENV)/demo.stamp: requirements/model.txt requirements/build.txt pyproject.toml | $(UV)
	$(INSTALL) --require-hashes --requirement requirements/model.txt --requirement requirements/build.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: $(VENV)/gossip.stamp ## the environment of a contributor, in .venv

.PHONY: demo
demo: $(VENV)/demo.stamp ## a whole market: miners, cheats, validators, a ledger, and the claims checked
	@$(COMPILE)
	$(BIN)/davy demo

.PHONY: demo-seeds
demo-seeds: $(VENV)/demo.stamp ## the demo under SEEDS (20) seeds with the roles permuted; prints the weakest margin
	@$(COMPILE)
	$(BIN)/davy demo --seeds $(SEEDS)

# With producers that stop and hang, a connection may come about in the very moment that it is given up, and anyio's
# connect_tcp then leaves it to the garbage collector, which pytest would call an error.
.PHONY: test
test: $(VENV)/gossip.stamp ## all tests, on JOBS (2) processes; those of the BFT engine where `make engine` has built it
	@$(COMPILE)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal --ignore tests/market -m "not engine"
	$(BIN)/python -m pytest --ignore tests/market -m engine -p no:unraisableexception
	$(BIN)/python -m pytest tests/market -m "not market"
	@$(MAKE) notebooks-small

.PHONY: notebooks-small
notebooks-small: $(VENV)/dev.stamp ## run each notebook with small parameters
	$(BIN)/python notebooks/render.py --small build/notebooks
	$(BIN)/python -m pytest --nbmake --numprocesses $(JOBS) build/notebooks

.PHONY: notebooks
notebooks: $(VENV)/dev.stamp ## run each notebook at full size and write docs/notebooks; some minutes
	$(BIN)/python notebooks/render.py

.PHONY: gossip
gossip: $(VENV)/gossip.stamp ## add the libp2p route to it, as `make install` does; needs a C compiler and GMP

.PHONY: engine
engine: $(VENV)/dev.stamp ## build the BFT engine into build/engine, for its tests; needs Go, two minutes and 800 MB
	$(BIN)/davy ledger install-engine --to build/engine

.PHONY: engine-skewed
engine-skewed: $(VENV)/dev.stamp ## build one more beside it whose clock can be set wrong, for `make faults`
	$(BIN)/python -m tests.faults.skewed_engine

.PHONY: demo-engine
demo-engine: engine ## the demo on four producers of that engine; three to six minutes
	@$(COMPILE)
	DAVY_ENGINE=$$(ls build/engine/cometbft-*[0-9]) $(BIN)/davy demo --engine cometbft --fast

.PHONY: faults
faults: $(VENV)/dev.stamp ## PERTURBATIONS (200) of real producers by SEED (1), with all that must hold after each; more than an hour
	$(BIN)/python -m tests.faults --perturbations $(PERTURBATIONS) --seed $(SEED)

.PHONY: messages
messages: $(VENV)/dev.stamp ## generate the engine's messages anew from abci.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. davy/ledger/driver/cometbft/abci.proto

.PHONY: market
market: $(VENV)/dev.stamp ## the demo under three seeds, and each claim's cause switched off; up to half an hour
	@$(COMPILE)
	$(BIN)/python -m pytest tests/market

.PHONY: check
check: $(VENV)/gossip.stamp ## lint, format, types, import contracts, documentation, standards
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --quiet tests/repository/test_docs.py tests/repository/test_standards.py

.PHONY: mutants
mutants: $(VENV)/dev.stamp ## change MUTANTS (200) places of the pure rooms, drawn by SEED (1), one at a time: which does no test notice? (long)
	$(BIN)/python -m tests.mutation --seed $(SEED) --mutants $(MUTANTS)

# The fuzzer that watches coverage has wheels for Linux and some Pythons only.
$(VENV)/fuzz.stamp: requirements/fuzz.txt $(VENV)/dev.stamp
	$(INSTALL) --require-hashes --requirement requirements/fuzz.txt || echo "atheris has no wheel for this machine: blocks are not fuzzed by coverage"
	@touch $@

.PHONY: fuzz
fuzz: $(VENV)/fuzz.stamp ## EXAMPLES (2000) hostile histories of blocks by a new seed; then SECONDS (600) by coverage, replayed under two hash seeds
	FUZZ_EXAMPLES=$(EXAMPLES) FUZZ_SEED=$$RANDOM $(BIN)/python -m pytest --timeout 3600 tests/ledger/rules/test_fuzz.py
	$(BIN)/python -m tests.ledger.rules.fuzz_bytes build/fuzz -max_total_time=$(SECONDS)
	test "$$(PYTHONHASHSEED=1 $(BIN)/python -m tests.ledger.rules.fuzz_bytes --replay build/fuzz)" = \
	  "$$(PYTHONHASHSEED=2 $(BIN)/python -m tests.ledger.rules.fuzz_bytes --replay build/fuzz)"

.PHONY: bench
bench: $(VENV)/dev.stamp ## measured figures beside their goals
	@for file in $(filter-out bench/ledger_%.py,$(wildcard bench/*.py)); do echo "==> $$file"; $(BIN)/python -m "bench.$$(basename "$$file" .py)"; done

.PHONY: lock
lock: $(UV) ## compile requirements/*.txt anew from pyproject.toml
	UV=$(UV) requirements/lock

.PHONY: clean
clean: ## everything that was made here, .venv too
	rm -rf $(VENV) dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov
	find davy tests -name __pycache__ -type d -prune -exec rm -rf {} +
