# The two commands of the README are `make demo` and `make test`; both set everything up by themselves.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: setup demo test check e2e bench clean lock
.DEFAULT_GOAL := demo

setup: $(STAMP)  ## a virtual environment in .venv/ with everything locked, so that .venv/bin/chaoskit runs in place

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "chaoskit needs Python 3.11 or newer; call make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv || { echo 'no venv module: on Debian, apt-get install python3-venv' >&2; exit 1; }
	@echo 'installing the locked requirements into .venv …'
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## a leader partitioned, then a member killed, under load; prints the report
	$(BIN)/chaoskit run partition.yaml

test: setup  ## everything: style, types, unit, integration and end-to-end tests on real servers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto -m unit
	$(BIN)/pytest -m "not unit"

check: setup  ## what to run before each commit, about a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n auto -m unit

e2e: setup  ## whole runs as a user starts them
	$(BIN)/pytest -m e2e

bench: setup  ## the load worker against its peers, paired in one run; options: make bench BENCH='--only put'
	$(BIN)/python -m tests.bench $(BENCH)

clean:  ## heals what a crash left, then removes what was built here
	-test -x $(BIN)/chaoskit && $(BIN)/chaoskit clean
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

lock:  ## writes requirements.lock anew from pyproject.toml
	$(BIN)/python -m piptools compile --quiet --strip-extras --extra dev --generate-hashes --allow-unsafe \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml
