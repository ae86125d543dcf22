# The commands of the project. They need python3 and make; the rest they set up themselves.
PYTHON ?= python3
PORT ?= 8000
DATA ?= data
PYTEST ?= -n 4 --dist loadfile --no-loadscope-reorder
BIN := .venv/bin
BENCHES := $(filter-out bench.amqp_wire bench.memory,$(patsubst bench/%.py,bench.%,$(wildcard bench/[a-z]*.py)))

.DEFAULT_GOAL := help
.PHONY: help serve test check try-compose bench clean

help: ## Show this list
	@echo 'make COMMAND [NAME=VALUE ...]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

serve: ## Run the service on 127.0.0.1 (PORT=8000), with everything it keeps in one place (DATA=data)
	@$(PYTHON) scripts/setup.py serve
	@PATH="$$PATH:$(CURDIR)/$(BIN)" exec $(BIN)/tesp serve --host 127.0.0.1 --port $(PORT) \
		--data "$(DATA)" --settings settings.toml --allow-sandbox

test: ## Set up the peers, check the code, run all tests (PYTEST='tests/unit -x' for some)
	@$(PYTHON) scripts/setup.py test
	@$(MAKE) --no-print-directory check-code
	@$(BIN)/python -m pytest $(PYTEST)

check: ## Lint, format and types, and the runner's minimal Python version
	@$(PYTHON) scripts/setup.py check
	@$(MAKE) --no-print-directory check-code

.PHONY: check-code
check-code:
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/vermin --quiet --no-tips --violations --target=3.6 tesp/runner

try-compose: ## As root: build the images of docker compose, start each profile, run tasks through it
	@$(PYTHON) scripts/setup.py check
	@$(BIN)/python -m tests.compose

bench: ## Run the programs in bench/ one after another
	@$(PYTHON) scripts/setup.py check
	@set -e; for program in $(BENCHES); do echo "== $$program"; $(BIN)/python -m $$program; done

clean: ## Take away what was built and installed here (never DATA)
	rm -rf .venv .venvs .cache build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
