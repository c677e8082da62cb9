// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a debugger's packets ask for (GDB's manual, "Remote Protocol: Packets", "General
 * Query Packets"), carried out on a struct debug. Each row of the table names a packet by how it
 * begins; longer names stand before those they begin with. A packet that is in no row gets
 * the empty answer, which means "not known here".
 *
 * All-stop: while the VM runs nothing but Ctrl-C is served. Threads are harts, from 1.
 *
 * Thread and lock: the loop's thread alone. Nothing is saved.
 */
#include "gdb_parts.h"

#include "lkvm/arch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Signals in GDB's own numbering. */
#define SIGNAL_TRAP 5

#define ALL_HARTS (-1)

struct packet {
	const char *at; /* behind the name */
	const char *end;
	struct gdb_reply *reply;
};

typedef enum gdb_then (*packet_fn)(struct gdb_session *s, struct packet *p);

static enum gdb_then ok(struct packet *p)
{
	gdb_put(p->reply, "OK");
	return GDB_ANSWER;
}

static enum gdb_then no(struct packet *p, int errnum)
{
	p->reply->len = 0;
	gdb_put(p->reply, "E%02x", (unsigned int)errnum & 0xff);
	return GDB_ANSWER;
}

static struct vcpu *hart_of(struct gdb_session *s)
{
	return &s->vm->vcpus[s->hart];
}

/* "-1": all, "0": any. Return: false where it names no hart. */
static bool thread(const struct gdb_session *s, const char **at, int *hart)
{
	uint64_t id;

	*hart = ALL_HARTS;
	if (gdb_skip(at, "-1"))
		return true;
	if (!gdb_number(at, &id) || id > s->vm->nr_vcpus)
		return false;
	*hart = id ? (int)id - 1 : (int)s->hart;
	return true;
}

void gdb_stop_reply(struct gdb_session *s, unsigned int hart, unsigned int signal, const char *why)
{
	s->hart = hart;
	s->stop.len = 0;
	gdb_put(&s->stop, "T%02xthread:%x;%s", signal, hart + 1, s->swbreak ? why : "");
}

/* --- registers ---------------------------------------------------------------------------- */

static enum gdb_then read_general(struct gdb_session *s, struct packet *p)
{
	unsigned int i;
	long size;

	for (i = 0; i < arch_debug_general(); i++) {
		size = arch_debug_get(hart_of(s), i, s->scratch);
		if (size < 0)
			return no(p, (int)-size);
		gdb_put_bytes(p->reply, s->scratch, (size_t)size);
	}
	return GDB_ANSWER;
}

/* One value of the register's own size. Return: 0 or -errno. */
static int take_register(struct gdb_session *s, struct packet *p, unsigned int nr)
{
	long size = arch_debug_get(hart_of(s), nr, s->scratch);

	if (size < 0)
		return (int)size;
	if (!gdb_bytes(&p->at, s->scratch, (size_t)size))
		return -EINVAL;
	return arch_debug_set(hart_of(s), nr, s->scratch, (size_t)size);
}

static enum gdb_then write_general(struct gdb_session *s, struct packet *p)
{
	unsigned int i;
	int ret;

	for (i = 0; i < arch_debug_general(); i++) {
		ret = take_register(s, p, i);
		if (ret)
			return no(p, -ret);
	}
	return ok(p);
}

static enum gdb_then read_one(struct gdb_session *s, struct packet *p)
{
	uint64_t nr;
	long size;

	if (!gdb_number(&p->at, &nr) || nr > UINT32_MAX)
		return no(p, EINVAL);
	size = arch_debug_get(hart_of(s), (unsigned int)nr, s->scratch);
	if (size < 0)
		return no(p, (int)-size);
	gdb_put_bytes(p->reply, s->scratch, (size_t)size);
	return GDB_ANSWER;
}

static enum gdb_then write_one(struct gdb_session *s, struct packet *p)
{
	uint64_t nr;
	int ret;

	if (!gdb_number(&p->at, &nr) || nr > UINT32_MAX || !gdb_skip(&p->at, "="))
		return no(p, EINVAL);
	ret = take_register(s, p, (unsigned int)nr);
	return ret ? no(p, -ret) : ok(p);
}

