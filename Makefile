# Every target works with PATH=/usr/bin:/bin and an empty HOME; `make help` lists them.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# Tests at a time; 0 runs them in one process, where a debugger and -x read best. One more than two cores: half of them wait.
JOBS ?= 3
# More for pytest: make test ARGS="-k retry -x"
ARGS ?=

# pip's and uv's notices about themselves are noise here.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore
export UV_NO_PROGRESS := 1
# uv trusts what pip and the machine trust, be it a company's own certificate.
export UV_SYSTEM_CERTS ?= true

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

# --- using it --------------------------------------------------------------------------------------------------------

# The pages need npm and Node 20.19 or newer; without them everything else works.
NPM := $(shell command -v npm 2>/dev/null)
NODE_IS_NEW := $(shell node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.stdout.write(a > 20 || (a === 20 && b >= 19) ? "yes" : "")' 2>/dev/null)
UI := orchestrator/api/static/ui/index.html
UI_SOURCES := $(wildcard ui/*.ts ui/*.html ui/*.json ui/public/* ui/src/* ui/src/*/*)

.PHONY: ui
ui: ## build the web pages, where npm is there
ifeq ($(and $(NPM),$(NODE_IS_NEW)),)
	@echo "The web pages are not built: that needs npm with Node 20.19 or newer. All else works; the API is at /graphql." >&2
else
ui: $(UI)
endif

ui/node_modules/.installed: ui/package-lock.json ui/.npmrc
	@cd ui && npm ci --no-progress --loglevel=error
	@touch $@

$(UI): ui/node_modules/.installed $(UI_SOURCES)
	@cd ui && npx --no-install vite build --logLevel error
	@touch $@

.PHONY: demo
demo: setup ui ## run the example census from start to end
	@$(PY) -P -m examples.stdlib_census.demo

# Dagster's own GraphQL client, in an environment of its own; its test is skipped where that is not there.
PEERS := .venv-peers/bin/python
.venv-peers/.installed:
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/pip install --quiet dagster-graphql==1.13.27
	@touch $@

.PHONY: test
test: setup ui $(if $(CI),.venv-peers/.installed) ## run the tests
	@$(if $(CI),OPGRID_PEERS=$(CURDIR)/$(PEERS)) $(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: compat
compat: setup .venv-peers/.installed ## try Dagster's own GraphQL client, in an environment of its own
	@OPGRID_PEERS=$(CURDIR)/$(PEERS) $(PY) -m pytest -q tests/integration/test_client.py

.PHONY: docs
docs: setup ## write the pages of the reference that come from docstrings
	@$(PY) docs/build_reference.py
ifneq ($(and $(NPM),$(NODE_IS_NEW)),)
	@$(MAKE) --no-print-directory ui/node_modules/.installed
	@cd ui && npx --no-install graphql-codegen --silent
endif

# All faults of the matrix on both databases; taken up again where it was interrupted. REPEATS=3 for a short one.
REPEATS ?= 20
# Sets of processes that are broken at a time; figures are those of one.
ARENAS ?= 1
.PHONY: faults
faults: setup ## break everything, many times, and write docs/reliability.md
	@$(PY) -P -m tests.faults --repeats $(REPEATS) --arenas $(ARENAS) --write

SEEDS ?= 25000
.PHONY: simulate
simulate: setup ## runs in SEEDS simulated worlds, under every fault
	@$(PY) -P -m tests.simulation --seeds $(SEEDS)

COUNT ?= 1000000
.PHONY: fuzz
fuzz: setup ## COUNT hostile inputs for each decoder
	@OPGRID_FUZZ=$(COUNT) $(PY) -m pytest -q --timeout 0 -n $(JOBS) tests/fuzz

MINUTES ?= 60
.PHONY: soak
soak: setup ## mixed runs under random kills for an hour; MINUTES=5 for a short one
	@$(PY) -P -m tests.faults.soak --minutes $(MINUTES) --write

# With ARGS only what they say: make bench ARGS="--only W1,W2 --subjects opgrid,canvas --rounds 3".
.PHONY: bench
bench: setup ## measure opgrid beside Celery, dask and Dagster, and write docs/performance.md
	@$(PY) -P -m benchmarks $(if $(ARGS),$(ARGS),--postgresql --write)

# --- checking --------------------------------------------------------------------------------------------------------

PACKAGES := opgrid orchestrator executors worker
TYPED := $(PACKAGES) $(wildcard examples benchmarks tests/typing docs/build_reference.py requirements/lock.py)
# What git knows or would take; empty lists skip their tool.
files = $(shell git ls-files --cached --others --exclude-standard -- $(1))
COMPOSE = $(call files,'docker-compose*.yml' 'deploy/compose*.yml' 'deploy/**/compose*.yml')
DOCKERFILES = $(call files,'*Dockerfile' '*Dockerfile.*')
YAML = $(call files,'*.yml' '*.yaml')
SCRIPTS = $(call files,'*.sh' '.ci/*')

.PHONY: check
check: lint types layers locks reference spelling deploy-files ui-check ## everything that needs no test run

.PHONY: lint
lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

.PHONY: types
types: setup
	$(PY) -m mypy $(TYPED)

.PHONY: layers
layers: setup
	$(BIN)/lint-imports --no-cache

.PHONY: locks
locks: setup
	$(PY) requirements/lock.py --check

.PHONY: reference
reference: setup
	@$(PY) docs/build_reference.py --check

.PHONY: ui-check
ifeq ($(and $(NPM),$(NODE_IS_NEW)),)
ui-check:
	@echo "The web pages are not checked: that needs npm with Node 20.19 or newer." >&2
else
ui-check: setup ui/node_modules/.installed
	@cd ui && npx --no-install biome check --error-on-warnings . && npx --no-install tsc --noEmit && npx --no-install vitest run --reporter=dot
	@cd ui && npx --no-install graphql-codegen --check --silent
endif

.PHONY: spelling
spelling: setup
	@$(BIN)/codespell $(call files)

.PHONY: deploy-files
deploy-files: setup
	$(if $(strip $(COMPOSE)),$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec $(COMPOSE))
	$(if $(strip $(DOCKERFILES)),$(BIN)/hadolint --failure-threshold warning $(DOCKERFILES))
	$(if $(strip $(YAML)),$(BIN)/yamllint --strict $(YAML))
	$(if $(strip $(SCRIPTS)),$(BIN)/shellcheck $(SCRIPTS))

# --- keeping house ---------------------------------------------------------------------------------------------------

.PHONY: fix
fix: setup ## let ruff repair and format what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: lock
lock: setup ## compile the locks from pyproject.toml; UPGRADE=1 takes the newest releases
	$(PY) requirements/lock.py $(if $(UPGRADE),--upgrade)

.PHONY: dist
dist: setup ui ## build the sdist and the wheel into dist/
	$(PY) -m hatchling build

.PHONY: clean
clean: ## remove caches and builds; `make clean ENV=1` the environment too
	rm -rf build dist orchestrator/api/static ui/node_modules/.vite .mypy_cache .ruff_cache .pytest_cache .hypothesis $(if $(ENV),$(VENV))
	find $(PACKAGES) $(wildcard tests examples benchmarks) -name __pycache__ -type d -prune -exec rm -rf {} +
