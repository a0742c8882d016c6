# TacroWeb: everything starts here. Only make and Python 3.11 or newer are assumed.
#   make demo     the product with a fictional clinic, on 127.0.0.1:8000 or PORT; Ctrl-C ends it
#   make test     the whole suite, on SQLite and again on PostgreSQL
#   make check    format, lint, types, import contracts, templates, migrations, deploy check
#   make install  the environment alone
#   make bench    the figures that README.md quotes
#   make mutation the engine's topics mutated, each mutant before the engine's tests (an hour)
#   make lock     requirements/ anew from pyproject.toml (UPGRADE=1 takes newer releases)

.DEFAULT_GOAL := help
.PHONY: help demo test test-sqlite test-postgres check install bench mutation lock

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --require-hashes
WORKERS ?= 2
PYTEST := $(PY) -m pytest -n $(WORKERS)

help:
	@sed -n '2,/^$$/s/^# *//p' Makefile

demo: .venv/runtime.stamp
	@exec $(PY) manage.py up --demo

install: .venv/dev.stamp

test: test-sqlite test-postgres

test-sqlite: .venv/dev.stamp
	@echo "== The suite on SQLite"
	@env -u DATABASE_URL $(PYTEST)

test-postgres: .venv/dev.stamp
	@echo "== The suite on PostgreSQL"
	@$(PY) -m tests.postgres -- $(PYTEST)

check: .venv/dev.stamp
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m djlint templates --lint
	env SECRET_KEY=none DATABASE_URL=sqlite://:memory: $(PY) manage.py makemigrations --check --dry-run
	env SECRET_KEY="$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))')" DATABASE_URL=sqlite://:memory: \
		ALLOWED_HOSTS=tacroweb.example HTTPS=1 $(PY) manage.py check --deploy --fail-level WARNING

bench: .venv/dev.stamp
	@for name in engine replay impact pages ledger; do $(PY) -m benchmarks.$$name || exit 1; done

mutation: .venv/dev.stamp
	@.venv/bin/mutmut run --max-children $(WORKERS)
	@$(PY) -m benchmarks.mutation

LOCK := CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile $(if $(UPGRADE),--upgrade)
lock: .venv/dev.stamp
	$(LOCK) --output-file requirements/runtime.txt pyproject.toml
	$(LOCK) --extra dev --constraint requirements/runtime.txt --output-file requirements/dev.txt pyproject.toml

$(PY):
	@for python in $(PYTHON) python3.11 python3 python3.12 python3.13; do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "Making .venv with $$("$$python" --version)."; \
		"$$python" -m venv .venv && exit 0; \
		rm -rf .venv; echo "On Debian and Ubuntu venv is a package of its own: python3-venv." >&2; exit 1; \
	done; \
	echo "TacroWeb needs Python 3.11 or newer. Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1

.venv/runtime.stamp: requirements/runtime.txt | $(PY)
	@echo "Installing what TacroWeb runs on (requirements/runtime.txt)."
	@$(PIP) --requirement requirements/runtime.txt
	@touch $@

# The dev lock holds the runtime lock whole, so that one install serves both.
.venv/dev.stamp: requirements/dev.txt requirements/runtime.txt | $(PY)
	@echo "Installing what TacroWeb is developed and tested with (requirements/dev.txt)."
	@$(PIP) --requirement requirements/dev.txt
	@touch .venv/runtime.stamp $@
