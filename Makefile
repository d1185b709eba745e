# `make` lists the targets. What each does lies in deploy/ (the `stack` command) and tests/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(firstword $(foreach candidate,python3.13 python3.12 python3.11 python3,\
  $(shell $(candidate) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(candidate))))
VENV := .venv
BIN := $(VENV)/bin
# PIP_ARGS=--index-url=... for a package index of your own
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --require-hashes $(PIP_ARGS)
ARGS ?=
BENCH := build/bench-venv

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  processes of the stack in this checkout:"
	@echo "    .venv/bin/supervisorctl -c data/etc/supervisord.conf status"
	@echo "  override a value:  make up ARGS='--set nginx.http_port=9090'   (or a line in .env)"

## The stack in this checkout

.PHONY: up
up: $(VENV)/.app ## set up what is missing and bring the stack up
	@$(BIN)/stack up $(ARGS)

.PHONY: dev
dev: $(VENV)/.app ## the same stack with reload and debug
	@$(BIN)/stack up --set api.reload=true --set api.debug=true --set api.loglevel=debug $(ARGS)

.PHONY: down
down: $(VENV)/.app ## stop the stack
	@$(BIN)/stack down $(ARGS)

.PHONY: status
status: $(VENV)/.app ## each process and whether it is healthy
	@$(BIN)/stack status $(ARGS)

.PHONY: logs
logs: $(VENV)/.app ## the ends of the logs; ARGS='-f sync' follows one
	@$(BIN)/stack logs $(ARGS)

## Hosts

.PHONY: ops
ops: $(VENV)/.ops ## put ansible-playbook and its collections into .venv

.PHONY: hosts
hosts: $(VENV)/.test ## boot throwaway bare hosts here and write ansible/inventories/hosts
	@$(BIN)/python -m tests.hosts up $(ARGS)

.PHONY: hosts-down
hosts-down: $(VENV)/.test ## remove every trace of them
	@$(BIN)/python -m tests.hosts down $(ARGS)

## Tests

.PHONY: test
test: $(VENV)/.test ## every stage in order, stopping at the first that breaks
	@$(BIN)/python -m tests.run $(ARGS)

.PHONY: prove
prove: $(VENV)/.test ## the same with every proof in full
	@$(BIN)/python -m tests.run --full $(ARGS)

.PHONY: bench
bench: $(VENV)/.test $(BENCH)/.packages ## how requests are served, beside what else would serve them, and how sync scales: an hour
	@$(BIN)/python -m tests.bench $(ARGS)

.PHONY: bench-quick
bench-quick: $(VENV)/.test $(BENCH)/.packages ## requests alone, in ten minutes; ARGS='--help' tells more
	@$(BIN)/python -m tests.bench requests --quick $(ARGS)

.PHONY: lint
lint: $(VENV)/.test ## ruff, mypy, ansible-lint, yamllint, shellcheck
	@$(BIN)/python -m tests.run lint

.PHONY: messages
messages: $(VENV)/.test ## bring the translations up to date, and name the texts that have none
	@$(BIN)/python -m tests.messages

## The environment

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install python3.11 or python3.12, or set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv. Run: sudo apt-get install python3-venv" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.app: $(BIN)/python requirements/app.txt requirements/supervisor.txt requirements/build.txt pyproject.toml
	@echo "installing the application's packages"
	@$(PIP) -r requirements/build.txt -r requirements/app.txt -r requirements/supervisor.txt
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.ops: $(VENV)/.app requirements/ops.txt
	@echo "installing ansible"
	@$(PIP) --no-compile -r requirements/ops.txt
	@touch $@

$(VENV)/.mysql: $(VENV)/.app requirements/mysql.txt
	@command -v mariadb_config mysql_config >/dev/null || \
	  { echo "mysqlclient needs a compiler and headers: sudo apt-get install gcc python3-dev pkg-config libmariadb-dev" >&2; exit 1; }
	@echo "compiling mysqlclient"
	@$(PIP) -r requirements/mysql.txt
	@touch $@

$(VENV)/.test: $(VENV)/.ops $(VENV)/.system $(VENV)/.mysql requirements/test.txt
	@echo "installing what the tests need"
	@$(PIP) --no-compile -r requirements/test.txt
	@touch $@

# The application's packages, and beside them what else would serve it: kept out of the product's own environment.
$(BENCH)/.packages: $(VENV)/.mysql requirements/bench.txt
	@echo "making $(BENCH)"
	@$(PYTHON) -m venv $(BENCH)
	@for group in build app mysql supervisor bench; do \
	  $(BENCH)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes $(PIP_ARGS) \
	    -r requirements/$$group.txt || exit 1; \
	done
	@touch $@

# What the tests take from the distribution; deploy/ never needs it.
$(VENV)/.system: tests/system-packages.txt | $(BIN)/python
	@sh tests/install-system-packages.sh tests/system-packages.txt
	@touch $@

.PHONY: lock
lock: $(VENV)/.ops ## pin every package anew, with hashes
	@for group in build app mysql supervisor ops test bench; do \
	  constraints=""; [ $$group = app ] || constraints="-c requirements/app.txt"; \
	  [ $$group != test ] || constraints="$$constraints -c requirements/ops.txt"; \
	  $(BIN)/uv pip compile --quiet --upgrade --group pyproject.toml:$$group --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-annotate --no-header $$constraints \
	    -o requirements/$$group.txt || exit 1; \
	done

.PHONY: clean
clean: ## stop the stack, remove its data, logs and .venv
	@test ! -x $(BIN)/stack || $(BIN)/stack down
	@rm -rf $(VENV) data/* log/* build
