# Needs make and Python 3.10, 3.11 or 3.12 (PYTHON=<path> chooses one). All else is installed into .venv* here.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
DEMO_VENV := .venv-demo
DIST := dist
# Twice as many at once as there are processors: many tests wait for pauses and time limits.
PYTEST_ARGS ?= -n $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN)) --dist loadfile --no-loadscope-reorder
BENCH_ARGS ?=

# Each test starts the connector, which must not compile its own sources and the CDK's every time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup setup-demo test lint types pytest demo demo-live bench-setup bench audit dist image image-test lock \
	clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

$(VENV)/complete: requirements-dev.lock pyproject.toml scripts/install.sh
	@sh scripts/install.sh $(VENV) requirements-dev.lock
	@touch $@

$(DEMO_VENV)/complete: requirements-demo.lock pyproject.toml scripts/install.sh
	@sh scripts/install.sh $(DEMO_VENV) requirements-demo.lock
	@touch $@

setup: $(VENV)/complete ## install what tests need into .venv

setup-demo: $(DEMO_VENV)/complete ## install what the demo and the examples need into .venv-demo (PyAirbyte is large)

test: lint types pytest ## run ruff, bandit, mypy, unit and integration tests

lint: setup ## run ruff and bandit
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/bandit -q -c pyproject.toml -r source_liquidations

types: setup ## run mypy
	$(VENV)/bin/mypy

pytest: setup ## run unit and integration tests; PYTEST_ARGS="-n 2" replaces the options
	$(VENV)/bin/pytest $(PYTEST_ARGS)

demo: setup-demo ## sync simulated vendors twice through PyAirbyte into DuckDB, and draw a picture
	@$(DEMO_VENV)/bin/python -m demo

demo-live: setup-demo ## the same with real data of the vendors that need no key: Coin Metrics' community API, Bitfinex, Gate
	@$(DEMO_VENV)/bin/python -m demo --live

bench-setup: setup ## install the other ways of reading that the benchmarks compare with into .venvs
	$(VENV)/bin/python -m benchmarks.environments

bench: bench-setup ## compare this connector with other ways of reading (long)
	$(VENV)/bin/python -m benchmarks.run $(BENCH_ARGS)
	$(VENV)/bin/python -m benchmarks.end_to_end

audit: setup ## look for known vulnerabilities of the locked packages (asks a public database)
	$(VENV)/bin/uv tool run pip-audit --no-deps --disable-pip -r requirements.lock

dist: setup ## build the source archive and the wheel of a release into dist/, with the locked build tools
	$(VENV)/bin/uv build --python $(VENV)/bin/python --no-build-isolation --offline --clear --out-dir $(DIST)

image: ## build the container image with docker, podman or buildah
	@sh scripts/image.sh

image-test: setup ## build the image without a Docker engine, and run it (Debian, as root)
	@sh scripts/image_without_docker.sh || [ $$? -eq 77 ]

lock: setup ## write the lock files from pyproject.toml
	@sh scripts/lock.sh

clean: ## remove what the other targets made
	rm -rf $(VENV) $(DEMO_VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist demo-output
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
