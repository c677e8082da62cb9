# SPDX-License-Identifier: GPL-2.0-only
#
# How lkvm is built.
#
#   make                                    build/lkvm for this machine
#   make static                             the same, linked statically
#   make CROSS_COMPILE=riscv64-linux-gnu-   build/riscv64-linux-gnu/lkvm
#   make riscv64                            build/riscv64/lkvm: static, on any Debian machine;
#                                           installs (apt) the compiler and fetches the libraries it lacks
#   make check | lint | fuzz                native tests, analysers, fuzzers
#   make soak                               the tests' long forms: hours
#   make bench                              figures beside QEMU's; BENCH="blk net" picks groups
#
# Knobs: CC CFLAGS CPPFLAGS LDFLAGS V=1 O=dir WERROR=1 STATIC=1 SYSROOT=dir SANITIZE=address,undefined
#        DESTDIR PREFIX (or prefix)
#
# Each folder's sources are taken as they lie there. All but cmd/ goes into one
# archive, so that a test links only what it needs.

VERSION := $(strip $(shell cat VERSION))

ifdef CROSS_COMPILE
  ifeq ($(origin CC),default)
    CC := $(CROSS_COMPILE)gcc
  endif
  ifeq ($(origin AR),default)
    AR := $(CROSS_COMPILE)ar
  endif
  O ?= build/$(patsubst %-,%,$(notdir $(CROSS_COMPILE)))
endif
O ?= build
PREFIX ?= $(or $(prefix),/usr/local)
PKG_CONFIG ?= $(CROSS_COMPILE)pkg-config
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes -Wshadow -Wwrite-strings -Wundef \
	-Wpointer-arith -Wvla -Wformat=2 -Wno-format-nonliteral
HARDEN := -fstack-protector-strong -fno-strict-aliasing -fno-delete-null-pointer-checks
HARDEN_LD := -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack

ifdef SANITIZE
  HARDEN += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
  HARDEN_LD += -fsanitize=$(SANITIZE)
else
  # Fortified functions need an optimising compile and fight with sanitizers.
  HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif

ifdef STATIC
  # A C library without the start file for it (glibc 2.36 on riscv64) gives a fixed address.
  ifneq ($(findstring /,$(shell $(CC) -print-file-name=rcrt1.o)),)
    HARDEN += -fPIE
    HARDEN_LD += -static-pie
  else
    HARDEN += -fno-pie
    HARDEN_LD += -static -no-pie
  endif
else
  HARDEN += -fPIE
  HARDEN_LD += -pie
endif

ALL_CPPFLAGS = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DLKVM_VERSION='"$(VERSION)"' -Iinclude $(CPPFLAGS)
ALL_CFLAGS = $(WARN) $(if $(WERROR),-Werror) $(HARDEN) -pthread $(CFLAGS)
ALL_LDFLAGS = $(HARDEN_LD) -pthread $(LDFLAGS)

# libfdt has no .pc file; zlib has one, but -lz is all it says.
ifdef SYSROOT
  # Only these libraries come from there: the C library stays the compiler's own.
  ALL_CPPFLAGS += -idirafter $(SYSROOT)/usr/include -idirafter $(SYSROOT)/usr/include/riscv64-linux-gnu
  LIBS := $(patsubst %,$(SYSROOT)/usr/lib/riscv64-linux-gnu/lib%.a,fdt z zstd uring jansson)
  # The libraries may be younger than that: what they call strtoll is this since glibc 2.38.
  LIBS += -Wl,--defsym=__isoc23_strtoll=strtoll
else
  LIBS := -lfdt -lz -lzstd -luring $(or $(shell $(PKG_CONFIG) --libs jansson 2>/dev/null),-ljansson)
endif

