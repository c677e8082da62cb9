// SPDX-License-Identifier: GPL-2.0-only
/*
 * The other end of vhost-user; see fake_vhost_user.h. A thread polls the connection and
 * the kicks. Everything it keeps is under one lock, which it holds while it works.
 */
#include "fake_vhost_user.h"
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEADER 12
#define PAYLOAD 300

struct message {
	uint32_t request, flags, size;
	uint8_t payload[PAYLOAD];
};

/* What the test can be told from another thread than its own. */
#define need(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			f->faults++;                                                               \
	} while (0)

void fake_vu_init(struct fake_vu *f)
{
	memset(f, 0, sizeof(*f));
	f->features = UINT64_C(1) << 32 | UINT64_C(1) << 28 | UINT64_C(1) << 29 | VU_F_PROTOCOL;
	f->protocol = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 13 | 1 << 19 |
		      /* Some that lkvm does not use. */
		      1 << 1 | 1 << 12 | 1 << 15;
	f->queues = FAKE_VU_RINGS;
	f->config_len = 60;
	f->fd = f->channel = f->stop = f->held = -1;
	pthread_mutex_init(&f->lock, NULL);
}

void fake_vu_lock(struct fake_vu *f)
{
	pthread_mutex_lock(&f->lock);
}

void fake_vu_unlock(struct fake_vu *f)
{
	pthread_mutex_unlock(&f->lock);
}

/* --- memory and rings ------------------------------------------------------------ */

static uint8_t *at(struct fake_vu *f, uint64_t address, uint64_t len, bool gpa)
{
	unsigned int i;

	for (i = 0; i < f->nr_regions; i++) {
		uint64_t offset = address - (gpa ? f->regions[i].gpa : f->regions[i].user);

		if (offset < f->regions[i].size && len <= f->regions[i].size - offset)
			return f->regions[i].map + offset;
	}
	f->faults++;
	return NULL;
}

static uint16_t get16(const uint8_t *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE));
}

static uint32_t serve_chain(struct fake_vu *f, struct fake_vu_ring *r, uint16_t head)
{
	const uint8_t *table = at(f, r->desc, 16 * (uint64_t)r->num, false);
	uint32_t written = 0;
	uint8_t sum = 1;
	unsigned int i, index = head;

	for (i = 0; table && i < r->num; i++) {
		uint64_t addr, half;
		uint32_t len, k;
		uint8_t *p;

		memcpy(&addr, table + 16 * (size_t)index, 8);
		memcpy(&half, table + 16 * (size_t)index + 8, 8);
		len = (uint32_t)half;
		p = at(f, addr, len, true);
		for (k = 0; p && k < len; k++) {
			if (half >> 32 & 2)
				p[k] = sum;
			else
				sum = (uint8_t)(sum + p[k]);
		}
		if (half >> 32 & 2)
			written += len;
		if (!(half >> 32 & 1))
			break;
		index = (unsigned int)(half >> 48) % r->num;
	}
	return written;
}

/* Take what is there; give it back at once or (@hold) leave the used index alone. */
static unsigned int serve_ring(struct fake_vu *f, struct fake_vu_ring *r)
{
	uint8_t *avail = at(f, r->avail, 6 + 2 * (uint64_t)r->num, false);
	uint8_t *used = at(f, r->used, 6 + 8 * (uint64_t)r->num, false);
	unsigned int nr = 0;
	uint16_t idx;

	if (!avail || !used)
		return 0;
	idx = get16(used + 2);
	while (get16(avail + 2) != r->last) {
		uint16_t head = get16(avail + 4 + 2 * (size_t)(r->last % r->num));
		uint32_t *elem = (uint32_t *)(void *)(used + 4 + 8 * (size_t)(idx % r->num));
		uint32_t len = serve_chain(f, r, head);

		__atomic_store_n(&elem[0], htole32(head), __ATOMIC_RELAXED);
		__atomic_store_n(&elem[1], htole32(len), __ATOMIC_RELAXED);
		r->last++;
		idx++;
		nr++;
		if (f->slow_used)
			break;
		__atomic_store_n((uint16_t *)(void *)(used + 2), htole16(idx), __ATOMIC_RELEASE);
	}
	r->served += nr;
	return nr;
}

