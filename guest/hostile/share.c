// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pokes at a shared directory: 9P2000.L messages (Linux Documentation/filesystems/9p,
 * the "9P2000.L protocol" of diod). The share is writable and holds a file "inside";
 * beside the share lies a file "secret" that must never be reached.
 */
#include "hostile.h"

#define T_LERROR 7
#define T_STATFS 8
#define T_LOPEN 12
#define T_LCREATE 14
#define T_SYMLINK 16
#define T_MKNOD 18
#define T_READLINK 22
#define T_GETATTR 24
#define T_SETATTR 26
#define T_XATTRWALK 30
#define T_READDIR 40
#define T_MKDIR 72
#define T_VERSION 100
#define T_ATTACH 104
#define T_FLUSH 108
#define T_WALK 110
#define T_READ 116
#define T_WRITE 118
#define T_CLUNK 120

#define NO_FID 0xffffffff
#define EROFS 30
#define AT_REQUEST(s) ((uint64_t)BLK_DATA(s))
#define AT_ANSWER(s) (AT_REQUEST(s) + 16384)
#define ANSWER_MAX 16384

/**
 * struct message - a request being built
 */
struct message {
	uint64_t at;
	uint32_t len;
};

static void put8(struct message *m, uint8_t v)
{
	wr8(m->at + m->len++, v);
}

static void put16(struct message *m, uint16_t v)
{
	put8(m, (uint8_t)v);
	put8(m, (uint8_t)(v >> 8));
}

static void put32(struct message *m, uint32_t v)
{
	put16(m, (uint16_t)v);
	put16(m, (uint16_t)(v >> 16));
}

static void put64(struct message *m, uint64_t v)
{
	put32(m, (uint32_t)v);
	put32(m, (uint32_t)(v >> 32));
}

static void put_bytes(struct message *m, const char *text, uint16_t len)
{
	uint16_t i;

	put16(m, len);
	for (i = 0; i < len; i++)
		put8(m, (uint8_t)text[i]);
}

static void put_text(struct message *m, const char *text)
{
	uint16_t len = 0;

	while (text[len])
		len++;
	put_bytes(m, text, len);
}

static struct message begin(struct stage *s, uint8_t type)
{
	struct message m = {.at = AT_REQUEST(s), .len = 4};

	put8(&m, type);
	put16(&m, 1);
	return m;
}

static uint32_t unaligned32(uint64_t at)
{
	return rd8(at) | (uint32_t)rd8(at + 1) << 8 | (uint32_t)rd8(at + 2) << 16 |
	       (uint32_t)rd8(at + 3) << 24;
}

/* Send it; the type of the answer, 0 where there was none. */
static uint8_t ask(struct stage *s, struct message *m)
{
	struct vring *r = &s->v->ring[0];
	uint32_t len = m->len, used = 0;

	m->len = 0;
	put32(m, len);
	wr8(AT_ANSWER(s) + 4, 0);
	v_desc(r, 0, (void *)m->at, len, VD_NEXT, 1);
	v_desc(r, 1, (void *)AT_ANSWER(s), ANSWER_MAX, VD_WRITE, 0);
	v_offer(r, 0);
	if (!v_wait(s->v, s->guest, 0, NULL, &used) || used < 7)
		return 0;
	return rd8(AT_ANSWER(s) + 4);
}

/* The error number of the last answer. */
static uint32_t error_of(struct stage *s)
{
	return unaligned32(AT_ANSWER(s) + 7);
}

static bool refused(struct stage *s, struct message *m, const char *what)
{
	uint8_t type = ask(s, m);

	return type == T_LERROR || wrong(what, type);
}

static bool allowed(struct stage *s, struct message *m, uint8_t request, const char *what)
{
	uint8_t type = ask(s, m);

	if (type == request + 1)
		return true;
	return wrong(what, type == T_LERROR ? error_of(s) : type);
}

/* Version and attach: fid 0 is the root. */
static bool attach(struct stage *s)
{
	struct message m = begin(s, T_VERSION);

	put32(&m, 8192);
	put_text(&m, "9P2000.L");
	if (!allowed(s, &m, T_VERSION, "version"))
		return false;
	m = begin(s, T_ATTACH);
	put32(&m, 0);
	put32(&m, NO_FID);
	put_text(&m, "");
	put_text(&m, "");
	put32(&m, 0);
	return allowed(s, &m, T_ATTACH, "attach");
}

static struct message walk(struct stage *s, uint32_t fid, uint32_t newfid, uint16_t nr)
{
	struct message m = begin(s, T_WALK);

	put32(&m, fid);
	put32(&m, newfid);
	put16(&m, nr);
	return m;
}

static bool clunk(struct stage *s, uint32_t fid)
{
	struct message m = begin(s, T_CLUNK);

	put32(&m, fid);
	ask(s, &m);
	return true;
}

