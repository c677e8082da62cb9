/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The SBI calls that KVM hands to user space: legacy console, debug console
 * (DBCN), system suspend (SUSP), and the probe of vendor and experimental
 * extensions. A pure function of the call's registers and struct sbi_env.
 *
 * Source: RISC-V Supervisor Binary Interface specification 3.0, and Linux
 * arch/riscv/kvm/vcpu_sbi*.c for which calls are forwarded.
 */
#ifndef LKVM_RISCV_SBI_H
#define LKVM_RISCV_SBI_H

#include "lkvm/memory.h"
#include "lkvm/util.h"

/* SBI error codes, as a0 carries them. */
#define SBI_SUCCESS 0
#define SBI_ERR_NOT_SUPPORTED (-2)
#define SBI_ERR_INVALID_PARAM (-3)

#define SBI_EID_PUTCHAR 0x01
#define SBI_EID_GETCHAR 0x02
#define SBI_EID_BASE 0x10
#define SBI_EID_DBCN 0x4442434e
#define SBI_EID_SUSP 0x53555350

#define SBI_BASE_PROBE 3

#define SBI_DBCN_WRITE 0
#define SBI_DBCN_READ 1
#define SBI_DBCN_WRITE_BYTE 2

#define SBI_SUSP_SYSTEM 0

/**
 * struct sbi_env - the world of a forwarded call
 * @mem: guest memory, for DBCN's buffers
 * @xlen: 32 or 64: how wide an address half is
 * @put: bytes for the console; returns how many were taken, without blocking
 * @get: bytes from the console; returns how many there were, without blocking
 */
struct sbi_env {
	struct guest_memory *mem;
	unsigned int xlen;
	size_t (*put)(void *opaque, const uint8_t *buf, size_t len);
	size_t (*get)(void *opaque, uint8_t *buf, size_t len);
	void *opaque;
};

enum sbi_outcome {
	SBI_DONE,    /* the results are set: go on */
	SBI_SUSPEND, /* the hart waits for a wake-up event before it goes on */
};

/**
 * sbi_call() - answer one call
 * @eid, @fid: extension and function (@fid means nothing for the legacy ones)
 * @args: a0 to a5
 * @error: out: a0
 * @value: out: a1
 *
 * Any thread; @env's functions lock for themselves.
 */
enum sbi_outcome sbi_call(const struct sbi_env *env, uint64_t eid, uint64_t fid,
			  const uint64_t args[6], int64_t *error, uint64_t *value);

#endif /* LKVM_RISCV_SBI_H */