static void bell(int fd)
{
	static const uint64_t one = 1;

	if (fd >= 0)
		(void)!write(fd, &one, sizeof(one));
}

static void kicked(struct fake_vu *f, struct fake_vu_ring *r)
{
	uint64_t count;

	need(read(r->kick, &count, sizeof(count)) == (ssize_t)sizeof(count));
	r->started = true;
	/* Where requests come back late, so does the word that they did. */
	if (r->enabled && serve_ring(f, r) && !f->slow_used)
		bell(r->call);
}

static void wait_ms(unsigned int ms)
{
	const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	if (ms)
		nanosleep(&wait, NULL);
}

/* Requests taken when the ring was stopped are given back a little later. */
static void give_back_late(struct fake_vu *f, struct fake_vu_ring *r)
{
	uint8_t *used = at(f, r->used, 4, false);

	if (!f->slow_used || !used)
		return;
	wait_ms(f->slow_used);
	__atomic_store_n((uint16_t *)(void *)(used + 2), htole16(r->last), __ATOMIC_RELEASE);
	bell(r->call);
}

/* --- requests ----------------------------------------------------------------------- */

static void drop_regions(struct fake_vu *f)
{
	while (f->nr_regions) {
		f->nr_regions--;
		munmap(f->regions[f->nr_regions].map, f->regions[f->nr_regions].size);
	}
}

static void set_memory(struct fake_vu *f, const struct message *m, int *fds, unsigned int nr)
{
	uint32_t count, i;

	drop_regions(f);
	memcpy(&count, m->payload, 4);
	need(count == nr && count <= FAKE_VU_REGIONS && m->size == 8 + 32 * count);
	for (i = 0; i < count && i < nr; i++) {
		uint64_t v[4];
		void *map;

		memcpy(v, m->payload + 8 + 32 * (size_t)i, sizeof(v));
		map = mmap(NULL, v[1], PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], (off_t)v[3]);
		need(map != MAP_FAILED);
		/* It would like to cut it off. */
		need(ftruncate(fds[i], 0) < 0);
		f->regions[i].gpa = v[0];
		f->regions[i].size = v[1];
		f->regions[i].user = v[2];
		f->regions[i].offset = v[3];
		f->regions[i].map = map;
		f->nr_regions++;
	}
}

static void take_vring_fd(struct fake_vu *f, const struct message *m, int *fds, unsigned int nr)
{
	uint64_t index;
	struct fake_vu_ring *r;
	int *to;

	memcpy(&index, m->payload, 8);
	need(m->size == 8 && nr == 1 && index < FAKE_VU_RINGS);
	if (!nr || index >= FAKE_VU_RINGS)
		return;
	r = &f->rings[index];
	to = m->request == VU_SET_VRING_KICK   ? &r->kick
	     : m->request == VU_SET_VRING_CALL ? &r->call
					       : &r->err;
	if (*to > 0)
		close(*to);
	*to = fds[0];
	fds[0] = -1;
	/* Without protocol features there is no message for it. */
	if (m->request == VU_SET_VRING_KICK && !(f->driver_features & VU_F_PROTOCOL))
		r->enabled = true;
}

static void move_state(struct fake_vu *f, const struct message *m, int fd)
{
	uint32_t v[2];
	ssize_t n;

	memcpy(v, m->payload, 8);
	need(m->size == 8 && v[0] <= 1 && !v[1]);
	if (f->hold_state) {
		if (f->held < 0)
			f->held = dup(fd);
		return;
	}
	if (v[0] == 0) {
		/* All in one go: larger states have a test of their own thread. */
		fcntl(fd, F_SETPIPE_SZ, 1 << 20);
		need(write(fd, f->state, f->state_len) == (ssize_t)f->state_len);
		return;
	}
	/* The end comes after the answer: read in the background of the next request. */
	f->got_state_len = 0;
	fcntl(fd, F_SETFL, 0);
	while ((n = read(fd, f->got_state + f->got_state_len,
			 sizeof(f->got_state) - f->got_state_len)) > 0)
		f->got_state_len += (size_t)n;
}

