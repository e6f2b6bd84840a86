# make run   set up and run the main job       make test   set up and run all checks
PYTHON ?= python3
BIN := .venv/bin
OUT ?= out

.PHONY: run test clean

run: .venv/installed
	$(BIN)/python examples/main_job.py --out $(OUT)

test: .venv/installed-dev
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "rhoscale needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=python3.x"; exit 2; }
	@$(PYTHON) -m venv .venv || \
	  { echo "python3 cannot make virtual environments here; on Debian/Ubuntu: apt-get install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --only-binary :all: -e ".[qe]" \
	  || echo "QEpy has no wheel for this machine: the in-process engine is left out (rhoscale engines tells more)"
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf .venv $(OUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
