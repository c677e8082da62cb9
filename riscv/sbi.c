// SPDX-License-Identifier: GPL-2.0-only
/*
 * Forwarded SBI calls (include/lkvm/riscv/sbi.h).
 *
 * DBCN (SBI 3.0, chapter "Debug Console Extension"): the buffer is named by a
 * physical address in two halves and must lie in RAM as a whole, else
 * INVALID_PARAM. Writing and reading never block: a short count, zero included,
 * is a good answer. One call moves at most a chunk, so that a guest that names
 * all of its RAM keeps its hart for a short time only.
 *
 * Legacy calls return in a0 alone, but KVM writes a1 as well: it is given back
 * what it held.
 *
 * Thread and lock: runs on the calling hart's thread, no state, no lock. Nothing
 * to save.
 */
#include "lkvm/riscv/sbi.h"

#define DBCN_CHUNK (64 * KIB)

static bool console_range(const struct sbi_env *env, const uint64_t args[6], gpa_t *gpa)
{
	if (env->xlen == 64) {
		if (args[2])
			return false;
		*gpa = args[1];
	} else {
		*gpa = (args[2] & UINT32_MAX) << 32 | (args[1] & UINT32_MAX);
	}
	return true;
}

static int64_t dbcn_write(const struct sbi_env *env, const uint64_t args[6], uint64_t *value)
{
	const uint8_t *buf;
	gpa_t gpa;

	if (!args[0])
		return SBI_SUCCESS;
	if (!console_range(env, args, &gpa))
		return SBI_ERR_INVALID_PARAM;
	buf = memory_for_read(env->mem, gpa, args[0]);
	if (!buf)
		return SBI_ERR_INVALID_PARAM;
	*value = env->put(env->opaque, buf, (size_t)min_u64(args[0], DBCN_CHUNK));
	return SBI_SUCCESS;
}

static int64_t dbcn_read(const struct sbi_env *env, const uint64_t args[6], uint64_t *value)
{
	uint8_t chunk[256];
	uint64_t done = 0;
	gpa_t gpa;

	if (!args[0])
		return SBI_SUCCESS;
	if (!console_range(env, args, &gpa) || !memory_find(env->mem, gpa, args[0]))
		return SBI_ERR_INVALID_PARAM;
	while (done < min_u64(args[0], DBCN_CHUNK)) {
		size_t got = env->get(env->opaque, chunk,
				      (size_t)min_u64(args[0] - done, sizeof(chunk)));

		if (!got)
			break;
		memory_write(env->mem, gpa + done, chunk, got);
		done += got;
	}
	*value = done;
	return SBI_SUCCESS;
}

static int64_t dbcn(const struct sbi_env *env, uint64_t fid, const uint64_t args[6],
		    uint64_t *value)
{
	uint8_t byte = (uint8_t)args[0];

	switch (fid) {
	case SBI_DBCN_WRITE:
		return dbcn_write(env, args, value);
	case SBI_DBCN_READ:
		return dbcn_read(env, args, value);
	case SBI_DBCN_WRITE_BYTE:
		/* The one blocking call of the extension; a full console drops the byte. */
		env->put(env->opaque, &byte, 1);
		return SBI_SUCCESS;
	default:
		return SBI_ERR_NOT_SUPPORTED;
	}
}

enum sbi_outcome sbi_call(const struct sbi_env *env, uint64_t eid, uint64_t fid,
			  const uint64_t args[6], int64_t *error, uint64_t *value)
{
	uint8_t byte;

	*value = 0;
	switch (eid) {
	case SBI_EID_PUTCHAR:
		byte = (uint8_t)args[0];
		env->put(env->opaque, &byte, 1);
		*error = 0;
		*value = args[1];
		return SBI_DONE;
	case SBI_EID_GETCHAR:
		*error = env->get(env->opaque, &byte, 1) ? byte : -1;
		*value = args[1];
		return SBI_DONE;
	case SBI_EID_BASE:
		/* KVM forwards the probe of the vendor and experimental ranges: none here. */
		*error = fid == SBI_BASE_PROBE ? SBI_SUCCESS : SBI_ERR_NOT_SUPPORTED;
		return SBI_DONE;
	case SBI_EID_DBCN:
		*error = dbcn(env, fid, args, value);
		return SBI_DONE;
	case SBI_EID_SUSP:
		if (fid != SBI_SUSP_SYSTEM) {
			*error = SBI_ERR_NOT_SUPPORTED;
			return SBI_DONE;
		}
		/*
		 * KVM has checked the arguments and queued the reset to the resume
		 * address: the call returns nowhere, so its result is not looked at.
		 */
		*error = SBI_SUCCESS;
		return SBI_SUSPEND;
	default:
		*error = SBI_ERR_NOT_SUPPORTED;
		return SBI_DONE;
	}
}
