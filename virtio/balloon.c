// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory balloon: virtio 1.2 and 1.3, section 5.5, without free page hinting.
 *
 * Inflating and deflating. A request lists page numbers of 4 KiB each. A list of any
 * length is worked through in passes of PASS_PAGES, the rest of it waiting in the ring
 * (virtq_put_back()), so that no list holds a thread for long. Numbers are sorted, CHUNK
 * at a time. What is no RAM is counted, and told in the log.
 *
 * Memory goes back to the host, and reads as zeroes from then on, by blocks
 * (memory_block()). Where a block is a page, at once, neighbours together. Where it is
 * larger, a part of it would split a huge page, win nothing until the rest follows, and
 * cost the guest a large mapping: there the pages are recorded (balloon_pages.h), and the
 * block goes when the last of it comes in. A page that is taken out leaves the record;
 * memory appears where the guest touches it.
 *
 * This needs MUST_TELL_HOST: a driver that uses a page before we heard that it took it
 * out would lose what it wrote when the block is given back. A driver without it has
 * whole blocks given back only where one request names all of their pages.
 *
 * The record is not saved: the device is loaded with an empty one. Blocks that went back
 * before stay away; those of which a part is in the balloon are kept until all of it came
 * in anew. A reset empties the record too. Either way nothing is given back that the
 * driver did not name since.
 *
 * `actual` is what the driver says of itself, for show. DEFLATE_ON_OOM is the driver's
 * affair alone.
 *
 * Free pages come as buffers to be written, and whole blocks inside one go back. A
 * driver that told a poison value other than 0 expects to find it there again
 * (PAGE_POISON), and its pages are left alone. With FREE_PAGE_HINT not offered the
 * specification's queue 3 is nobody's; Linux before 6.11 counts queues without gaps and
 * has its reporting queue there, so both 3 and 4 are one.
 *
 * Statistics. The driver's buffer stays in the ring until new figures are wanted: giving
 * it back is the request for them. They are wanted while somebody asks for them, at most
 * once a second, and for POLL_SECONDS after.
 *
 * Thread and lock: the virtio device's. What is saved: the configuration space; how far
 * a list was worked through is the queue's.
 */
#include "lkvm/virtio/balloon.h"

#include "lkvm/options.h"
#include "lkvm/virtio/balloon_pages.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BALLOON_ID 5
#define BALLOON_QUEUE_MAX 128

#define F_MUST_TELL_HOST 0
#define F_STATS_VQ 1
#define F_DEFLATE_ON_OOM 2
#define F_PAGE_POISON 4
#define F_REPORTING 5

enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_STATS, QUEUE_REPORT_OLD, QUEUE_REPORT, NR_QUEUES };

/* Configuration space: le32 num_pages, actual, free_page_hint_cmd_id, poison_val. */
#define CONFIG_SIZE 16
#define CONFIG_ACTUAL 4
#define CONFIG_POISON 12

#define PAGE 4096
#define PAGE_SHIFT 12

#define CHUNK 256
#define PASS_PAGES 256

/* le16 tag, le64 value. */
#define STAT_SIZE 10
#define STATS_MAX 64 /* entries that are looked at */

#define POLL_NS NSEC_PER_SEC
#define POLL_SECONDS 10

struct virtio_balloon {
	struct virtio_device vdev;
	const struct virtio_balloon_env *env;
	void *opaque;
	/**
	 * struct balloon_state - what is saved
	 * @target: pages the balloon is to hold; @actual: what the driver says it holds
	 */
	struct balloon_state {
		uint32_t target, actual, poison;
	} state;
	struct balloon_pages pages; /* in the balloon, in blocks that are larger */
	struct balloon_stats stats;
	bool held;	     /* the driver's buffer for statistics waits in the ring */
	bool ask;	     /* give it back */
	bool armed;	     /* the timer is on its way */
	uint64_t poll_until; /* now() when nobody wants figures any more */
};

static struct virtio_balloon *to_balloon(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_balloon, vdev);
}

/* --- inflating and deflating ------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int discard(struct virtio_balloon *b, gpa_t gpa, uint64_t len)
{
	int ret = b->env->discard(b->opaque, gpa, len);

	if (ret && ret != -EINVAL)
		virtio_complain(&b->vdev, "the host did not take back memory at 0x%llx: %s",
				(unsigned long long)gpa, strerror(-ret));
	return ret;
}

/* Give @nr pages from number @first on back. Return: how many were no RAM. */
static unsigned int give_back(struct virtio_balloon *b, uint32_t first, unsigned int nr)
{
	unsigned int i, bad = 0;
	int ret = discard(b, (gpa_t)first << PAGE_SHIFT, (uint64_t)nr << PAGE_SHIFT);

	/* Neighbours may lie in two regions, or only some of them in RAM. */
	if (ret == -EINVAL && nr > 1) {
		for (i = 0; i < nr; i++)
			bad += give_back(b, first + i, 1);
		return bad;
	}
	return ret == -EINVAL;
}

/* A page of a block that is larger. */
static void record(struct virtio_balloon *b, gpa_t gpa, uint64_t block)
{
	int ret = balloon_pages_add(&b->pages, gpa);

	if (ret < 0)
		virtio_complain(&b->vdev, "no memory to record what is in the balloon");
	else if (ret)
		discard(b, align_down(gpa, block), block);
}

/* Return: how many of @pages, which are sorted, were no RAM. */
static unsigned int inflate_pages(struct virtio_balloon *b, const uint32_t *pages, size_t nr)
{
	unsigned int run, bad = 0;
	size_t i;

	for (i = 0; i < nr; i += run) {
		gpa_t gpa = (gpa_t)pages[i] << PAGE_SHIFT;
		uint64_t block = memory_block(b->vdev.mem, gpa);

		run = 1;
		if (block > PAGE) {
			record(b, gpa, block);
			continue;
		}
		while (i + run < nr && pages[i + run] == pages[i] + run &&
		       memory_block(b->vdev.mem, (gpa_t)pages[i + run] << PAGE_SHIFT) <= PAGE)
			run++;
		bad += give_back(b, pages[i], run);
	}
	return bad;
}

/* They need not have been in the balloon, nor be RAM. */
static unsigned int deflate_pages(struct virtio_balloon *b, const uint32_t *pages, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		balloon_pages_remove(&b->pages, (gpa_t)pages[i] << PAGE_SHIFT);
	return 0;
}

/**
 * struct way - what is done with the lists of a queue
 * @pages: with numbers that are sorted; returns how many were no RAM
 */
struct way {
	unsigned int queue;
	unsigned int (*pages)(struct virtio_balloon *b, const uint32_t *pages, size_t nr);
};

static const struct way inflate = {QUEUE_INFLATE, inflate_pages};
static const struct way deflate = {QUEUE_DEFLATE, deflate_pages};

/* Up to *@left numbers. Return: how many were no RAM. */
static unsigned int take_numbers(struct virtio_balloon *b, const struct way *way,
				 struct virtq_cursor *c, size_t *left)
{
	uint32_t pages[CHUNK];
	unsigned int bad = 0;
	size_t i, nr;

	while (*left && c->left >= sizeof(*pages)) {
		nr = virtq_read(c, pages, min_u64(min_u64(*left, CHUNK), c->left / 4) * 4) /
		     sizeof(*pages);
		for (i = 0; i < nr; i++)
			pages[i] = le32toh(pages[i]);
		qsort(pages, nr, sizeof(*pages), compare);
		bad += way->pages(b, pages, nr);
		*left -= nr;
	}
	return bad;
}

