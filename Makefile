# Two commands for a newcomer: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test lint types bench generated clean

$(VENV)/core.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Aquatint needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/core.stamp constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,modal,postgres,redis]'
	@touch $@

run: $(VENV)/core.stamp  ## the whole thing on this machine: product list in, checked images and signed webhooks out
	$(BIN)/aquatint run examples/catalogue.csv

test: $(VENV)/test.stamp  ## the whole suite; servers that are not installed are named and skipped
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .

types: $(VENV)/test.stamp
	$(BIN)/mypy

bench: $(VENV)/test.stamp  ## reports, with the machine described; never a timed test
	$(BIN)/python -m benchmarks.run

generated: $(VENV)/test.stamp  ## schemas, API documents and the settings table, from the code
	$(BIN)/python -m deploy.generate

clean:
	rm -rf $(VENV) .aquatint