/* --- memory ------------------------------------------------------------------------------- */

/* "addr,len" */
static bool range(struct packet *p, uint64_t *va, uint64_t *len)
{
	return gdb_number(&p->at, va) && gdb_skip(&p->at, ",") && gdb_number(&p->at, len);
}

static enum gdb_then read_memory(struct gdb_session *s, struct packet *p)
{
	uint64_t va, len;
	size_t n;

	if (!range(p, &va, &len))
		return no(p, EINVAL);
	/* Fewer bytes than asked for are a good answer. */
	n = debug_read(s->debug, s->hart, va, s->scratch, min_u64(len, GDB_PACKET_MAX / 2));
	if (!n && len)
		return no(p, EFAULT);
	gdb_put_bytes(p->reply, s->scratch, n);
	return GDB_ANSWER;
}

static enum gdb_then write_bytes(struct gdb_session *s, struct packet *p, uint64_t va,
				 const void *bytes, uint64_t len)
{
	return debug_write(s->debug, s->hart, va, bytes, len) == len ? ok(p) : no(p, EFAULT);
}

static enum gdb_then write_memory(struct gdb_session *s, struct packet *p)
{
	uint64_t va, len;

	if (!range(p, &va, &len) || !gdb_skip(&p->at, ":") || len > sizeof(s->scratch) ||
	    !gdb_bytes(&p->at, s->scratch, len))
		return no(p, EINVAL);
	return write_bytes(s, p, va, s->scratch, len);
}

static enum gdb_then write_binary(struct gdb_session *s, struct packet *p)
{
	uint64_t va, len;

	if (!range(p, &va, &len) || !gdb_skip(&p->at, ":") || len != (uint64_t)(p->end - p->at))
		return no(p, EINVAL);
	return write_bytes(s, p, va, p->at, len);
}

static enum gdb_then ask_physical(struct gdb_session *s, struct packet *p)
{
	gdb_put(p->reply, "%d", (int)debug_is_physical(s->debug));
	return GDB_ANSWER;
}

static enum gdb_then set_physical(struct gdb_session *s, struct packet *p)
{
	uint64_t on;

	if (!gdb_number(&p->at, &on))
		return no(p, EINVAL);
	debug_physical(s->debug, on);
	return ok(p);
}

/* --- breakpoints -------------------------------------------------------------------------- */

static enum gdb_then insert(struct gdb_session *s, struct packet *p)
{
	uint64_t va;
	int ret;

	if (!gdb_number(&p->at, &va))
		return no(p, EINVAL);
	ret = debug_insert(s->debug, s->hart, va);
	return ret ? no(p, -ret) : ok(p);
}

static enum gdb_then remove_one(struct gdb_session *s, struct packet *p)
{
	uint64_t va;

	if (!gdb_number(&p->at, &va))
		return no(p, EINVAL);
	debug_remove(s->debug, va);
	return ok(p);
}

/* --- stop and go -------------------------------------------------------------------------- */

static enum gdb_then go(struct gdb_session *s, struct packet *p, const enum debug_run *run)
{
	int ret = debug_resume(s->debug, run);

	return ret ? no(p, -ret) : GDB_SILENT;
}

/* "c [addr]", "s [addr]" of old */
static enum gdb_then resume(struct gdb_session *s, struct packet *p, enum debug_run how)
{
	unsigned int i, chosen = s->hart_c == ALL_HARTS ? s->hart : (unsigned int)s->hart_c;
	enum debug_run *run;
	enum gdb_then then;
	uint64_t pc;

	if (p->at != p->end &&
	    (!gdb_number(&p->at, &pc) || arch_debug_set_pc(&s->vm->vcpus[chosen], pc)))
		return no(p, EINVAL);
	run = calloc(s->vm->nr_vcpus, sizeof(*run));
	if (!run)
		return no(p, ENOMEM);
	for (i = 0; i < s->vm->nr_vcpus; i++)
		run[i] = s->hart_c == ALL_HARTS ? DEBUG_GO : DEBUG_STAY;
	run[chosen] = how;
	then = go(s, p, run);
	free(run);
	return then;
}