static void take_lists(struct virtio_balloon *b, const struct way *way)
{
	struct virtq *q = virtio_queue(&b->vdev, way->queue);
	size_t left = PASS_PAGES;
	struct virtq_request *req;

	while ((req = virtq_pop(q))) {
		struct virtq_cursor c = virtq_reader(req);
		unsigned int bad;

		virtq_skip(&c, req->done);
		bad = take_numbers(b, way, &c, &left);
		if (bad)
			virtio_complain(&b->vdev, "%u pages that the driver gave are no RAM", bad);
		if (c.left >= sizeof(uint32_t)) {
			virtq_put_back(q, req, c.pos, true);
			return;
		}
		if (c.left)
			virtio_complain(&b->vdev, "a list of pages ends within a number");
		/* From here on it may use them without a word. */
		if (!virtio_has(&b->vdev, F_MUST_TELL_HOST))
			balloon_pages_clear(&b->pages);
		virtio_complete(&b->vdev, req);
	}
}

/* --- free pages ------------------------------------------------------------------- */

static void report(struct virtio_balloon *b, unsigned int index)
{
	bool keep = virtio_has(&b->vdev, F_PAGE_POISON) && b->state.poison;
	struct virtq_request *req;

	while ((req = virtq_pop(virtio_queue(&b->vdev, index)))) {
		unsigned int i;

		for (i = req->nr_readable; !keep && i < req->nr_readable + req->nr_writable; i++) {
			gpa_t gpa = virtq_gpa(req, i);
			uint64_t len = req->iov[i].iov_len;

			if (memory_whole_blocks(b->vdev.mem, &gpa, &len) && len)
				discard(b, gpa, len);
		}
		virtio_complete(&b->vdev, req);
	}
}

/* --- statistics ------------------------------------------------------------------- */

static void read_stats(struct virtio_balloon *b, struct virtq_request *req)
{
	struct virtq_cursor c = virtq_reader(req);
	uint8_t entry[STAT_SIZE];
	unsigned int nr = 0;

	b->stats.known = 0;
	b->stats.when_ns = b->env->now(b->opaque);
	while (nr++ < STATS_MAX && virtq_read(&c, entry, STAT_SIZE) == STAT_SIZE) {
		uint16_t tag;
		uint64_t value;

		memcpy(&tag, entry, sizeof(tag));
		memcpy(&value, entry + sizeof(tag), sizeof(value));
		tag = le16toh(tag);
		if (tag >= BALLOON_NR_STATS)
			continue;
		b->stats.value[tag] = le64toh(value);
		b->stats.known |= UINT32_C(1) << tag;
	}
}

static void take_stats(struct virtio_balloon *b)
{
	struct virtq *q = virtio_queue(&b->vdev, QUEUE_STATS);
	struct virtq_request *req;
	bool seen = b->held; /* the first one was read when it came */

	b->held = false;
	while ((req = virtq_pop(q))) {
		if (!seen)
			read_stats(b, req);
		seen = false;
		if (!b->ask) {
			virtq_put_back(q, req, 0, false);
			b->held = true;
			return;
		}
		b->ask = false;
		virtio_complete(&b->vdev, req);
	}
}

/* Where the driver has its buffer, new figures are on their way already. */
static void ask(struct virtio_balloon *b)
{
	if (!b->held)
		return;
	b->ask = true;
	virtio_queue_notify(&b->vdev, QUEUE_STATS);
}

void virtio_balloon_stats(struct virtio_balloon *b, struct balloon_stats *stats)
{
	uint64_t now;

	virtio_enter(&b->vdev);
	now = b->env->now(b->opaque);
	b->poll_until = now + POLL_SECONDS * NSEC_PER_SEC;
	if (!b->armed) {
		b->armed = true;
		b->env->arm(b->opaque, now + POLL_NS);
		ask(b);
	}
	*stats = b->stats;
	virtio_leave(&b->vdev);
}

void virtio_balloon_tick(struct virtio_balloon *b)
{
	uint64_t now;

	virtio_enter(&b->vdev);
	now = b->env->now(b->opaque);
	b->armed = now < b->poll_until;
	if (b->armed) {
		b->env->arm(b->opaque, now + POLL_NS);
		ask(b);
	}
	virtio_leave(&b->vdev);
}

/* --- the user --------------------------------------------------------------------- */

