# SPDX-License-Identifier: GPL-2.0-or-later
#
# One Makefile. `make help` lists the targets. A room (folder) becomes an archive of all its *.c but main.c,
# test-*.c; a program is its room's main.c with the archives it names below; a test-x.c beside the code becomes one
# unit test program. CONFIG picks compiler and sanitizers: gcc, clang, gcc-san, clang-san, fuzz.

CONFIG ?= gcc
VERSION := 0.1
ifneq ($(V),1)
Q := @
endif
BUILD ?= build
OUT := $(BUILD)/$(CONFIG)
PREFIX ?= /usr
DESTDIR ?=
PKG_CONFIG ?= pkg-config

ROOMS := lib/base lib/wire lib/channel lib/usbip lib/digest lib/media lib/proxy lib/sandbox lib/admin \
	broker/core broker/policy broker/io proxies/agent proxies/usb proxies/audio proxies/camera cli
PROGRAMS := device-broker device-agent usb-proxy audio-proxy camera-proxy qvm-device

# What a program links beside its own room, in link order; then the outside libraries it and its rooms use.
LIBS_ALL := lib/proxy lib/sandbox lib/admin lib/usbip lib/media lib/wire lib/channel lib/digest lib/base
device-broker_MAIN := broker/main.c
device-broker_ROOMS := broker/io broker/policy broker/core $(LIBS_ALL)
device-broker_PKGS := libsystemd libudev xenvchan xenstore nettle libcap-ng
device-agent_MAIN := proxies/agent/main.c
device-agent_ROOMS := proxies/agent $(LIBS_ALL)
device-agent_PKGS := libsystemd libudev xenvchan xenstore nettle
usb-proxy_MAIN := proxies/usb/main.c
usb-proxy_ROOMS := proxies/usb $(LIBS_ALL)
usb-proxy_PKGS := libusb-1.0 xenvchan xenstore nettle libseccomp libcap-ng
audio-proxy_MAIN := proxies/audio/main.c
audio-proxy_ROOMS := proxies/audio $(LIBS_ALL)
audio-proxy_PKGS := libpulse speexdsp xenvchan xenstore nettle libseccomp libcap-ng
camera-proxy_MAIN := proxies/camera/main.c
camera-proxy_ROOMS := proxies/camera $(LIBS_ALL)
camera-proxy_PKGS := libturbojpeg xenvchan xenstore nettle libseccomp libcap-ng
qvm-device_MAIN := cli/main.c
qvm-device_ROOMS := cli $(LIBS_ALL)
qvm-device_PKGS := json-c
TEST_ROOMS := broker/io broker/policy broker/core proxies/agent proxies/usb proxies/audio proxies/camera cli $(LIBS_ALL)
ALL_PKGS := cmocka libsystemd libudev xenvchan xenstore json-c nettle libusb-1.0 libseccomp libcap-ng libpulse speexdsp libturbojpeg umockdev-1.0

CC_gcc := gcc
CC_gcc-san := gcc
CC_clang := clang
CC_clang-san := clang
CC_fuzz := clang
SAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection
CFLAGS_gcc := -O2 -g $(HARDEN)
CFLAGS_clang := -O2 -g $(HARDEN)
CFLAGS_gcc-san := -O1 -g $(SAN)
CFLAGS_clang-san := -O1 -g $(SAN)
CFLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -DFUZZING
LDFLAGS_gcc-san := $(SAN)
LDFLAGS_clang-san := $(SAN)
LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined
HARDEN_LD := -pie -Wl,-z,relro,-z,now,-z,noexecstack
LDFLAGS_gcc := $(HARDEN_LD)
LDFLAGS_clang := $(HARDEN_LD)

WARN := -Wall -Wextra -Wconversion -Wshadow -Wvla -Wswitch-enum -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wformat=2 -Wimplicit-fallthrough \
	-Werror
CC := $(CC_$(CONFIG))
CPPFLAGS += -I. -D_GNU_SOURCE -DQDB_VERSION='"$(VERSION)"'
CFLAGS += -std=gnu11 -fPIE -ffunction-sections $(WARN) $(CFLAGS_$(CONFIG))
LDFLAGS += -Wl,--as-needed -Wl,--gc-sections $(LDFLAGS_$(CONFIG))

