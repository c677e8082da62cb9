// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files that the loader reads, and the gzip reader over them.
 *
 * Only regular files are taken: a size is needed before anything is placed, and
 * pread(2) at any offset so that the same plan can be carried out again. Bytes
 * go from the file to where they are wanted: a plain file by pread(2) into
 * guest memory, a compressed one through a 64 KiB buffer and zlib (RFC 1952
 * format only), which writes to guest memory itself. No size in a gzip trailer
 * is believed or used: the reader gives what comes and its caller has the limit.
 *
 * Thread: the one that builds the VM. Nothing is kept, nothing is saved.
 */
#include "boot_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

/* A path this long still leaves room for the reason in one line. */
#define NAME_SHOWN 160

static const char *file_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	case S_IFSOCK:
		return "a socket";
	default:
		return "no file of a known type";
	}
}

int boot_file_check(struct boot_file *file, const struct boot_source *src, const char *kind,
		    const char *option, struct error *err)
{
	const char *name = src->name ? src->name : "(no name)";
	size_t len = strlen(name);
	struct stat st;
	char *p;

	*file = (struct boot_file){.fd = src->fd, .option = option};
	if (len > NAME_SHOWN)
		snprintf(file->label, sizeof(file->label), "%s ...%s", kind,
			 name + len - NAME_SHOWN);
	else
		snprintf(file->label, sizeof(file->label), "%s %s", kind, name);
	for (p = file->label; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';

	if (fstat(src->fd, &st))
		return fail_errno(err, errno, "cannot look at %s (%s)", file->label, option);
	if (!S_ISREG(st.st_mode))
		return fail(err, "%s is %s: %s wants a regular file", file->label,
			    file_type(st.st_mode), option);
	if (st.st_size <= 0)
		return fail(err, "%s is empty (%s)", file->label, option);
	file->size = (uint64_t)st.st_size;
	return 0;
}

int boot_file_read(const struct boot_file *file, void *buf, size_t len, uint64_t offset,
		   struct error *err)
{
	long n = pread_all(file->fd, buf, len, offset);

	if (n < 0)
		return fail_errno(err, errno, "cannot read %s (%s)", file->label, file->option);
	if ((size_t)n != len)
		return fail(err, "%s became shorter while it was read: %llu of %llu bytes",
			    file->label, (unsigned long long)offset + (unsigned long long)n,
			    (unsigned long long)file->size);
	return 0;
}

int boot_file_to_guest(const struct boot_file *file, struct guest_memory *mem, gpa_t gpa,
		       uint64_t len, uint64_t offset, struct error *err)
{
	void *p;

	if (!len)
		return 0;
	p = memory_for_write(mem, gpa, len);
	if (!p)
		return fail(err, "%s: 0x%llx + 0x%llx is not RAM", file->label,
			    (unsigned long long)gpa, (unsigned long long)len);
	return boot_file_read(file, p, (size_t)len, offset, err);
}

/**
 * struct boot_gunzip - a gzip stream under way
 * @pos, @end: what of the file was not read yet
 * @out: bytes given so far
 * @ended: the last member is complete
 */
struct boot_gunzip {
	const struct boot_file *file;
	uint64_t pos, end;
	uint64_t out;
	bool ended;
	z_stream z;
	uint8_t in[BOOT_HEAD];
};

struct boot_gunzip *boot_gunzip_new(const struct boot_file *file, uint64_t offset, uint64_t len,
				    struct error *err)
{
	struct boot_gunzip *gz = malloc(sizeof(*gz));

	if (gz) {
		memset(&gz->z, 0, sizeof(gz->z));
		/* 15 bits of window, and 16: the gzip wrapper and no other. */
		if (inflateInit2(&gz->z, 15 + 16) == Z_OK) {
			gz->file = file;
			gz->pos = offset;
			gz->end = offset + len;
			gz->out = 0;
			gz->ended = false;
			return gz;
		}
		free(gz);
	}
	fail(err, "no memory to unpack %s", file->label);
	return NULL;
}

void boot_gunzip_free(struct boot_gunzip *gz)
{
	if (!gz)
		return;
	inflateEnd(&gz->z);
	free(gz);
}

/* Move what zlib did not take yet to the front of the buffer and fill it up. */
static int gunzip_fill(struct boot_gunzip *gz, struct error *err)
{
	size_t have = gz->z.avail_in;
	size_t n = (size_t)min_u64(sizeof(gz->in) - have, gz->end - gz->pos);

	if (have)
		memmove(gz->in, gz->z.next_in, have);
	gz->z.next_in = gz->in;
	if (n && boot_file_read(gz->file, gz->in + have, n, gz->pos, err))
		return -1;
	gz->pos += n;
	gz->z.avail_in += (uInt)n;
	return 0;
}

/* Behind a member: another one, padding with zeroes, or the end. */
static int gunzip_member_end(struct boot_gunzip *gz, struct error *err)
{
	uint64_t at;
	size_t i;

	if (gunzip_fill(gz, err))
		return -1;
	if (gz->z.avail_in >= 2 && gz->in[0] == 0x1f && gz->in[1] == 0x8b) {
		inflateReset(&gz->z);
		return 0;
	}
	at = gz->pos - gz->z.avail_in;
	for (i = 0; i < gz->z.avail_in && !gz->in[i]; i++)
		;
	if (i < gz->z.avail_in || gz->pos < gz->end)
		return fail(err,
			    "%s has %llu bytes behind its gzip data (at offset %llu) that are "
			    "not gzip: cut them off",
			    gz->file->label, (unsigned long long)(gz->end - at),
			    (unsigned long long)at);
	gz->ended = true;
	return 0;
}

long boot_gunzip_read(struct boot_gunzip *gz, void *buf, size_t len, struct error *err)
{
	size_t done = 0;

	while (done < len && !gz->ended) {
		uInt room = (uInt)min_u64(len - done, 1 << 30);
		uInt before;
		int ret;

		if (!gz->z.avail_in && gunzip_fill(gz, err))
			return -1;
		if (!gz->z.avail_in)
			return fail(err,
				    "%s is truncated: its gzip data ends early, after %llu bytes",
				    gz->file->label, (unsigned long long)gz->end);
		gz->z.next_out = (uint8_t *)buf + done;
		gz->z.avail_out = room;
		before = gz->z.avail_in;
		ret = inflate(&gz->z, Z_NO_FLUSH);
		done += room - gz->z.avail_out;
		gz->out += room - gz->z.avail_out;
		if (ret == Z_STREAM_END) {
			if (gunzip_member_end(gz, err))
				return -1;
		} else if (ret == Z_MEM_ERROR) {
			return fail(err, "no memory to unpack %s", gz->file->label);
		} else if (ret != Z_OK || (before == gz->z.avail_in && room == gz->z.avail_out)) {
			/* A call that moves nothing would be repeated for ever. */
			return fail(err, "%s has damaged gzip data near offset %llu%s%s",
				    gz->file->label, (unsigned long long)gz->pos - gz->z.avail_in,
				    gz->z.msg ? ": " : "", gz->z.msg ? gz->z.msg : "");
		}
	}
	return (long)done;
}

const char *boot_size(char *buf, size_t len, uint64_t bytes)
{
	unsigned int shift = 10;
	const char *unit = "K";

	if (bytes < 10 * KIB && bytes % KIB) {
		snprintf(buf, len, "%llu bytes", (unsigned long long)bytes);
		return buf;
	}
	if (bytes >= 100 * GIB) {
		shift = 30;
		unit = "G";
	} else if (bytes >= 4 * MIB || (bytes >= MIB && !(bytes % MIB))) {
		shift = 20;
		unit = "M";
	}
	bytes = (bytes >> shift) + !!(bytes & ((UINT64_C(1) << shift) - 1));
	snprintf(buf, len, "%llu%s", (unsigned long long)bytes, unit);
	return buf;
}

const char *boot_advice(char *buf, size_t len, uint64_t need)
{
	/* No kernel is that large: more memory would not help. */
	if (need > TIB)
		snprintf(buf, len, "that number cannot be right, the file is damaged");
	else
		snprintf(buf, len, "give at least -m %llu",
			 (unsigned long long)(align_up(need, 16 * MIB) / MIB));
	return buf;
}
