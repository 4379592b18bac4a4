# What a developer or packager needs. `make run` and `make check` install what is missing first: on
# Debian a C compiler for LuaJIT and libsodium, mandoc and test tools; with cargo, cargo-deny. `make fuzz`
# does the same with cargo-fuzz.

CARGO      ?= cargo
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
BINDIR      = $(PREFIX)/bin
DATADIR     = $(PREFIX)/share/trackalert
DOCDIR      = $(PREFIX)/share/doc/trackalert
MANDIR      = $(PREFIX)/share/man
UNITDIR     = $(PREFIX)/lib/systemd/system
USERDIR     = $(PREFIX)/lib/sysusers.d
CONFDIR     = $(SYSCONFDIR)/wforce

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# What is made of one commit has its time.
MADE_AT = $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)

SUDO  := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PAGES := $(wildcard man/*.[1-8])

.PHONY: all build run check fmt lint test api check-sql doc pages html policy audit bench fuzz soak chaos \
    install install-files uninstall dist package-root deb deb-tools rpm build-tools check-tools

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

# What is installed: a folder, a mode, and files, some with another name there. In their text @BINDIR@,
# @CONFDIR@ and @DATADIR@ become the folders. The program comes beside them.
define FILES
$(MANDIR)/man1 644 $(wildcard man/*.1)
$(MANDIR)/man5 644 $(wildcard man/*.5)
$(MANDIR)/man7 644 $(wildcard man/*.7)
$(UNITDIR) 644 share/trackalert.service
$(USERDIR) 644 share/trackalert.sysusers:trackalert.conf
$(DOCDIR) 644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE
$(DATADIR) 755 share/setup
$(DATADIR) 644 conf/trackalert.conf share/openapi.yaml share/clickhouse/schema.sql:clickhouse.sql
$(DATADIR)/policies 644 $(wildcard share/policies/*.lua)
$(DATADIR)/prometheus 644 $(wildcard share/prometheus/*)
$(DATADIR)/grafana 644 $(wildcard share/grafana/*)
$(DATADIR)/sysv 755 $(wildcard share/sysv/*)
$(DATADIR)/daemontools 755 $(filter-out %/log,$(wildcard share/daemontools/*))
$(DATADIR)/daemontools/log 755 $(wildcard share/daemontools/log/*)
$(DATADIR)/runit 755 $(filter-out %/log,$(wildcard share/runit/*))
$(DATADIR)/runit/log 755 $(wildcard share/runit/log/*)
endef
export FILES

# $(call each-file,COMMANDS) runs commands with $source, $target and $mode of each.
define each-file
	@set -e; echo "$$FILES" | while read -r folder mode files; do for file in $$files; do \
	    source=$${file%%:*}; target=$(DESTDIR)$$folder/$${file##*[:/]}; $(1); \
	done; done
endef

# The program that is installed. Built already, it lets root install it, who need not have cargo.
PROGRAM ?= target/release/trackalert

target/release/trackalert: Cargo.toml Cargo.lock build.rs $(shell find src share -type f)
	$(MAKE) build
	@touch $@

# On this system the user is made, and a configuration with secrets of its own.
install: $(PROGRAM)
	$(MAKE) install-files
ifeq ($(DESTDIR),)
	$(DATADIR)/setup
endif

# Without building anything.
install-files:
	install -d $(DESTDIR)$(BINDIR)
	install -m 755 $(PROGRAM) $(DESTDIR)$(BINDIR)/trackalert
	$(call each-file,install -d $${target%/*}; \
	    sed -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@CONFDIR@|$(CONFDIR)|g' -e 's|@DATADIR@|$(DATADIR)|g' \
	        $$source >$$target; chmod $$mode $$target)
ifneq ($(DESTDIR),)
	install -d $(DESTDIR)$(CONFDIR)
	test -e $(DESTDIR)$(CONFDIR)/trackalert.conf || \
	    install -m 640 conf/trackalert.conf $(DESTDIR)$(CONFDIR)/trackalert.conf
endif

# What was installed goes, and folders that are ours and empty then. The configuration stays, and the store.
uninstall:
	rm -f $(DESTDIR)$(BINDIR)/trackalert
	$(call each-file,rm -f $$target)
	@for folder in $(DESTDIR)$(DATADIR) $(DESTDIR)$(DOCDIR); do \
	    [ ! -d $$folder ] || find $$folder -depth -type d -exec rmdir {} \; 2>/dev/null || true; \
	done

# The last commit and every crate in one archive, which cargo builds from offline. Two runs make the same.
DIST := target/dist

dist:
	$(call packages,xz:xz-utils)
	rm -rf $(DIST)/trackalert-$(VERSION)
	mkdir -p $(DIST)/trackalert-$(VERSION)/.cargo
	git archive HEAD | tar -x -C $(DIST)/trackalert-$(VERSION)
	cd $(DIST)/trackalert-$(VERSION) && $(CARGO) vendor --quiet --locked >/dev/null && \
	    printf '%s\n' '[source.crates-io]' 'replace-with = "vendored-sources"' '' \
	        '[source.vendored-sources]' 'directory = "vendor"' >.cargo/config.toml
	XZ_OPT="-6 -T 1" tar -cJ -f $(DIST)/trackalert-$(VERSION).tar.xz --format gnu --sort name --owner 0 --group 0 \
	    --numeric-owner --mtime @$(MADE_AT) --mode u=rwX,go=rX -C $(DIST) trackalert-$(VERSION)
	rm -rf $(DIST)/trackalert-$(VERSION)
	@ls -l $(DIST)/trackalert-$(VERSION).tar.xz

# The libsodium of a package's program: the system's, so that its updates count, where its headers are
# (libsodium-dev on Debian, libsodium-devel elsewhere) and not too old; or else `own`, the one of its crate.
SODIUM ?= $(shell pkg-config --atleast-version 1.0.18 libsodium 2>/dev/null && echo system || echo own)

# Where a package's files are put together, as on the system that it is for.
ROOT = target/package/root

# Symbols that only debuggers need go. Those that C modules of Lua look for are of another kind and stay.
package-root: build-tools
	$(call packages,strip:binutils)
	@echo "libsodium: $(SODIUM)"
	$(if $(filter system,$(SODIUM)),SODIUM_USE_PKG_CONFIG=1) $(CARGO) build --release --locked
	rm -rf target/package
	$(MAKE) install-files DESTDIR=$(ROOT) PREFIX=/usr SYSCONFDIR=/etc
	strip --strip-unneeded $(ROOT)/usr/bin/trackalert
	gzip -9n $(ROOT)/usr/share/man/man*/*
	rm -r $(ROOT)/etc

DEB_REVISION   ?= 1
DEB_MAINTAINER = $(shell sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)

# The package is left in target/debian. Debian keeps init scripts, licences and changes in places of its own.
deb: deb-tools
	$(MAKE) package-root
	$(call cargo-tool,cargo-deb)
	[ ! -d share/sysv ] || { install -d $(ROOT)/etc && mv $(ROOT)/usr/share/trackalert/sysv $(ROOT)/etc/init.d; }
	cd $(ROOT)/usr/share/doc/trackalert && rm LICENSE-* && mv CHANGELOG.md changelog && gzip -9n changelog
	install -D -m 644 share/debian/lintian $(ROOT)/usr/share/lintian/overrides/trackalert
	awk -v version=$(VERSION)-$(DEB_REVISION) -v date="$$(date -R -u -d @$(MADE_AT))" \
	    -v maintainer="$(DEB_MAINTAINER)" -f share/debian/changelog.awk CHANGELOG.md >target/package/changelog
	SOURCE_DATE_EPOCH=$(MADE_AT) $(CARGO) deb --no-build --no-strip --deb-revision $(DEB_REVISION)

# Debian has libsodium, so its package uses that, but for SODIUM=own.
deb-tools: build-tools
	$(call packages,dpkg-shlibdeps:dpkg-dev pkg-config:pkgconf)
	@[ "$(SODIUM)" = system ] || [ "$(origin SODIUM)" != file ] || { $(SUDO) apt-get update -q && \
	    $(SUDO) apt-get install -qy --no-install-recommends libsodium-dev; }

# The package is left in target/generate-rpm. Its files are sorted by the mode and the mark that they get.
rpm: package-root
	$(call cargo-tool,cargo-generate-rpm)
	mkdir -p target/package/programs target/package/docs/usr/share
	cd $(ROOT) && find . -type f -perm -100 -exec cp --parents {} ../programs \; -delete
	mv $(ROOT)/usr/share/doc $(ROOT)/usr/share/man target/package/docs/usr/share/
	SOURCE_DATE_EPOCH=$(MADE_AT) $(CARGO) generate-rpm

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

# $(call cargo-tool,NAME) installs a tool that is not there, in minutes: how fast it runs does not matter.
define cargo-tool
	@command -v $(1) >/dev/null || \
	    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
	    $(CARGO) install --locked $(1)
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
	$(call cargo-tool,cargo-deny)