/* Names that are no names, and ways out of the directory. */
static bool names(struct stage *s)
{
	static const char *const bad[] = {"../secret", "a/b", "/etc", "", ".", "inside/", "/"};
	struct message m;
	char longer[300];
	uint16_t i;

	if (!attach(s))
		return false;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		m = walk(s, 0, 1, 1);
		put_text(&m, bad[i]);
		if (!refused(s, &m, "a name that is none is walked"))
			return false;
	}
	m = walk(s, 0, 1, 1);
	put_bytes(&m, "in\0side", 7);
	if (!refused(s, &m, "a name with a NUL is walked"))
		return false;
	for (i = 0; i < sizeof(longer); i++)
		longer[i] = 'a';
	m = walk(s, 0, 1, 1);
	put_bytes(&m, longer, sizeof(longer));
	if (!refused(s, &m, "a long name is walked"))
		return false;
	/* Seventeen steps are one too many. */
	m = walk(s, 0, 1, 17);
	for (i = 0; i < 17; i++)
		put_text(&m, "..");
	if (!refused(s, &m, "17 steps are walked"))
		return false;
	/* Up from the root is the root. */
	m = walk(s, 0, 1, 3);
	put_text(&m, "..");
	put_text(&m, "..");
	put_text(&m, "secret");
	if (ask(s, &m) == T_WALK + 1 && rd8(AT_ANSWER(s) + 7) == 3)
		return wrong("the share's parent was walked", 3);
	m = walk(s, 0, 1, 1);
	put_text(&m, "inside");
	return allowed(s, &m, T_WALK, "what is inside can't be walked") && clunk(s, 1);
}

static bool create_symlink(struct stage *s, const char *name, const char *target)
{
	struct message m = begin(s, T_SYMLINK);

	put32(&m, 0);
	put_text(&m, name);
	put_text(&m, target);
	put32(&m, 0);
	/* It may be there from the last time. */
	ask(s, &m);
	return true;
}

/* A link that was planted here must not lead out. */
static bool planted_links(struct stage *s)
{
	static const char *const targets[] = {"..", "/", "../secret", "/etc/passwd",
					      "/proc/self/root"};
	static const char *const links[] = {"l0", "l1", "l2", "l3", "l4"};
	struct message m;
	unsigned int i;

	if (!attach(s))
		return false;
	for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		create_symlink(s, links[i], targets[i]);
		/* Through the link. */
		m = walk(s, 0, 1, 2);
		put_text(&m, links[i]);
		put_text(&m, i == 1 ? "etc" : "secret");
		if (ask(s, &m) == T_WALK + 1 && rd8(AT_ANSWER(s) + 7) == 2)
			return wrong("a planted link was followed, link", i);
		clunk(s, 1);
		/* The link itself may be walked to, but not opened. */
		m = walk(s, 0, 1, 1);
		put_text(&m, links[i]);
		if (ask(s, &m) != T_WALK + 1)
			continue;
		m = begin(s, T_LOPEN);
		put32(&m, 1);
		put32(&m, 0);
		if (!refused(s, &m, "a link was opened"))
			return false;
		clunk(s, 1);
	}
	return true;
}

/* Device nodes, set-user-ID files, fids out of order, counts without measure. */
static bool odd_requests(struct stage *s)
{
	struct message m;
	uint32_t i;

	if (!attach(s))
		return false;
	m = begin(s, T_MKNOD);
	put32(&m, 0);
	put_text(&m, "mem");
	put32(&m, 0020666); /* a character device */
	put32(&m, 1);
	put32(&m, 1);
	put32(&m, 0);
	if (!refused(s, &m, "a device node was made"))
		return false;
	/* A FIFO may be made, and is there from the last time; who opens it would wait. */
	m = begin(s, T_MKNOD);
	put32(&m, 0);
	put_text(&m, "fifo");
	put32(&m, 0010666);
	put32(&m, 0);
	put32(&m, 0);
	put32(&m, 0);
	ask(s, &m);
	m = walk(s, 0, 1, 1);
	put_text(&m, "fifo");
	if (!allowed(s, &m, T_WALK, "walk to a FIFO"))
		return false;
	for (i = 0; i < 3; i++) {
		m = begin(s, T_LOPEN);
		put32(&m, 1);
		put32(&m, i);
		if (!refused(s, &m, "a FIFO was opened"))
			return false;
	}
	clunk(s, 1);
	for (i = 0; i < 200; i += 7) {
		m = begin(s, T_READ);
		put32(&m, i);
		put64(&m, ~UINT64_C(0) - i);
		put32(&m, 0xffffffff);
		if (!refused(s, &m, "a fid that is not open was read"))
			return false;
	}
	m = walk(s, 0, 1, 1);
	put_text(&m, "inside");
	if (!allowed(s, &m, T_WALK, "walk"))
		return false;
	/* A new fid that is taken. */
	m = walk(s, 0, 1, 0);
	if (!refused(s, &m, "a fid was used twice"))
		return false;
	m = begin(s, T_LOPEN);
	put32(&m, 1);
	put32(&m, 0);
	if (!allowed(s, &m, T_LOPEN, "open"))
		return false;
	m = walk(s, 1, 2, 0);
	ask(s, &m);
	m = begin(s, T_READ);
	put32(&m, 1);
	put64(&m, ~UINT64_C(0) >> 1);
	put32(&m, 0xffffffff);
	ask(s, &m);
	m = begin(s, T_WRITE);
	put32(&m, 1);
	put64(&m, 0);
	put32(&m, 0xffffffff);
	if (!refused(s, &m, "a write of more than there is"))
		return false;
	m = begin(s, T_READDIR);
	put32(&m, 1);
	put64(&m, 0);
	put32(&m, 8192);
	if (!refused(s, &m, "a file was read as a directory"))
		return false;
	m = begin(s, T_XATTRWALK);
	put32(&m, 1);
	put32(&m, 3);
	put_text(&m, "user.x");
	ask(s, &m);
	m = begin(s, T_FLUSH);
	put16(&m, 1);
	return allowed(s, &m, T_FLUSH, "flush") && clunk(s, 1) && clunk(s, 77);
}

