# `make demo` and `make test` set up all they need in .venv on a machine with Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The build of PyTorch that we develop with; any from 2.1 on works.
TORCH ?= torch==2.13.0

.PHONY: demo test test-fast lint format bench clean

demo: $(VENV)/demo.installed
	$(BIN)/slsfgr demo --output demo-output

test: lint
	$(BIN)/pytest

test-fast: $(VENV)/test.installed
	$(BIN)/pytest -m "not slow"

lint: $(VENV)/test.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/test.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/test.installed
	$(BIN)/python Testing/benchmarks/pairs.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --editable ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) demo-output build *.egg-info
