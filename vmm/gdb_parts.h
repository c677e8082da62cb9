/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the GDB stub share: gdb_packet.c (packets in a stream of bytes),
 * gdb_commands.c (what packets ask for), gdb.c (the socket and the connection),
 * gdb_address.c (the option's value).
 */
#ifndef LKVM_VMM_GDB_PARTS_H
#define LKVM_VMM_GDB_PARTS_H

#include "lkvm/debug.h"
#include "lkvm/gdb.h"

/* The largest packet in either direction, frame excluded: a vector register in hexadecimal. */
#define GDB_PACKET_MAX (2 * ARCH_DEBUG_REG_MAX + 1024)

/* A packet, each byte escaped, its frame, and acknowledgements. */
#define GDB_OUT_MAX (2 * GDB_PACKET_MAX + 64)

enum gdb_event {
	GDB_NOTHING,   /* more bytes are wanted */
	GDB_PACKET,    /* a good packet is in @buf, @len bytes, ended by a NUL */
	GDB_DAMAGED,   /* its checksum is wrong */
	GDB_TOO_LONG,  /* it had more than GDB_PACKET_MAX bytes */
	GDB_INTERRUPT, /* Ctrl-C, outside a packet */
	GDB_AGAIN,     /* the other side did not understand the last packet */
};

/**
 * struct gdb_input - the packet that is coming in
 * @state: where in it we are; private
 */
struct gdb_input {
	char buf[GDB_PACKET_MAX + 1];
	size_t len;
	unsigned int state;
	uint8_t sum, check;
	bool escaped, too_long;
};

/**
 * gdb_feed() - one byte of the stream
 */
enum gdb_event gdb_feed(struct gdb_input *in, uint8_t byte);

/**
 * struct gdb_reply - a packet that goes out
 */
struct gdb_reply {
	char buf[GDB_PACKET_MAX + 1];
	size_t len;
};

/**
 * gdb_frame() - put "$packet#xx" at @out, GDB_OUT_MAX - 8 bytes
 *
 * Return: its length.
 */
size_t gdb_frame(const struct gdb_reply *reply, char *out);

/* --- reading packets: each moves *@at on only where it returns true --- */

/**
 * gdb_number() - a hexadecimal number of at most 64 bits, one digit at least
 */
bool gdb_number(const char **at, uint64_t *value);

/**
 * gdb_skip() - this text
 */
bool gdb_skip(const char **at, const char *text);

/**
 * gdb_bytes() - @len bytes, two digits each
 */
bool gdb_bytes(const char **at, void *buf, size_t len);

/* --- writing them: what does not fit is left away --- */
void gdb_put(struct gdb_reply *r, const char *fmt, ...) __printf(2, 3);
void gdb_put_bytes(struct gdb_reply *r, const void *buf, size_t len);

/* A byte as it is; gdb_frame() escapes what needs it. */
void gdb_put_raw(struct gdb_reply *r, char byte);

/* What is to be done when a packet has been answered. */
enum gdb_then {
	GDB_ANSWER,  /* send the reply */
	GDB_SILENT,  /* no reply: the VM goes on, or it came already */
	GDB_GOODBYE, /* send the reply, and hang up */
	GDB_KILL,    /* end the VM */
};

/**
 * struct gdb_session - one connection's state beyond bytes
 * @hart: what registers and memory are read of ("Hg"); @hart_c: what goes on ("Hc"), or all
 * @no_ack: no acknowledgements from the next packet on
 * @swbreak: the debugger knows stops by breakpoint by name
 * @target: the description of registers, made when first wanted
 * @stop: the last stop's reply
 * @scratch: a register, or memory
 */
struct gdb_session {
	struct vm *vm;
	struct debug *debug;
	unsigned int hart;
	int hart_c;
	bool no_ack, swbreak;
	char *target;
	struct gdb_reply stop;
	uint8_t scratch[GDB_PACKET_MAX];
};

void gdb_session_init(struct gdb_session *s, struct vm *vm, struct debug *debug);
void gdb_session_free(struct gdb_session *s);

/**
 * gdb_handle() - carry out @packet, @len bytes and a NUL
 * @reply: out: empty where the packet is not known
 */
enum gdb_then gdb_handle(struct gdb_session *s, const char *packet, size_t len,
			 struct gdb_reply *reply);

/**
 * gdb_stop_reply() - "T05…": @hart stopped by @signal; remembered for "?"
 * @why: "swbreak:;" or ""
 */
void gdb_stop_reply(struct gdb_session *s, unsigned int hart, unsigned int signal, const char *why);

#endif /* LKVM_VMM_GDB_PARTS_H */