static void vring_state(struct fake_vu *f, const struct message *m)
{
	uint32_t v[2];
	struct fake_vu_ring *r;

	memcpy(v, m->payload, 8);
	need(m->size == 8 && v[0] < FAKE_VU_RINGS);
	if (v[0] >= FAKE_VU_RINGS)
		return;
	r = &f->rings[v[0]];
	if (m->request == VU_SET_VRING_NUM)
		r->num = v[1];
	else if (m->request == VU_SET_VRING_BASE)
		r->base = r->last = (uint16_t)v[1];
	else {
		r->enabled = v[1];
		r->starts++;
	}
}

static void set_addr(struct fake_vu *f, const struct message *m)
{
	uint32_t v[2];
	uint64_t a[4];

	memcpy(v, m->payload, 8);
	memcpy(a, m->payload + 8, 32);
	need(m->size == 40 && v[0] < FAKE_VU_RINGS && !v[1]);
	if (v[0] >= FAKE_VU_RINGS)
		return;
	f->rings[v[0]].desc = a[0];
	f->rings[v[0]].used = a[1];
	f->rings[v[0]].avail = a[2];
}

/* --- answers --------------------------------------------------------------------------- */

static void send_bytes(int fd, const void *bytes, size_t len, unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(40 * sizeof(int))];
	} control;
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	unsigned int i;

	if (nr_fds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		for (i = 0; i < nr_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
	}
	(void)!sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static void hang_up(struct fake_vu *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* Send @m in the way that was ordered. */
static void send_answer(struct fake_vu *f, struct message *m, enum fake_vu_way way)
{
	unsigned int nr_fds = 0;

	switch (way) {
	case FAKE_SILENT:
		return;
	case FAKE_CLOSE:
		hang_up(f);
		return;
	case FAKE_HALF_HEADER:
		send_bytes(f->fd, m, 5, 0);
		return;
	case FAKE_HALF_PAYLOAD:
		send_bytes(f->fd, m, HEADER + m->size - 1, 0);
		hang_up(f);
		return;
	case FAKE_WRONG_REQUEST:
		m->request ^= 1;
		break;
	case FAKE_WRONG_VERSION:
		m->flags ^= 3;
		break;
	case FAKE_NO_REPLY_FLAG:
		m->flags &= ~4U;
		break;
	case FAKE_EMPTY:
		m->size = 0;
		break;
	case FAKE_SHORT:
		m->size -= 4;
		break;
	case FAKE_LONG:
		m->size += 4;
		break;
	case FAKE_HUGE:
		m->size = UINT32_MAX;
		send_bytes(f->fd, m, sizeof(*m), 0);
		return;
	case FAKE_ONE_FD:
		nr_fds = 1;
		break;
	case FAKE_MANY_FDS:
		nr_fds = 40;
		break;
	case FAKE_TWICE:
		send_bytes(f->fd, m, HEADER + m->size, 0);
		break;
	case FAKE_ALL_ONES:
		memset(m->payload, 0xff, m->size);
		break;
	case FAKE_ALL_ZEROES:
		memset(m->payload, 0, m->size);
		break;
	default:
		break;
	}
	send_bytes(f->fd, m, HEADER + m->size, nr_fds);
}

static void ask(struct fake_vu *f, uint32_t request, uint32_t flags, const void *payload,
		uint32_t size, unsigned int fds)
{
	struct message m = {request, flags, size, {0}};

	if (size)
		memcpy(m.payload, payload, size < PAYLOAD ? size : PAYLOAD);
	send_bytes(f->channel, &m, HEADER + (size < PAYLOAD ? size : PAYLOAD), fds);
}

void fake_vu_ask(struct fake_vu *f, uint32_t request, uint32_t flags, const void *payload,
		 uint32_t size, unsigned int fds)
{
	fake_vu_lock(f);
	ask(f, request, flags, payload, size, fds);
	fake_vu_unlock(f);
}

/* Ask "the configuration changed", and wait for the answer before going on. */
static void ask_first(struct fake_vu *f)
{
	struct message m;
	uint64_t result = 1;

	ask(f, 2, 1 | 8, NULL, 0, 0);
	need(recv(f->channel, &m, HEADER + 8, MSG_WAITALL) == HEADER + 8);
	memcpy(&result, m.payload, 8);
	need(m.request == 2 && m.flags == (1 | 4) && m.size == 8 && !result);
	f->ask_first = false;
}

/* Fill in the payload of the answer; false where there is none of its own. */
static bool own_answer(struct fake_vu *f, const struct message *q, struct message *m)
{
	uint64_t v = 0;
	uint32_t w[3];

	switch (q->request) {
	case VU_GET_FEATURES:
		v = f->features;
		break;
	case VU_GET_PROTOCOL_FEATURES:
		v = f->protocol;
		break;
	case VU_GET_QUEUE_NUM:
		v = f->queues;
		break;
	case VU_CHECK_DEVICE_STATE:
		break;
	case VU_SET_DEVICE_STATE_FD:
		v = 0x100;
		break;
	case VU_GET_VRING_BASE:
		memcpy(w, q->payload, 8);
		need(q->size == 8 && w[0] < FAKE_VU_RINGS && !w[1]);
		w[1] = f->rings[w[0] % FAKE_VU_RINGS].last;
		m->size = 8;
		memcpy(m->payload, w, 8);
		return true;
	case VU_GET_CONFIG:
		memcpy(w, q->payload, 12);
		need(q->size == 12 + w[1] && !w[0] && !w[2]);
		if (f->ask_first)
			ask_first(f);
		if (w[1] > f->config_len)
			return true; /* empty: can't */
		m->size = 12 + w[1];
		memcpy(m->payload, w, 12);
		memcpy(m->payload + 12, f->config, w[1]);
		return true;
	default:
		return false;
	}
	m->size = 8;
	memcpy(m->payload, &v, 8);
	return true;
}

static void carry_out(struct fake_vu *f, const struct message *q, int *fds, unsigned int nr)
{
	struct fake_vu_ring *r;
	uint32_t w[2];

	switch (q->request) {
	case VU_SET_FEATURES:
		memcpy(&f->driver_features, q->payload, 8);
		need(q->size == 8 && !(f->driver_features & ~f->features));
		break;
	case VU_SET_PROTOCOL_FEATURES:
		memcpy(&f->driver_protocol, q->payload, 8);
		break;
	case VU_SET_MEM_TABLE:
		set_memory(f, q, fds, nr);
		break;
	case VU_SET_VRING_NUM:
	case VU_SET_VRING_BASE:
	case VU_SET_VRING_ENABLE:
		vring_state(f, q);
		break;
	case VU_SET_VRING_ADDR:
		set_addr(f, q);
		break;
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR:
		take_vring_fd(f, q, fds, nr);
		break;
	case VU_GET_VRING_BASE:
		memcpy(w, q->payload, 8);
		r = &f->rings[w[0] % FAKE_VU_RINGS];
		r->enabled = false;
		r->started = false;
		if (f->drop_call && r->call > 0) {
			close(r->call);
			r->call = -1;
		}
		break;
	case VU_SET_BACKEND_REQ_FD:
		need(nr == 1);
		if (nr) {
			f->channel = fds[0];
			fds[0] = -1;
		}
		break;
	case VU_SET_CONFIG:
		memcpy(w, q->payload, 8);
		need(q->size == 12 + w[1] && w[0] + w[1] <= f->config_len);
		memcpy(f->config + w[0] % 128, q->payload + 12, w[1] % 128);
		memcpy(f->written, q->payload, sizeof(f->written));
		break;
	case VU_SEND_RARP:
		need(q->size == 8);
		memcpy(f->announced, q->payload, sizeof(f->announced));
		break;
	case VU_RESET_DEVICE:
		f->resets++;
		break;
	default:
		break;
	}
}

static void answer(struct fake_vu *f, const struct message *q, int *fds, unsigned int nr)
{
	struct message m = {q->request, 1 | 4, 0, {0}};
	enum fake_vu_way way = FAKE_GOOD;
	unsigned int seen = f->seen[q->request % FAKE_VU_REQUESTS]++;
	bool own;

	if (q->request == f->bad_request && seen >= f->bad_after &&
	    (!f->bad_times || seen < f->bad_after + f->bad_times))
		way = f->way;
	carry_out(f, q, fds, nr);
	own = own_answer(f, q, &m);
	if (own || q->flags & 8) {
		/* An acknowledgement is a zero; a refusal is not. */
		if (!own)
			m.size = 8;
		wait_ms(f->slow_ms);
		send_answer(f, &m, way);
	}
	if (q->request == VU_GET_CONFIG && f->restless)
		ask(f, 2, 1, NULL, 0, 0);
	if (q->request == VU_SET_DEVICE_STATE_FD && nr)
		move_state(f, q, fds[0]);
	if (q->request == VU_GET_VRING_BASE)
		give_back_late(f, &f->rings[q->payload[0] % FAKE_VU_RINGS]);
}

/* --- the thread --------------------------------------------------------------------------- */

static unsigned int take_fds(struct msghdr *msg, int *fds)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	unsigned int nr;

	if (!c || c->cmsg_type != SCM_RIGHTS)
		return 0;
	nr = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fds, CMSG_DATA(c), nr * sizeof(int));
	return nr;
}

