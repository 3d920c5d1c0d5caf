# `make` lists the targets. Each one sets up what it needs in .venv, once.
# Paths are relative to this file, so a space in the path of the checkout is fine.

PYTHON ?= python3
WORKERS ?= auto
VENV := .venv
CONSTRAINTS := constraints.txt
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed-
METADATA := setup.cfg pyproject.toml $(CONSTRAINTS) sklperturb/_version.py

# What each environment holds: extras of setup.cfg, and a group of pyproject.toml.
CONTENTS_plot := -e ".[plot]"
CONTENTS_test := -e ".[all]" --group test
CONTENTS_docs := -e ".[all]" --group docs
CONTENTS_bench := -e ".[all]" --group bench

# Options of `make bench`, such as BENCH="--only flow --output results".
BENCH :=

# What `make minimum` tests; with no TESTS, `make test` runs all.
TESTS :=
MINIMUM := tests/test_common.py tests/test_docs.py tests/test_packaging.py \
    tests/cells tests/conditions tests/datasets tests/flow

# The model that `make demo` predicts the held-out conditions with.
DEMO_MODEL ?= ridge
# OP2 has 18211 genes; with fewer, the demo is over in a minute or two.
DEMO_GENES ?= 1000

# One BLAS or OpenMP thread per process: two test workers on two cores do not fight.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test minimum check docs bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

demo: $(STAMP)plot ## generate a screen, rank the models on it, write a submission
	$(VENV)/bin/sklperturb simulate --output demo/screen --overwrite \
	    --n-genes $(DEMO_GENES)
	$(VENV)/bin/sklperturb leaderboard --data demo/screen --output demo/leaderboard
	$(VENV)/bin/sklperturb submit --data demo/screen --model $(DEMO_MODEL) \
	    --output demo/submission.csv --overwrite
	@echo
	@echo "The demo wrote:"
	@ls demo/leaderboard/*.csv demo/leaderboard/*.png demo/submission.csv

test: $(STAMP)test ## run the tests and the docstring examples
	$(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal $(TESTS)

minimum: ## test estimators and loaders with the oldest versions that setup.cfg allows
	$(MAKE) VENV=.venv-minimum CONSTRAINTS=constraints-min.txt TESTS="$(MINIMUM)" test

check: $(STAMP)test ## lint, and check the formatting
	$(PY) -m ruff check
	$(PY) -m ruff format --check

docs: $(STAMP)docs ## build the site, run the examples, check links: docs/_build/html
	$(ONE_THREAD) $(PY) -m sphinx --fail-on-warning --keep-going -b html docs docs/_build/html
	$(PY) docs/_links.py docs/_build/html

bench: $(STAMP)bench ## run the quick benchmarks beside their peers
	$(ONE_THREAD) $(PY) -m benchmarks --peers $(BENCH)

clean: ## remove .venv and everything that was generated
	rm -rf .venv .venv-minimum demo build dist sklperturb.egg-info .pytest_cache .ruff_cache
	rm -rf docs/_build docs/generated docs/auto_examples docs/sg_execution_times.rst
	find sklperturb tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(STAMP)%: $(METADATA) | $(PY)
	$(PY) -m pip install -c $(CONSTRAINTS) pip
	$(PY) -m pip install -c $(CONSTRAINTS) $(CONTENTS_$*)
	@touch $@

$(PY):
	@command -v "$(PYTHON)" > /dev/null || { \
	    echo "$(PYTHON) was not found. Install Python 3.11 or newer, or name one:" \
	        "make PYTHON=python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "sklperturb needs Python 3.11 or newer, and $(PYTHON) is" \
	        "$$("$(PYTHON)" --version 2>&1). Name another one:" \
	        "make PYTHON=python3.11 ..." >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
