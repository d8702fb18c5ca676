# Every target sets up what it needs: Debian packages (as root or by sudo) and a virtual environment in .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# The tests start the agent hundreds of times: it is to be compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test check docs bench lock setup packages clean
help:  ## what can be made
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -ts "$$(printf '\t')"

demo: packages $(READY)  ## back up, destroy and restore a private MariaDB; shows every table before and after
	$(BIN)/python -m demo

# Most of these tests wait for servers: a few run beside each other, each file in one process, with servers of its own.
test: check  ## everything: check, then the tests against real servers; WORKERS=3 at a time
	@./setup/packages.sh tests
	$(BIN)/python -m pytest tests --ignore tests/unit -m "not alone" -n $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest tests --ignore tests/unit -m alone

check: setup  ## format, lint, types, import contracts, unit tests, documentation drift
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m pytest tests/unit

docs: setup  ## write docs/reference from the code
	$(BIN)/python docs/generate.py

bench: packages $(READY)  ## compare with other tools: SIZE_MB=4096 ROUNDS=3 CONTENDERS= ONLY= OUT=docs/benchmarks DIR=
	@./setup/bench.sh .venv-bench
	$(BIN)/python -m bench --size-mb $(or $(SIZE_MB),4096) --rounds $(or $(ROUNDS),3) $(if $(CONTENDERS),--contenders $(CONTENDERS)) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(OUT),--out $(OUT)) $(if $(DIR),--directory $(DIR))

lock: setup  ## resolve the dependencies anew into requirements/
	$(BIN)/python -m pip install -q uv
	for name in run dev; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    $$([ $$name = dev ] && echo --group dev) pyproject.toml -o requirements/$$name.lock --upgrade; \
	done

setup: packages $(READY)
packages:
	@./setup/packages.sh

$(READY): requirements/dev.lock pyproject.toml setup/venv.sh
	@./setup/venv.sh $(VENV)
	@touch $@

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .venv-bench .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
