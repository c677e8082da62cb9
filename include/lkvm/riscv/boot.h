/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loading what a VM starts: a kernel (RISC-V Image, the same gzip-compressed,
 * EFI zboot, or ELF) or a raw S-mode firmware binary, and an initrd; and the
 * place of each, and of the device tree, in the first region of RAM.
 *
 * The bytes come from open descriptors by pread(2) and go straight into guest
 * memory (nothing is mapped and no copy is kept), so the same plan can be
 * carried out again when the guest resets. Files are untrusted: every number
 * out of them is checked against the file's size and the RAM.
 *
 * Runs on the thread that builds the VM; no lock.
 */
#ifndef LKVM_RISCV_BOOT_H
#define LKVM_RISCV_BOOT_H

#include "lkvm/memory.h"
#include "lkvm/util.h"

/* Linux maps two 2 MiB pages around the tree: it must fit 2 MiB. */
#define BOOT_FDT_MAX (2 * MIB)

enum boot_format {
	BOOT_IMAGE, /* RISC-V Linux Image (boot-image-header) */
	BOOT_IMAGE_GZ,
	BOOT_ZBOOT,    /* EFI zboot with a gzip payload */
	BOOT_ELF,      /* vmlinux, U-Boot */
	BOOT_FIRMWARE, /* raw binary at RAM base + 2 MiB */
};

/**
 * struct boot_source - an open file
 * @fd: readable; -1: none. What is not a regular file, or empty, is refused: so
 *      open with O_NONBLOCK, which keeps a FIFO from blocking that long.
 * @name: as the user gave it, for messages
 */
struct boot_source {
	int fd;
	const char *name;
};

/**
 * struct boot_request - what to load
 * @kernel: a kernel, or a raw binary where @firmware
 * @firmware: @kernel is taken as it is, without looking for a format
 * @initrd: fd -1 for none
 * @xlen: of the guest's harts, 32 or 64: an ELF of the other class is refused
 * @fdt_size: bytes to keep for the device tree, at most BOOT_FDT_MAX
 */
struct boot_request {
	struct boot_source kernel;
	bool firmware;
	struct boot_source initrd;
	unsigned int xlen;
	uint64_t fdt_size;
};

/**
 * struct boot_layout - where everything is
 * @entry: pc of the boot hart
 * @kernel, @kernel_size: what the kernel occupies once it runs (its BSS included);
 *      for an ELF from its lowest address to its highest, in whatever regions
 * @initrd, @initrd_size: 0 where there is none
 * @fdt: 2 MiB aligned, so that it does not cross what Linux maps for it
 */
struct boot_layout {
	enum boot_format format;
	gpa_t entry;
	gpa_t kernel;
	uint64_t kernel_size;
	gpa_t initrd;
	uint64_t initrd_size;
	gpa_t fdt;
};

/* What uname -r prints, with a NUL (Linux's __NEW_UTS_LEN). */
#define BOOT_RELEASE_MAX 65

/**
 * boot_kernel_release() - read the release ("6.12.48-riscv64") out of a kernel
 * @release: BOOT_RELEASE_MAX bytes
 *
 * Return: 0, or -1 with @err set: no file that can be read, or no Linux kernel.
 */
int boot_kernel_release(const struct boot_source *kernel, char *release, struct error *err);

/**
 * boot_load() - place and load everything but the device tree
 * @mem: regions[0] is where all of it goes (an ELF's segments may name any region)
 *
 * Return: 0, or -1 with @err set: which file, which numbers, and what to do.
 * @layout is written only where all went well; after a failure RAM may hold parts
 * of the files.
 */
int boot_load(const struct boot_request *req, struct guest_memory *mem, struct boot_layout *layout,
	      struct error *err);

/**
 * boot_format_name() - "Image", "gzip Image", "EFI zboot", "ELF", "firmware"
 */
const char *boot_format_name(enum boot_format format);

#endif /* LKVM_RISCV_BOOT_H */
