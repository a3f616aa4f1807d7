# Everything sets itself up: a virtual environment in .venv with the pinned versions of constraints.txt.
VENV ?= .venv
PYTHON ?= python3
OUT ?= demo
SLOW ?=
SECONDS ?= 60
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check install docs lowest fuzz clean

demo: $(READY)  ## the whole road on the generated world, then the path of the report
	@echo "==> vltool demo --out $(OUT)"
	@$(BIN)/vltool demo --out $(OUT)

test: $(READY)  ## the tests; SLOW=1 adds kill-and-resume and the whole demo
	@echo "==> pytest$(if $(SLOW), --slow)"
	@$(BIN)/python -m pytest $(if $(SLOW),--slow) -n 2 --dist loadgroup --max-worker-restart 0

check: $(READY)  ## what must be green before a commit
	@echo "==> ruff format --check, ruff check, mypy, pytest"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --max-worker-restart 0

install: $(READY)  ## only the virtual environment

docs: $(READY)  ## the documentation as pages, in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lowest: $(READY)  ## the tests at the lowest versions that pyproject.toml allows, in .venv-lowest (docs/versions.md)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-lowest
	@$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable . 'pytest>=8.3' 'pytest-timeout>=2.3' 'pytest-xdist>=3.6' 'hypothesis>=6.100'
	@.venv-lowest/bin/python -m pytest $(if $(SLOW),--slow)

fuzz: $(READY)  ## every reader of foreign files, SECONDS each (docs/fuzzing.md)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

$(READY): pyproject.toml constraints.txt
	@echo "==> setting up $(VENV): the pinned packages of constraints.txt (some gigabytes for torch, a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)
	@echo "==> $(VENV) is ready"

clean:
	rm -rf $(VENV) .venv-lowest site build dist .pytest_cache .mypy_cache .ruff_cache