static enum gdb_then resume_go(struct gdb_session *s, struct packet *p)
{
	return resume(s, p, DEBUG_GO);
}

static enum gdb_then resume_step(struct gdb_session *s, struct packet *p)
{
	return resume(s, p, DEBUG_STEP);
}

/* ";c", ";s:3", ";C05:1": for each hart the first that names it counts. */
static bool one_action(struct gdb_session *s, struct packet *p, enum debug_run *run, bool *named)
{
	enum debug_run how = DEBUG_GO;
	unsigned int i;
	uint64_t signal;
	int hart = ALL_HARTS;
	char c;

	if (!gdb_skip(&p->at, ";"))
		return false;
	c = *p->at++;
	if (c == 's' || c == 'S')
		how = DEBUG_STEP;
	else if (c != 'c' && c != 'C')
		return false;
	/* Guests know no signals of ours. */
	if ((c == 'C' || c == 'S') && !gdb_number(&p->at, &signal))
		return false;
	if (gdb_skip(&p->at, ":") && !thread(s, &p->at, &hart))
		return false;
	for (i = 0; i < s->vm->nr_vcpus; i++) {
		if (named[i] || (hart != ALL_HARTS && (unsigned int)hart != i))
			continue;
		named[i] = true;
		run[i] = how;
	}
	return true;
}

static enum gdb_then resume_each(struct gdb_session *s, struct packet *p)
{
	enum debug_run *run = calloc(s->vm->nr_vcpus, sizeof(*run));
	bool *named = calloc(s->vm->nr_vcpus, sizeof(*named)), good = run && named;
	enum gdb_then then;

	while (good && p->at < p->end)
		good = one_action(s, p, run, named);
	then = good ? go(s, p, run) : no(p, EINVAL);
	free(run);
	free(named);
	return then;
}

static enum gdb_then ask_resume(struct gdb_session *s, struct packet *p)
{
	(void)s;
	gdb_put(p->reply, "vCont;c;C;s;S");
	return GDB_ANSWER;
}

static enum gdb_then why_stopped(struct gdb_session *s, struct packet *p)
{
	*p->reply = s->stop;
	return GDB_ANSWER;
}

static enum gdb_then detach(struct gdb_session *s, struct packet *p)
{
	debug_detach(s->debug);
	ok(p);
	return GDB_GOODBYE;
}

static enum gdb_then kill_vm(struct gdb_session *s, struct packet *p)
{
	(void)s;
	(void)p;
	return GDB_KILL;
}

static enum gdb_then kill_and_say(struct gdb_session *s, struct packet *p)
{
	(void)s;
	ok(p);
	return GDB_KILL;
}

/* --- threads ------------------------------------------------------------------------------ */

static enum gdb_then choose(struct gdb_session *s, struct packet *p)
{
	int hart;
	char c = *p->at;

	if (c != 'g' && c != 'c')
		return GDB_ANSWER;
	p->at++;
	if (!thread(s, &p->at, &hart))
		return no(p, EINVAL);
	if (c == 'c')
		s->hart_c = hart;
	else if (hart != ALL_HARTS)
		s->hart = (unsigned int)hart;
	return ok(p);
}

static enum gdb_then alive(struct gdb_session *s, struct packet *p)
{
	int hart;

	return thread(s, &p->at, &hart) ? ok(p) : no(p, EINVAL);
}

static enum gdb_then list_threads(struct gdb_session *s, struct packet *p)
{
	unsigned int i;

	for (i = 0; i < s->vm->nr_vcpus; i++)
		gdb_put(p->reply, "%c%x", i ? ',' : 'm', i + 1);
	return GDB_ANSWER;
}

static enum gdb_then no_more_threads(struct gdb_session *s, struct packet *p)
{
	(void)s;
	gdb_put(p->reply, "l");
	return GDB_ANSWER;
}

static enum gdb_then describe_thread(struct gdb_session *s, struct packet *p)
{
	char text[64];
	int hart;

