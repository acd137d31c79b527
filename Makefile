# `make demo` and `make test` set up all they need in .venv on a machine with Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The peers get an environment of their own, so that they cannot disturb the one we develop in.
BENCH_VENV := .venv-bench
# Slicer's own Python is 3.12: its module is also tested with that, where it is installed.
SLICER_PYTHON ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python3.12) python3.12)
SLICER_VENV := .venv-slicer
# The build of PyTorch that we develop with; any from 2.1 on works.
TORCH ?= torch==2.13.0
# Python compiles the modules that it imports anyway; to compile all others takes more than a minute.
INSTALL := pip install --quiet --no-compile
# It keeps what it has compiled, also where the environment forbids that: else each process compiles torch again.
export PYTHONDONTWRITEBYTECODE :=
# Tests use one core for most of their time: two processes with a thread each take half as long as one with two.
IN_TWO_PROCESSES := --numprocesses 2 --dist loadfile
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest $(IN_TWO_PROCESSES)
SLICER_PYTEST := OMP_NUM_THREADS=1 $(SLICER_VENV)/bin/pytest $(IN_TWO_PROCESSES)
# The tests of nodes, without the panel.
NODE_TESTS := $(patsubst %,Testing/slicer_extension/test_%.py,itk_conversion output_nodes apply_transform \
	applied_results display comparison logic regions sequences standard_brain)

.PHONY: demo test test-fast test-slicer test-slicer-newest lint format bench clean

demo: $(VENV)/demo.installed
	$(BIN)/slsfgr demo --output demo-output

test: lint
	$(PYTEST)

test-fast: $(VENV)/test.installed
	$(PYTEST) -m "not slow"

# The module's tests with Slicer 5.12's versions of Python, NumPy and SimpleITK; a quarter of an hour, not in CI.
test-slicer: $(SLICER_VENV)/slicer.installed
	$(SLICER_PYTEST) Testing/slicer_extension Testing/test_packaging.py

# The tests of nodes with the newest slicer-core, of Slicer's preview; it lies beside the other for this run only.
test-slicer-newest: $(SLICER_VENV)/slicer.installed
	rm -rf $(SLICER_VENV)/newest
	$(SLICER_VENV)/bin/pip install --quiet --target $(SLICER_VENV)/newest slicer-core
	ls -d $(SLICER_VENV)/newest/slicer_core-*.dist-info
	PYTHONPATH=$(SLICER_VENV)/newest $(SLICER_PYTEST) $(NODE_TESTS)

lint: $(VENV)/test.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/test.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Hours, on two cores: our modes and the peers on ten pairs. It continues where it was stopped. For other runs:
# make bench BENCH="--pairs 3 --systems slsfgr-standard,greedy", BENCH="--contrast t2",
# or BENCH="--systems slsfgr-standard,slsfgr-standard@../old-version" to compare two versions in turns.
bench: $(BENCH_VENV)/bench.installed
	$(BENCH_VENV)/bin/python -m benchmarks.ten_pairs --output bench-output $(BENCH)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/$(INSTALL) "$(TORCH)" --editable ".[$*]"
	touch $@

$(SLICER_VENV)/slicer.installed: Testing/slicer_extension/requirements.txt
	$(SLICER_PYTHON) -m venv $(SLICER_VENV)
	$(SLICER_VENV)/bin/$(INSTALL) "$(TORCH)" --requirement $<
	touch $@

$(BENCH_VENV)/bench.installed: benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/$(INSTALL) "$(TORCH)"
	$(BENCH_VENV)/bin/$(INSTALL) --no-deps --requirement benchmarks/requirements.txt --editable .
	touch $@

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(SLICER_VENV) demo-output build *.egg-info
