// SPDX-License-Identifier: GPL-2.0-only
/*
 * checker: does a guest notice that it was saved and brought back? It must not.
 *
 * Each hart goes through the same checks again and again, an epoch each time:
 *
 *   registers   x, f, fcsr, v, vl, vtype, vcsr full of patterns of its own while it waits
 *   sscratch    keeps what it was given
 *   memory      64 KiB hold what the epoch before wrote
 *   paging      a load through page tables that rested long, whose A bit the hart may set
 *   time        never goes back, not from one hart to another either
 *   timer       wakes the hart out of WFI, not too early
 *   IPI         arrives at the next hart; under the AIA a message too
 *   FWFT        a feature that was switched on stays on (where KVM has it)
 *   STA         steal time grows, where it is told
 *
 * What is wrong is said and ends the VM as a failure. The boot hart says where it is about
 * twice a second. It obeys letters on the console:
 *
 *   f  many numbered lines: none may be lost or come twice
 *   i  all harts sleep for a third of a second
 *   r  a reboot: what is in memory is gone, all harts come up anew
 *   s  all harts stop, and the last one has the machine sleep until it is woken from outside
 *   q  a good end
 *
 * The command line may say check.spin=MS: how long registers wait (20).
 *
 * Shared words are volatile, each written by one hart, but for @wanted, which the one hart
 * before writes, and @lock. Nothing is saved but by the host.
 */
#include "checker.h"

#define CAUSE_SOFTWARE 1
#define CAUSE_TIMER 5
#define CAUSE_EXTERNAL 9

#define SIP_SSIP 0x002
#define SIP_STIP 0x020
#define SIP_SEIP 0x200
#define SSTATUS_FS_VS (UINT64_C(3) << 13 | UINT64_C(3) << 9)

#define SBI_BASE 0x10
#define BASE_PROBE 3
#define SBI_DBCN 0x4442434e
#define DBCN_READ 1
#define SBI_SRST 0x53525354
#define SRST_COLD_REBOOT 1
#define SBI_STA 0x535441
#define SBI_FWFT 0x46574654
#define FWFT_SET 0
#define FWFT_GET 1
#define FWFT_MISALIGNED 0
#define FWFT_PTE_AD_HW_UPDATING 4

/* How long something is waited for that must happen, in the guest's seconds. */
#define PATIENCE_S 10

#define FLOOD_LINES 3000

#define MSI_ID 7

#define STACK_SIZE 16384

void irq_vector(void); /* guest/irq/vector.S */
void irq_taken(uint64_t cause);

static struct checker c;

static inline void fence(void)
{
	__asm__ volatile("fence iorw, iorw" ::: "memory");
}

static inline void irq_off(void)
{
	__asm__ volatile("csrci sstatus, 2" ::: "memory");
}

static inline void irq_on(void)
{
	__asm__ volatile("csrsi sstatus, 2" ::: "memory");
}

static struct hart *self(void)
{
	struct hart *h;

	__asm__ volatile("mv %0, tp" : "=r"(h));
	return h;
}

static uint64_t mix(uint64_t a, uint64_t b, uint64_t n)
{
	uint64_t v = a * UINT64_C(0x9e3779b97f4a7c15) ^ b * UINT64_C(0xc2b2ae3d27d4eb4f) ^ n;

	v ^= v >> 29;
	v *= UINT64_C(0xbf58476d1ce4e5b9);
	return v ^ v >> 32;
}

/* --- what went wrong ------------------------------------------------------------------------ */

static void wrong(const struct hart *h, const char *what, uint64_t n, uint64_t got, uint64_t want)
{
	uint64_t i;

	/* One hart's word is enough. */
	if (__atomic_exchange_n(&c.failed, 1, __ATOMIC_ACQ_REL))
		return;
	print("checker: FAILED: hart %u, epoch %u: %s %u is %x, not %x\n", h->id, h->epoch, what, n,
	      got, want);
	for (i = 0; i < c.nr; i++)
		print("checker: hart %u, epoch %u: %s, %u timers, IPIs %u of %u, %s\n", i,
		      c.hart[i].epoch, c.hart[i].doing ? c.hart[i].doing : "nothing",
		      (uint64_t)c.hart[i].timers, (uint64_t)c.hart[i].seen,
		      (uint64_t)c.hart[i].wanted, c.hart[i].resting ? "resting" : "busy");
}

static void same_words(const struct hart *h, const char *what, const uint64_t *got,
		       const uint64_t *want, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (got[i] != want[i])
			wrong(h, what, i, got[i], want[i]);
}

/* --- registers ------------------------------------------------------------------------------ */