CORE := $(sort $(wildcard vmm/*.c riscv/*.c hw/*.c virtio/*.c snapshot/*.c))
CMDS := $(sort $(wildcard cmd/*.c))
TESTS := $(sort $(wildcard tests/unit/test_*.c))
TEST_SUPPORT := $(filter-out $(TESTS),$(sort $(wildcard tests/unit/*.c)))
FUZZERS := $(sort $(wildcard tests/fuzz/fuzz_*.c))

CORE_OBJ := $(CORE:%.c=$(O)/obj/%.o)
CMD_OBJ := $(CMDS:%.c=$(O)/obj/%.o) $(O)/obj/cmd/guest_init.o
SUPPORT_OBJ := $(TEST_SUPPORT:%.c=$(O)/obj/%.o)
TEST_BIN := $(TESTS:tests/unit/%.c=$(O)/unit/%)
FUZZ_BIN := $(FUZZERS:tests/fuzz/%.c=$(O)/fuzz/%)

.PHONY: all static riscv64 unit check soak lint bench fuzz install uninstall clean FORCE
.SECONDARY:
all: $(O)/lkvm

static:
	$(Q)$(MAKE) --no-print-directory STATIC=1 O=$(O)/static

riscv64:
	$(Q)tests/lab/lab setup tools-build sysroot
	$(Q)$(MAKE) --no-print-directory CROSS_COMPILE=riscv64-linux-gnu- O=build/riscv64 STATIC=1 \
		SYSROOT=$$(tests/lab/lab path sysroot) all

# Objects depend on the flags they were built with.
$(O)/flags: FORCE
	@mkdir -p $(O)
	@echo '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS)' | cmp -s - $@ || \
		echo '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS)' > $@

$(O)/obj/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The guest's init goes into the program (guest/guests.mk makes it).
$(O)/obj/cmd/guest_init.o: cmd/guest_init.S $(O)/guest-init
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -DGUEST_INIT='"$(O)/guest-init"' -c -o $@ $<

$(O)/liblkvm.a: $(CORE_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/lkvm: $(CMD_OBJ) $(O)/liblkvm.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(CMD_OBJ) $(O)/liblkvm.a $(LIBS)

# The commands, for tests of what people type.
$(O)/libcmd.a: $(filter-out $(O)/obj/cmd/main.o,$(CMD_OBJ))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/unit/%: $(O)/obj/tests/unit/%.o $(SUPPORT_OBJ) $(O)/libcmd.a $(O)/liblkvm.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(SUPPORT_OBJ) $(O)/libcmd.a $(O)/liblkvm.a $(LIBS) \
		$(shell $(PKG_CONFIG) --libs check)

unit: $(TEST_BIN)

check:
	tests/check

soak:
	tests/soak

lint:
	tests/check lint

bench:
	tests/bench/run $(BENCH)

# libFuzzer is clang's; what is fuzzed is compiled for it once.
FUZZ_FLAGS := -Werror=incompatible-pointer-types -Werror=int-conversion -g -O1 \
	-fsanitize=address,undefined -fno-sanitize-recover=all -pthread
FUZZ_CORE := $(CORE:%.c=$(O)/fuzz-obj/%.o)

$(O)/fuzz-obj/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)clang $(ALL_CPPFLAGS) $(WARN) $(if $(WERROR),-Werror) $(FUZZ_FLAGS) \
		-fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

$(O)/fuzz/%: $(O)/fuzz-obj/tests/fuzz/%.o $(FUZZ_CORE)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

fuzz: $(FUZZ_BIN)

# What there is of each: the man pages by their sections, completions where each shell looks.
MANS := $(sort $(wildcard Documentation/*.[1-9]))
EXAMPLES := $(sort $(wildcard Documentation/examples/*))
INSTALLED = $(PREFIX)/bin/lkvm $(PREFIX)/lib/systemd/system/lkvm@.service \
	$(PREFIX)/lib/sysusers.d/lkvm.conf \
	$(foreach m,$(MANS),$(PREFIX)/share/man/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m))) \
	$(EXAMPLES:Documentation/%=$(PREFIX)/share/doc/lkvm/%) \
	$(patsubst %,$(PREFIX)/share/bash-completion/completions/lkvm,$(wildcard completion/lkvm.bash)) \
	$(patsubst %,$(PREFIX)/share/zsh/site-functions/_lkvm,$(wildcard completion/lkvm.zsh)) \
	$(patsubst %,$(PREFIX)/share/fish/vendor_completions.d/lkvm.fish,$(wildcard completion/lkvm.fish))

$(O)/lkvm@.service: dist/lkvm@.service.in FORCE
	@mkdir -p $(O)
	$(Q)sed 's,@BINDIR@,$(PREFIX)/bin,' $< >$@

install: all $(O)/lkvm@.service
	install -D -m 755 $(O)/lkvm $(DESTDIR)$(PREFIX)/bin/lkvm
	install -D -m 644 $(O)/lkvm@.service $(DESTDIR)$(PREFIX)/lib/systemd/system/lkvm@.service
	install -D -m 644 dist/lkvm.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/lkvm.conf
	for m in $(MANS); do \
		install -D -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$${m##*/} || exit; done
	for f in $(notdir $(EXAMPLES)); do install -D -m 644 Documentation/examples/$$f \
		$(DESTDIR)$(PREFIX)/share/doc/lkvm/examples/$$f || exit; done
	[ ! -e completion/lkvm.bash ] || install -D -m 644 completion/lkvm.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/lkvm
	[ ! -e completion/lkvm.zsh ] || install -D -m 644 completion/lkvm.zsh \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lkvm
	[ ! -e completion/lkvm.fish ] || install -D -m 644 completion/lkvm.fish \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lkvm.fish

uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	-rmdir $(DESTDIR)$(PREFIX)/share/doc/lkvm/examples $(DESTDIR)$(PREFIX)/share/doc/lkvm 2>/dev/null

clean:
	rm -rf $(O)

include guest/guests.mk

-include $(FUZZ_CORE:.o=.d) $(FUZZERS:%.c=$(O)/fuzz-obj/%.d)
-include $(CORE_OBJ:.o=.d) $(CMD_OBJ:.o=.d) $(SUPPORT_OBJ:.o=.d) $(TESTS:%.c=$(O)/obj/%.d)
