# The two commands are `make run` and `make test`; `make help` lists the others.
# The distribution's own, where it is new enough and can make environments: its builders let the compiler see what runs often, and it takes about two thirds of the time.
ifndef PYTHON
PYTHON := $(shell /usr/bin/python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
endif
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
BROWSER := tests/browser/node_modules/.package-lock.json
DATA ?= var
WORKERS ?= 4
STATIC := src/angelia/web/static/manifest.json

# Hubs are started again and again by the tests: compiled once, not each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test prepared tiers check soak lint lock assets bench clean peers synapse oda-client aiogram packages messages pictures

help: ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(VENV)/run.stamp $(STATIC) ## Start the hub with sample data on http://127.0.0.1:8080
	$(BIN)/angelia serve --sample --data-dir $(DATA) --port $(PORT)

test: ## Everything: lint, types, floors, all tiers of tests with real servers
	@$(MAKE) --no-print-directory --jobs 5 prepared
	@$(MAKE) --no-print-directory --jobs 2 lint tiers

# What is fetched waits for the network most of the time, so all of it is fetched at once.
prepared: $(VENV)/compiled.stamp $(STATIC) $(BROWSER) peers

# Two for each of two processors: with more all are slower, since each then has less of the cache.
tiers:
	@scripts/in-memory $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder

check: $(VENV)/test.stamp $(STATIC) lint ## The fast tiers only
	@scripts/in-memory $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder tests/pure tests/house

soak: $(VENV)/test.stamp peers ## The crash and fault tests at their full size; takes an hour or more
	ANGELIA_SOAK=1 ANGELIA_PEERS=required $(BIN)/python -m pytest tests/journey -s

lint: $(VENV)/test.stamp
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

peers: synapse oda-client aiogram packages ## Install the servers that the tests talk to, where that is possible

synapse oda-client aiogram: $(VENV)/test.stamp
synapse oda-client aiogram packages: $(VENV)/pyvenv.cfg
	@PYTHON=$(BIN)/python sh scripts/install-peers $@

bench: $(VENV)/test.stamp ## Run the benchmarks (see benchmarks/README.md)
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

lock: $(VENV)/test.stamp ## Write the lock files anew
	$(BIN)/uv pip compile pyproject.toml --group build --extra science --generate-hashes --no-header --no-annotate --python-version 3.11 --upgrade --quiet --output-file requirements/run.txt
	$(BIN)/uv pip compile pyproject.toml --group test --generate-hashes --no-header --no-annotate --python-version 3.11 --upgrade --quiet --output-file requirements/test.txt
	echo uv | $(BIN)/uv pip compile - --generate-hashes --no-header --no-annotate --python-version 3.11 --upgrade --quiet --output-file requirements/uv.txt
	echo matrix-synapse | $(BIN)/uv pip compile - --generate-hashes --no-header --no-annotate --python-version 3.11 --upgrade --quiet --output-file requirements/synapse.txt
	echo oda-api | $(BIN)/uv pip compile - --generate-hashes --no-header --no-annotate --python-version 3.11 --upgrade --quiet --output-file requirements/oda-client.txt
	echo aiogram | $(BIN)/uv pip compile - --generate-hashes --no-header --no-annotate --python-version 3.11 --upgrade --quiet --output-file requirements/aiogram.txt

clean: ## Remove what was made
	rm -rf $(VENV) .peers node_modules tests/browser/node_modules src/angelia/web/static build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Angelia needs Python 3.11 or newer; say which with PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); sh scripts/install-venv $(PYTHON) && $(PYTHON) -m venv $(VENV); }

assets: $(STATIC) ## Build what the pages load, from assets/ and npm

$(STATIC): package-lock.json scripts/build-assets.mjs $(wildcard assets/*) | $(VENV)/pyvenv.cfg
	@sh scripts/with-node $(BIN)/python npm ci --silent
	@sh scripts/with-node $(BIN)/python npm run --silent build

$(BROWSER): tests/browser/package-lock.json | $(VENV)/pyvenv.cfg
	@sh scripts/with-node $(BIN)/python npm --prefix tests/browser ci --silent
	@touch $@

LOCALE := src/angelia/web/pages/locale

messages: $(VENV)/test.stamp ## Bring the texts of the templates into the catalogues of all languages
	@mkdir -p build
	$(BIN)/pybabel --quiet extract --mapping babel.cfg --no-wrap --add-location file --sort-by-file --project angelia --output build/angelia.pot src/angelia/web/pages
	$(BIN)/pybabel --quiet update --input-file build/angelia.pot --output-dir $(LOCALE) --domain angelia --no-wrap --no-fuzzy-matching --ignore-pot-creation-date

pictures: $(VENV)/test.stamp $(STATIC) ## Take the pictures in docs/pictures anew
	$(BIN)/python scripts/take-pictures

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(VENV)/pyvenv.cfg
	@sh scripts/install-locked $(BIN)/python $(BIN)/python requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/test.stamp: requirements/test.txt pyproject.toml | $(VENV)/pyvenv.cfg
	@sh scripts/install-locked $(BIN)/python $(BIN)/python requirements/test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/run.stamp

# Compiled while others wait for the network, and once: else each process that runs tests would do it, all at the same moment.
$(VENV)/compiled.stamp: | $(VENV)/test.stamp
	@$(BIN)/python -m pytest --collect-only >/dev/null 2>&1 || true
	@touch $@