srcs = $(filter-out $(1)/main.c $(wildcard $(1)/test-*.c),$(wildcard $(1)/*.c))
objs = $(patsubst %.c,$(OUT)/%.o,$(call srcs,$(1)))
archive = $(OUT)/$(1)/room.a
archives = $(foreach r,$(1),$(if $(call srcs,$(r)),$(call archive,$(r))))

.PHONY: all
all: $(PROGRAMS:%=$(OUT)/bin/%)

.PHONY: help
help:
	@echo 'make               build everything into $(OUT)/bin (CONFIG=gcc clang gcc-san clang-san)'
	@echo 'make demo          the main job, shown under real Xen; INTERACTIVE=1 leaves you at a prompt there'
	@echo 'make check         all tests, the Xen rig included; installs what it needs'
	@echo 'make unit          the tests that need neither root nor Xen, in seconds (CONFIG as well)'
	@echo 'make model         the protocol between broker and agents, searched through by spin'
	@echo 'make rig S=NAME    one rig scenario: tests/rig/test_NAME.py'
	@echo 'make bench         attach time, throughput, latency beside the peers, into $(BUILD)/bench.tsv'
	@echo 'make fuzz T=wire S=60   one fuzzer of tests/fuzz for so many seconds'
	@echo 'make install DESTDIR=   what dom0 and the qubes need (install-dom0, install-qube: only one of them)'
	@echo 'make deb           two Debian packages in $(BUILD): device-broker (dom0), device-agent (qubes)'
	@echo 'make clean         removes what was compiled; $(BUILD)/rig (images) stays, make distclean takes it too'

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(if $(filter broker/io/% proxies/% lib/channel/% lib/sandbox/% tests/integration/%,$<),$(LIB_CFLAGS)) -MMD -MP -c -o $@ $<

LIB_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(ALL_PKGS) 2>/dev/null)

define room_rule
$(call archive,$(1)): $(call objs,$(1))
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(if $(call srcs,$(r)),$(eval $(call room_rule,$(r)))))

define program_rule
$(OUT)/bin/$(1): $(patsubst %.c,$(OUT)/%.o,$($(1)_MAIN)) $(call archives,$($(1)_ROOMS))
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$< -Wl,--start-group $(call archives,$($(1)_ROOMS)) -Wl,--end-group \
		$$(shell $$(PKG_CONFIG) --libs $($(1)_PKGS))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

# Unit tests: room/test-x.c -> $(OUT)/room/test-x
UNIT_SRCS := $(wildcard $(ROOMS:%=%/test-*.c))
UNIT_TESTS := $(UNIT_SRCS:%.c=$(OUT)/%)
$(UNIT_TESTS): $(OUT)/%: $(OUT)/%.o $(call archives,$(TEST_ROOMS))
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(call archives,$(TEST_ROOMS)) -Wl,--end-group \
		$(shell $(PKG_CONFIG) --libs $(ALL_PKGS))

# v4l2loopback's control device is played there.
$(OUT)/proxies/agent/test-loopback: LDFLAGS += -Wl,--wrap=ioctl

# Fuzzers: tests/fuzz/fuzz-x.c, only with CONFIG=fuzz
FUZZ_SRCS := $(wildcard tests/fuzz/fuzz-*.c)
FUZZERS := $(FUZZ_SRCS:tests/fuzz/%.c=$(OUT)/bin/%)
$(FUZZERS): $(OUT)/bin/%: $(OUT)/tests/fuzz/%.o $(call archives,$(TEST_ROOMS))
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(call archives,$(TEST_ROOMS)) -Wl,--end-group \
		$(shell $(PKG_CONFIG) --libs $(ALL_PKGS))
# Integration: tests/integration/x.c -> $(OUT)/bin/x, linked with every room; test-*.c are cmocka programs that
# `make check` runs, the others are tools that those (or the rig) start. test-*.py and test-*.sh run as they are.
# What is in PRELOADED is a library that tests put before a program: starve.c before the broker, fast-clock.c before PipeWire, paper-camera.c before camera-proxy.
PRELOADED := tests/integration/starve.c tests/integration/fast-clock.c tests/integration/paper-camera.c
INTEGRATION_SRCS := $(filter-out $(PRELOADED),$(wildcard tests/integration/*.c))
INTEGRATION := $(INTEGRATION_SRCS:tests/integration/%.c=$(OUT)/bin/%)
$(INTEGRATION): $(OUT)/bin/%: $(OUT)/tests/integration/%.o $(call archives,$(TEST_ROOMS))
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(call archives,$(TEST_ROOMS)) -Wl,--end-group \
		$(shell $(PKG_CONFIG) --libs $(ALL_PKGS)) -lm

# Without a sanitizer of its own: what the program has comes after it.
$(PRELOADED:tests/integration/%.c=$(OUT)/bin/%.so): $(OUT)/bin/%.so: tests/integration/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu11 -O2 -fPIC -fno-builtin -shared $(WARN) -o $@ $<

# The store's memory and disk run out when its test says so.
$(OUT)/bin/store-driver: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=write,--wrap=ftruncate

.PHONY: fuzzers units integration
fuzzers: $(FUZZERS)
units: $(UNIT_TESTS)
integration: $(INTEGRATION) $(PRELOADED:tests/integration/%.c=$(OUT)/bin/%.so)

# ---- what people call -------------------------------------------------------------------------------------------
# Each installs what it needs first, then starts make again: pkg-config is there only after that.

CHECK_SECONDS := 10 # of each fuzzer
.PHONY: deps
deps:
	@packaging/install-deps

.PHONY: unit model check demo bench rig fuzz
unit:
	@$(MAKE) --no-print-directory CONFIG=$(CONFIG) units
	@tests/list unit $(CONFIG) | tests/check -

model: deps
	@tests/list model | tests/check -

check: deps
	@for config in gcc gcc-san clang-san; do \
		$(MAKE) --no-print-directory -j2 CONFIG=$$config all units integration || exit 1; done
	@$(MAKE) --no-print-directory -j2 CONFIG=clang all
	@$(MAKE) --no-print-directory -j2 CONFIG=fuzz fuzzers
	@$(MAKE) --no-print-directory rig-images
	@tests/list static model unit gcc unit gcc-san unit clang-san integration gcc-san fuzz $(CHECK_SECONDS) rig | tests/check -

demo: deps
	@$(MAKE) --no-print-directory -j2 CONFIG=gcc all integration
	@$(MAKE) --no-print-directory rig-images
	@tests/rig/demo $(if $(filter 1,$(INTERACTIVE)),--interactive)

bench: deps
	@$(MAKE) --no-print-directory -j2 CONFIG=gcc all integration
	@$(MAKE) --no-print-directory rig-images
	@tests/bench/run

rig: deps
	@$(MAKE) --no-print-directory -j2 CONFIG=gcc all integration
	@$(MAKE) --no-print-directory rig-images
	@tests/rig/run-tests $(S:%=tests/rig/test_%.py)

T ?= wire
fuzz: deps
	@$(MAKE) --no-print-directory -j2 CONFIG=fuzz $(BUILD)/fuzz/bin/fuzz-$(T)
	@mkdir -p $(BUILD)/corpus/$(T)
	$(BUILD)/fuzz/bin/fuzz-$(T) -max_total_time=$(or $(S),60) $(BUILD)/corpus/$(T)

# The rig's images, with our programs as they are now: the broker and the CLI in dom0, agent and proxies in each guest.
RIG_PAYLOAD := $(BUILD)/rig/payload
.PHONY: rig-images
rig-images:
	@rm -rf $(RIG_PAYLOAD) && mkdir -p $(RIG_PAYLOAD)/dom0 $(RIG_PAYLOAD)/guest
	@$(MAKE) --no-print-directory -s CONFIG=gcc install-dom0 DESTDIR=$(RIG_PAYLOAD)/dom0
	@$(MAKE) --no-print-directory -s CONFIG=gcc install-qube DESTDIR=$(RIG_PAYLOAD)/guest
	@for tool in $(RIG_TOOLS); do install -D -t $(RIG_PAYLOAD)/dom0/usr/bin $(BUILD)/gcc/bin/$$tool && \
		install -D -t $(RIG_PAYLOAD)/guest/usr/bin $(BUILD)/gcc/bin/$$tool || exit 1; done
	@tests/rig/build
RIG_TOOLS := $(patsubst tests/integration/%.c,%,$(filter-out tests/integration/test-%.c,$(INTEGRATION_SRCS)))

# ---- installing -------------------------------------------------------------------------------------------------
LIBEXEC := $(PREFIX)/lib/device-broker
UNITS := /usr/lib/systemd/system
MAN := $(PREFIX)/share/man
ZSH_COMPLETIONS := $(PREFIX)/share/zsh/vendor-completions
FISH_COMPLETIONS := $(PREFIX)/share/fish/vendor_completions.d
BASH_COMPLETIONS := $(PREFIX)/share/bash-completion/completions
INSTALL := install -D

# What qvm-device is called by for one class of devices.
TOOL_NAMES := qvm-usb qvm-mic qvm-speaker qvm-webcam

.PHONY: install install-dom0 install-qube deb
install: install-dom0 install-qube

# Links to the broker's socket, by which qrexec knows a service: ours, and those that qubesd has too.
ADMIN_SOCKET := /run/device-broker/admin.sock
QREXEC_NAMES := $(shell sed -n '/^[^\#]/p' packaging/qrexec/services)
QREXEC_OWN := $(filter device.%,$(QREXEC_NAMES))
QREXEC_SHARED := $(subst CLASS,usb,$(filter admin.%,$(QREXEC_NAMES)))

install-dom0: all
	$(INSTALL) -t $(DESTDIR)$(PREFIX)/sbin $(OUT)/bin/device-broker $(OUT)/bin/device-agent
	$(INSTALL) -t $(DESTDIR)$(LIBEXEC) $(OUT)/bin/audio-proxy
	$(INSTALL) -t $(DESTDIR)$(PREFIX)/bin $(OUT)/bin/qvm-device
	$(INSTALL) -m 644 -t $(DESTDIR)$(UNITS) packaging/systemd/device-broker.service \
		packaging/systemd/device-agent-dom0.service
	$(INSTALL) -m 644 -t $(DESTDIR)$(MAN)/man1 man/qvm-device.1
	$(INSTALL) -m 644 -t $(DESTDIR)$(MAN)/man8 man/device-broker.8 man/device-agent.8 man/audio-proxy.8
	$(INSTALL) -m 644 -t $(DESTDIR)$(MAN)/man5 man/device-broker.policy.5 man/qvm-device-json.5
	$(INSTALL) -m 644 -t $(DESTDIR)/etc/device-broker/policy.d packaging/policy.d/90-default.policy
	$(INSTALL) -m 644 packaging/completions/qvm-device.bash $(DESTDIR)$(BASH_COMPLETIONS)/qvm-device
	$(INSTALL) -m 644 -t $(DESTDIR)$(ZSH_COMPLETIONS) packaging/completions/_qvm-device
	$(INSTALL) -m 644 -t $(DESTDIR)$(FISH_COMPLETIONS) packaging/completions/qvm-device.fish
	$(INSTALL) -m 644 -t $(DESTDIR)/usr/lib/sysusers.d packaging/sysusers/device-broker.conf \
		packaging/sysusers/device-agent.conf
	$(INSTALL) -m 644 -t $(DESTDIR)$(PREFIX)/share/device-broker packaging/qrexec/30-device-broker.policy
	@mkdir -p $(DESTDIR)/etc/qubes-rpc $(DESTDIR)$(PREFIX)/share/device-broker/qubes-rpc
	@for name in $(QREXEC_OWN); do ln -sf $(ADMIN_SOCKET) $(DESTDIR)/etc/qubes-rpc/$$name || exit 1; done
	@for name in $(sort $(QREXEC_SHARED)); do \
		ln -sf $(ADMIN_SOCKET) $(DESTDIR)$(PREFIX)/share/device-broker/qubes-rpc/$$name || exit 1; done
	@for name in $(TOOL_NAMES); do \
		ln -sf qvm-device $(DESTDIR)$(PREFIX)/bin/$$name && \
		echo '.so man1/qvm-device.1' >$(DESTDIR)$(MAN)/man1/$$name.1 && \
		ln -sf qvm-device $(DESTDIR)$(BASH_COMPLETIONS)/$$name && \
		ln -sf qvm-device.fish $(DESTDIR)$(FISH_COMPLETIONS)/$$name.fish || exit 1; done

install-qube: all
	$(INSTALL) -t $(DESTDIR)$(PREFIX)/sbin $(OUT)/bin/device-agent
	$(INSTALL) -t $(DESTDIR)$(LIBEXEC) $(OUT)/bin/usb-proxy $(OUT)/bin/audio-proxy $(OUT)/bin/camera-proxy
	$(INSTALL) -m 644 -t $(DESTDIR)$(UNITS) packaging/systemd/device-agent.service
	$(INSTALL) -m 644 -t $(DESTDIR)$(MAN)/man8 man/device-agent.8 man/usb-proxy.8 man/audio-proxy.8 man/camera-proxy.8
	$(INSTALL) -m 644 -t $(DESTDIR)/usr/lib/udev/rules.d packaging/udev/90-device-agent.rules
	$(INSTALL) -m 644 -t $(DESTDIR)/usr/lib/sysusers.d packaging/sysusers/device-agent.conf

deb: all
	@BUILD=$(BUILD) VERSION=$(VERSION) packaging/make-debs

.PHONY: clean
clean:
	rm -rf $(BUILD)/gcc $(BUILD)/gcc-san $(BUILD)/clang $(BUILD)/clang-san $(BUILD)/fuzz $(BUILD)/model

.PHONY: distclean
distclean: clean
	rm -rf $(BUILD)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
