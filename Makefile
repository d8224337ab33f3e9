# Storecast: every command starts here. Needs Python 3.11 and make; all else comes into .venv by itself.
#
# On Linux the package index's torch brings several gigabytes of CUDA libraries. Where there is no GPU, put the CPU
# wheel of torch (the version in constraints.txt, any local label such as +cpu) into a folder and name it:
#     make demo PIP_FIND_LINKS=/path/to/wheels
# pip prefers the wheel found there, and nothing of CUDA is installed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo test coverage test-browser test-images test-charts e2e lint format up down bench bench-serving images constraints clean
.PHONY: kind-up kind-down deploy

PYTHON ?= python3.11
ARGS ?=
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
PEERS := $(VENV)/peers
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ifdef PIP_FIND_LINKS
export PIP_FIND_LINKS
endif

IMAGES := component train-gpu serving dashboard prefect mlflow
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
TAG ?= $(VERSION)
DOCKER_BUILD_ARGS ?=

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with the pinned packages and the project itself (the other targets do it too)

$(INSTALLED): constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 not found; name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV): once, some minutes"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PIP) pip setuptools hatchling
	@$(PIP) --no-build-isolation --editable '.[s3,kubernetes,kfp,serving,dashboard,postgres]' --group dev
	@touch $@

demo: $(INSTALLED) ## Forecast a synthetic retailer: all models, a comparison, a release and a report
	@$(VENV)/bin/storecast demo $(ARGS)

test: $(INSTALLED) ## Run every test that needs no cluster (ARGS="-k words" chooses)
	@OMP_WAIT_POLICY=passive $(PY) -m pytest tests/integration tests/unit --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

coverage: $(INSTALLED) ## The same, and which lines they reach: takes 1.7 times as long
	@$(MAKE) test ARGS="--cov --cov-report=term $(ARGS)"

test-browser: $(INSTALLED) ## Test the dashboard in a browser against a local stack; needs Chromium (CHROMIUM=/path)
	@$(PY) -m pytest tests/browser $(ARGS)

images: ## Build the images storecast/TARGET:TAG, the version if no TAG is given (DOCKER_BUILD_ARGS: "--network host", "--build-arg TORCH=cuda", ...)
	@for target in $(IMAGES); do echo "storecast/$$target:$(TAG)"; \
	  DOCKER_BUILDKIT=1 docker build --quiet --target $$target --tag storecast/$$target:$(TAG) $(DOCKER_BUILD_ARGS) \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) . ; done

test-images: $(INSTALLED) ## Test what `make images` has built
	@IMAGE_TAG=$(TAG) $(PY) -m pytest tests/images $(ARGS)

lint: $(INSTALLED) ## Check format, style, types and the direction of imports
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports

format: $(INSTALLED) ## Put the code into the house format
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

up: $(INSTALLED) ## Start the local stack: Prefect on 4200, MLflow on 5000, forecasts on 3000, dashboard on 8501
	@$(VENV)/bin/storecast up $(ARGS)

down: $(INSTALLED) ## Stop the local stack
	@$(VENV)/bin/storecast down $(ARGS)

bench-serving: $(INSTALLED) ## Measure the service (ARGS="--home .storecast" for its current release)
	@$(PY) -m benchmarks.serving $(ARGS)

$(PEERS)/installed: benchmarks/peers.txt $(INSTALLED)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(PEERS) --requirement $<
	@touch $@

bench: $(PEERS)/installed ## Measure everything beside its bars and peers, for hours (ARGS="--data DIR --only arima,lstm")
	@PYTHONPATH=$(PEERS) $(PY) -m benchmarks.all $(ARGS)

kind-up: ## Make a kind cluster to try the platform on
	@scripts/kind.sh up

kind-down: ## Remove that cluster
	@scripts/kind.sh down

deploy: ## Load the images of `make images` into the cluster and install the platform (ARGS="--set key=value")
	@scripts/kind.sh load
	@scripts/kind.sh deploy $(ARGS)

test-charts: $(INSTALLED) ## Test the charts; needs helm
	@$(PY) -m pytest tests/charts --numprocesses 2 $(ARGS)

e2e: $(INSTALLED) ## Prove the platform on a kind cluster of its own; needs the images
	@$(PY) -m pytest tests/e2e --verbosity 1 $(ARGS)

constraints: $(INSTALLED) ## Take the newest allowed packages into constraints.txt
	@$(PY) scripts/constraints.py

clean: ## Remove .venv and what tools cache; runs and releases in .storecast stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