static void make_patterns(struct hart *h)
{
	/* e32 m2; e32 m1 with both tails agnostic; e16 m1; e64 m8: all take 3 elements. */
	static const uint8_t vtypes[] = {0x11, 0xd0, 0x08, 0x1b};
	uint64_t seed = mix(h->id + 1, h->epoch, 0);
	unsigned int i;

	for (i = 0; i < 32; i++) {
		h->in.x[i] = mix(h->id + 1, h->epoch, i + 1);
		h->in.f[i] = mix(h->id + 1, h->epoch, i + 33);
	}
	/* A rounding mode that there is, and any flags. */
	h->in.fcsr = seed % 5 << 5 | (seed >> 8 & 0x1f);
	h->in.vector = c.vlenb;
	h->in.vl = 1 + seed % 3;
	h->in.vtype = vtypes[seed >> 16 & 3];
	h->in.vcsr = seed >> 24 & 7;
	for (i = 0; i < 32 * c.vlenb; i++)
		h->in.v[i] = (uint8_t)(seed + i * 7 + i / c.vlenb);
}

static void check_registers(struct hart *h)
{
	unsigned int i;

	make_patterns(h);
	patterns(&h->in, &h->out, read_time() + c.spin);
	for (i = 1; i < 32; i++)
		if (i != 2 && i != 4 && i != 5 && i != 6 && h->out.x[i] != h->in.x[i])
			wrong(h, "x", i, h->out.x[i], h->in.x[i]);
	same_words(h, "f", h->out.f, h->in.f, 32);
	same_words(h, "fcsr", &h->out.fcsr, &h->in.fcsr, 1);
	if (!c.vlenb)
		return;
	same_words(h, "vl", &h->out.vl, &h->in.vl, 1);
	same_words(h, "vtype", &h->out.vtype, &h->in.vtype, 1);
	same_words(h, "vcsr", &h->out.vcsr, &h->in.vcsr, 1);
	same_words(h, "vstart", &h->out.vstart, &h->in.vstart, 1);
	for (i = 0; i < 32 * c.vlenb; i++)
		if (h->out.v[i] != h->in.v[i])
			wrong(h, "byte of v", i, h->out.v[i], h->in.v[i]);
}

static void check_sscratch(const struct hart *h)
{
	uint64_t v;

	__asm__ volatile("csrr %0, sscratch" : "=r"(v));
	if (v != mix(h->id, h->epoch, 99))
		wrong(h, "sscratch", 0, v, mix(h->id, h->epoch, 99));
	__asm__ volatile("csrw sscratch, %0" ::"r"(mix(h->id, h->epoch + 1, 99)));
}

/* --- memory and time ------------------------------------------------------------------------- */

static void check_memory(struct hart *h)
{
	unsigned int i;

	for (i = 0; i < MEMORY_WORDS; i++) {
		uint64_t want = mix(h->id + 1, h->epoch, i);

		if (h->memory[i] != want)
			wrong(h, "word of memory", i, h->memory[i], want);
		h->memory[i] = mix(h->id + 1, h->epoch + 1, i);
	}
}

static void check_tables(struct hart *h)
{
	uint64_t got = 0, want = 0;
	const char *what = check_paging(h, &got, &want);

	if (what)
		wrong(h, what, h->epoch, got, want);
}

static void check_time(const struct hart *h)
{
	uint64_t now, last;

	irq_off();
	while (__atomic_exchange_n(&c.lock, 1, __ATOMIC_ACQUIRE))
		;
	last = c.last_time;
	now = read_time();
	c.last_time = now;
	__atomic_store_n(&c.lock, 0, __ATOMIC_RELEASE);
	irq_on();
	if (now < last)
		wrong(h, "time", 0, now, last);
}

/* --- interrupts ------------------------------------------------------------------------------- */

static void external(struct hart *h)
{
	uint64_t top;

	/* stopei, by number: the assembler need not know Ssaia. */
	__asm__ volatile("csrrw %0, 0x15c, zero" : "=r"(top)::"memory");
	if (top >> 16 == MSI_ID)
		h->msi_seen = h->msi_wanted;
}

void irq_taken(uint64_t cause)
{
	struct hart *h = self();

	switch (cause & 0xff) {
	case CAUSE_SOFTWARE:
		__asm__ volatile("csrc sip, %0" ::"r"(SIP_SSIP) : "memory");
		fence();
		h->seen = h->wanted;
		break;
	case CAUSE_TIMER:
		set_timer(c.guest, UINT64_MAX);
		h->timers++;
		break;
	case CAUSE_EXTERNAL:
		external(h);
		break;
	default:
		guest_trap(cause, 0, 0);
		break;
	}
}

static void check_timer(struct hart *h)
{
	uint32_t before = h->timers;
	uint64_t at = read_time() + c.guest->timebase / 500;

	if (c.idle_until > at)
		at = c.idle_until;
	irq_off();
	set_timer(c.guest, at);
	while (h->timers == before) {
		/* Woken by what is pending, which is taken right after. */
		__asm__ volatile("wfi" ::: "memory");
		irq_on();
		irq_off();
	}
	irq_on();
	if (read_time() < at)
		wrong(h, "timer, too early", 0, read_time(), at);
}

