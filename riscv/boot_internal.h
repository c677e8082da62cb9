/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the loader share: a checked file, the gzip reader, and the
 * kernel's bytes as either of them gives them. Private to riscv/boot*.c.
 *
 * All of it lives on the stack of one boot_load(); no lock.
 */
#ifndef LKVM_RISCV_BOOT_INTERNAL_H
#define LKVM_RISCV_BOOT_INTERNAL_H

#include "lkvm/riscv/boot.h"

/* The first bytes of a kernel: any header lkvm reads lies in them. */
#define BOOT_HEAD (64 * KIB)

/* Linux maps itself, and aligns what it reserves for itself, in such pages. */
#define BOOT_ALIGN (2 * MIB)

#define BOOT_PAGE (4 * KIB)

static inline uint16_t get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get_le32(const uint8_t *p)
{
	return get_le16(p) | (uint32_t)get_le16(p + 2) << 16;
}

static inline uint64_t get_le64(const uint8_t *p)
{
	return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

/**
 * struct boot_file - a regular file
 * @label: "kernel vmlinuz": what messages call it; the name cut short, controls masked
 * @option: "-k"
 * @size: bytes, when it was looked at
 */
struct boot_file {
	int fd;
	const char *option;
	uint64_t size;
	char label[192];
};

/**
 * boot_file_check() - make a boot_file of an open file, or say why not
 * @kind: "kernel", "firmware", "initrd"
 *
 * Return: 0, or -1 with @err set: not a regular file, or empty.
 */
int boot_file_check(struct boot_file *file, const struct boot_source *src, const char *kind,
		    const char *option, struct error *err);

/**
 * boot_file_read() - exactly @len bytes at @offset into host memory
 *
 * Return: 0, or -1 with @err set (I/O error, or the file shrank meanwhile).
 */
int boot_file_read(const struct boot_file *file, void *buf, size_t len, uint64_t offset,
		   struct error *err);

/**
 * boot_file_to_guest() - exactly @len bytes at @offset to @gpa, without a copy between
 */
int boot_file_to_guest(const struct boot_file *file, struct guest_memory *mem, gpa_t gpa,
		       uint64_t len, uint64_t offset, struct error *err);

struct boot_gunzip;

/**
 * boot_gunzip_new() - a reader of the gzip stream in @len bytes at @offset of @file
 *
 * Return: the reader, for boot_gunzip_free(), or NULL with @err set.
 */
struct boot_gunzip *boot_gunzip_new(const struct boot_file *file, uint64_t offset, uint64_t len,
				    struct error *err);
void boot_gunzip_free(struct boot_gunzip *gz);

/**
 * boot_gunzip_read() - the next unpacked bytes
 *
 * The check sum is looked at with the read that meets the end, so read until
 * less than @len comes.
 *
 * Return: how many, less than @len only at the end; -1 with @err set.
 */
long boot_gunzip_read(struct boot_gunzip *gz, void *buf, size_t len, struct error *err);

/**
 * struct boot_payload - a kernel's bytes, behind whatever packs them
 * @gz: NULL where the file holds them as they are
 * @head, @head_len: the first bytes, at most BOOT_HEAD; @gz stands behind them
 */
struct boot_payload {
	const struct boot_file *file;
	struct boot_gunzip *gz;
	uint8_t *head;
	size_t head_len;
};

/**
 * boot_payload_open() - read the first bytes; what packs the kernel shows in them
 * @payload: @file and @head (BOOT_HEAD bytes) are set. To be freed by boot_gunzip_free()
 *           of @gz, in any case.
 * @format: BOOT_IMAGE also for what is in no known format
 *
 * Return: 0, or -1 with @err set.
 */
int boot_payload_open(struct boot_payload *payload, enum boot_format *format, struct error *err);

#define BOOT_ELF_SEGMENTS 64

/**
 * struct boot_segment - one PT_LOAD
 * @offset, @file_size: its bytes in the payload
 * @gpa, @size: where they go, with zeroes behind them
 * @vaddr: where the program thinks it is
 */
struct boot_segment {
	uint64_t offset;
	uint64_t file_size;
	gpa_t gpa;
	uint64_t size;
	uint64_t vaddr;
};

/**
 * struct boot_kernel - what the headers say is to be loaded
 * @start, @size: all that it occupies
 * @avoid, @avoid_end: the part of that in the first region; equal where there is none
 * @exact: its headers tell how much memory it uses until it can read the device tree
 * @below: what is under @avoid may be used too
 * @segments, @nr_segments: for an ELF
 */
struct boot_kernel {
	enum boot_format format;
	gpa_t entry;
	gpa_t start;
	uint64_t size;
	gpa_t avoid, avoid_end;
	bool exact;
	bool below;
	struct boot_segment segments[BOOT_ELF_SEGMENTS];
	size_t nr_segments;
};

bool boot_elf_is(const struct boot_payload *payload);

/**
 * boot_elf_plan() - read and check headers: fills @kernel; nothing is loaded
 * @xlen: of the guest's harts: the ELF's class must be the same
 */
int boot_elf_plan(const struct boot_payload *payload, unsigned int xlen,
		  const struct guest_memory *mem, struct boot_kernel *kernel, struct error *err);

/**
 * boot_elf_load() - the bytes of every segment, and zeroes behind them
 */
int boot_elf_load(const struct boot_payload *payload, const struct boot_kernel *kernel,
		  struct guest_memory *mem, struct error *err);

/**
 * boot_size() - a size for people: "35M", "640K", "12 bytes"; rounded up
 * @buf: at least 32 bytes
 */
const char *boot_size(char *buf, size_t len, uint64_t bytes);

/**
 * boot_advice() - what to do about RAM that ends before base + @need
 * @buf: at least 96 bytes
 */
const char *boot_advice(char *buf, size_t len, uint64_t need);

#endif /* LKVM_RISCV_BOOT_INTERNAL_H */