int virtio_balloon_set_target(struct virtio_balloon *b, uint64_t bytes, struct error *err)
{
	uint64_t ram = memory_total(b->vdev.mem), pages;
	char text[32];

	if (bytes > ram)
		return fail(err, "the guest has only %s", format_size(text, sizeof(text), ram));
	pages = align_up(bytes, PAGE) >> PAGE_SHIFT;
	if (pages > UINT32_MAX)
		return fail(err, "a balloon holds less than 16T");
	virtio_enter(&b->vdev);
	if (b->state.target != pages) {
		b->state.target = (uint32_t)pages;
		virtio_config_changed(&b->vdev);
	}
	virtio_leave(&b->vdev);
	return 0;
}

/* "free 300M", and so on, behind what is at @text. */
static void add_stats(char *text, size_t len, const struct balloon_stats *s, uint64_t now)
{
	static const struct {
		enum balloon_stat stat;
		const char *name;
	} shown[] = {{BALLOON_TOTAL, "total"},	       {BALLOON_FREE, "free"},
		     {BALLOON_AVAILABLE, "available"}, {BALLOON_CACHES, "caches"},
		     {BALLOON_SWAP_IN, "swapped in"},  {BALLOON_SWAP_OUT, "swapped out"}};
	size_t i, at = strlen(text);
	char size[32];

	if (!s->when_ns) {
		snprintf(text + at, len - at, "; the guest says nothing of its memory");
		return;
	}
	at += (size_t)snprintf(text + at, len - at, "; %llu s ago the guest had",
			       (unsigned long long)((now - s->when_ns) / NSEC_PER_SEC));
	for (i = 0; i < ARRAY_SIZE(shown) && at < len; i++)
		if (s->known >> shown[i].stat & 1)
			at += (size_t)snprintf(
				text + at, len - at, "%s %s %s", i ? "," : "", shown[i].name,
				format_size(size, sizeof(size), s->value[shown[i].stat]));
}

static void show(struct virtio_balloon *b, char *reply, size_t len)
{
	uint64_t ram = memory_total(b->vdev.mem), target, actual;
	char size[3][32];
	struct balloon_stats stats;

	virtio_balloon_stats(b, &stats);
	virtio_enter(&b->vdev);
	target = (uint64_t)b->state.target << PAGE_SHIFT;
	/* What the driver says need not make sense. */
	actual = min_u64((uint64_t)b->state.actual << PAGE_SHIFT, ram);
	virtio_leave(&b->vdev);
	snprintf(reply, len, "target %s, actual %s, of %s",
		 format_size(size[0], sizeof(size[0]), target),
		 format_size(size[1], sizeof(size[1]), actual),
		 format_size(size[2], sizeof(size[2]), ram));
	add_stats(reply, len, &stats, b->env->now(b->opaque));
}

static int balloon_command(struct virtio_device *vdev, const char *words, char *reply, size_t len,
			   struct error *err)
{
	struct virtio_balloon *b = to_balloon(vdev);
	uint64_t bytes;

	if (!strcmp(words, "show")) {
		show(b, reply, len);
		return 0;
	}
	if (strncmp(words, "target ", 7))
		return fail(err, "a balloon understands \"show\" and \"target BYTES\"");
	return parse_uint(words + 7, UINT64_MAX, &bytes, err) ||
			       virtio_balloon_set_target(b, bytes, err)
		       ? -1
		       : 0;
}

/* --- the kind --------------------------------------------------------------------- */

static void balloon_config_get(struct virtio_device *vdev, uint8_t *config)
{
	const struct balloon_state *s = &to_balloon(vdev)->state;
	const uint32_t fields[] = {htole32(s->target), htole32(s->actual), 0, htole32(s->poison)};

	memcpy(config, fields, sizeof(fields));
}

/* Set the bytes of a field at @field that the driver wrote. */
static void set_field(uint32_t *value, uint32_t field, uint32_t offset, const uint8_t *bytes,
		      uint32_t len)
{
	uint32_t i;

	for (i = 0; i < 4; i++)
		if (field + i >= offset && field + i < offset + len)
			*value = (*value & ~(UINT32_C(0xff) << 8 * i)) |
				 (uint32_t)bytes[field + i - offset] << 8 * i;
}

