// SPDX-License-Identifier: GPL-2.0-only
/*
 * The release of a Linux kernel, out of its file (include/lkvm/riscv/boot.h).
 *
 * Every kernel holds its banner, "Linux version RELEASE (...", once as it prints it; other
 * places where these words stand are formats, and go on with a "%". It may lie across two
 * pieces of the file, so the end of each piece is looked at again with the next.
 *
 * Thread: any. Nothing is kept.
 */
#include "boot_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (256 * KIB)

static const char banner[] = "Linux version ";

#define BANNER_LEN (sizeof(banner) - 1)
#define KEEP (BANNER_LEN + BOOT_RELEASE_MAX)

/* The release behind the banner at @p, of which @len bytes are there. */
static bool take_release(const uint8_t *p, size_t len, char *release)
{
	size_t n = 0;

	p += BANNER_LEN;
	len -= BANNER_LEN;
	if (!len || !isdigit(p[0]))
		return false;
	while (n < len && n < BOOT_RELEASE_MAX - 1 && p[n] > ' ' && p[n] < 0x7f && p[n] != '/')
		n++;
	/* It ends in a space, and is not cut off. */
	if (n == len || p[n] != ' ')
		return false;
	memcpy(release, p, n);
	release[n] = '\0';
	return true;
}

static bool look(const uint8_t *buf, size_t len, char *release)
{
	const uint8_t *p = buf, *end = buf + len;

	while ((p = memmem(p, (size_t)(end - p), banner, BANNER_LEN))) {
		if (take_release(p, (size_t)(end - p), release))
			return true;
		p++;
	}
	return false;
}

static long next_piece(struct boot_payload *payload, uint64_t *pos, uint8_t *buf, struct error *err)
{
	size_t len;

	if (payload->gz)
		return boot_gunzip_read(payload->gz, buf, PIECE, err);
	len = (size_t)min_u64(PIECE, payload->file->size - *pos);
	if (len && boot_file_read(payload->file, buf, len, *pos, err))
		return -1;
	*pos += len;
	return (long)len;
}

static int search(struct boot_payload *payload, uint8_t *buf, char *release, struct error *err)
{
	uint64_t pos = payload->head_len;
	size_t kept = (size_t)min_u64(payload->head_len, KEEP);
	long n;

	if (look(payload->head, payload->head_len, release))
		return 0;
	memcpy(buf, payload->head + payload->head_len - kept, kept);
	while ((n = next_piece(payload, &pos, buf + kept, err)) > 0) {
		size_t len = kept + (size_t)n;

		if (look(buf, len, release))
			return 0;
		kept = len < KEEP ? len : KEEP;
		memmove(buf, buf + len - kept, kept);
	}
	return n < 0 ? -1
		     : fail(err, "%s: no Linux version is to be found in it", payload->file->label);
}

int boot_kernel_release(const struct boot_source *kernel, char *release, struct error *err)
{
	struct boot_file file;
	struct boot_payload payload = {.file = &file, .head = malloc(BOOT_HEAD)};
	uint8_t *buf = malloc(KEEP + PIECE);
	enum boot_format format;
	int ret = -1;

	if (!payload.head || !buf)
		fail(err, "no memory to read a kernel");
	else if (!boot_file_check(&file, kernel, "kernel", "-k", err) &&
		 !boot_payload_open(&payload, &format, err))
		ret = search(&payload, buf, release, err);
	boot_gunzip_free(payload.gz);
	free(payload.head);
	free(buf);
	return ret;
}
