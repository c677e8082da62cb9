/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * irq: checks of timers, IPIs and device interrupts on bare harts.
 *
 * A check is one line "ok N NAME" or "not ok N NAME" (Test Anything Protocol). The
 * boot hart leads; the others sleep until it gives them work. Device interrupts come
 * over wires, whose checks know the interrupt chip through struct chip only, and so are
 * the same on PLIC and APLIC; what only one of the chips has is checked beside.
 */
#ifndef LKVM_GUEST_IRQ_H
#define LKVM_GUEST_IRQ_H

#include "../virtio.h"

#define MAX_HARTS 16
#define MAX_IDS 256
#define MAX_ORDER 16

struct bench;
struct wire;

/**
 * struct hart - what a hart knows; written by itself, but for @work
 * @ipis, @timers: software and timer interrupts taken
 * @timer_at: when the last one of the timer was
 * @count: external interrupts taken, by identity
 * @nothing: times that the hart was interrupted and the chip had nothing for it
 * @order, @nr_order: what was taken, in that order, while there is room
 * @work: what the boot hart wants done; NULL again when it is
 * @told: the IPI that tells of it has been sent
 * @good: how it went
 */
struct hart {
	struct bench *bench;
	uint64_t id;
	volatile bool up;
	volatile uint32_t ipis, timers, nothing;
	volatile uint64_t timer_at;
	volatile uint32_t count[MAX_IDS];
	volatile uint32_t order[MAX_ORDER], nr_order;
	bool (*volatile work)(struct hart *h);
	volatile bool told, good;
};

/**
 * struct chip - an interrupt chip, as the checks of wires see it
 * @identity: what claim says for @source
 * @begin_hart: on each hart that starts
 * @route: interrupts of @source go to hart @hart from now on, and to no other; unmasked
 * @mask: keep them from any hart; @unmask: no longer
 * @claim: the identity of what interrupts hart @h, 0 for nothing
 * @complete: its handler is done with it
 */
struct chip {
	const char *name;
	uint32_t (*identity)(uint32_t source);
	void (*begin_hart)(struct hart *h);
	void (*route)(struct bench *b, uint32_t source, uint64_t hart);
	void (*mask)(struct bench *b, uint32_t source);
	void (*unmask)(struct bench *b, uint32_t source);
	uint32_t (*claim)(struct hart *h);
	void (*complete)(struct hart *h, uint32_t id);
};

extern const struct chip plic_chip, aia_chip;

/**
 * struct wire - a device that can raise and lower its interrupt line
 * @raise: have the device want attention: soon the line is up
 * @lower: what its handler does: at once the line is down; had it been up?
 * @serve: called for each interrupt; NULL: lower it, unless @hold is not 0
 * @lock: held by the handler: a message may still be on its way to one hart when the
 *	next one goes to another
 * @hold: so many times the handler leaves the line as it is
 * @left: for @serve
 */
struct wire {
	const char *name;
	uint32_t source, id;
	struct vdev *v;
	uint64_t base;
	void (*raise)(struct wire *w);
	bool (*lower)(struct wire *w);
	void (*serve)(struct wire *w, struct hart *h);
	volatile uint32_t hold, left;
	struct wire *partner;
	uint32_t lock;
};

#define MAX_WIRES 8

/**
 * struct bench - what all checks work with
 * @by_id: the wires whose interrupts are awaited
 * @asleep: times that a hart slept with an interrupt pending, until it was woken
 * @flood: interrupts of a flood
 * @stay: seconds to leave such a hart as it is
 * @rest: seconds between what is measured and what is not
 * @since: when the last check had ended
 * @only: the one group of checks to play; empty for all
 */
struct bench {
	const struct guest *guest;
	const struct chip *chip;
	struct hart hart[MAX_HARTS];
	unsigned int nr;
	struct vbus bus;
	bool pci;
	struct wire wire[MAX_WIRES];
	size_t nr_wires;
	struct wire *by_id[MAX_IDS];
	unsigned int checks, bad, asleep;
	uint32_t flood, stay, rest;
	uint64_t since;
	char only[8];
};

/**
 * check() - a line of the report
 */
void check(struct bench *b, bool good, const char *name);

/**
 * differs() - print a detail of what went wrong; always false
 */
bool differs(const char *what, uint64_t where, uint64_t got, uint64_t want);

/* How long something that must happen is waited for, and how long for what must not. */
#define PATIENCE_S 5
#define SETTLE_MS 10

