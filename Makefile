# Every target works with PATH=/usr/bin:/bin and an empty HOME; `make help` lists them.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
LOCKS := requirements/bootstrap.txt requirements/runtime.txt requirements/worker.txt requirements/dev.txt

# pip's and uv's notices about themselves are noise here.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore
export UV_NO_PROGRESS := 1
# Wheels are hard-linked from uv's cache where the file system allows it, else copied without a warning.
export UV_LINK_MODE := $(or $(UV_LINK_MODE),copy)

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- setup -----------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.installed ## create .venv from the locks, with the project editable in it

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "opgrid needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# uv installs several times faster than pip; where it cannot reach a registry that pip is set up for, pip does it.
$(VENV)/.locked: $(VENV)/.python requirements/bootstrap.txt requirements/dev.txt
	$(PY) -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip install --quiet --python $(PY) --require-hashes -r requirements/dev.txt \
	  || $(PY) -m pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@
