# make run   set up and run the main job       make test   set up and run all checks
PYTHON ?= python3
BIN := .venv/bin
OUT ?= out
MODEL ?= al-pbe
CELL := examples/al-2047-vacancy.xyz
HELD_OUT := data/al/snapshots/9f3da02735b09bdd54d6.safetensors

.PHONY: run test clean

run: .venv/installed
	@mkdir -p $(OUT)
	$(BIN)/rhoscale predict $(CELL) --model $(MODEL) --out $(OUT)/al-2047-vacancy.zarr --force
	$(BIN)/rhoscale plot $(OUT)/al-2047-vacancy.zarr --out $(OUT)/al-2047-vacancy.png --force
	$(BIN)/rhoscale predict $(HELD_OUT) --model $(MODEL) --out $(OUT)/held-out.zarr --force
	$(BIN)/rhoscale compare $(OUT)/held-out.zarr $(HELD_OUT)
	$(BIN)/rhoscale plot $(OUT)/held-out.zarr $(HELD_OUT) --out $(OUT)/held-out.png --force

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
