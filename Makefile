# SPDX-License-Identifier: GPL-2.0-or-later
#
# One Makefile. `make help` lists the targets. A room (folder) becomes an archive of all its *.c but main.c,
# test-*.c; a program is its room's main.c with the archives it names below; a test-x.c beside the code becomes one
# unit test program. CONFIG picks compiler and sanitizers: gcc, clang, gcc-san, clang-san, fuzz.

CONFIG ?= gcc
VERSION := 0.1
BUILD ?= build
OUT := $(BUILD)/$(CONFIG)
PREFIX ?= /usr
DESTDIR ?=
PKG_CONFIG ?= pkg-config

ROOMS := lib/base lib/wire lib/channel lib/usbip lib/digest lib/proxy lib/sandbox lib/admin \
	broker/core broker/io proxies/agent proxies/usb cli
PROGRAMS := device-broker device-agent usb-proxy qvm-device

# What a program links beside its own room, in link order; then the outside libraries it and its rooms use.
LIBS_ALL := lib/proxy lib/sandbox lib/admin lib/usbip lib/wire lib/channel lib/digest lib/base
device-broker_MAIN := broker/main.c
device-broker_ROOMS := broker/io broker/core $(LIBS_ALL)
device-broker_PKGS := libsystemd libudev xenvchan xenstore json-c nettle libcap-ng
device-agent_MAIN := proxies/agent/main.c
device-agent_ROOMS := proxies/agent $(LIBS_ALL)
device-agent_PKGS := libsystemd libudev xenvchan xenstore nettle
usb-proxy_MAIN := proxies/usb/main.c
usb-proxy_ROOMS := proxies/usb $(LIBS_ALL)
usb-proxy_PKGS := libusb-1.0 xenvchan xenstore nettle libseccomp libcap-ng
qvm-device_MAIN := cli/main.c
qvm-device_ROOMS := cli $(LIBS_ALL)
qvm-device_PKGS := json-c
TEST_ROOMS := broker/io broker/core proxies/agent proxies/usb cli $(LIBS_ALL)
ALL_PKGS := cmocka libsystemd libudev xenvchan xenstore json-c nettle libusb-1.0 libseccomp libcap-ng

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

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(if $(filter broker/io/% proxies/% lib/channel/% lib/sandbox/%,$<),$(LIB_CFLAGS)) -MMD -MP -c -o $@ $<

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

# Fuzzers: tests/fuzz/fuzz-x.c, only with CONFIG=fuzz
FUZZ_SRCS := $(wildcard tests/fuzz/fuzz-*.c)
FUZZERS := $(FUZZ_SRCS:tests/fuzz/%.c=$(OUT)/bin/%)
$(FUZZERS): $(OUT)/bin/%: $(OUT)/tests/fuzz/%.o $(call archives,$(TEST_ROOMS))
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(call archives,$(TEST_ROOMS)) -Wl,--end-group \
		$(shell $(PKG_CONFIG) --libs $(ALL_PKGS))
.PHONY: fuzzers units
fuzzers: $(FUZZERS)
units: $(UNIT_TESTS)

ifneq ($(V),1)
Q := @
endif

.PHONY: clean
clean:
	rm -rf $(BUILD)/gcc $(BUILD)/gcc-san $(BUILD)/clang $(BUILD)/clang-san $(BUILD)/fuzz

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
