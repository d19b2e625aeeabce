# On a fresh machine with Python 3.11 or newer two commands do everything: `make demo` and `make test`.

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# the first Python that is new enough and can make an environment; another one by `make PYTHON=... test`
PYTHON ?= $(firstword $(foreach name,python3 python,$(shell \
	$(name) -c "import ensurepip, sys, venv; sys.version_info >= (3, 11) and print('$(name)')" 2>/dev/null)))

# two pytest workers, so one thread each; SCIPY_ARRAY_API makes scikit-learn run its array API checks
TEST_ENV := OMP_NUM_THREADS=1 SCIPY_ARRAY_API=1

.PHONY: demo test lint types check docs format clean

demo: $(VENV)/installed
	$(BIN)/skecgattn demo

test: lint types check

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

check: $(VENV)/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal --durations 10

docs: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist docs/_build docs/auto_examples docs/generated *.egg-info .mypy_cache .ruff_cache .pytest_cache

# an environment that is broken or half made is made anew
define MAKE_VENV
@test -n "$(PYTHON)" || { echo "Python 3.11 or newer, with its venv module, is needed: make PYTHON=/path/to/python"; exit 1; }
@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
@echo "Installing into $(VENV), this can take some minutes ..."
endef

$(VENV)/installed: pyproject.toml constraints.txt
	$(MAKE_VENV)
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt
	$(MAKE_VENV)
	$(PIP_INSTALL) --editable ".[dask,dev,docs,edf,inspection]"
	@touch $(VENV)/installed $@
