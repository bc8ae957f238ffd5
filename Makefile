# One command each, on a machine that has python3 (3.11 or later) and make.
# The environment is made on first use, by uv; where there is no uv, it is put into .uv/ first.

PYTHON ?= python3
UV := $(shell command -v uv || echo .uv/bin/uv)
# The environment is in step already: `env` saw to it. Without --no-sync every run would look again.
RUN := $(UV) run --no-sync
PEER ?=
MINUTES ?= 30

.DEFAULT_GOAL := help
.PHONY: help env postgres test test-all crash soak check format demo bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: .venv/.made ## make the environment in .venv

postgres: ## install the server that tests of PostgreSQL start (Debian and the like, as root)
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; } \
	  || echo "No PostgreSQL here: its tests are skipped. Install it with: apt-get install postgresql"

test: env postgres ## run the tests, but for the slow ones
	$(RUN) pytest -m "not slow" $(ARGS)

test-all: env postgres ## run every test, the slow ones too
	$(RUN) pytest $(ARGS)

crash: env postgres ## kill processes at every crash point and look at what is resumed
	$(RUN) pytest tests/crash $(ARGS)

soak: env ## random faults over workers on both databases, for MINUTES=30
	$(RUN) python -m tests.soak.soak --minutes $(MINUTES) $(ARGS)

check: env ## lint, format, types, direction of imports
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) pyright
	$(RUN) lint-imports --no-cache
	$(RUN) pytest tests/typing

format: env ## put the source into its form
	$(RUN) ruff check --fix-only --quiet .
	$(RUN) ruff format .

demo: env ## audit this repository with a durable agent, kill it midway, go on
	$(RUN) python examples/code_audit/demo.py

bench: env ## measure Kitaru against the limits of this machine (PEER=dbos or langgraph: against a peer too)
	$(RUN) python -m benchmarks $(if $(PEER),--peer $(PEER))

clean: ## delete the environment and all caches
	rm -rf .venv .uv .benchmarks .pytest_cache .ruff_cache .mypy_cache .hypothesis

# --frozen: what uv.lock says, with no look at an index, so that it works behind a mirror too.
.venv/.made: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen
	@touch $@

# --target: a folder of our own, which every pip allows, that of an externally managed Python too (PEP 668).
# The venv is for a Python that was packaged without pip.
.uv/bin/uv:
	@echo "uv is not on the PATH: installing it into .uv/"
	@$(PYTHON) -m pip --version >/dev/null 2>&1 \
	  && $(PYTHON) -m pip install --quiet --target .uv uv \
	  || { $(PYTHON) -m venv .uv && .uv/bin/pip install --quiet uv; } \
	  || { echo "Neither pip nor venv works here. Install uv (https://docs.astral.sh/uv/) and try again." >&2; exit 1; }