/**
 * reached() - wait until @counter is at least @want
 */
bool reached(struct bench *b, const volatile uint32_t *counter, uint32_t want);

/**
 * came() - wait until an external interrupt has come: @counter is at least @want
 *
 * A hart that is still asleep then is woken, and whether that brought the interrupt says
 * whether it had got lost or nobody had told the hart. The latter is counted and said, but
 * is none of the VMM's making: the interrupt was where it belongs.
 */
bool came(struct bench *b, const volatile uint32_t *counter, uint32_t want);

/**
 * struct watch - of something that must go on
 * @last, @since: how far it was, and since when
 * @woken: all harts were woken, since it did not
 */
struct watch {
	uint32_t last;
	uint64_t since;
	bool woken;
};

/**
 * goes_on() - false where @progress has not changed for long, not even when all were woken
 * @w: zeroed at the start; the rest is as with came()
 */
bool goes_on(struct bench *b, struct watch *w, uint32_t progress);

/**
 * nap() - sleep for a millisecond at most; uses this hart's timer
 */
void nap(struct bench *b);

/**
 * settle() - let what may still come come
 */
void settle(struct bench *b);

/**
 * on() - have hart @hart do @work, and wait for its end
 */
bool on(struct bench *b, uint64_t hart, bool (*work)(struct hart *h));

/**
 * on_all() - the same for all harts at once; true where all are content
 */
bool on_all(struct bench *b, bool (*work)(struct hart *h));

/**
 * send_ipi() - by SBI, to the harts of @mask from @base on
 */
long send_ipi(uint64_t mask, uint64_t base);

/**
 * forget() - clear what all harts counted, once the others have taken what they had pending
 */
void forget(struct bench *b);

/**
 * sum() - how often all harts have taken @id
 */
uint32_t sum(struct bench *b, uint32_t id);

/**
 * only() - has hart @hart, and no other, taken @id @want times?
 */
bool only(struct bench *b, uint32_t id, uint64_t hart, uint32_t want);

/**
 * begin_hart() - on a hart that starts: its interrupts on
 */
void begin_hart(struct hart *h);

/**
 * start_all() - start all harts but this one, and wait for them
 */
bool start_all(struct bench *b);

/**
 * find_wires() - bring up the devices that have lines
 */
bool find_wires(struct bench *b);

/**
 * ready_disk() - reset a disk and set it up to be asked who it is, again and again
 * @vector: its queue has MSI-X vector 0
 */
bool ready_disk(struct bench *b, struct vdev *v, bool vector);

/* The groups of checks. */
void hart_checks(struct bench *b);
void wire_checks(struct bench *b);
void serial_checks(struct bench *b);
void cost_checks(struct bench *b);
void plic_checks(struct bench *b);
void imsic_checks(struct bench *b);
void aplic_checks(struct bench *b);
void msix_checks(struct bench *b);

/**
 * imsic_send() - an identity of the IMSIC itself: a store to its page
 */
void imsic_send(struct bench *b, uint64_t hart, uint32_t id);

/* Interrupts of this hart. */
#define SSTATUS_SIE 2
#define SIP_SSIP 0x002
#define SIP_STIP 0x020
#define SIP_SEIP 0x200

static inline void irq_off(void)
{
	__asm__ volatile("csrci sstatus, 2" ::: "memory");
}

static inline void irq_on(void)
{
	__asm__ volatile("csrsi sstatus, 2" ::: "memory");
}

static inline void sie_set(uint64_t bits)
{
	__asm__ volatile("csrs sie, %0" ::"r"(bits) : "memory");
}

static inline void sie_clear(uint64_t bits)
{
	__asm__ volatile("csrc sie, %0" ::"r"(bits) : "memory");
}

static inline uint64_t sip(void)
{
	uint64_t v;

	__asm__ volatile("csrr %0, sip" : "=r"(v)::"memory");
	return v;
}

/* With interrupts off: handlers take locks too. */
static inline void lock(uint32_t *l)
{
	while (__atomic_exchange_n(l, 1, __ATOMIC_ACQUIRE))
		;
}

static inline void unlock(uint32_t *l)
{
	__atomic_store_n(l, 0, __ATOMIC_RELEASE);
}

/* The hart that runs this. */
static inline struct hart *self(void)
{
	struct hart *h;

	__asm__ volatile("mv %0, tp" : "=r"(h));
	return h;
}

#endif /* LKVM_GUEST_IRQ_H */
