# Everything a contributor needs: `make help` lists it. Each target first makes .venv, once, if need be.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MIN_PYTHON := 3.11

# Files stay whole, for their fixtures, and begin in the order of tests/conftest.py.
PARALLEL = $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

# $(call check_python,COMMAND): stop with one plain sentence unless COMMAND is a Python that is new enough.
check_python = @"$(1)" -c 'import sys; sys.exit(sys.version_info < tuple(map(int, "$(MIN_PYTHON)".split("."))))' \
	2>/dev/null || { echo "hf_latent needs Python $(MIN_PYTHON) or newer, and '$(1)' is not: \
	name one that is, as in 'make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12'." | tr -s '\t ' ' ' >&2; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-demo quality style clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

# torch is installed first and by its exact version: a CPU build of it that is at hand is then taken, where a looser
# request would bring several GB of CUDA packages.
$(STAMP): pyproject.toml constraints.txt
	$(call check_python,$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)))
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(STAMP) ## train CoMM on Trifeature and show what it learned (a few minutes on 2 CPU cores)
	$(BIN)/hf-latent train training_args/comm_trifeature_quick.yaml --resume

test: $(STAMP) ## run the tests, a worker on each core, without those marked slow or long
	$(PARALLEL)

test-slow: $(STAMP) ## run the tests marked slow (a few minutes)
	$(PARALLEL) -m slow

test-demo: $(STAMP) ## hold a floor under what the demo learns (a few minutes)
	HF_LATENT_TEST_THREADS=2 $(BIN)/python -m pytest -m long tests/test_quick_recipes.py -k comm_keeps

quality: $(STAMP) ## check style and types, change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy hf_latent

style: $(STAMP) ## repair style in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches and builds; .venv and outputs stay
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find hf_latent tests -name __pycache__ -type d -prune -exec rm -rf {} +
