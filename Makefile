# `make demo` and `make test` set up all they need in .venv on a machine with Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The peers get an environment of their own, so that they cannot disturb the one we develop in.
BENCH_VENV := .venv-bench
# The build of PyTorch that we develop with; any from 2.1 on works.
TORCH ?= torch==2.13.0
# Tests use one core for most of their time: two processes with a thread each take half as long as one with two.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

.PHONY: demo test test-fast lint format bench clean

demo: $(VENV)/demo.installed
	$(BIN)/slsfgr demo --output demo-output

test: lint
	$(PYTEST)

test-fast: $(VENV)/test.installed
	$(PYTEST) -m "not slow"

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
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --editable ".[$*]"
	touch $@

$(BENCH_VENV)/bench.installed: benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet "$(TORCH)"
	$(BENCH_VENV)/bin/pip install --quiet --no-deps --requirement benchmarks/requirements.txt
	$(BENCH_VENV)/bin/pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) $(BENCH_VENV) demo-output build *.egg-info
