# SPDX-License-Identifier: GPL-2.0-only
#
# The bare-metal guests, and the RISC-V programs that tests and benchmarks run on the host:
#
#   make guests     build/riscv64/guest/{walk,fill,hostile,irq,checker,tiny,tiny-*}  flat Images
#                   build/riscv64/tools/{posted,huge,bare,hostile-run,kallsyms-elf}  static programs
#
# They are RISC-V's wherever they are built, so CC, CFLAGS and O do not matter here.

GUEST_CROSS := $(if $(filter riscv64,$(shell uname -m)),,riscv64-linux-gnu-)
GUEST_CC := $(GUEST_CROSS)gcc
GUEST_DIR := build/riscv64/guest
GUEST_TOOLS_DIR := build/riscv64/tools
GUEST_NAMES := walk fill
GUEST_TINY := tiny tiny-idle tiny-reset tiny-exits
GUEST_CFLAGS := -std=gnu11 -O2 $(filter-out -Wmissing-prototypes,$(WARN)) -march=rv64ima_zicsr -mabi=lp64 \
	-mcmodel=medany -ffreestanding -fno-pic -fno-stack-protector -fno-tree-loop-distribute-patterns
GUEST_LDFLAGS := -nostdlib -static -no-pie -Wl,-T,guest/image.ld -Wl,--build-id=none -Wl,-z,noexecstack \
	-Wl,--no-warn-rwx-segments
GUEST_TOOL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -O2 $(WARN) -static

