# Vitrine: `make run` shows it, `make test` tests it, `make check` is the one gate.
#
# PYTHON       the interpreter, 3.11 or newer (python3 when it is new enough, else python3.13, 3.12 or 3.11 on PATH)
# TORCH_INDEX  the package index to take torch from, e.g. PyTorch's CPU or CUDA index (PyPI by default)
# TESTERS      how many processes run the tests (one for each core, four at most)
# HOST PORT VITRINE_DATA and every other setting: see the top of marketplace/settings.py

SHELL := /bin/sh
.SHELLFLAGS := -euc
.DEFAULT_GOAL := help
.PHONY: help run test check clients format bench chaos soak eval train screenshots lock clean

unexport DJANGO_SETTINGS_MODULE # tests choose their data folder before settings are read

VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && { echo "$$python"; break; }; done)

# A set of packages is installed when the stamp holds the hash of everything that decides it.
wanted = $(TORCH)-$(shell cksum < requirements/$(1).lock | tr ' ' '-')$(if $(TORCH_INDEX),-$(shell echo "$(TORCH_INDEX)" | cksum | tr ' ' '-'))
define install
@if [ "$$(cat $(VENV)/.$(1) 2>/dev/null)" != "$(call wanted,$(1))" ]; then \
	echo "Installing the packages of requirements/$(1).lock into $(VENV) (minutes at the first time)"; \
	rm -f $(VENV)/.engine $(VENV)/.dev; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r requirements/$(1).lock; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") $(TORCH); \
	echo "$(call wanted,$(1))" > $(VENV)/.$(1); \
	if [ "$(1)" = dev ]; then echo "$(call wanted,engine)" > $(VENV)/.engine; fi; \
fi
endef

# The unmodified clients that tests/clients drives, each generation in a folder of its own, so that what they need
# mixes neither with ours nor with each other's. What is there is left alone until a lock changes.
CLIENTS := $(VENV)/clients
define install_clients
@if [ "$$(cat $(CLIENTS)/$(1)/.lock 2>/dev/null)" != "$$(cksum < requirements/$(2).lock)" ]; then \
	echo "Installing the clients of requirements/$(2).lock into $(CLIENTS)/$(1)"; \
	rm -rf $(CLIENTS)/$(1); \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --no-deps --no-compile --target $(CLIENTS)/$(1) -r requirements/$(2).lock; \
	cksum < requirements/$(2).lock > $(CLIENTS)/$(1)/.lock; \
fi
endef

help:
	@echo "make run     start Vitrine and print its address (HOST, PORT, VITRINE_DATA, TORCH_INDEX)"
	@echo "make test    run the tests"
	@echo "make check   lint, format, types, import law, tests; make clients: install the clients that both drive"
	@echo "make chaos   a hundred faults at random moments (SEED)"
	@echo "make soak    random walks, races and crashes of the money, SOAK times as long (50)"
	@echo "make bench   measure; make eval: how well the shipped model follows its captions"
	@echo "make train   train the shipped model again; make lock: lock the dependencies again; make clean"

run: $(VENV)/.made
	$(call install,engine)
	@exec $(BIN)/python manage.py dev

# Which test goes to which process: tests/conftest.py.
TESTERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((cores < 4 ? cores : 4)))
PYTEST := $(BIN)/python -m pytest -n $(TESTERS) --no-loadscope-reorder
test: clients
	$(call install,dev)
	@$(PYTEST)

check: clients
	$(call install,dev)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

clients: $(VENV)/.made
	$(call install_clients,python,clients)
	$(call install_clients,replicate-1,clients-replicate-1)
	@if ! command -v npm >/dev/null; then \
		echo "npm is not on PATH: the clients in JavaScript are not installed, and their tests are skipped."; \
	elif [ "$$(cat $(CLIENTS)/node/.lock 2>/dev/null)" != "$$(cksum < tests/clients/package-lock.json)" ]; then \
		echo "Installing the clients of tests/clients/package-lock.json into $(CLIENTS)/node"; \
		rm -rf $(CLIENTS)/node; \
		mkdir -p $(CLIENTS)/node; \
		cp tests/clients/package.json tests/clients/package-lock.json $(CLIENTS)/node; \
		(cd $(CLIENTS)/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null); \
		cksum < tests/clients/package-lock.json > $(CLIENTS)/node/.lock; \
	fi

format: $(VENV)/.made
	$(call install,dev)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.made
	$(call install,dev)
	@$(BIN)/python -m tests.bench

chaos: $(VENV)/.made
	$(call install,dev)
	@$(BIN)/python -m tests.stack.chaos $(if $(SEED),--seed $(SEED))

SOAK ?= 50
soak: $(VENV)/.made
	$(call install,dev)
	@SOAK=$(SOAK) $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/billing/test_ledger_machine.py tests/billing/test_ledger_races.py tests/billing/test_ledger_crashes.py

eval: $(VENV)/.made
	$(call install,engine)
	@$(BIN)/python -m workers.training.daylight eval

train: $(VENV)/.made
	$(call install,engine)
	$(BIN)/python -m workers.training.daylight data
	$(BIN)/python -m workers.training.daylight autoencoder
	$(BIN)/python -m workers.training.daylight autoencoder --decoder-only --steps 1600 --rate 4e-4
	$(BIN)/python -m workers.training.daylight unet
	$(BIN)/python -m workers.training.daylight ship

screenshots: $(VENV)/.made
	$(call install,dev)
	@$(BIN)/python -m tests.screenshots static/readme --readme
	@$(BIN)/python -m tests.cards

LOCK := $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
LOCK_OURS := $(LOCK) --no-emit-package torch pyproject.toml
lock: $(VENV)/.made
	@$(BIN)/python -m pip install -qq uv
	$(LOCK_OURS) -o requirements/web.lock
	$(LOCK_OURS) --extra engine -c requirements/web.lock -o requirements/engine.lock
	$(LOCK_OURS) --extra engine --extra dev -c requirements/engine.lock -o requirements/dev.lock
	$(LOCK) --group pyproject.toml:clients -c requirements/dev.lock -o requirements/clients.lock
	$(LOCK) --group pyproject.toml:clients-replicate-1 -c requirements/dev.lock -o requirements/clients-replicate-1.lock
	cd tests/clients && npm install --package-lock-only --ignore-scripts --no-audit --no-fund --loglevel error

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@echo "The data in $${VITRINE_DATA:-var} is left where it is."

$(VENV)/.made:
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null; then \
		echo "vitrine: Python 3.11 or newer is needed: install it, or name one with PYTHON=/path/to/python" >&2; exit 1; fi
	@"$(PYTHON)" -m venv $(VENV) >/dev/null 2>&1 || { \
		echo "vitrine: $(PYTHON) cannot make a virtual environment here: install the module (apt install python3-venv)" >&2; exit 1; }
	@touch $@
