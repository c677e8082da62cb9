// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shared directories: the virtio 9P transport device (device ID 9; one request queue,
 * and the mount tag as its configuration space) with a 9P2000.L server behind it. The
 * specification has no chapter of its own for it: configuration space and feature bit
 * are those that Linux's driver knows (linux/virtio_9p.h), the protocol is that of
 * Linux's 9p file system. p9_internal.h says which part is where.
 *
 * Threads. Requests are carried out strictly one after the other, so the server needs
 * no locks. A request may have to wait for the host's disk, which must hold up neither
 * a vCPU nor the loop; so it belongs to a worker thread. But most requests are small
 * questions that the host answers from its memory, and two changes of thread for each
 * would cost more than the work. So:
 *
 *   - where the worker has nothing to do, the thread that was notified tries the
 *     request itself, in a way that can't wait (`quick`: cached look-ups, RWF_NOWAIT);
 *   - what does not succeed so, or has a request waiting before it, goes to the worker.
 *
 * `pending` counts the requests that the worker has not finished. Only a notifying
 * thread, which has the device's lock, adds to it; where it reads 0 the worker has let
 * go of the session, and can't come back before the lock is released.
 *
 * Loading makes a second session, which takes the first one's place when the core has
 * accepted all of the state: the core commits a number (struct p9_state), and whoever
 * uses the session next compares it (settle()).
 *
 * Thread and lock: the virtio device's; the session as said. What is saved: the
 * session, see p9_state.c.
 */
#include "p9_internal.h"

#include "lkvm/workers.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define P9_ID 9
#define P9_QUEUE_MAX 128

#define F_MOUNT_TAG 0

/* Configuration space: le16 length, and the tag. */
#define CFG_SIZE (2 + VIRTIO_P9_TAG_MAX)

/* A guest needs more memory than this for a file that it remembers: Linux some 1300 bytes. */
#define RAM_PER_FID 1024
#define FIDS_MIN 16384
#define FIDS_MAX 1048576

/* Descriptors: a part of what the process may have. */
#define OPEN_SHARE 8
#define OPEN_MIN 64
#define OPEN_MAX_FDS 8192

/**
 * struct p9_state - what the core commits
 * @loaded: which of the sessions that were loaded is the one
 */
struct p9_state {
	uint64_t loaded;
};

struct virtio_p9 {
	struct virtio_device vdev;
	struct p9_share share;
	uint32_t max_fids, max_open;
	struct p9_session *session, *incoming;
	uint64_t loads; /* @incoming is the last of so many */
	struct p9_state state;
	struct workers *workers;
	atomic_uint pending;
	uint16_t tag_len;
	char tag[VIRTIO_P9_TAG_MAX];
};

/**
 * struct p9_request - a request that waits for the worker
 */
struct p9_request {
	struct worker_job job;
	struct virtio_p9 *p9;
	struct virtq_request *req;
};

static struct virtio_p9 *to_p9(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_p9, vdev);
}

/* --- requests ---------------------------------------------------------------------------- */

static bool serve(struct virtio_p9 *p9, struct virtq_request *req, bool quick)
{
	const char *why = NULL;
	bool done = p9_serve(p9->session, req, quick, &why);

	if (why)
		virtio_complain(&p9->vdev, "%s", why);
	return done;
}

/* On the worker's thread. */
static void work(struct worker_job *job)
{
	struct p9_request *r = container_of(job, struct p9_request, job);
	struct virtio_p9 *p9 = r->p9;
	struct virtq_request *req = r->req;

	serve(p9, req, false);
	/* Before the guest hears of it, so that its next request finds the worker free. */
	atomic_fetch_sub_explicit(&p9->pending, 1, memory_order_release);
	virtio_enter_device(&p9->vdev);
	virtio_complete(&p9->vdev, req);
	virtio_leave(&p9->vdev);
}

/* False where there is no worker, and so nobody who uses the session. */
static bool give_to_worker(struct virtio_p9 *p9, struct virtq_request *req)
{
	struct p9_request *r = virtq_priv(req);

	r->p9 = p9;
	r->req = req;
	r->job.fn = work;
	atomic_fetch_add_explicit(&p9->pending, 1, memory_order_relaxed);
	if (workers_post(p9->workers, &r->job))
		return true;
	atomic_fetch_sub_explicit(&p9->pending, 1, memory_order_relaxed);
	return false;
}

/* Nothing is in flight. */
static void settle(struct virtio_p9 *p9)
{
	if (!p9->incoming)
		return;
	if (p9->state.loaded == p9->loads) {
		p9_session_destroy(p9->session);
		p9->session = p9->incoming;
	} else {
		p9_session_destroy(p9->incoming);
	}
	p9->incoming = NULL;
}