static void request(struct fake_vu *f)
{
	struct message q;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control;
	struct iovec iov = {&q, HEADER};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control)};
	int fds[16];
	unsigned int i, nr;
	ssize_t n = recvmsg(f->fd, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC);

	if (n != HEADER) {
		f->hung_up = true;
		hang_up(f);
		return;
	}
	nr = take_fds(&msg, fds);
	need((q.flags & 3) == 1 && !(q.flags & 4) && q.size <= PAYLOAD);
	if (q.size && q.size <= PAYLOAD)
		need(recv(f->fd, q.payload, q.size, MSG_WAITALL) == (ssize_t)q.size);
	answer(f, &q, fds, nr);
	for (i = 0; i < nr; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void *fake_main(void *opaque)
{
	struct fake_vu *f = opaque;

	for (;;) {
		struct pollfd fds[2 + FAKE_VU_RINGS];
		unsigned int i;

		fake_vu_lock(f);
		fds[0] = (struct pollfd){.fd = f->stop, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = f->fd, .events = POLLIN};
		for (i = 0; i < FAKE_VU_RINGS; i++) {
			const struct fake_vu_ring *r = &f->rings[i];

			fds[2 + i] = (struct pollfd){.fd = r->enabled && r->kick > 0 ? r->kick : -1,
						     .events = POLLIN};
		}
		fake_vu_unlock(f);
		poll(fds, 2 + FAKE_VU_RINGS, -1);
		/* First what came before that. */
		if (fds[0].revents && !fds[1].revents)
			break;
		fake_vu_lock(f);
		if (fds[1].revents)
			request(f);
		else
			for (i = 0; i < FAKE_VU_RINGS; i++)
				if (fds[2 + i].revents & POLLIN && f->rings[i].enabled)
					kicked(f, &f->rings[i]);
		fake_vu_unlock(f);
	}
	return NULL;
}

static void run(struct fake_vu *f)
{
	f->stop = eventfd(0, EFD_CLOEXEC);
	f->running = true;
	/* Not ck_assert(): a stand-in for a program runs no test. */
	if (f->fd < 0 || pthread_create(&f->thread, NULL, fake_main, f))
		abort();
}

int fake_vu_start(struct fake_vu *f)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->fd = fds[1];
	run(f);
	return fds[0];
}

void fake_vu_serve(struct fake_vu *f, int fd)
{
	f->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	run(f);
}

void fake_vu_stop(struct fake_vu *f)
{
	unsigned int i;

	if (!f->running)
		return;
	bell(f->stop);
	pthread_join(f->thread, NULL);
	f->running = false;
	hang_up(f);
	if (f->channel >= 0)
		close(f->channel);
	if (f->held >= 0)
		close(f->held);
	close(f->stop);
	f->channel = f->stop = f->held = -1;
	for (i = 0; i < FAKE_VU_RINGS; i++) {
		struct fake_vu_ring *r = &f->rings[i];

		if (r->kick > 0)
			close(r->kick);
		if (r->call > 0)
			close(r->call);
		if (r->err > 0)
			close(r->err);
		r->kick = r->call = r->err = 0;
	}
	drop_regions(f);
	pthread_mutex_destroy(&f->lock);
}