# Runs under Linux, in the guest; without a compiler for RISC-V it is an empty file.
GUEST_INIT_SRC := $(sort $(wildcard guest/init/*.c))
GUEST_INIT_CFLAGS := -std=gnu11 -Os $(filter-out -Wmissing-prototypes,$(WARN)) -march=rv64gc -mabi=lp64d \
	-ffreestanding -fno-pic -fno-stack-protector -fno-tree-loop-distribute-patterns

$(O)/guest-init: $(GUEST_INIT_SRC) $(wildcard guest/init/*.h) guest/guests.mk
	@mkdir -p $(@D)
	$(call say,GUEST,guest/init)
	$(Q)if command -v $(GUEST_CC) >/dev/null; then \
		$(GUEST_CC) $(GUEST_INIT_CFLAGS) -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noexecstack \
			-Wl,-z,separate-code -s \
			-o $@ $(GUEST_INIT_SRC); \
	else \
		: >$@; \
	fi

.PHONY: guests
guests: $(GUEST_NAMES:%=$(GUEST_DIR)/%) $(GUEST_DIR)/hostile $(GUEST_DIR)/irq $(GUEST_DIR)/checker \
	$(GUEST_TINY:%=$(GUEST_DIR)/%) $(GUEST_TOOLS_DIR)/posted $(GUEST_TOOLS_DIR)/huge \
	$(GUEST_TOOLS_DIR)/bare $(GUEST_TOOLS_DIR)/hostile-run $(GUEST_TOOLS_DIR)/kallsyms-elf

$(GUEST_DIR)/%.elf: guest/%.c guest/guest.c guest/start.S guest/guest.h guest/image.ld guest/guests.mk
	@mkdir -p $(@D)
	$(call say,GUEST,$<)
	$(Q)$(GUEST_CC) $(GUEST_CFLAGS) $(GUEST_LDFLAGS) -o $@ guest/start.S guest/guest.c $<

GUEST_HOSTILE := guest/start.S guest/guest.c guest/virtio.c $(sort $(wildcard guest/hostile/*.c))
$(GUEST_DIR)/hostile.elf: $(GUEST_HOSTILE) guest/hostile/hostile.h guest/virtio.h guest/guest.h guest/image.ld \
		guest/guests.mk
	@mkdir -p $(@D)
	$(call say,GUEST,guest/hostile)
	$(Q)$(GUEST_CC) $(GUEST_CFLAGS) $(GUEST_LDFLAGS) -o $@ $(GUEST_HOSTILE)

GUEST_IRQ := guest/start.S guest/irq/vector.S guest/guest.c guest/virtio.c $(sort $(wildcard guest/irq/*.c))
$(GUEST_DIR)/irq.elf: $(GUEST_IRQ) $(wildcard guest/irq/*.h) guest/virtio.h guest/guest.h guest/image.ld guest/guests.mk
	@mkdir -p $(@D)
	$(call say,GUEST,guest/irq)
	$(Q)$(GUEST_CC) $(GUEST_CFLAGS) $(GUEST_LDFLAGS) -o $@ $(GUEST_IRQ)

GUEST_CHECKER := guest/start.S guest/irq/vector.S guest/guest.c guest/checker/patterns.S \
	guest/checker/main.c guest/checker/paging.c
$(GUEST_DIR)/checker.elf: $(GUEST_CHECKER) guest/checker/checker.h guest/guest.h guest/image.ld guest/guests.mk
	@mkdir -p $(@D)
	$(call say,GUEST,guest/checker)
	$(Q)$(GUEST_CC) $(GUEST_CFLAGS) $(GUEST_LDFLAGS) -o $@ $(GUEST_CHECKER)

$(GUEST_NAMES:%=$(GUEST_DIR)/%) $(GUEST_DIR)/hostile $(GUEST_DIR)/irq $(GUEST_DIR)/checker: %: %.elf
	$(Q)$(GUEST_CROSS)objcopy -O binary $< $@

# One source, a macro for each of its ways: tiny-idle has IDLE.
$(GUEST_TINY:%=$(GUEST_DIR)/%.elf): $(GUEST_DIR)/%.elf: tests/boot/tiny.S guest/guests.mk
	@mkdir -p $(@D)
	$(call say,GUEST,$*)
	$(Q)$(GUEST_CC) -D$(or $(subst idle,IDLE,$(subst reset,RESET,$(subst exits,EXITS,$(patsubst \
		tiny-%,%,$(filter-out tiny,$*))))),POWER_OFF) -march=rv64ima -mabi=lp64 -nostdlib -static \
		-no-pie -Wl,-Ttext=0x80200000 -Wl,--build-id=none -o $@ $<

$(GUEST_TINY:%=$(GUEST_DIR)/%): %: %.elf
	$(Q)$(GUEST_CROSS)objcopy -O binary -j .text $< $@

# A KVM_RUN loop and nothing else, to compare with.
$(GUEST_TOOLS_DIR)/bare: tests/bench/bare.c guest/guests.mk
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(GUEST_CC) $(GUEST_TOOL_CFLAGS) -pthread -o $@ $<

$(GUEST_TOOLS_DIR)/posted: tests/lab/posted/posted.c guest/guests.mk
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(GUEST_CC) $(GUEST_TOOL_CFLAGS) -o $@ $<

# Plays the hostile guest's cases and watches the process.
$(GUEST_TOOLS_DIR)/hostile-run: tests/boot/hostile.c guest/guests.mk
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(GUEST_CC) $(GUEST_TOOL_CFLAGS) -o $@ $<

# A kernel's symbols for GDB.
$(GUEST_TOOLS_DIR)/kallsyms-elf: tests/boot/kallsyms-elf.c guest/guests.mk
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(GUEST_CC) $(GUEST_TOOL_CFLAGS) -o $@ $<

# Against the product's own way to memory and memslots.
GUEST_HUGE_SRC := tests/bench/huge.c vmm/kvm.c vmm/memory.c vmm/memory_block.c vmm/userfault.c vmm/util.c
$(GUEST_TOOLS_DIR)/huge: $(GUEST_HUGE_SRC) guest/guests.mk $(wildcard include/lkvm/*.h include/lkvm/riscv/*.h)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(GUEST_CC) $(GUEST_TOOL_CFLAGS) -o $@ $(GUEST_HUGE_SRC)
