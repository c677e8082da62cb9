/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's side of 9P2000.L, for tests: builds messages byte by byte (nothing of
 * virtio/p9_msg.c is used), sends each through a virtqueue and waits for its answer.
 * And a shared directory in a temporary place, with something beside it that must stay
 * as it is.
 */
#ifndef LKVM_TESTS_P9_CLIENT_H
#define LKVM_TESTS_P9_CLIENT_H

#include "virtio_driver.h"

#include "lkvm/virtio/mmio.h"
#include "lkvm/virtio/p9.h"

#define P9C_NUM 64
#define P9C_MSIZE 65536

#define NOFID UINT32_MAX

#define T_STATFS 8
#define T_LOPEN 12
#define T_LCREATE 14
#define T_SYMLINK 16
#define T_MKNOD 18
#define T_RENAME 20
#define T_READLINK 22
#define T_GETATTR 24
#define T_SETATTR 26
#define T_XATTRWALK 30
#define T_XATTRCREATE 32
#define T_READDIR 40
#define T_FSYNC 50
#define T_LOCK 52
#define T_GETLOCK 54
#define T_LINK 70
#define T_MKDIR 72
#define T_RENAMEAT 74
#define T_UNLINKAT 76
#define T_VERSION 100
#define T_AUTH 102
#define T_ATTACH 104
#define T_FLUSH 108
#define T_WALK 110
#define T_READ 116
#define T_WRITE 118
#define T_CLUNK 120
#define T_REMOVE 122

/* Linux's open flags where 9P2000.L numbers them. */
#define L_RDONLY 0
#define L_WRONLY 1
#define L_RDWR 2
#define L_CREAT 0100
#define L_EXCL 0200
#define L_TRUNC 01000
#define L_APPEND 02000
#define L_DIRECTORY 0200000

#define SET_MODE 1
#define SET_UID 2
#define SET_GID 4
#define SET_SIZE 8
#define SET_ATIME 0x10
#define SET_MTIME 0x20
#define SET_MTIME_TO 0x100

/**
 * struct p9c - a client, and what it talks to
 * @base: a temporary directory: @base/share is shared, @base/outside/canary is not
 * @msg: the message being built; @reply: the last answer
 * @used: the used length of the last request
 */
struct p9c {
	struct guest_memory mem;
	struct drv drv;
	struct drv_ring ring;
	struct virtio_p9 *p9;
	struct virtio_mmio *mmio;
	struct log log;
	int log_fd;
	char base[64], share[80];
	uint8_t msg[P9C_MSIZE + 64], reply[P9C_MSIZE + 64];
	size_t len, at;
	uint32_t used;
	uint16_t tag;
};

/* Make the place, the device, and (p9c_start) agree on a version and attach fid 0. */
void p9c_place(struct p9c *c);
void p9c_device(struct p9c *c, const struct virtio_p9_config *config);
void p9c_go(struct p9c *c, uint64_t features);
void p9c_start(struct p9c *c, const struct virtio_p9_config *config);

/* Free the device alone, or all; the canary is looked at. */
void p9c_device_free(struct p9c *c);
void p9c_stop(struct p9c *c);

/* Has anything outside the share changed? */
void p9c_check_outside(const struct p9c *c);

/* "BASE/share/NAME", in a static buffer. */
const char *p9c_path(const struct p9c *c, const char *name);
void p9c_host_file(const struct p9c *c, const char *name, const char *text);

/* A message, field by field. */
void p9c_begin(struct p9c *c, uint8_t type);
void p9c_put(struct p9c *c, uint64_t v, unsigned int bytes);
void p9c_str(struct p9c *c, const char *s);
void p9c_bytes(struct p9c *c, const void *s, size_t len);

/**
 * p9c_call() - send it; 0 or the error the answer holds. Fields can be taken then.
 * p9c_send() - send @len bytes as they are, with @room for the answer; the used length
 */
int p9c_call(struct p9c *c);
uint32_t p9c_send(struct p9c *c, const void *msg, uint32_t len, uint32_t room);
uint64_t p9c_get(struct p9c *c, unsigned int bytes);

/* Whole messages; 0 or errno. */
int p9c_version(struct p9c *c, uint32_t msize, const char *version);
int p9c_attach(struct p9c *c, uint32_t fid, uint32_t uid);
int p9c_walk(struct p9c *c, uint32_t fid, uint32_t newfid, const char *path);
int p9c_lopen(struct p9c *c, uint32_t fid, uint32_t flags);
int p9c_lcreate(struct p9c *c, uint32_t fid, const char *name, uint32_t flags, uint32_t mode);
int p9c_read(struct p9c *c, uint32_t fid, uint64_t offset, uint32_t count);
int p9c_write(struct p9c *c, uint32_t fid, uint64_t offset, const void *data, uint32_t count);
int p9c_readdir(struct p9c *c, uint32_t fid, uint64_t offset, uint32_t count);
int p9c_clunk(struct p9c *c, uint32_t fid);
int p9c_remove(struct p9c *c, uint32_t fid);
int p9c_mkdir(struct p9c *c, uint32_t fid, const char *name, uint32_t mode);
int p9c_symlink(struct p9c *c, uint32_t fid, const char *name, const char *target);
int p9c_mknod(struct p9c *c, uint32_t fid, const char *name, uint32_t mode);
int p9c_link(struct p9c *c, uint32_t dir, uint32_t fid, const char *name);
int p9c_rename(struct p9c *c, uint32_t fid, uint32_t dir, const char *name);
int p9c_renameat(struct p9c *c, uint32_t dir, const char *name, uint32_t newdir,
		 const char *newname);
int p9c_unlinkat(struct p9c *c, uint32_t dir, const char *name, uint32_t flags);
int p9c_setattr(struct p9c *c, uint32_t fid, uint32_t valid, uint32_t mode, uint32_t uid,
		uint32_t gid, uint64_t size, uint64_t mtime);
int p9c_readlink(struct p9c *c, uint32_t fid, char *target, size_t max);
int p9c_xattrwalk(struct p9c *c, uint32_t fid, uint32_t newfid, const char *name);
int p9c_xattrcreate(struct p9c *c, uint32_t fid, const char *name, uint64_t size, uint32_t flags);

struct p9c_attr {
	uint64_t ino, nlink, rdev, size, mtime;
	uint32_t mode, uid, gid;
	uint8_t qid_type;
};
int p9c_getattr(struct p9c *c, uint32_t fid, struct p9c_attr *attr);

#endif /* LKVM_TESTS_P9_CLIENT_H */