static void balloon_config_set(struct virtio_device *vdev, uint32_t offset, const uint8_t *bytes,
			       uint32_t len)
{
	struct virtio_balloon *b = to_balloon(vdev);
	struct balloon_state *s = &b->state;

	set_field(&s->actual, CONFIG_ACTUAL, offset, bytes, len);
	if (b->env->changed)
		b->env->changed(b->opaque, (uint64_t)s->actual << PAGE_SHIFT);
	if (virtio_has(vdev, F_PAGE_POISON))
		set_field(&s->poison, CONFIG_POISON, offset, bytes, len);
}

static void balloon_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_balloon *b = to_balloon(vdev);

	switch (index) {
	case QUEUE_INFLATE:
		take_lists(b, &inflate);
		break;
	case QUEUE_DEFLATE:
		take_lists(b, &deflate);
		break;
	case QUEUE_STATS:
		if (virtio_has(vdev, F_STATS_VQ))
			take_stats(b);
		break;
	default:
		if (virtio_has(vdev, F_REPORTING))
			report(b, index);
		break;
	}
}

/* Linux tells of its first figures before DRIVER_OK, when nobody may listen yet. */
static void balloon_go(struct virtio_device *vdev)
{
	virtio_queue_notify(vdev, QUEUE_STATS);
}

static void balloon_reset(struct virtio_device *vdev)
{
	struct virtio_balloon *b = to_balloon(vdev);

	b->state.actual = 0;
	b->state.poison = 0;
	b->held = false;
	b->ask = false;
	balloon_pages_clear(&b->pages);
	memset(&b->stats, 0, sizeof(b->stats));
}

static void balloon_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	struct balloon_state *s = state;

	/* Of another guest, or another moment; with an empty record nothing goes wrong. */
	if (x->loading)
		balloon_pages_clear(&to_balloon(vdev)->pages);
	xfer_u32(x, &s->target);
	xfer_u32(x, &s->actual);
	xfer_u32(x, &s->poison);
	xfer_check(x, s->target <= memory_total(vdev->mem) >> PAGE_SHIFT,
		   "balloon: a target above the guest's memory");
}

static void balloon_destroy(struct virtio_device *vdev)
{
	struct virtio_balloon *b = to_balloon(vdev);

	virtio_device_fini(vdev);
	balloon_pages_clear(&b->pages);
	if (b->env->destroy)
		b->env->destroy(b->opaque);
	free(b);
}

static const struct virtio_device_ops balloon_ops = {
	.kind = "balloon",
	.id = BALLOON_ID,
	.config_size = CONFIG_SIZE,
	.state_size = sizeof(struct balloon_state),
	.config_get = balloon_config_get,
	.config_set = balloon_config_set,
	.go = balloon_go,
	.notify = balloon_notify,
	.reset = balloon_reset,
	.transfer = balloon_transfer,
	.command = balloon_command,
	.destroy = balloon_destroy,
};

struct virtio_balloon *virtio_balloon_create(const char *name, struct guest_memory *mem,
					     struct log *log, const struct virtio_balloon_env *env,
					     void *opaque)
{
	struct virtio_balloon *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->env = env;
	b->opaque = opaque;
	b->pages.mem = mem;
	if (virtio_device_init(&b->vdev, &balloon_ops, name, mem, log,
			       VIRTIO_BIT(F_MUST_TELL_HOST) | VIRTIO_BIT(F_STATS_VQ) |
				       VIRTIO_BIT(F_DEFLATE_ON_OOM) | VIRTIO_BIT(F_PAGE_POISON) |
				       VIRTIO_BIT(F_REPORTING),
			       NR_QUEUES, BALLOON_QUEUE_MAX, 0, &b->state)) {
		free(b);
		return NULL;
	}
	return b;
}

struct virtio_device *virtio_balloon_device(struct virtio_balloon *b)
{
	return &b->vdev;
}
