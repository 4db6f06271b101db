# Variables that may be set on the command line:
#   ARGS       more arguments for the command, as in: make train ARGS="--model.network.group SE3"
#   PYTHON     the interpreter that makes .venv; 3.11 or later
#   PIP_FLAGS  more arguments for pip, for example an index with another build of torch
#   WORKERS    test processes that run side by side
#   MARKS      which tests to run, by their marks: all by MARKS="slow or not slow"
#   TESTS      folders or files of tests; all when empty

ARGS ?=
PYTHON ?=
PIP_FLAGS ?=
WORKERS ?= 2
MARKS ?= not slow
TESTS ?=

BIN := .venv/bin
PACKAGES := liegroups attention tasks

.DEFAULT_GOAL := help
.PHONY: help setup train test test-deep test-lowest test-python coverage lint format docs browser bench build release clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv with the tested versions; does nothing when it is up to date
	@PYTHON='$(PYTHON)' PIP_FLAGS='$(PIP_FLAGS)' bash scripts/setup.sh

train: setup ## Train on QM9 for a few minutes; more arguments in ARGS="--model.network.group SE3"
	@$(BIN)/lie-attention fit --config tasks/configs/qm9/quick.yaml $(ARGS)

# One torch thread a process: the processes share the cores already.
test: setup ## Run the tests and the examples in the docs; select some with ARGS="-k so3"
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m '$(MARKS)' $(TESTS) $(ARGS)

# Python 3.12 and later measure at little cost; before, the tests take a third longer.
coverage: export COVERAGE_CORE = $(shell $(BIN)/python -c \
	'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")' 2>/dev/null)
coverage: ARGS += -p scripts.coverage_table --cov --cov-report=
coverage: test ## Run the tests and print how much of the packages they run

test-deep: export HYPOTHESIS_PROFILE = deep
test-deep: MARKS = slow or not slow
test-deep: TESTS = tests/liegroups
test-deep: test ## Hold every group to its laws on 2,000 examples each; takes hours

# Few examples of each law: what a version breaks shows in the first. All that `make test` runs by
# TESTS=tests and HYPOTHESIS_PROFILE=default in front.
test-lowest test-python: TESTS = tests/liegroups tests/attention tests/meta tests/tasks/commands \
	tests/tasks/training tests/tasks/systems liegroups attention
test-lowest: setup ## Test the lowest versions that pyproject.toml declares, in .venv-lowest
	@PIP_FLAGS='$(PIP_FLAGS)' WORKERS='$(WORKERS)' PYTHON='$(PYTHON)' \
		bash scripts/other_versions.sh lowest -m '$(MARKS)' $(TESTS) $(ARGS)

test-python: ## Test the Python that PYTHON names, in .venv-<version>, as in PYTHON=python3.12
	@PIP_FLAGS='$(PIP_FLAGS)' WORKERS='$(WORKERS)' PYTHON='$(PYTHON)' \
		bash scripts/other_versions.sh python -m '$(MARKS)' $(TESTS) $(ARGS)

lint: setup ## Check style, format, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format the code and apply the safe fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: setup ## Build the documentation into docs/_build/html
	@rm -rf docs/api/generated docs/gallery
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html
	@echo "docs: open docs/_build/html/index.html"

browser: setup ## Test the built documentation in Chromium; make docs comes first
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest -m slow tests/docs/test_site.py $(ARGS)

# The other benchmarks need data, trained runs or other packages: the head of each file says which.
bench: setup ## Measure time and memory of attention and of training; takes half an hour
	$(BIN)/python benchmarks/attention.py speed growth
	$(BIN)/python benchmarks/qm9.py throughput
	$(BIN)/python benchmarks/dynamics.py cost

build: setup ## Build the wheel and the source archive into dist/
	@rm -rf dist
	$(BIN)/python -m build

release: build ## Check that the wheel installs and works outside of this folder
	@CONSTRAINTS=constraints.txt PIP_FLAGS='$(PIP_FLAGS)' bash scripts/check_release.sh

clean: ## Remove caches and builds; keeps .venv and runs/
	rm -rf build dist docs/_build docs/api/generated docs/gallery
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(PACKAGES) tests benchmarks docs scripts -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
