# Every target makes its own virtual environment; a machine needs python3 (3.11 or newer, with venv) and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -qq

.NOTPARALLEL:
.PHONY: help demo demo-production test lint types imports check check-long docs bench chaos model simulate interleave corrupt clean

help:           ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.demo            ## a real workflow on real data, with its worker killed on the way
	@$(BIN)/wfcelery demo $(ARGS)

demo-production: $(VENV)/.servers  ## the same on PostgreSQL and a Redis-compatible server, with two workers and a beat
	@$(BIN)/wfcelery demo --production $(ARGS)

test: $(VENV)/.dev             ## all tests but the long ones
	@$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),--whole)

lint: $(VENV)/.dev             ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev            ## mypy --strict
	@$(BIN)/mypy --strict

imports: $(VENV)/.dev          ## a floor imports the floors below it
	@$(BIN)/lint-imports

check: lint types imports test ## all that CI runs, in CI's order

check-long: $(VENV)/.dev       ## the long tests, all of tests/acceptance without run-ahead among them; writes docs/reference/check-long.md
	@HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --long --timeout=3600 $(ARGS)

docs: $(VENV)/.dev             ## writes the pages that are made from the code
	@$(BIN)/python -m tests.plugins.promises --write
	@$(BIN)/python -m wfcelery.core.tables > docs/reference/states.md
	@$(BIN)/python -m wfcelery.service.invariants.page > docs/reference/invariants.md

bench: $(VENV)/.dev            ## the workloads beside raw Celery and the floor: times, ratios, costs; goes on where it was broken off; PEERS=1 for other engines too
	@$(BIN)/python -m benchmarks $(if $(filter 1,$(PEERS)),--peers) $(ARGS)

model: $(VENV)/.python         ## the protocol as a state model, and its mutants
	@$(BIN)/python model/protocol_model.py $(ARGS)

corrupt: $(VENV)/.dev          ## breaks a clean run once for each invariant, and says which invariant finds it
	@$(BIN)/python -m tests.corruption

chaos: $(VENV)/.dev            ## real servers and workers under overlapping faults; MINUTES=m [KEEP=folder] [SEED=s] [SETUP=embedded]
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),1) $(if $(KEEP),--keep $(KEEP)) $(if $(SEED),--seed $(SEED)) $(if $(SETUP),--setup $(SETUP)) $(ARGS)

simulate: $(VENV)/.dev         ## the engine through SEEDS random worlds of faults; or one SEED, with its TRACE; MUTANTS=all hunts the mistakes too
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) $(if $(TRACE),--trace $(TRACE)),--seeds $(or $(SEEDS),3000) $(if $(JSON),--json $(JSON)) $(if $(MUTANTS),--mutants $(MUTANTS)))

interleave: $(VENV)/.dev       ## every pair of transactions in every order, statement by statement; ARGS="T5-finish T9-put" for some
	@$(BIN)/python -m tests.interleaving $(ARGS)

clean:          ## forgets the virtual environment
	rm -rf $(VENV)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wfcelery needs Python 3.11 or newer; say PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml
	$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/.servers: $(VENV)/.python pyproject.toml
	$(PIP) install --editable '.[demo,servers]'
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.demo $(VENV)/.servers
