# Every target sets up what it needs: Debian packages (as root or by sudo) and a virtual environment in .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# The tests start the agent hundreds of times: it is to be compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test check docs bench bench-api lock install uninstall install-api uninstall-api setup packages clean
help:  ## what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -ts "$$(printf '\t')"

demo: packages $(READY)  ## back up, destroy and restore a private MariaDB; shows every table before and after
	$(BIN)/python -m demo

# A test may fail for want of a processor, beside others that need it too. What failed runs once more, with nothing
# beside it, and is named; what fails again has failed.
define pytest_servers
$(BIN)/python -m pytest tests --ignore tests/unit $(1) || { [ $$? -eq 1 ] && echo "Once more, each alone:" && \
  $(BIN)/python -m pytest tests --ignore tests/unit --verbose --last-failed --last-failed-no-failures none; }
endef

# Most of these tests wait for servers: a few run beside each other, each file in one process, with servers of its own.
test: check  ## everything: check, then the tests against real servers; WORKERS=3 at a time
	@./setup/packages.sh tests
	@./setup/servers.sh .venv-servers
	$(call pytest_servers,-m "not alone" -n $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder)
	$(call pytest_servers,-m alone)

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
	@./setup/packages.sh tests
	@./setup/bench.sh .venv-bench
	$(BIN)/python -m bench --size-mb $(or $(SIZE_MB),4096) --rounds $(or $(ROUNDS),3) $(if $(CONTENDERS),--contenders $(CONTENDERS)) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(OUT),--out $(OUT)) $(if $(DIR),--directory $(DIR))

bench-api: setup  ## the API beside a simulated fleet: AGENTS=1000 BACKUPS=50000 RATE=1000 SECONDS_EACH=30 OUT=docs/benchmarks
	@./setup/packages.sh tests
	$(BIN)/python -m bench.api --agents $(or $(AGENTS),1000) --backups $(or $(BACKUPS),50000) --rate $(or $(RATE),1000) \
	  --seconds $(or $(SECONDS_EACH),30) $(if $(OUT),--out $(OUT))

lock: setup  ## resolve the dependencies anew into requirements/
	$(BIN)/python -m pip install -q uv
	declare -A with=([run]= [api]='--extra api --extra postgresql' [dev]='--all-extras --group dev'); \
	for name in run api dev; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    $${with[$$name]} pyproject.toml -o requirements/$$name.lock --upgrade; \
	done
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  requirements/servers.in -o requirements/servers.lock --upgrade

# Where `make install` puts things; a package sets DESTDIR, PREFIX=/usr and UNITDIR=/usr/lib/systemd/system.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
LIBEXEC := $(DESTDIR)$(PREFIX)/libexec
API_UNIT := backup-api.service
UNITS := $(filter-out $(API_UNIT),$(notdir $(wildcard systemd/*.service systemd/*.path systemd/*.timer)))
HARDENED := backup-agent backup-agent@ backup-agent-full backup-agent-incremental backup-agent-expire backup-agent-verify

install:  ## systemd units and an example configuration; the program itself: see the README
	install -d '$(LIBEXEC)' '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(SYSCONFDIR)'/{sysusers.d,tmpfiles.d,backup-agent}
	install -m755 systemd/backup-agent-guard systemd/backup-agent-power '$(LIBEXEC)/'
	for unit in $(UNITS); do \
	  sed 's#/usr/local/#$(PREFIX)/#' "systemd/$$unit" | install -m644 /dev/stdin "$(DESTDIR)$(UNITDIR)/$$unit"; \
	done
	for unit in $(HARDENED); do \
	  install -Dm644 systemd/hardening.conf "$(DESTDIR)$(UNITDIR)/$$unit.service.d/10-hardening.conf"; \
	done
	install -m644 systemd/backup-agent.sysusers '$(DESTDIR)$(SYSCONFDIR)/sysusers.d/backup-agent.conf'
	install -m644 systemd/backup-agent.tmpfiles '$(DESTDIR)$(SYSCONFDIR)/tmpfiles.d/backup-agent.conf'
	[ -e '$(DESTDIR)$(SYSCONFDIR)/backup-agent/backup-agent.toml' ] || \
	  install -m600 config/backup-agent.toml '$(DESTDIR)$(SYSCONFDIR)/backup-agent/'
	if [ -z '$(DESTDIR)' ] && [ -d /run/systemd/system ]; then \
	  systemd-sysusers backup-agent.conf && systemd-tmpfiles --create backup-agent.conf && systemctl daemon-reload; \
	fi
	@cat systemd/next-steps.txt

uninstall:  ## what install put there; configuration, journal, spool and user stay
	if [ -z '$(DESTDIR)' ] && [ -d /run/systemd/system ]; then \
	  systemctl disable --now $(filter-out %@.service %@.path,$(UNITS)) 'backup-agent@*' 'backup-agent-guard@*' 'backup-agent-power@*'; \
	fi
	rm -f $(UNITS:%='$(DESTDIR)$(UNITDIR)/%') '$(LIBEXEC)/backup-agent-guard' '$(LIBEXEC)/backup-agent-power'
	rm -f '$(DESTDIR)$(SYSCONFDIR)'/{sysusers.d,tmpfiles.d}/backup-agent.conf
	for unit in $(HARDENED); do \
	  rm -f "$(DESTDIR)$(UNITDIR)/$$unit.service.d/10-hardening.conf"; \
	  [ ! -d "$(DESTDIR)$(UNITDIR)/$$unit.service.d" ] || rmdir --ignore-fail-on-non-empty "$(DESTDIR)$(UNITDIR)/$$unit.service.d"; \
	done
	[ -n '$(DESTDIR)' ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload

install-api:  ## the unit and an example configuration of the control plane, on the host that is to serve it
	install -d '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(SYSCONFDIR)'/{sysusers.d,backup-agent}
	install -m644 systemd/$(API_UNIT) '$(DESTDIR)$(UNITDIR)/'
	install -m644 systemd/backup-api.sysusers '$(DESTDIR)$(SYSCONFDIR)/sysusers.d/backup-api.conf'
	if [ -z '$(DESTDIR)' ] && [ -d /run/systemd/system ]; then systemd-sysusers backup-api.conf && systemctl daemon-reload; fi
	[ -e '$(DESTDIR)$(SYSCONFDIR)/backup-agent/backup-api.toml' ] || \
	  install -m640 $(if $(DESTDIR),,-g backup-api) config/backup-api.toml '$(DESTDIR)$(SYSCONFDIR)/backup-agent/'

uninstall-api:  ## what install-api put there; configuration, database and user stay
	[ -n '$(DESTDIR)' ] || [ ! -d /run/systemd/system ] || systemctl disable --now $(API_UNIT)
	rm -f '$(DESTDIR)$(UNITDIR)/$(API_UNIT)' '$(DESTDIR)$(SYSCONFDIR)/sysusers.d/backup-api.conf'
	[ -n '$(DESTDIR)' ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload

setup: packages $(READY)
packages:
	@./setup/packages.sh

$(READY): requirements/dev.lock pyproject.toml setup/venv.sh
	@./setup/venv.sh $(VENV)
	@touch $@

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .venv-bench .venv-servers .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
