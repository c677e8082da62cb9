// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's side of 9P2000.L, for tests; see p9_client.h.
 *
 * Messages lie at MSG and answers at REPLY in guest memory, each cut into two buffers,
 * the second in the other bank of RAM.
 */
#include "p9_client.h"
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RINGS (DRV_RAM + 0x1000)
#define MSG (DRV_RAM + 0x100000)
#define REPLY (DRV_RAM + 0x200000)
#define BANK2 DRV_BANK

#define CANARY "sings\n"

/* --- the place ------------------------------------------------------------------------ */

const char *p9c_path(const struct p9c *c, const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", c->share, name);
	return path;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
}

void p9c_host_file(const struct p9c *c, const char *name, const char *text)
{
	write_file(p9c_path(c, name), text);
}

void p9c_place(struct p9c *c)
{
	char path[128];

	memset(c, 0, sizeof(*c));
	strcpy(c->base, "/tmp/lkvm-test-9p-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(c->base));
	snprintf(c->share, sizeof(c->share), "%s/share", c->base);
	ck_assert_int_eq(mkdir(c->share, 0755), 0);
	snprintf(path, sizeof(path), "%s/outside", c->base);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/outside/canary", c->base);
	write_file(path, CANARY);
	ck_assert_int_eq(chmod(path, 0604), 0);
	drv_memory(&c->mem);
	c->log_fd = memfd_create("log", MFD_CLOEXEC);
	log_init(&c->log, c->log_fd, LOG_LEVEL_WARNING);
}

/* Entries of a directory, "." and ".." left out. */
static unsigned int entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int nr = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr - 2;
}

void p9c_check_outside(const struct p9c *c)
{
	char path[128], text[64] = "";
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/outside/canary", c->base);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(read(fd, text, sizeof(text) - 1), (int)strlen(CANARY));
	ck_assert_str_eq(text, CANARY);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0604);
	ck_assert_uint_eq(st.st_uid, geteuid());
	ck_assert_uint_eq(st.st_nlink, 1);
	close(fd);
	snprintf(path, sizeof(path), "%s/outside", c->base);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 0755);
	ck_assert_uint_eq(entries(path), 1);
	ck_assert_uint_eq(entries(c->base), 2);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* --- the device ------------------------------------------------------------------------- */

static void run_soon(void *opaque)
{
	(void)opaque;
}

static const struct virtio_mmio_env mmio_env = {
	.run_soon = run_soon,
};