/* Sizes and types of messages that lie. */
static bool bad_messages(struct stage *s)
{
	struct vring *r = &s->v->ring[0];
	struct message m;
	uint32_t i;

	if (!attach(s))
		return false;
	for (i = 0; i < 256; i++) {
		if (i == T_VERSION)
			continue;
		m = begin(s, (uint8_t)i);
		ask(s, &m);
		m = begin(s, (uint8_t)i);
		put32(&m, 0);
		put16(&m, 0xffff);
		put32(&m, 0xffffffff);
		ask(s, &m);
	}
	for (i = 0; i < 12; i++) {
		m = begin(s, T_WALK);
		put64(&m, 0);
		wr32(m.at, i & 1 ? 0xffffffff : i);
		v_desc(r, 0, (void *)m.at, i, VD_NEXT, 1);
		v_desc(r, 1, (void *)AT_ANSWER(s), i, VD_WRITE, 0);
		v_offer(r, 0);
		if (!v_wait(s->v, s->guest, 0, NULL, NULL) && !(v_status(s->v) & V_NEEDS_RESET))
			return wrong("a message is kept, length", i);
		if (v_status(s->v) & V_NEEDS_RESET && !up(s, s->v, 0, 16))
			return false;
	}
	return attach(s);
}

/* fids without end. */
static bool many_fids(struct stage *s)
{
	struct message m;
	uint32_t i;

	if (!attach(s))
		return false;
	for (i = 1; i < s->count * 5; i++) {
		m = walk(s, 0, i, 0);
		if (ask(s, &m) != T_WALK + 1)
			break;
	}
	return attach(s);
}

/* The second share is read-only. */
static bool read_only(struct stage *s)
{
	struct stage on = *s;
	struct message m;

	on.v = vbus_device(s->bus, V_ID_9P, 1);
	if (!on.v)
		return wrong("no second share", 1);
	if (!up(&on, on.v, 0, 16) || !attach(&on))
		return false;
	m = begin(&on, T_MKDIR);
	put32(&m, 0);
	put_text(&m, "made");
	put32(&m, 0777);
	put32(&m, 0);
	if (!refused(&on, &m, "a directory was made") || error_of(&on) != EROFS)
		return wrong("mkdir says", error_of(&on));
	m = begin(&on, T_SYMLINK);
	put32(&m, 0);
	put_text(&m, "link");
	put_text(&m, "x");
	put32(&m, 0);
	if (!refused(&on, &m, "a link was made"))
		return false;
	m = walk(&on, 0, 1, 1);
	put_text(&m, "inside");
	if (!allowed(&on, &m, T_WALK, "walk"))
		return false;
	m = begin(&on, T_SETATTR);
	put32(&m, 1);
	put32(&m, 0xff);
	put32(&m, 04777);
	put32(&m, 0);
	put32(&m, 0);
	put64(&m, 0);
	put64(&m, 0);
	put64(&m, 0);
	put64(&m, 0);
	put64(&m, 0);
	if (!refused(&on, &m, "attributes were changed"))
		return false;
	m = begin(&on, T_LOPEN);
	put32(&m, 1);
	put32(&m, 01002); /* read and write, truncate */
	if (!refused(&on, &m, "a file was opened for writing"))
		return false;
	/* Its fids are ours to give back. */
	return v_reset(on.v) || wrong("status", v_status(on.v));
}

const struct poke share_pokes[] = {
	{"C17", V_ID_9P, names},
	{"C17-links", V_ID_9P, planted_links},
	{"C18", V_ID_9P, odd_requests},
	{"C18-messages", V_ID_9P, bad_messages},
	{"C18-fids", V_ID_9P, many_fids},
	{"C19", V_ID_9P, read_only},
	{NULL, 0, NULL},
};
