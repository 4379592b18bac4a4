# What a developer or packager needs. `make run` and `make check` install what is missing first: on
# Debian a C compiler for LuaJIT and libsodium, mandoc and test tools; with cargo, cargo-deny. `make fuzz`
# does the same with cargo-fuzz.

CARGO      ?= cargo
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
SBINDIR    := $(DESTDIR)$(PREFIX)/sbin
MANDIR     := $(DESTDIR)$(PREFIX)/share/man
DATADIR    := $(DESTDIR)$(PREFIX)/share/trackalert
CONFDIR    := $(DESTDIR)$(SYSCONFDIR)/trackalert
UNITDIR    := $(DESTDIR)$(PREFIX)/lib/systemd/system
USERDIR    := $(DESTDIR)$(PREFIX)/lib/sysusers.d

SUDO  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PAGES := $(wildcard man/*.[1-8])

.PHONY: all build run check fmt lint test api check-sql doc pages html policy audit bench fuzz soak chaos \
    install build-tools check-tools

all: build

build: build-tools
	$(CARGO) build --release --locked

# In the foreground on 127.0.0.1:8084, with the configuration that is shipped and its memory in target/state.
run: build-tools
	$(call packages,curl:curl)
	mkdir -p target/state
	STATE_DIRECTORY=$(CURDIR)/target/state $(CARGO) run --release --locked -- -s -C conf/trackalert.conf

# Everything that must pass.
check: check-tools fmt lint doc pages policy test api

fmt:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --locked --all-targets -- -D warnings
	grep -rlIE '^#!/bin/(ba)?sh' .ci man share tests --exclude-dir=target --exclude='*.rs' --exclude='*.py' | xargs shellcheck

# Alerts by mail are given to a server from PyPI.
SMTP_TOOLS := target/smtp

test: $(SMTP_TOOLS)/bin/python
	$(CARGO) test --locked

$(SMTP_TOOLS)/bin/python: tests/smtp/requirements.txt
	$(call pypi,$(SMTP_TOOLS))

# Requests that are made of share/openapi.yaml, against API_PROGRAM on a port of its own, in half a
# minute. API_EXAMPLES (a number) makes it longer, API_SEED (a number) makes other requests; API_TIMEOUT
# (seconds) ends it in any case.
API_PROGRAM  ?= target/debug/trackalert
API_EXAMPLES ?= 50
API_SEED     ?= 1
API_TIMEOUT  ?= 180
API_TOOLS    := target/api

api: $(API_TOOLS)/bin/schemathesis
	$(CARGO) build --locked
	API_EXAMPLES=$(API_EXAMPLES) API_SEED=$(API_SEED) API_TIMEOUT=$(API_TIMEOUT) \
	    tests/api/run $(API_PROGRAM) $(API_TOOLS)/bin/schemathesis

$(API_TOOLS)/bin/schemathesis: tests/api/requirements.txt
	$(call pypi,$(API_TOOLS))

# The statements of the report store, and all of its tests, on a current ClickHouse, which chdb embeds:
# some 900 MB from PyPI the first time.
SQL_TOOLS := target/sql

check-sql: $(SQL_TOOLS)/bin/python
	PATH="$(CURDIR)/$(SQL_TOOLS)/bin:$$PATH" CLICKHOUSE_SERVER=$(CURDIR)/tests/sql/server \
	    $(CARGO) test --locked --lib store::clickhouse -- --test-threads 2

$(SQL_TOOLS)/bin/python: tests/sql/requirements.txt
	$(call pypi,$(SQL_TOOLS))

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

pages:
	mandoc -T lint -W warning $(PAGES)

# The pages for a browser.
html:
	$(call packages,mandoc:mandoc)
	man/html target/html

# The advisory database is not asked: it can't be fetched everywhere that this must run.
policy:
	$(CARGO) deny --locked check bans licenses sources

# For those who can fetch the advisory database.
audit:
	$(CARGO) deny --locked check advisories

# Ours and the original in turn, then the report stores; see the --help of each.
bench: build check-tools
	$(call packages,valgrind:valgrind)
	tests/bench/bench
	tests/bench/store
	tests/bench/clickhouse
	tests/bench/policies

# How long each fuzz target runs, and which do.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= console cron device http http_tiny netmask regexes report

# No sanitizer: that would need an unstable compiler, and could look for memory errors only, in a
# program whose few unsafe lines and C libraries these targets hardly touch. What they look for are
# panics, overflows, endless loops, and properties that do not hold.
FUZZ := $(CARGO) fuzz run --fuzz-dir tests/fuzz --sanitizer none

# Runs each target and ends with the first that fails. What is new in a corpus goes to tests/fuzz/target.
fuzz: build-tools
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
	    corpus=$${target%_tiny}; new=tests/fuzz/target/corpus/$$corpus; mkdir -p $$new; \
	    $(FUZZ) $$target $$new tests/fuzz/corpus/$$corpus -- -dict=tests/fuzz/dictionaries/$$corpus \
	        -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 || exit 1; \
	done

# Half an hour of everything at once, or SOAK_MINUTES of it; see tests/soak/soak --help.
SOAK_MINUTES ?= 30

soak: build check-tools
	tests/soak/soak --minutes $(SOAK_MINUTES)

# A million reports under every kind of trouble, or CHAOS_REPORTS; see tests/soak/chaos --help. Then the
# report store is killed a hundred times, or STORE_KILLS.
CHAOS_REPORTS ?= 1000000
STORE_KILLS   ?= 100

chaos: build
	tests/soak/chaos --reports $(CHAOS_REPORTS)
	STORE_KILLS=$(STORE_KILLS) $(CARGO) test --locked --test tests \
	    what_was_acknowledged_survives_every_kill

install: build
	install -d $(SBINDIR) $(CONFDIR) $(DATADIR) $(UNITDIR) $(USERDIR) $(MANDIR)/man1 $(MANDIR)/man5 $(MANDIR)/man7
	install -m 0755 target/release/trackalert $(SBINDIR)/trackalert
	test -e $(CONFDIR)/trackalert.conf || install -m 0640 conf/trackalert.conf $(CONFDIR)/trackalert.conf
	install -m 0644 man/*.1 $(MANDIR)/man1/
	install -m 0644 man/*.5 $(MANDIR)/man5/
	install -m 0644 man/*.7 $(MANDIR)/man7/
	install -m 0644 share/openapi.yaml $(DATADIR)/openapi.yaml
	install -m 0644 share/clickhouse/schema.sql $(DATADIR)/clickhouse.sql
	cp -R share/daemontools $(DATADIR)/
	install -d $(DATADIR)/policies
	install -m 0644 share/policies/*.lua $(DATADIR)/policies/
	sed -e 's,@SBINDIR@,$(PREFIX)/sbin,' -e 's,@CONFDIR@,$(SYSCONFDIR)/trackalert,' \
	    share/trackalert.service > $(UNITDIR)/trackalert.service
	install -m 0644 share/trackalert.sysusers $(USERDIR)/trackalert.conf
# On this system the user of the unit can be made, and let read what only root could read so far.
ifeq ($(DESTDIR),)
	@! command -v systemd-sysusers >/dev/null || systemd-sysusers $(USERDIR)/trackalert.conf
	@! getent group trackalert >/dev/null || chgrp trackalert $(CONFDIR)/trackalert.conf
endif

# $(call pypi,FOLDER) installs what the first prerequisite lists, from PyPI, which must be reached for it.
define pypi
	@python3 -c "import ensurepip" 2>/dev/null || \
	    { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends python3-venv; }
	python3 -m venv $(1)
	$(1)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@
endef

# $(call packages,COMMAND:PACKAGE …) installs the packages whose command is not there.
define packages
	@missing=; for pair in $(1); do \
	    command -v "$${pair%%:*}" >/dev/null 2>&1 || missing="$$missing $${pair##*:}"; \
	done; \
	if [ -n "$$missing" ]; then \
	    command -v apt-get >/dev/null || { echo "please install:$$missing" >&2; exit 1; }; \
	    echo "installing:$$missing"; \
	    $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends $$missing; \
	fi
endef

build-tools:
	$(call packages,cc:gcc cc:libc6-dev)

# What tests use beside commands: lua-cjson stands for every C module of Lua that policies load,
# uap-core has patterns of User-Agents and their cases, Prometheus' own library reads the metrics,
# systemd rates its unit and says which system calls that leaves, libfaketime puts the clock forward
# and back, daemontools and runit supervise the daemon, and Prometheus itself evaluates the alerting
# rules and the dashboard. Not every release of Debian has ClickHouse; its tests are skipped where there
# is none.
TEST_PACKAGES := lua-cjson uap-core python3-prometheus-client systemd libfaketime daemontools runit \
    prometheus -- clickhouse-server clickhouse-client

check-tools: build-tools
	$(call packages,mandoc:mandoc wrk:wrk curl:curl openssl:openssl shellcheck:shellcheck jq:jq)
	@tests/packages $(TEST_PACKAGES)
	@command -v cargo-deny >/dev/null || \
	    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	    $(CARGO) install --locked cargo-deny