void p9c_device(struct p9c *c, const struct virtio_p9_config *config)
{
	static const struct virtio_p9_config plain = {.tag = "tag"};
	struct error err;
	int dir = open(c->share, O_PATH | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_ge(dir, 0);
	c->p9 = virtio_p9_create("9p0", &c->mem, &c->log, dir, config ? config : &plain, &err);
	ck_assert_msg(c->p9 != NULL, "%s", err.msg);
	c->mmio = virtio_mmio_create(virtio_p9_device(c->p9), drv_line(&c->drv), &mmio_env, c);
	c->drv.dev = c->mmio;
}

void p9c_go(struct p9c *c, uint64_t features)
{
	ck_assert(drv_start(&c->drv, features));
	drv_ring_init(&c->ring, &c->mem, P9C_NUM, RINGS);
	ck_assert(drv_queue(&c->drv, 0, &c->ring));
	drv_go(&c->drv);
}

void p9c_start(struct p9c *c, const struct virtio_p9_config *config)
{
	p9c_place(c);
	p9c_device(c, config);
	p9c_go(c, 1);
	ck_assert_int_eq(p9c_version(c, P9C_MSIZE, "9P2000.L"), 0);
	ck_assert_int_eq(p9c_attach(c, 0, 0), 0);
}

void p9c_device_free(struct p9c *c)
{
	virtio_mmio_device(c->mmio)->ops->destroy(virtio_mmio_device(c->mmio));
	c->mmio = NULL;
}

void p9c_stop(struct p9c *c)
{
	if (c->mmio)
		p9c_device_free(c);
	p9c_check_outside(c);
	ck_assert_int_eq(nftw(c->base, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	close(c->log_fd);
	memory_destroy(&c->mem);
}

/* --- messages ------------------------------------------------------------------------------ */

void p9c_begin(struct p9c *c, uint8_t type)
{
	c->len = 4;
	p9c_put(c, type, 1);
	p9c_put(c, ++c->tag, 2);
}

void p9c_put(struct p9c *c, uint64_t v, unsigned int bytes)
{
	while (bytes--) {
		c->msg[c->len++] = (uint8_t)v;
		v >>= 8;
	}
}

void p9c_bytes(struct p9c *c, const void *s, size_t len)
{
	memcpy(c->msg + c->len, s, len);
	c->len += len;
}

void p9c_str(struct p9c *c, const char *s)
{
	p9c_put(c, strlen(s), 2);
	p9c_bytes(c, s, strlen(s));
}

static unsigned int cut(struct drv_seg *segs, gpa_t at, uint32_t len, uint32_t first,
			uint16_t flags)
{
	if (len <= first) {
		segs[0] = (struct drv_seg){at, len, flags};
		return 1;
	}
	segs[0] = (struct drv_seg){at, first, flags};
	segs[1] = (struct drv_seg){at + BANK2, len - first, flags};
	return 2;
}

static void copy(struct p9c *c, gpa_t at, uint8_t *buf, uint32_t len, uint32_t first, bool in)
{
	uint32_t n = len < first ? len : first;

	while (len) {
		if (in)
			memcpy(drv_ptr(&c->mem, at, n), buf, n);
		else
			memcpy(buf, drv_ptr(&c->mem, at, n), n);
		buf += n;
		len -= n;
		at += BANK2;
		n = len;
	}
}

uint32_t p9c_send(struct p9c *c, const void *msg, uint32_t len, uint32_t room)
{
	struct drv_seg segs[4];
	unsigned int nr = 0;
	uint32_t id;
	uint16_t head;

	copy(c, MSG, (uint8_t *)(uintptr_t)msg, len, 13, true);
	memset(c->reply, 0xee, sizeof(c->reply));
	copy(c, REPLY, c->reply, room, 17, true);
	if (len)
		nr += cut(segs, MSG, len, 13, 0);
	if (room)
		nr += cut(segs + nr, REPLY, room, 17, DRV_WRITE);
	head = drv_add(&c->ring, segs, nr);
	drv_wr(&c->drv, R_NOTIFY, 0);
	while (!drv_get_used(&c->ring, &id, &c->used))
		sched_yield();
	ck_assert_uint_eq(id, head);
	ck_assert_uint_eq(drv_rd(&c->drv, R_STATUS), 15);
	drv_ack(&c->drv);
	copy(c, REPLY, c->reply, room, 17, false);
	return c->used;
}

uint64_t p9c_get(struct p9c *c, unsigned int bytes)
{
	uint64_t v = 0;
	unsigned int i;

	for (i = 0; i < bytes; i++)
		v |= (uint64_t)c->reply[c->at++] << 8 * i;
	if (c->at > c->used)
		ck_abort_msg("the answer is too short");
	return v;
}

int p9c_call(struct p9c *c)
{
	uint8_t type = c->msg[4];
	uint32_t len = (uint32_t)c->len;

	memcpy(c->msg, &len, 4);
	p9c_send(c, c->msg, len, P9C_MSIZE);
	c->at = 0;
	ck_assert_uint_ge(c->used, 7);
	ck_assert_uint_eq(p9c_get(c, 4), c->used);
	len = (uint32_t)p9c_get(c, 1);
	ck_assert_uint_eq(p9c_get(c, 2), c->tag);
	if (len == 7) {
		ck_assert_uint_eq(c->used, 11);
		return (int)p9c_get(c, 4);
	}
	ck_assert_uint_eq(len, type + 1U);
	return 0;
}

int p9c_version(struct p9c *c, uint32_t msize, const char *version)
{
	p9c_begin(c, T_VERSION);
	p9c_put(c, msize, 4);
	p9c_str(c, version);
	return p9c_call(c);
}

int p9c_attach(struct p9c *c, uint32_t fid, uint32_t uid)
{
	p9c_begin(c, T_ATTACH);
	p9c_put(c, fid, 4);
	p9c_put(c, NOFID, 4);
	p9c_str(c, "root");
	p9c_str(c, "");
	p9c_put(c, uid, 4);
	return p9c_call(c);
}

int p9c_walk(struct p9c *c, uint32_t fid, uint32_t newfid, const char *path)
{
	unsigned int nr = 0, got;
	size_t count_at;
	int ret;

	p9c_begin(c, T_WALK);
	p9c_put(c, fid, 4);
	p9c_put(c, newfid, 4);
	count_at = c->len;
	p9c_put(c, 0, 2);
	while (*path) {
		size_t n = strcspn(path, "/");

		p9c_put(c, n, 2);
		p9c_bytes(c, path, n);
		path += n + (path[n] == '/');
		nr++;
	}
	c->msg[count_at] = (uint8_t)nr;
	ret = p9c_call(c);
	if (ret)
		return ret;
	got = (unsigned int)p9c_get(c, 2);
	ck_assert_uint_eq(c->used, 9 + 13 * got);
	ck_assert_uint_le(got, nr);
	/* A walk that got stuck: no fid was made. */
	return got == nr ? 0 : -(int)got;
}

int p9c_lopen(struct p9c *c, uint32_t fid, uint32_t flags)
{
	p9c_begin(c, T_LOPEN);
	p9c_put(c, fid, 4);
	p9c_put(c, flags, 4);
	return p9c_call(c);
}

int p9c_lcreate(struct p9c *c, uint32_t fid, const char *name, uint32_t flags, uint32_t mode)
{
	p9c_begin(c, T_LCREATE);
	p9c_put(c, fid, 4);
	p9c_str(c, name);
	p9c_put(c, flags, 4);
	p9c_put(c, mode, 4);
	p9c_put(c, 0, 4);
	return p9c_call(c);
}

int p9c_read(struct p9c *c, uint32_t fid, uint64_t offset, uint32_t count)
{
	p9c_begin(c, T_READ);
	p9c_put(c, fid, 4);
	p9c_put(c, offset, 8);
	p9c_put(c, count, 4);
	return p9c_call(c);
}

int p9c_write(struct p9c *c, uint32_t fid, uint64_t offset, const void *data, uint32_t count)
{
	p9c_begin(c, T_WRITE);
	p9c_put(c, fid, 4);
	p9c_put(c, offset, 8);
	p9c_put(c, count, 4);
	p9c_bytes(c, data, count);
	return p9c_call(c);
}

int p9c_readdir(struct p9c *c, uint32_t fid, uint64_t offset, uint32_t count)
{
	p9c_begin(c, T_READDIR);
	p9c_put(c, fid, 4);
	p9c_put(c, offset, 8);
	p9c_put(c, count, 4);
	return p9c_call(c);
}

static int fid_only(struct p9c *c, uint8_t type, uint32_t fid)
{
	p9c_begin(c, type);
	p9c_put(c, fid, 4);
	return p9c_call(c);
}

int p9c_clunk(struct p9c *c, uint32_t fid)
{
	return fid_only(c, T_CLUNK, fid);
}

int p9c_remove(struct p9c *c, uint32_t fid)
{
	return fid_only(c, T_REMOVE, fid);
}

int p9c_mkdir(struct p9c *c, uint32_t fid, const char *name, uint32_t mode)
{
	p9c_begin(c, T_MKDIR);
	p9c_put(c, fid, 4);
	p9c_str(c, name);
	p9c_put(c, mode, 4);
	p9c_put(c, 0, 4);
	return p9c_call(c);
}

int p9c_symlink(struct p9c *c, uint32_t fid, const char *name, const char *target)
{
	p9c_begin(c, T_SYMLINK);
	p9c_put(c, fid, 4);
	p9c_str(c, name);
	p9c_str(c, target);
	p9c_put(c, 0, 4);
	return p9c_call(c);
}

int p9c_mknod(struct p9c *c, uint32_t fid, const char *name, uint32_t mode)
{
	p9c_begin(c, T_MKNOD);
	p9c_put(c, fid, 4);
	p9c_str(c, name);
	p9c_put(c, mode, 4);
	p9c_put(c, 1, 4);
	p9c_put(c, 3, 4);
	p9c_put(c, 0, 4);
	return p9c_call(c);
}

int p9c_link(struct p9c *c, uint32_t dir, uint32_t fid, const char *name)
{
	p9c_begin(c, T_LINK);
	p9c_put(c, dir, 4);
	p9c_put(c, fid, 4);
	p9c_str(c, name);
	return p9c_call(c);
}

int p9c_rename(struct p9c *c, uint32_t fid, uint32_t dir, const char *name)
{
	p9c_begin(c, T_RENAME);
	p9c_put(c, fid, 4);
	p9c_put(c, dir, 4);
	p9c_str(c, name);
	return p9c_call(c);
}

int p9c_renameat(struct p9c *c, uint32_t dir, const char *name, uint32_t newdir,
		 const char *newname)
{
	p9c_begin(c, T_RENAMEAT);
	p9c_put(c, dir, 4);
	p9c_str(c, name);
	p9c_put(c, newdir, 4);
	p9c_str(c, newname);
	return p9c_call(c);
}

int p9c_unlinkat(struct p9c *c, uint32_t dir, const char *name, uint32_t flags)
{
	p9c_begin(c, T_UNLINKAT);
	p9c_put(c, dir, 4);
	p9c_str(c, name);
	p9c_put(c, flags, 4);
	return p9c_call(c);
}

int p9c_setattr(struct p9c *c, uint32_t fid, uint32_t valid, uint32_t mode, uint32_t uid,
		uint32_t gid, uint64_t size, uint64_t mtime)
{
	p9c_begin(c, T_SETATTR);
	p9c_put(c, fid, 4);
	p9c_put(c, valid, 4);
	p9c_put(c, mode, 4);
	p9c_put(c, uid, 4);
	p9c_put(c, gid, 4);
	p9c_put(c, size, 8);
	p9c_put(c, 0, 8);
	p9c_put(c, 0, 8);
	p9c_put(c, mtime, 8);
	p9c_put(c, 5, 8);
	return p9c_call(c);
}

int p9c_getattr(struct p9c *c, uint32_t fid, struct p9c_attr *attr)
{
	int ret;

	p9c_begin(c, T_GETATTR);
	p9c_put(c, fid, 4);
	p9c_put(c, 0x7ff, 8);
	ret = p9c_call(c);
	if (ret)
		return ret;
	ck_assert_uint_eq(c->used, 7 + 153);
	ck_assert_uint_eq(p9c_get(c, 8), 0x7ff);
	attr->qid_type = (uint8_t)p9c_get(c, 1);
	p9c_get(c, 4);
	attr->ino = p9c_get(c, 8);
	attr->mode = (uint32_t)p9c_get(c, 4);
	attr->uid = (uint32_t)p9c_get(c, 4);
	attr->gid = (uint32_t)p9c_get(c, 4);
	attr->nlink = p9c_get(c, 8);
	attr->rdev = p9c_get(c, 8);
	attr->size = p9c_get(c, 8);
	c->at += 32;
	attr->mtime = p9c_get(c, 8);
	return 0;
}

int p9c_readlink(struct p9c *c, uint32_t fid, char *target, size_t max)
{
	int ret = fid_only(c, T_READLINK, fid);
	size_t len;

	if (ret)
		return ret;
	len = p9c_get(c, 2);
	ck_assert_uint_lt(len, max);
	memcpy(target, c->reply + c->at, len);
	target[len] = '\0';
	return 0;
}

int p9c_xattrwalk(struct p9c *c, uint32_t fid, uint32_t newfid, const char *name)
{
	p9c_begin(c, T_XATTRWALK);
	p9c_put(c, fid, 4);
	p9c_put(c, newfid, 4);
	p9c_str(c, name);
	return p9c_call(c);
}

int p9c_xattrcreate(struct p9c *c, uint32_t fid, const char *name, uint64_t size, uint32_t flags)
{
	p9c_begin(c, T_XATTRCREATE);
	p9c_put(c, fid, 4);
	p9c_str(c, name);
	p9c_put(c, size, 8);
	p9c_put(c, flags, 4);
	return p9c_call(c);
}