static bool comes_to(const volatile uint32_t *counter, uint32_t want)
{
	uint64_t until = read_time() + PATIENCE_S * c.guest->timebase;

	while (*counter != want && !c.stop)
		if (read_time() > until)
			return *counter == want;
	return true;
}

static void check_ipi(struct hart *h)
{
	struct hart *next = &c.hart[(h->id + 1) % c.nr];

	next->wanted++;
	fence();
	sbi(SBI_IPI, 0, 1, next->id, 0, NULL);
	if (!comes_to(&next->seen, next->wanted))
		wrong(h, "IPI to hart", next->id, next->seen, next->wanted);
	if (!c.guest->imsic)
		return;
	next->msi_wanted++;
	fence();
	*(volatile uint32_t *)(c.guest->imsic + next->id * PAGE_SIZE) = MSI_ID;
	if (!comes_to(&next->msi_seen, next->msi_wanted))
		wrong(h, "message to hart", next->id, next->msi_seen, next->msi_wanted);
}

/* --- what SBI keeps --------------------------------------------------------------------------- */

static void check_sbi(struct hart *h)
{
	uint64_t value = 0;

	if (h->fwft && (sbi(SBI_FWFT, FWFT_GET, FWFT_MISALIGNED, 0, 0, &value) || value != 1))
		wrong(h, "FWFT feature", FWFT_MISALIGNED, value, 1);
	if (!h->has_sta)
		return;
	value = h->sta[1];
	if (value < h->steal)
		wrong(h, "steal time", 0, value, h->steal);
	h->steal = value;
}

static void begin_sbi(struct hart *h)
{
	sbi(SBI_FWFT, FWFT_SET, FWFT_PTE_AD_HW_UPDATING, 1, 0, NULL);
	h->fwft = !sbi(SBI_FWFT, FWFT_SET, FWFT_MISALIGNED, 1, 0, NULL);
	h->has_sta = !sbi(SBI_STA, 0, (uintptr_t)h->sta, 0, 0, NULL);
	h->steal = 0;
}

/* siselect and sireg by number; the identities that are used lie in the first word. */
static void file_write(uint64_t which, uint64_t value)
{
	__asm__ volatile("csrw 0x150, %0\n\tcsrw 0x151, %1" ::"r"(which), "r"(value) : "memory");
}

/* --- harts --------------------------------------------------------------------------------- */

/* From a reset of the hart on, at the start and after each sleep. */
static void begin(struct hart *h)
{
	__asm__ volatile("mv tp, %0" ::"r"(h));
	__asm__ volatile("csrw stvec, %0" ::"r"(irq_vector) : "memory");
	__asm__ volatile("csrs sstatus, %0" ::"r"(SSTATUS_FS_VS));
	__asm__ volatile("csrw sscratch, %0" ::"r"(mix(h->id, h->epoch, 99)));
	begin_sbi(h);
	set_timer(c.guest, UINT64_MAX);
	if (c.guest->imsic) {
		file_write(0xc0, UINT64_C(1) << MSI_ID); /* eie0 */
		file_write(0x72, 0);			 /* eithreshold */
		file_write(0x70, 1);			 /* eidelivery */
	}
	__asm__ volatile("csrs sie, %0" ::"r"(SIP_SSIP | SIP_STIP | SIP_SEIP));
	irq_on();
	fence();
	h->up = true;
}

static void epoch(struct hart *h)
{
	h->doing = "registers";
	check_registers(h);
	check_sscratch(h);
	h->doing = "memory";
	check_memory(h);
	h->doing = "paging";
	check_tables(h);
	h->doing = "time";
	check_time(h);
	h->doing = "timer";
	check_timer(h);
	h->doing = "IPI";
	check_ipi(h);
	h->doing = "SBI";
	check_sbi(h);
	h->epoch++;
}

static void worker(void *arg)
{
	struct hart *h = arg;

	begin(h);
	/* An IPI to a hart that is still being started would be lost. */
	while (!c.go && !c.failed)
		;
	while (!c.stop && !c.failed) {
		epoch(h);
		if (!c.sleep)
			continue;
		h->resting = true;
		while (!c.may_stop && !c.failed)
			;
		if (c.failed)
			break;
		irq_off();
		stop_hart();
		wrong(h, "hart that was stopped", h->id, 1, 0);
	}
	/* It still answers those that are in their last epoch. */
	h->done = true;
	for (;;)
		__asm__ volatile("wfi");
}