static void p9_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtio_p9 *p9 = to_p9(vdev);
	struct virtq_request *req;

	settle(p9);
	while ((req = virtq_pop(virtio_queue(vdev, index)))) {
		bool idle = !atomic_load_explicit(&p9->pending, memory_order_acquire);

		if (idle && serve(p9, req, true)) {
			virtio_complete(vdev, req);
		} else if (!give_to_worker(p9, req)) {
			serve(p9, req, false);
			virtio_complete(vdev, req);
		}
	}
}

/* --- configuration, life cycle -------------------------------------------------------------- */

static void p9_config_get(struct virtio_device *vdev, uint8_t *config)
{
	struct virtio_p9 *p9 = to_p9(vdev);

	config[0] = (uint8_t)p9->tag_len;
	config[1] = (uint8_t)(p9->tag_len >> 8);
	memcpy(config + 2, p9->tag, p9->tag_len);
}

static void p9_reset(struct virtio_device *vdev)
{
	struct virtio_p9 *p9 = to_p9(vdev);

	settle(p9);
	p9_session_clear(p9->session);
}

static void p9_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	struct virtio_p9 *p9 = to_p9(vdev);
	struct p9_state *s = state;

	settle(p9);
	if (!x->loading) {
		p9_session_transfer(p9->session, x);
		return;
	}
	p9->incoming = p9_session_create(&p9->share, p9->max_fids, p9->max_open);
	xfer_check(x, p9->incoming, "9p: no memory for a session");
	if (!p9->incoming)
		return;
	p9_session_transfer(p9->incoming, x);
	s->loaded = ++p9->loads;
}

static void p9_destroy(struct virtio_device *vdev)
{
	struct virtio_p9 *p9 = to_p9(vdev);

	virtio_device_fini(vdev);
	workers_destroy(p9->workers);
	p9_session_destroy(p9->incoming);
	p9_session_destroy(p9->session);
	p9_share_close(&p9->share);
	free(p9);
}

static const struct virtio_device_ops p9_ops = {
	.kind = "9p",
	.id = P9_ID,
	.config_size = CFG_SIZE,
	.state_size = sizeof(struct p9_state),
	.config_get = p9_config_get,
	.notify = p9_notify,
	.reset = p9_reset,
	.transfer = p9_transfer,
	.destroy = p9_destroy,
};

static int check_tag(const char *tag, struct error *err)
{
	size_t len = strlen(tag), i;

	if (!len)
		return fail(err, "a mount tag is needed, by which the guest asks for the share");
	if (len > VIRTIO_P9_TAG_MAX)
		return fail(err, "the mount tag has %zu bytes; the limit is %d", len,
			    VIRTIO_P9_TAG_MAX);
	for (i = 0; i < len; i++)
		if ((unsigned char)tag[i] < ' ' || tag[i] == 0x7f)
			return fail(err, "the mount tag has a control character");
	return 0;
}

static void set_limits(struct virtio_p9 *p9, const struct virtio_p9_config *config,
		       const struct guest_memory *mem)
{
	struct rlimit limit;

	p9->max_fids = config->max_fids;
	if (!p9->max_fids)
		p9->max_fids = (uint32_t)min_u64(max_u64(memory_total(mem) / RAM_PER_FID, FIDS_MIN),
						 FIDS_MAX);
	p9->max_open = config->max_open;
	if (p9->max_open)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		limit.rlim_cur = 0;
	p9->max_open =
		(uint32_t)min_u64(max_u64(limit.rlim_cur / OPEN_SHARE, OPEN_MIN), OPEN_MAX_FDS);
}

struct virtio_p9 *virtio_p9_create(const char *name, struct guest_memory *mem, struct log *log,
				   int dir, const struct virtio_p9_config *config,
				   struct error *err)
{
	struct virtio_p9 *p9;

	if (check_tag(config->tag, err))
		return NULL;
	p9 = calloc(1, sizeof(*p9));
	if (!p9) {
		fail(err, "no memory for the share");
		return NULL;
	}
	if (p9_share_open(&p9->share, dir, config->read_only, config->security, err)) {
		free(p9);
		return NULL;
	}
	set_limits(p9, config, mem);
	p9->tag_len = (uint16_t)strlen(config->tag);
	memcpy(p9->tag, config->tag, p9->tag_len);
	p9->session = p9_session_create(&p9->share, p9->max_fids, p9->max_open);
	p9->workers = workers_create(name, 1);
	if (p9->session && p9->workers &&
	    !virtio_device_init(&p9->vdev, &p9_ops, name, mem, log, VIRTIO_BIT(F_MOUNT_TAG), 1,
				P9_QUEUE_MAX, sizeof(struct p9_request), &p9->state))
		return p9;
	fail(err, "no memory for the share");
	workers_destroy(p9->workers);
	p9_session_destroy(p9->session);
	/* The directory stays the caller's. */
	close(p9->share.proc);
	free(p9);
	return NULL;
}

struct virtio_device *virtio_p9_device(struct virtio_p9 *p9)
{
	return &p9->vdev;
}