	if (!thread(s, &p->at, &hart) || hart == ALL_HARTS)
		return no(p, EINVAL);
	snprintf(text, sizeof(text), "hart %d, %s", hart, arch_vcpu_state(&s->vm->vcpus[hart]));
	gdb_put_bytes(p->reply, text, strlen(text));
	return GDB_ANSWER;
}

static enum gdb_then current_thread(struct gdb_session *s, struct packet *p)
{
	gdb_put(p->reply, "QC%x", s->hart + 1);
	return GDB_ANSWER;
}

/* --- what this stub can ------------------------------------------------------------------- */

static enum gdb_then supported(struct gdb_session *s, struct packet *p)
{
	s->swbreak = strstr(p->at, "swbreak+") != NULL;
	gdb_put(p->reply,
		"PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+",
		(unsigned int)GDB_PACKET_MAX);
	return GDB_ANSWER;
}

static enum gdb_then start_no_ack(struct gdb_session *s, struct packet *p)
{
	s->no_ack = true;
	return ok(p);
}

static enum gdb_then read_target(struct gdb_session *s, struct packet *p)
{
	uint64_t offset, len, size, i;

	if (!range(p, &offset, &len))
		return no(p, EINVAL);
	if (!s->target)
		s->target = arch_debug_target(&s->vm->vcpus[0]);
	if (!s->target)
		return no(p, ENOMEM);
	size = strlen(s->target);
	offset = min_u64(offset, size);
	len = min_u64(len, min_u64(size - offset, GDB_PACKET_MAX / 2));
	gdb_put(p->reply, "%c", offset + len < size ? 'm' : 'l');
	for (i = 0; i < len; i++)
		gdb_put_raw(p->reply, s->target[offset + i]);
	return GDB_ANSWER;
}

static enum gdb_then attached(struct gdb_session *s, struct packet *p)
{
	(void)s;
	/* Not made for the debugger: when it quits it detaches. */
	gdb_put(p->reply, "1");
	return GDB_ANSWER;
}

/**
 * struct row - a packet
 * @whole: nothing may follow
 */
struct row {
	const char *name;
	packet_fn fn;
	bool whole;
};

static const struct row rows[] = {
	{"?", why_stopped, true},
	{"g", read_general, true},
	{"G", write_general, false},
	{"p", read_one, false},
	{"P", write_one, false},
	{"m", read_memory, false},
	{"M", write_memory, false},
	{"X", write_binary, false},
	{"Z0,", insert, false},
	{"z0,", remove_one, false},
	{"vCont?", ask_resume, true},
	{"vCont", resume_each, false},
	{"vKill", kill_and_say, false},
	{"c", resume_go, false},
	{"s", resume_step, false},
	{"D", detach, false},
	{"k", kill_vm, true},
	{"H", choose, false},
	{"T", alive, false},
	{"qfThreadInfo", list_threads, true},
	{"qsThreadInfo", no_more_threads, true},
	{"qThreadExtraInfo,", describe_thread, false},
	{"qC", current_thread, true},
	{"qSupported", supported, false},
	{"QStartNoAckMode", start_no_ack, true},
	{"qXfer:features:read:target.xml:", read_target, false},
	{"qAttached", attached, false},
	{"qqemu.PhyMemMode", ask_physical, true},
	{"Qqemu.PhyMemMode:", set_physical, false},
};

enum gdb_then gdb_handle(struct gdb_session *s, const char *packet, size_t len,
			 struct gdb_reply *reply)
{
	struct packet p = {.end = packet + len, .reply = reply};
	size_t i;

	reply->len = 0;
	if (!debug_is_stopped(s->debug))
		return no(&p, EAGAIN);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		p.at = packet;
		if (gdb_skip(&p.at, rows[i].name) && (!rows[i].whole || p.at == p.end))
			return rows[i].fn(s, &p);
	}
	return GDB_ANSWER;
}

void gdb_session_init(struct gdb_session *s, struct vm *vm, struct debug *debug)
{
	memset(s, 0, sizeof(*s));
	s->vm = vm;
	s->debug = debug;
	s->hart_c = ALL_HARTS;
	gdb_stop_reply(s, 0, SIGNAL_TRAP, "");
}

void gdb_session_free(struct gdb_session *s)
{
	free(s->target);
	s->target = NULL;
}