static bool start_all(void)
{
	static uint8_t stacks[MAX_HARTS][STACK_SIZE] __attribute__((aligned(16)));
	uint64_t i;

	for (i = 1; i < c.nr; i++)
		if (!start_hart(i, worker, &c.hart[i], stacks[i] + STACK_SIZE)) {
			print("checker: FAILED: hart %u does not start\n", i);
			return false;
		}
	for (i = 1; i < c.nr; i++)
		while (!c.hart[i].up)
			;
	c.go = 1;
	return true;
}

/* A letter that was typed, or 0. */
static char typed(void)
{
	static char key;
	uint64_t n = 0;

	return !sbi(SBI_DBCN, DBCN_READ, 1, (uintptr_t)&key, 0, &n) && n == 1 ? key : 0;
}

static void flood(void)
{
	unsigned int i;

	for (i = 0; i < FLOOD_LINES && !c.failed; i++)
		print("checker: line %u\n", c.line++);
}

static void lead(struct hart *h);
static bool finish(void);

static void woken(void *arg)
{
	struct hart *h = arg;
	uint64_t i;

	c.go = 0;
	c.sleep = 0;
	c.may_stop = 0;
	for (i = 1; i < c.nr; i++)
		c.hart[i].up = c.hart[i].resting = false;
	begin(h);
	print("checker: awake\n");
	if (start_all())
		lead(h);
	guest_end(finish());
}

/* Goes on in woken(). */
static void sleep(struct hart *h)
{
	static uint8_t stack[STACK_SIZE] __attribute__((aligned(16)));
	uint64_t i, status;

	c.sleep = 1;
	for (i = 1; i < c.nr; i++)
		while (!c.hart[i].resting && !c.failed)
			;
	if (c.failed)
		return;
	c.may_stop = 1;
	for (i = 1; i < c.nr; i++)
		while (sbi(SBI_HSM, HSM_STATUS, i, 0, 0, &status) || status != HSM_STATUS_STOPPED)
			;
	print("checker: asleep\n");
	irq_off();
	wrong(h, "suspend", SUSP_TO_RAM, (uint64_t)suspend_to_ram(woken, h, stack + STACK_SIZE), 0);
}

/* Does as it is told; false: the end is wanted. */
static bool obey(struct hart *h, char key)
{
	switch (key) {
	case 'f':
		flood();
		break;
	case 'i':
		c.idle_until = read_time() + c.guest->timebase / 3;
		break;
	case 'r':
		wrong(h, "reboot", SRST_COLD_REBOOT,
		      (uint64_t)sbi(SBI_SRST, 0, SRST_COLD_REBOOT, 0, 0, NULL), 0);
		break;
	case 's':
		sleep(h);
		break;
	default:
		break;
	}
	return key != 'q';
}

/* The boot hart's own epochs, and where it is. */
static void lead(struct hart *h)
{
	uint64_t said = read_time();

	while (!c.failed && obey(h, typed())) {
		epoch(h);
		if (read_time() - said < c.guest->timebase / 2)
			continue;
		said = read_time();
		print("checker: epoch %u\n", h->epoch);
	}
}

static bool finish(void)
{
	uint64_t i, epochs = 0;

	c.stop = 1;
	for (i = 1; i < c.nr && !c.failed; i++)
		while (!c.hart[i].done)
			;
	for (i = 0; i < c.nr; i++)
		epochs += c.hart[i].epoch;
	irq_off();
	if (!c.failed)
		print("checker: all good after %u epochs\n", epochs);
	return !c.failed;
}

bool guest_main(const struct guest *guest)
{
	uint64_t i, word, susp = 0;
	bool sets_a;

	c.guest = guest;
	c.nr = guest->nr_harts < MAX_HARTS ? guest->nr_harts : MAX_HARTS;
	c.spin = option_number(guest, "check.spin", 20) * guest->timebase / 1000;
	for (i = 0; i < c.nr; i++) {
		c.hart[i].id = i;
		for (word = 0; word < MEMORY_WORDS; word++)
			c.hart[i].memory[word] = mix(i + 1, 0, word);
	}
	begin(&c.hart[0]);
	/* vlenb, by number: the compiler need not know V. */
	if (guest->vector)
		__asm__ volatile("csrr %0, 0xc22" : "=r"(c.vlenb));
	if (c.vlenb > MAX_VLENB)
		c.vlenb = 0;
	sbi(SBI_BASE, BASE_PROBE, SBI_SUSP, 0, 0, &susp);
	sets_a = begin_paging(c.hart, c.nr);
	print("checker: %u harts, vectors of %u bytes, %s%s%s%s%s\n", (uint64_t)c.nr, c.vlenb,
	      guest->imsic ? "AIA" : "PLIC", c.hart[0].fwft ? ", FWFT" : "",
	      c.hart[0].has_sta ? ", STA" : "", susp ? ", SUSP" : "",
	      sets_a ? ", sets A bits" : "");
	if (!start_all())
		return false;
	lead(&c.hart[0]);
	return finish();
}
