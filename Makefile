# Every target sets up what it needs; `make help` lists them.
# Needs `python3` with pip and venv, or uv. A Python 3.12 to 3.14 is looked for, else uv fetches one.

# A uv that knows dependency groups: the one on the PATH, else our own in .tools.
UV := $(shell uv pip install --help 2>/dev/null | grep -q -e --group && command -v uv || echo .tools/bin/uv)

BIN := .venv/bin
INSTALL = $(UV) pip install -q --python $(BIN)/python -c constraints.txt
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

# An environment that does not start, or was made in another folder, is made again.
HEALTHY := grep -qsF "$(CURDIR)/.venv" .venv/bin/activate && $(BIN)/python -c "import sys; assert sys.version_info >= (3, 12)"
ifneq ($(shell $(HEALTHY) 2>/dev/null && echo yes),yes)
ENVIRONMENT := environment
$(shell rm -f .venv/.demo-stamp .venv/.test-stamp)
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-slow lint docs notebooks clean environment

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile | awk -F': ' '{printf "make %-10s %s\n", $$1, $$2}'

demo: .venv/.demo-stamp ## fit a first data set three ways and compare
	$(BIN)/bayesmix demo

test: lint docs ## checks, docs, then tests and notebooks
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal $(if $(NOTEBOOKS),--nbmake tests $(NOTEBOOKS))

test-slow: .venv/.test-stamp ## the long statistical tests
	$(BIN)/python -m pytest -q -m slow

lint: .venv/.test-stamp ## style, types, and notebooks committed executed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python scripts/check_notebooks.py $(NOTEBOOKS)
	$(BIN)/pyright

docs: .venv/.test-stamp ## build the pages in docs/_build/html
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

notebooks: .venv/.test-stamp ## run the notebooks and keep their output
	$(if $(NOTEBOOKS),$(BIN)/jupyter nbconvert --to notebook --execute --inplace $(NOTEBOOKS))

clean: ## remove what was built, but not the environment (.venv, .tools)
	rm -rf build dist docs/_build docs/generated docs/notebooks .pytest_cache .ruff_cache
	find bayesmix tests benchmarks scripts docs -name __pycache__ -prune -exec rm -rf {} +

.venv/.demo-stamp: pyproject.toml constraints.txt | $(UV) $(ENVIRONMENT)
	$(INSTALL) -e .
	@touch $@

.venv/.test-stamp: pyproject.toml constraints.txt | $(UV) $(ENVIRONMENT)
	$(INSTALL) --group test -e .
	@touch .venv/.demo-stamp $@

environment: | $(UV)
	python="$${UV_PYTHON:-$$(sh scripts/find_python.sh)}" && $(UV) venv -q --clear $${python:+--python "$$python"} .venv

.tools/bin/uv:
	python3 -m venv --clear .tools && .tools/bin/pip -q install 'uv>=0.9'
