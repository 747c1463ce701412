# make run    installs what is missing and serves on http://localhost:3000
# make test   every test, on every database that is reachable
# make extras  what upstreams at Amazon's and Google's clouds need beside the rest, see docs/admin.md
# make faults  the tests of money and keys with their full figures, which take minutes
# make bench-proxy  the proxy against its peers, as ratios of one run (see bench/README.md)
# make bench-tasks  the list of 100,000 tasks against that of 100 (see bench/README.md)
# make bench-share  the first page of a long shared task (see bench/README.md)
# make bench-bridge  the bridge against node's Socket.IO server (see bench/README.md)
# make bench-settings  settings that did not change against a plain view (see bench/README.md)
# make check  format, lint, types, import contracts, migrations, deployment checks
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --require-hashes --no-deps

.PHONY: run setup extras test check faults bench-proxy bench-share bench-tasks bench-bridge bench-settings fix migrations vendor lock docs
.DELETE_ON_ERROR:

run: $(VENV)/.installed static/vendor/.installed
	@exec $(PY) manage.py serve

setup: $(VENV)/.installed-dev static/vendor/.installed node_modules/.installed

extras: $(VENV)/.installed-extras

test: setup
	@scripts/test

check: setup
	@scripts/check

faults: setup
	@scripts/test -m faults

bench-proxy: setup
	@$(PY) bench/measure_proxy.py

bench-share: setup
	@$(PY) bench/measure_share.py

bench-tasks: setup
	@$(PY) bench/measure_tasks.py

bench-bridge: setup
	@$(PY) bench/measure_bridge.py

bench-settings: setup
	@$(PY) bench/measure_settings.py

fix: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/djlint --reformat --quiet .

migrations: $(VENV)/.installed-dev
	$(PY) manage.py makemigrations

vendor: static/vendor/.installed

docs: $(VENV)/.installed-dev
	$(PY) manage.py spectacular --format openapi-json --file build/openapi.json --validate --fail-on-warn

lock: $(VENV)/.installed-dev
	for name in requirements requirements-extras requirements-dev; do \
	  $(VENV)/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes \
	    --no-emit-index-url $$name.in --output-file $$name.txt; done

$(VENV)/bin/python:
	@echo "Creating the Python environment …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Python 3.11 is needed; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(PY) install --quiet pip; }

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	@echo "Installing $$(grep -c == requirements.txt) Python packages (once, about half a minute) …"
	@$(PIP) --requirement requirements.txt --progress-bar off | grep --line-buffered -E '^(Collecting|Installing|Successfully)' | cut -c1-100
	@touch $@

$(VENV)/.installed-extras: requirements-extras.txt $(VENV)/.installed
	@echo "Installing what upstreams at other companies' clouds need …"
	@$(PIP) --requirement requirements-extras.txt --quiet
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing what tests and checks need …"
	@$(PIP) --requirement requirements-dev.txt --quiet
	@touch $@

static/vendor/.installed: package.json package-lock.json scripts/vendor.mjs
	@echo "Fetching front-end modules …"
	@scripts/vendor
	@touch $@

node_modules/.installed: package.json package-lock.json static/vendor/.installed
	@echo "Installing the packages that contract tests need …"
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
