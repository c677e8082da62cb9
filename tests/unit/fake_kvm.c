// SPDX-License-Identifier: GPL-2.0-only
/*
 * The scripted host (fake_kvm.h). What it answers is what KVM RISC-V of Linux
 * 6.12, 7.2 and 7.3 was seen to answer (Linux arch/riscv/kvm/, virt/kvm/).
 *
 * A blocked KVM_RUN waits in ppoll(2) with the kick signal open only there, so
 * that no kick and no poke is lost and nothing polls. File descriptors are
 * numbers of its own, far from real ones: a stray close(2) can't hit anything.
 */
#include "fake_kvm.h"

#include "lkvm/process.h"
#include "lkvm/riscv/regs.h"
#include "lkvm/riscv/sbi.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define FIRST_FD 0x40000000

#define CAP_MP_STATE_RESET 242
#define CAP_POSTED_V4 247
#define CAP_POSTED_V7 248

#define MP_RUNNABLE 0
#define MP_INIT_RECEIVED 2
#define MP_STOPPED 5

#define INTERRUPT_SET 0xffffffffu

/* One past the highest extension number each kernel knows. */
static unsigned int isa_count(const struct fake_host *host)
{
	static const unsigned int counts[] = {62, 78, 80};

	return counts[host->kernel];
}

static unsigned int sbi_count(const struct fake_host *host)
{
	return host->kernel == FAKE_6_12 ? 11 : 14;
}

static void complain(struct fake_host *host, const char *fmt, ...) __printf(2, 3);
static void complain(struct fake_host *host, const char *fmt, ...)
{
	va_list ap;

	if (host->complaint[0])
		return;
	va_start(ap, fmt);
	vsnprintf(host->complaint, sizeof(host->complaint), fmt, ap);
	va_end(ap);
}

struct fake_host *fake_host_new(enum fake_kernel kernel)
{
	static const unsigned int isa[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
					   17, 18, 19, 20, 21, 22, 24, 25, 46, 47, 51, 53, 56, 57,
					   58, 60, 61, 66, 67, 68, 69, 70, 71, 77, 78, 79};
	struct fake_host *host = calloc(1, sizeof(*host));
	pthread_condattr_t attr;
	unsigned int i;

	if (!host)
		abort();
	host->kernel = kernel;
	host->max_bits = 50;
	host->max_vcpus = 1024;
	host->api_version = KVM_API_VERSION;
	host->run_size = 8192;
	for (i = 0; i < ARRAY_SIZE(isa); i++)
		host->host_isa[isa[i]] = true;
	for (i = 0; i < SBI_EXT_COUNT; i++)
		host->host_sbi[i] = i != SBI_EXT_PMU;
	host->timebase = 10000000;
	host->satp_mode = 9;
	host->vlenb = 16;
	host->block_size = 64;
	host->aia_ids = 256;
	host->irq_routes = FAKE_MAX_ROUTES;
	host->ids[0] = 0x1234;
	host->ids[1] = 0x5678;
	host->ids[2] = 0x9abc;
	host->next_fd = FIRST_FD;
	host->kvm_fd = -1;
	pthread_mutex_init(&host->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&host->cond, &attr);
	pthread_condattr_destroy(&attr);
	return host;
}

void fake_host_free(struct fake_host *host)
{
	while (host->vms) {
		struct fake_vm *vm = host->vms;

		host->vms = vm->next;
		free(vm);
	}
	while (host->vcpus) {
		struct fake_vcpu *v = host->vcpus;

		host->vcpus = v->next;
		free(v->run);
		if (v->wake_fd >= 0)
			close(v->wake_fd);
		pthread_mutex_destroy(&v->lock);
		free(v);
	}
	pthread_cond_destroy(&host->cond);
	pthread_mutex_destroy(&host->lock);
	free(host);
}

/* --- accounts --------------------------------------------------------- */

void fake_arm(struct fake_host *host, unsigned long request, unsigned long nth, int errnum)
{
	size_t i;

	pthread_mutex_lock(&host->lock);
	for (i = 0; i < ARRAY_SIZE(host->arms) && host->arms[i].nth; i++)
		;
	if (i < ARRAY_SIZE(host->arms))
		host->arms[i] = (struct fake_arm){request, nth, errnum};
	else
		complain(host, "too many armed faults");
	pthread_mutex_unlock(&host->lock);
}

/* Count the call; -errno where it was armed to fail. With the lock held. */
static int account(struct fake_host *host, unsigned long request)
{
	int ret = 0;
	size_t i;

	host->all_calls++;
	for (i = 0; i < ARRAY_SIZE(host->counts); i++) {
		if (!host->counts[i].request)
			host->counts[i].request = request;
		if (host->counts[i].request == request) {
			host->counts[i].calls++;
			break;
		}
	}
	for (i = 0; i < ARRAY_SIZE(host->arms); i++) {
		struct fake_arm *arm = &host->arms[i];

		if (!arm->nth || (arm->request != FAKE_ANY && arm->request != request))
			continue;
		if (--arm->nth)
			continue;
		host->armed_hit = arm->errnum;
		host->armed_request = request;
		ret = -arm->errnum;
	}
	return ret;
}

unsigned long fake_calls(struct fake_host *host, unsigned long request)
{
	unsigned long calls = 0;
	size_t i;

	pthread_mutex_lock(&host->lock);
	if (request == FAKE_ANY)
		calls = host->all_calls;
	for (i = 0; request && i < ARRAY_SIZE(host->counts); i++)
		if (host->counts[i].request == request)
			calls = host->counts[i].calls;
	pthread_mutex_unlock(&host->lock);
	return calls;
}

size_t fake_live(struct fake_host *host)
{
	size_t live;

	pthread_mutex_lock(&host->lock);
	live = host->live_fds + host->live_maps;
	pthread_mutex_unlock(&host->lock);
	return live;
}

const char *fake_complaint(struct fake_host *host)
{
	const char *text;

	pthread_mutex_lock(&host->lock);
	text = host->complaint[0] ? host->complaint : NULL;
	pthread_mutex_unlock(&host->lock);
	return text;
}

static struct fake_vcpu *find_vcpu(struct fake_host *host, unsigned int id)
{
	struct fake_vcpu *v;

	for (v = host->vcpus; v; v = v->next)
		if (v->id == id)
			break;
	return v;
}

struct fake_vcpu *fake_vcpu(struct fake_host *host, unsigned int id)
{
	struct fake_vcpu *v;

	pthread_mutex_lock(&host->lock);
	v = find_vcpu(host, id);
	pthread_mutex_unlock(&host->lock);
	return v;
}

struct fake_vm *fake_vm(struct fake_host *host)
{
	struct fake_vm *vm;

	pthread_mutex_lock(&host->lock);
	vm = host->vms;
	pthread_mutex_unlock(&host->lock);
	return vm;
}

static void wake(const struct fake_vcpu *v)
{
	uint64_t one = 1;

	if (v->open && write(v->wake_fd, &one, sizeof(one)) < 0)
		abort();
}

void fake_poke(struct fake_host *host, unsigned int hart)
{
	struct fake_vcpu *v;

	pthread_mutex_lock(&host->lock);
	v = find_vcpu(host, hart);
	if (v) {
		v->pokes++;
		wake(v);
	}
	pthread_mutex_unlock(&host->lock);
}

static void progress(struct fake_host *host)
{
	pthread_mutex_lock(&host->lock);
	pthread_cond_broadcast(&host->cond);
	pthread_mutex_unlock(&host->lock);
}

enum wait_for {
	WAIT_RESULTS,
	WAIT_IDLE,
	WAIT_GENERATION,
};

static bool wait_for(struct fake_host *host, enum wait_for what, unsigned int hart, unsigned int nr)
{
	uint64_t deadline = now_ns() + 10 * NSEC_PER_SEC;
	struct timespec until = {.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
				 .tv_nsec = (long)(deadline % NSEC_PER_SEC)};
	bool ok = false;
	int ret = 0;

	pthread_mutex_lock(&host->lock);
	for (;;) {
		struct fake_vcpu *v = find_vcpu(host, hart);

		if (what == WAIT_GENERATION)
			ok = host->generations > nr;
		else if (what == WAIT_IDLE)
			ok = v && atomic_load(&v->idle);
		else
			ok = v && atomic_load(&v->nr_results) >= nr;
		if (ok || ret)
			break;
		ret = pthread_cond_timedwait(&host->cond, &host->lock, &until);
	}
	pthread_mutex_unlock(&host->lock);
	return ok;
}

bool fake_wait_results(struct fake_host *host, unsigned int hart, unsigned int nr)
{
	return wait_for(host, WAIT_RESULTS, hart, nr);
}

bool fake_wait_idle(struct fake_host *host, unsigned int hart)
{
	return wait_for(host, WAIT_IDLE, hart, 0);
}

bool fake_wait_generation(struct fake_host *host, unsigned int generation)
{
	return wait_for(host, WAIT_GENERATION, 0, generation);
}

/* --- registers -------------------------------------------------------- */

static bool has_isa(const struct fake_host *host, unsigned int id)
{
	return id < isa_count(host) && host->host_isa[id];
}

static bool has_sbi(const struct fake_host *host, unsigned int id)
{
	if (id == SBI_EXT_PMU && !has_isa(host, ISA_EXT_SSCOFPMF))
		return false;
	return id < sbi_count(host) && host->host_sbi[id];
}

enum { EXT_D = 2, EXT_F = 3, EXT_V = 15, EXT_SMSTATEEN = 23, EXT_SVADE = 64, EXT_SVADU = 65 };
enum { EXT_ZICFISS = 79, SBI_STA = 10, SBI_FWFT = 12 };

static bool may_enable(const struct fake_host *host, unsigned int id)
{
	switch (id) {
	case ISA_EXT_H:
		return false;
	case ISA_EXT_SSCOFPMF:
		return has_isa(host, ISA_EXT_SSAIA);
	case EXT_SVADU:
		return host->hw_ad;
	default:
		return true;
	}
}

static bool may_disable(const struct fake_host *host, unsigned int id)
{
	if (host->stuck[id])
		return false;
	switch (id) {
	case EXT_D:
	case EXT_F:
	case EXT_V:
	case 7: /* svpbmt */
	case ISA_EXT_ZICBOM:
	case ISA_EXT_ZICBOZ:
	case EXT_SMSTATEEN:
		return true;
	case ISA_EXT_SSAIA:
		return has_isa(host, EXT_SMSTATEEN);
	case 62: /* smnpm */
	case EXT_SVADU:
	case 75: /* zclsd */
	case 76: /* zilsd */
		return host->kernel >= FAKE_7_2;
	case EXT_SVADE:
		return host->kernel >= FAKE_7_2 && host->hw_ad;
	case 78: /* zicfilp */
	case EXT_ZICFISS:
		return host->kernel >= FAKE_7_3;
	default:
		return false;
	}
}

static void reset_registers(struct fake_vcpu *v)
{
	struct fake_host *host = v->host;

	memset(v->core, 0, sizeof(v->core));
	memset(v->csr, 0, sizeof(v->csr));
	memset(v->aia, 0, sizeof(v->aia));
	memset(v->fp, 0, sizeof(v->fp));
	v->core[CORE_MODE] = 1;
	v->csr[CSR_SCOUNTEREN] = host->kernel == FAKE_6_12 ? 7 : 0;
	v->compare = UINT64_MAX;
	v->vector[4] = host->vlenb;
	v->sta[0] = v->sta[1] = UINT64_MAX;
}

static void first_registers(struct fake_vcpu *v)
{
	struct fake_host *host = v->host;
	unsigned int i;

	reset_registers(v);
	memcpy(v->ids, host->ids, sizeof(v->ids));
	for (i = 0; i < ISA_EXT_COUNT; i++)
		v->isa[i] = has_isa(host, i) && may_enable(host, i);
	for (i = 0; i < SBI_EXT_COUNT; i++)
		v->sbi[i] = has_sbi(host, i) && i != SBI_EXT_DBCN && i != SBI_EXT_SUSP &&
			    i != SBI_EXT_MPXY;
}

static int plain(uint64_t *reg, uint64_t *value, bool set)
{
	if (set)
		*reg = *value;
	else
		*value = *reg;
	return 0;
}

/* For what may only be set to what it is. */
static int equal_or(int errnum, uint64_t now, uint64_t *value, bool set)
{
	if (!set)
		*value = now;
	return set && *value != now ? -errnum : 0;
}

static uint64_t isa_letters(const struct fake_vcpu *v)
{
	/* The single letters and their KVM numbers. */
	static const struct {
		char letter;
		unsigned int id;
	} letters[] = {{'a', 0}, {'c', 1}, {'d', 2}, {'f', 3}, {'i', 5}, {'m', 6}, {'v', 15}};
	uint64_t isa = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(letters); i++)
		if (v->isa[letters[i].id])
			isa |= UINT64_C(1) << (letters[i].letter - 'a');
	return isa;
}

static int block_size(const struct fake_vcpu *v, unsigned int ext, uint64_t *value, bool set)
{
	const struct fake_host *host = v->host;
	uint64_t size = has_isa(host, ext) ? host->block_size : 0;

	if (host->kernel == FAKE_6_12 && !v->isa[ext])
		return -ENOENT;
	if (set && host->kernel != FAKE_6_12 && !*value)
		return 0;
	return equal_or(EINVAL, size, value, set);
}

static int reg_config(struct fake_vcpu *v, unsigned int index, uint64_t *value, bool set)
{
	switch (index) {
	case CONFIG_ISA:
		if (set && *value >> 25)
			return -EINVAL;
		/* Letters are not modelled further: lkvm compares them only. */
		return equal_or(v->ran ? EBUSY : 0, isa_letters(v), value, set);
	case CONFIG_ZICBOM_BLOCK_SIZE:
		return block_size(v, ISA_EXT_ZICBOM, value, set);
	case CONFIG_ZICBOZ_BLOCK_SIZE:
		return block_size(v, ISA_EXT_ZICBOZ, value, set);
	case CONFIG_MVENDORID:
	case CONFIG_MARCHID:
	case CONFIG_MIMPID:
		if (v->ran)
			return equal_or(EBUSY, v->ids[index - CONFIG_MVENDORID], value, set);
		return plain(&v->ids[index - CONFIG_MVENDORID], value, set);
	case CONFIG_SATP_MODE:
		return equal_or(EINVAL, v->host->satp_mode, value, set);
	case CONFIG_ZICBOP_BLOCK_SIZE:
		if (v->host->kernel == FAKE_6_12)
			return -ENOENT;
		return block_size(v, ISA_EXT_ZICBOP, value, set);
	default:
		return -ENOENT;
	}
}

static int reg_csr(struct fake_vcpu *v, unsigned int sub, unsigned int index, uint64_t *value,
		   bool set)
{
	switch (sub) {
	case 0:
		if (index >= ARRAY_SIZE(v->csr))
			return -ENOENT;
		if (set && index == CSR_SIP) {
			v->csr[index] = *value & (v->host->kernel == FAKE_6_12 ? 0x6222 : 0x2222);
			return 0;
		}
		return plain(&v->csr[index], value, set);
	case 1:
		if (index >= ARRAY_SIZE(v->aia) || !v->isa[ISA_EXT_SSAIA])
			return -ENOENT;
		return plain(&v->aia[index], value, set);
	case 2:
		if (index || !v->isa[EXT_SMSTATEEN])
			return v->host->kernel == FAKE_6_12 ? -EINVAL : -ENOENT;
		return plain(&v->sstateen0, value, set);
	case 3:
		if (index || v->host->kernel < FAKE_7_3 || !v->isa[EXT_ZICFISS])
			return -ENOENT;
		return plain(&v->ssp, value, set);
	default:
		return -ENOENT;
	}
}

static int reg_timer(struct fake_vcpu *v, struct fake_vm *vm, unsigned int index, uint64_t *value,
		     bool set)
{
	switch (index) {
	case TIMER_FREQUENCY:
		return equal_or(EINVAL, v->host->timebase, value, set);
	case TIMER_TIME:
		return plain(&vm->time, value, set);
	case TIMER_COMPARE:
		return plain(&v->compare, value, set);
	case TIMER_STATE:
		if (set && *value != 1)
			return -EINVAL;
		if (set && v->host->kernel == FAKE_6_12)
			v->compare = 1;
		return plain(&v->timer_state, value, set);
	default:
		return -ENOENT;
	}
}

static int isa_single(struct fake_vcpu *v, unsigned int id, uint64_t *value, bool set)
{
	if (id >= ISA_EXT_COUNT || !has_isa(v->host, id))
		return -ENOENT;
	if (!set) {
		*value = v->isa[id];
		return 0;
	}
	if (*value == v->isa[id])
		return 0;
	if (v->ran)
		return -EBUSY;
	if (*value > 1 || (*value ? !may_enable(v->host, id) : !may_disable(v->host, id)))
		return -EINVAL;
	v->isa[id] = *value;
	return 0;
}

static int sbi_single(struct fake_vcpu *v, unsigned int id, uint64_t *value, bool set)
{
	if (id >= SBI_EXT_COUNT || !has_sbi(v->host, id))
		return -ENOENT;
	if (!set) {
		*value = v->sbi[id];
		return 0;
	}
	if (v->ran)
		return -EBUSY;
	if (*value > 1)
		return -EINVAL;
	if (id == SBI_STA && !*value && v->sbi[id] && v->host->kernel >= FAKE_7_3)
		v->sta[0] = v->sta[1] = UINT64_MAX;
	v->sbi[id] = *value;
	return 0;
}

typedef int (*single_fn)(struct fake_vcpu *v, unsigned int id, uint64_t *value, bool set);

static int reg_ext(struct fake_vcpu *v, single_fn single, unsigned int count, unsigned int sub,
		   unsigned int index, uint64_t *value, bool set)
{
	uint64_t word = 0, one;
	unsigned int bit;

	if (sub == EXT_SINGLE)
		return single(v, index, value, set);
	if (sub > EXT_MULTI_DISABLE || index > (count - 1) / 64 || v->host->no_multi)
		return -ENOENT;
	for (bit = 0; bit < 64; bit++) {
		one = sub == EXT_MULTI_ENABLE;
		if (set && *value >> bit & 1)
			single(v, 64 * index + bit, &one, true);
		one = 0;
		if (!set && !single(v, 64 * index + bit, &one, false) && one)
			word |= UINT64_C(1) << bit;
	}
	if (!set)
		*value = sub == EXT_MULTI_ENABLE ? word : ~word;
	return 0;
}

static int reg_sbi_state(struct fake_vcpu *v, unsigned int sub, unsigned int index, uint64_t *value,
			 bool set)
{
	bool old = v->host->kernel == FAKE_6_12;

	if (sub == 0) {
		if (index > 1 || !v->sbi[SBI_STA])
			return old && index > 1 ? -EINVAL : -ENOENT;
		if (set && index && *value && *value != UINT64_MAX)
			return -EINVAL;
		if (set && !index && !old && *value % 64 && *value != UINT64_MAX)
			return -EINVAL;
		if (set && index && !old)
			v->sta[0] = 0; /* on 64 bits the high half erases the low one */
		return plain(&v->sta[index], value, set);
	}
	if (sub == 1 && !old) {
		unsigned int triples = v->host->kernel == FAKE_7_2 ? 2 : 5;

		if (!v->sbi[SBI_FWFT])
			return -EINVAL;
		if (index >= 3 * triples || index / 3 != 0)
			return -ENOENT; /* this host has the first feature only */
		if (set && index % 3 != 1 && *value > 1)
			return -EINVAL;
		if (set && index % 3 == 1)
			*value &= 1;
		return plain(&v->fwft[index], value, set);
	}
	return -ENOENT;
}

static unsigned int log2_of(uint64_t n)
{
	unsigned int l = 0;

	while (n >>= 1)
		l++;
	return l;
}

/* The size field that a register of this class must have, 0 where any will do for ENOENT. */
static unsigned int wanted_size(const struct fake_vcpu *v, uint64_t id)
{
	switch (reg_class_of(id)) {
	case REG_FP_F:
		return REG_SIZE_U32;
	case REG_FP_D:
		return reg_index_of(id) == 32 ? REG_SIZE_U32 : REG_SIZE_U64;
	case REG_VECTOR:
		return reg_index_of(id) >= 6 ? log2_of(v->host->vlenb) : REG_SIZE_LONG;
	default:
		return REG_SIZE_LONG;
	}
}

static int reg_fp(struct fake_vcpu *v, uint64_t id, uint64_t *value, bool set)
{
	bool f = reg_class_of(id) == REG_FP_F;
	unsigned int index = reg_index_of(id);

	if (!v->isa[f ? EXT_F : EXT_D] || index > 32)
		return -ENOENT;
	if (index == 32) {
		if (set)
			v->fcsr = (uint32_t)*value;
		else
			*value = v->fcsr;
		return 0;
	}
	if (!f)
		return plain(&v->fp[index], value, set);
	/* Both views look at one array of 32 x 64 bits, F at its first half, by words. */
	if (set)
		memcpy((char *)v->fp + 4 * index, value, 4);
	else
		memcpy(value, (char *)v->fp + 4 * index, 4);
	return 0;
}

static int access_reg(struct fake_vcpu *v, struct fake_vm *vm, uint64_t id, void *user, bool set)
{
	unsigned int size = id >> 52 & 15, index = reg_index_of(id), sub = reg_sub_of(id);
	uint64_t value = 0;
	int ret = -ENOENT;

	if ((id & KVM_REG_ARCH_MASK) != KVM_REG_RISCV || reg_class_of(id) < REG_CONFIG ||
	    reg_class_of(id) > REG_SBI_STATE)
		return -ENOENT;
	if (size != wanted_size(v, id))
		return -EINVAL;
	if (reg_class_of(id) == REG_VECTOR && index >= 6) {
		if (!v->isa[EXT_V] || index > 37)
			return -ENOENT;
		if (set)
			memcpy(v->v[index - 6], user, v->host->vlenb);
		else
			memcpy(user, v->v[index - 6], v->host->vlenb);
		return 0;
	}
	if (set)
		memcpy(&value, user, (size_t)1 << size);
	switch (reg_class_of(id)) {
	case REG_CONFIG:
		ret = reg_config(v, index, &value, set);
		break;
	case REG_CORE:
		if (index < ARRAY_SIZE(v->core))
			ret = plain(&v->core[index], &value, set);
		if (set && index == CORE_MODE)
			v->core[index] = value == 1;
		break;
	case REG_CSR:
		ret = reg_csr(v, sub, index, &value, set);
		break;
	case REG_TIMER:
		ret = reg_timer(v, vm, index, &value, set);
		break;
	case REG_FP_F:
	case REG_FP_D:
		ret = reg_fp(v, id, &value, set);
		break;
	case REG_ISA_EXT:
		ret = reg_ext(v, isa_single, isa_count(v->host), sub, index, &value, set);
		break;
	case REG_SBI_EXT:
		ret = reg_ext(v, sbi_single, sbi_count(v->host), sub, index, &value, set);
		break;
	case REG_VECTOR:
		if (!v->isa[EXT_V] || index > 4)
			break;
		ret = index == 4 ? equal_or(EINVAL, v->host->vlenb, &value, set)
				 : plain(&v->vector[index], &value, set);
		break;
	case REG_SBI_STATE:
		ret = reg_sbi_state(v, sub, index, &value, set);
		break;
	}
	if (!ret && !set)
		memcpy(user, &value, (size_t)1 << size);
	return ret;
}

#define LIST_MAX 512

struct id_list {
	uint64_t ids[LIST_MAX], unlisted;
	size_t nr;
};

static void list_range(struct id_list *l, enum reg_class class, unsigned int sub,
		       unsigned int first, unsigned int nr, unsigned int size)
{
	unsigned int i;

	for (i = first; i < first + nr && l->nr < LIST_MAX; i++)
		if (reg_id(class, sub, i, size) != l->unlisted)
			l->ids[l->nr++] = reg_id(class, sub, i, size);
}

static void list_regs(const struct fake_vcpu *v, struct id_list *l)
{
	const struct fake_host *host = v->host;
	bool old = host->kernel == FAKE_6_12;
	unsigned int i;

	for (i = 0; i < (old ? 7u : 8u); i++) {
		if (old && ((i == CONFIG_ZICBOM_BLOCK_SIZE && !v->isa[ISA_EXT_ZICBOM]) ||
			    (i == CONFIG_ZICBOZ_BLOCK_SIZE && !v->isa[ISA_EXT_ZICBOZ])))
			continue;
		list_range(l, REG_CONFIG, 0, i, 1, REG_SIZE_LONG);
	}
	list_range(l, REG_CORE, 0, 0, 33, REG_SIZE_LONG);
	list_range(l, REG_CSR, 0, 0, 11, REG_SIZE_LONG);
	if (v->isa[ISA_EXT_SSAIA])
		list_range(l, REG_CSR, 1, 0, 7, REG_SIZE_LONG);
	if (v->isa[EXT_SMSTATEEN])
		list_range(l, REG_CSR, 2, 0, 1, REG_SIZE_LONG);
	if (v->isa[EXT_ZICFISS])
		list_range(l, REG_CSR, 3, 0, 1, REG_SIZE_LONG);
	list_range(l, REG_TIMER, 0, 0, 4, REG_SIZE_U64);
	if (v->isa[EXT_F])
		list_range(l, REG_FP_F, 0, 0, 33, REG_SIZE_U32);
	if (v->isa[EXT_D]) {
		list_range(l, REG_FP_D, 0, 0, 32, REG_SIZE_U64);
		list_range(l, REG_FP_D, 0, 32, 1, REG_SIZE_U32);
	}
	if (v->isa[EXT_V]) {
		list_range(l, REG_VECTOR, 0, 0, 5, REG_SIZE_LONG);
		list_range(l, REG_VECTOR, 0, 6, 32, log2_of(host->vlenb));
	}
	for (i = 0; i < ISA_EXT_COUNT; i++)
		if (has_isa(host, i))
			list_range(l, REG_ISA_EXT, EXT_SINGLE, i, 1, REG_SIZE_LONG);
	for (i = 0; i < SBI_EXT_COUNT; i++)
		if (has_sbi(host, i))
			list_range(l, REG_SBI_EXT, EXT_SINGLE, i, 1, REG_SIZE_LONG);
	if (v->sbi[SBI_STA])
		list_range(l, REG_SBI_STATE, 0, 0, 2, REG_SIZE_LONG);
	if (!old && v->sbi[SBI_FWFT])
		list_range(l, REG_SBI_STATE, 1, 0, 3, REG_SIZE_LONG);
}

static int get_reg_list(const struct fake_vcpu *v, struct kvm_reg_list *list)
{
	struct id_list l = {.unlisted = v->host->unlisted};
	uint64_t room = list->n;

	list_regs(v, &l);
	list->n = l.nr;
	if (room < l.nr)
		return -E2BIG;
	memcpy(list->reg, l.ids, l.nr * sizeof(l.ids[0]));
	return 0;
}

/* --- the VM ----------------------------------------------------------- */

static unsigned int width_of(uint64_t bits)
{
	return bits <= 41 ? 41 : bits <= 50 ? 50 : 59;
}

static int check_extension(struct fake_host *host, struct fake_vm *vm, unsigned long cap)
{
	bool old = host->kernel == FAKE_6_12;
	unsigned int modes = width_of(host->max_bits) / 9 - 4 + 1; /* 41: 1, 50: 2, 59: 3 */

	switch (cap) {
	case 0: /* IRQCHIP */
		return host->host_aia;
	case 23: /* SET_GUEST_DEBUG */
		return !host->no_debug;
	case 3:	  /* USER_MEMORY */
	case 14:  /* MP_STATE */
	case 15:  /* COALESCED_MMIO */
	case 16:  /* SYNC_MMU */
	case 21:  /* DESTROY_MEMORY_REGION_WORKS */
	case 30:  /* JOIN_MEMORY_REGIONS_WORKS */
	case 32:  /* IRQFD: says yes without an in-kernel chip, too */
	case 36:  /* IOEVENTFD */
	case 40:  /* INTERNAL_ERROR_DATA */
	case 70:  /* ONE_REG */
	case 77:  /* SIGNAL_MSI: likewise */
	case 81:  /* READONLY_MEM */
	case 89:  /* DEVICE_CTRL */
	case 98:  /* ENABLE_CAP_VM */
	case 105: /* CHECK_EXTENSION_VM */
	case 122: /* IOEVENTFD_ANY_LENGTH */
	case 136: /* IMMEDIATE_EXIT */
	case 162: /* COALESCED_PIO */
	case 182: /* HALT_POLL */
	case 203: /* BINARY_STATS_FD */
	case 215: /* SYSTEM_EVENT_DATA */
	case 231: /* USER_MEMORY2 */
		return 1;
	case 9: /* NR_VCPUS */
		return host->max_vcpus < 2 ? (int)host->max_vcpus : 2;
	case 10: /* NR_MEMSLOTS */
		return 32767;
	case 25: /* IRQ_ROUTING */
		return (int)host->irq_routes;
	case 66: /* MAX_VCPUS */
		return (int)host->max_vcpus;
	case 168: /* MANUAL_DIRTY_LOG_PROTECT2 */
		return old ? 1 : 3;
	case KVM_CAP_VM_GPA_BITS:
		if (!vm) {
			complain(host, "VM_GPA_BITS asked on /dev/kvm");
			return (int)host->max_bits;
		}
		return (int)vm->bits;
	case 223: /* DIRTY_LOG_RING_ACQ_REL */
		return old ? 0 : 1048576;
	case CAP_POSTED_V4:
		if (!vm)
			complain(host, "capability 247 asked on /dev/kvm");
		if (host->mode_cap == FAKE_OTHER_CAP)
			return 1 << 16;
		return host->mode_cap == FAKE_POSTED_V4 ? (1 << modes) - 1 : 0;
	case CAP_POSTED_V7:
		if (!vm)
			complain(host, "capability 248 asked on /dev/kvm");
		return host->mode_cap == FAKE_POSTED_V7 ? ((1 << modes) - 1) << 8 : 0;
	default:
		return 0; /* MP_STATE_RESET (242) among them, though it can be enabled */
	}
}

static bool vm_is_empty(const struct fake_vm *vm)
{
	size_t i;

	for (i = 0; i < FAKE_MAX_SLOTS; i++)
		if (vm->slots[i].used)
			return false;
	return !vm->nr_vcpus;
}

static int set_width(struct fake_host *host, struct fake_vm *vm, unsigned int bits)
{
	if (bits > host->max_bits)
		return -EINVAL;
	if (!vm_is_empty(vm))
		return -EBUSY;
	vm->bits = bits;
	return 0;
}

static int enable_cap(struct fake_host *host, struct fake_vm *vm, const struct kvm_enable_cap *cap)
{
	if (cap->flags)
		return -EINVAL;
	switch (cap->cap) {
	case KVM_CAP_VM_GPA_BITS:
		if (host->kernel == FAKE_6_12 || cap->args[0] > 59)
			return -EINVAL;
		return set_width(host, vm, width_of(cap->args[0]));
	case CAP_MP_STATE_RESET:
		if (host->kernel == FAKE_6_12)
			return -EINVAL;
		vm->reset_cap = true;
		return 0;
	case CAP_POSTED_V4:
	case CAP_POSTED_V7:
		if (cap->cap == CAP_POSTED_V4 && host->mode_cap == FAKE_OTHER_CAP) {
			complain(host, "capability 247 enabled where it is something else");
			return 0;
		}
		if (host->mode_cap != (cap->cap == CAP_POSTED_V4 ? FAKE_POSTED_V4 : FAKE_POSTED_V7))
			return -EINVAL;
		if (cap->args[0] < 8 || cap->args[0] > 10)
			return -EINVAL;
		return set_width(host, vm, 41 + 9 * (unsigned int)(cap->args[0] - 8));
	default:
		return -EINVAL;
	}
}

static int set_memory(struct fake_host *host, struct fake_vm *vm,
		      const struct kvm_userspace_memory_region *r)
{
	uint64_t limit = UINT64_C(1) << vm->bits;
	struct fake_slot *slot;
	size_t i;

	if (r->slot >= 32767 || r->memory_size % 4096 || r->guest_phys_addr % 4096 ||
	    r->userspace_addr % 4096 || r->flags & ~3u ||
	    r->guest_phys_addr + r->memory_size < r->guest_phys_addr)
		return -EINVAL;
	if (r->slot >= FAKE_MAX_SLOTS) {
		complain(host, "more memslots than the fake host has room for");
		return -EINVAL;
	}
	slot = &vm->slots[r->slot];
	if (!r->memory_size) {
		if (!slot->used)
			return -EINVAL;
		memset(slot, 0, sizeof(*slot));
		return 0;
	}
	if (slot->used && (slot->size != r->memory_size || slot->hva != r->userspace_addr ||
			   (slot->flags ^ r->flags) & KVM_MEM_READONLY))
		return -EINVAL;
	for (i = 0; i < FAKE_MAX_SLOTS; i++)
		if (i != r->slot && vm->slots[i].used &&
		    r->guest_phys_addr < vm->slots[i].gpa + vm->slots[i].size &&
		    vm->slots[i].gpa < r->guest_phys_addr + r->memory_size)
			return -EEXIST;
	if (r->guest_phys_addr + r->memory_size > limit ||
	    (host->kernel < FAKE_7_3 && r->guest_phys_addr + r->memory_size == limit))
		return -EFAULT;
	*slot = (struct fake_slot){true, r->guest_phys_addr, r->memory_size, r->userspace_addr,
				   r->flags};
	return 0;
}

static int create_vm(struct fake_host *host)
{
	struct fake_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		abort();
	vm->fd = host->next_fd++;
	vm->open = true;
	vm->generation = host->generations++;
	vm->bits = host->max_bits;
	fake_aia_init(&vm->aia, host->aia_files, host->aia_ids);
	vm->aia.half_files = host->aia_half_files;
	vm->next = host->vms;
	host->vms = vm;
	host->live_fds++;
	pthread_cond_broadcast(&host->cond);
	return vm->fd;
}

static int create_vcpu(struct fake_host *host, struct fake_vm *vm, unsigned long id)
{
	static const struct fake_op nothing[] = {{.kind = FAKE_END}};
	struct fake_vcpu *v;

	if (id >= 1024)
		return -EINVAL;
	if (vm->nr_vcpus >= host->max_vcpus)
		return -EINVAL;
	for (v = host->vcpus; v; v = v->next)
		if (v->generation == vm->generation && v->id == id)
			return -EEXIST;
	v = calloc(1, sizeof(*v));
	if (!v)
		abort();
	v->host = host;
	v->id = (unsigned int)id;
	v->generation = vm->generation;
	v->fd = host->next_fd++;
	v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->wake_fd < 0)
		abort();
	v->open = true;
	v->stopped = vm->nr_vcpus != 0;
	pthread_mutex_init(&v->lock, NULL);
	first_registers(v);
	if (host->program)
		v->program = host->program(host->opaque, vm->generation, v->id);
	else if (id < FAKE_MAX_HARTS)
		v->program = host->programs[id];
	if (!v->program)
		v->program = nothing;
	vm->nr_vcpus++;
	v->next = host->vcpus;
	host->vcpus = v;
	host->live_fds++;
	return v->fd;
}

/* --- KVM_RUN ---------------------------------------------------------- */

static void add_result(struct fake_vcpu *v, uint64_t value)
{
	unsigned int n = atomic_load(&v->nr_results);

	if (n < FAKE_MAX_RESULTS) {
		v->results[n] = value;
		atomic_store(&v->nr_results, n + 1);
	}
	progress(v->host);
}

/* The exit that user space answered: take the answer, once. */
static void complete(struct fake_vcpu *v)
{
	struct kvm_run *run = v->run;
	uint64_t value = 0;

	/* The kernel, too, reads back the reason from the shared area. */
	if (!v->exit || run->exit_reason != v->exit) {
		v->exit = 0;
		return;
	}
	v->exit = 0;
	atomic_fetch_add(&v->completions, 1);
	if (run->immediate_exit)
		atomic_fetch_add(&v->completed_parked, 1);
	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		if (run->mmio.is_write)
			break;
		memcpy(&value, run->mmio.data, run->mmio.len <= 8 ? run->mmio.len : 8);
		add_result(v, le64toh(value));
		break;
	case KVM_EXIT_RISCV_SBI:
		add_result(v, run->riscv_sbi.ret[0]);
		add_result(v, run->riscv_sbi.ret[1]);
		break;
	case KVM_EXIT_RISCV_CSR:
		add_result(v, run->riscv_csr.ret_value);
		break;
	default:
		break;
	}
}

enum step {
	STEP_EXIT,
	STEP_ON,
	STEP_IDLE,
	STEP_STUCK,
};

static bool take_poke(struct fake_vcpu *v)
{
	bool poked;

	pthread_mutex_lock(&v->host->lock);
	poked = v->poked != v->pokes;
	if (poked)
		v->poked++;
	pthread_mutex_unlock(&v->host->lock);
	return poked;
}

static bool irq_line(struct fake_vcpu *v)
{
	bool line;

	pthread_mutex_lock(&v->host->lock);
	line = v->line;
	pthread_mutex_unlock(&v->host->lock);
	return line;
}

static void mmio(struct kvm_run *run, uint64_t gpa, unsigned int len, bool write, uint64_t value)
{
	uint64_t le = htole64(value);

	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = gpa;
	run->mmio.len = len;
	run->mmio.is_write = write;
	/* What lies beyond the access is whatever was there. */
	memset(run->mmio.data, 0xa5, sizeof(run->mmio.data));
	if (write)
		memcpy(run->mmio.data, &le, len <= 8 ? len : 8);
}

static void start_hart(struct fake_host *host, unsigned int generation, unsigned int id)
{
	struct fake_vcpu *v;

	pthread_mutex_lock(&host->lock);
	for (v = host->vcpus; v; v = v->next)
		if (v->generation == generation && v->id == id)
			break;
	if (v && v->stopped) {
		v->stopped = false;
		v->start_pending = true;
		wake(v);
	}
	pthread_mutex_unlock(&host->lock);
}

static enum step do_print(struct fake_vcpu *v, const struct fake_op *op)
{
	if (!op->text[v->printed]) {
		v->printed = 0;
		return STEP_ON;
	}
	mmio(v->run, op->addr, 1, true, (uint8_t)op->text[v->printed++]);
	return STEP_EXIT;
}

static enum step do_sbi(struct fake_vcpu *v, const struct fake_op *op)
{
	struct kvm_run *run = v->run;
	size_t i;

	run->exit_reason = KVM_EXIT_RISCV_SBI;
	run->riscv_sbi.extension_id = (unsigned long)op->addr;
	run->riscv_sbi.function_id = (unsigned long)op->value;
	for (i = 0; i < ARRAY_SIZE(op->args); i++)
		run->riscv_sbi.args[i] = (unsigned long)op->args[i];
	run->riscv_sbi.ret[0] = (unsigned long)-2;
	run->riscv_sbi.ret[1] = 0;
	v->resume_pending = op->addr == SBI_EID_SUSP && !op->value;
	return STEP_EXIT;
}

static void stop_all(struct fake_vcpu *v)
{
	struct fake_vcpu *other;

	pthread_mutex_lock(&v->host->lock);
	for (other = v->host->vcpus; other; other = other->next)
		if (other->generation == v->generation)
			other->stopped = true;
	pthread_mutex_unlock(&v->host->lock);
}

/* One instruction in the first memslot. */
static enum step do_cpu(struct fake_vcpu *v)
{
	const struct fake_vm *vm = v->host->vms;
	const struct fake_slot *slot = &vm->slots[0];

	switch (fake_cpu(v, slot->used ? (uint8_t *)(uintptr_t)slot->hva : NULL, slot->gpa,
			 slot->size)) {
	case FAKE_CPU_EBREAK:
		v->run->exit_reason = KVM_EXIT_DEBUG;
		return STEP_EXIT;
	case FAKE_CPU_IDLE:
		return STEP_IDLE;
	default:
		return STEP_ON;
	}
}

/* One operation of the guest. @errnum: set where KVM_RUN is to fail. */
static enum step step(struct fake_vcpu *v, int *errnum)
{
	const struct fake_op *op = &v->program[v->pos];
	struct kvm_run *run = v->run;
	enum step next = STEP_EXIT;

	v->pos++;
	switch (op->kind) {
	case FAKE_STORE:
		mmio(run, op->addr, op->size, true, op->value);
		break;
	case FAKE_LOAD:
		mmio(run, op->addr, op->size, false, 0);
		break;
	case FAKE_PRINT:
		next = do_print(v, op);
		if (next == STEP_EXIT)
			v->pos--;
		break;
	case FAKE_SBI:
		next = do_sbi(v, op);
		break;
	case FAKE_CSR:
		run->exit_reason = KVM_EXIT_RISCV_CSR;
		run->riscv_csr.csr_num = (unsigned long)op->addr;
		run->riscv_csr.new_value = (unsigned long)op->value;
		run->riscv_csr.write_mask = 0;
		run->riscv_csr.ret_value = 0xdeadul;
		break;
	case FAKE_EVENT:
		stop_all(v);
		run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
		memset(&run->system_event, 0, sizeof(run->system_event));
		run->system_event.type = (uint32_t)op->value;
		run->system_event.ndata = 1;
		break;
	case FAKE_RAW:
		memset((char *)run + offsetof(struct kvm_run, hw), 0, 256);
		run->exit_reason = (uint32_t)op->value;
		break;
	case FAKE_ERROR:
		*errnum = (int)op->value;
		run->exit_reason = 0;
		break;
	case FAKE_WAIT:
		if (take_poke(v))
			return STEP_ON;
		v->pos--;
		return STEP_IDLE;
	case FAKE_WAIT_IRQ:
		if (irq_line(v))
			return STEP_ON;
		v->pos--;
		return STEP_IDLE;
	case FAKE_STUCK:
		if (take_poke(v))
			return STEP_ON;
		v->pos--;
		return STEP_STUCK;
	case FAKE_START:
		start_hart(v->host, v->generation, (unsigned int)op->value);
		return STEP_ON;
	case FAKE_STOP:
		pthread_mutex_lock(&v->host->lock);
		v->stopped = true;
		pthread_mutex_unlock(&v->host->lock);
		return STEP_ON;
	case FAKE_SCOUNTEREN:
		v->csr[CSR_SCOUNTEREN] = op->value;
		return STEP_ON;
	case FAKE_GOTO:
		v->pos = (size_t)op->value;
		return STEP_ON;
	case FAKE_CPU:
		v->pos--;
		next = do_cpu(v);
		break;
	case FAKE_END:
		v->pos--;
		return STEP_IDLE;
	}
	if (next == STEP_EXIT &&
	    (run->exit_reason == KVM_EXIT_MMIO || run->exit_reason == KVM_EXIT_RISCV_SBI ||
	     run->exit_reason == KVM_EXIT_RISCV_CSR))
		v->exit = run->exit_reason;
	return next;
}

static bool kicked(const struct fake_vcpu *v)
{
	return *(volatile const uint8_t *)&v->run->immediate_exit;
}

static void set_idle(struct fake_vcpu *v, bool idle)
{
	if (atomic_exchange(&v->idle, idle) != idle)
		progress(v->host);
}

/* Sleep until a kick or a wake-up; the kick signal is open in ppoll(2) only. */
static void sleep_in_guest(struct fake_vcpu *v, const sigset_t *open_mask)
{
	struct pollfd pfd = {.fd = v->wake_fd, .events = POLLIN};
	/* A belt: the mask makes this race-free, and nothing should ever wait for it. */
	struct timespec limit = {.tv_nsec = 200000000};
	uint64_t count;

	ppoll(&pfd, 1, &limit, open_mask);
	if (read(v->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		abort();
}

/* A hart that executes and does not sleep hears kicks between instructions. */
static void take_signals(const sigset_t *open_mask)
{
	sigset_t closed;

	pthread_sigmask(SIG_SETMASK, open_mask, &closed);
	pthread_sigmask(SIG_SETMASK, &closed, NULL);
}

static bool is_stopped(struct fake_vcpu *v)
{
	bool stopped, start;

	pthread_mutex_lock(&v->host->lock);
	stopped = v->stopped;
	start = v->start_pending;
	v->start_pending = false;
	/* A reset forgets what KVM_INTERRUPT said. */
	if (start)
		v->line = false;
	pthread_mutex_unlock(&v->host->lock);
	if (start) {
		reset_registers(v);
		v->csr[CSR_SCOUNTEREN] = 0;
		v->core[CORE_A0] = v->id;
		v->core[CORE_PC] = 0x80000000;
	}
	return stopped;
}

static int enter_guest(struct fake_vcpu *v, const sigset_t *open_mask)
{
	int errnum = 0;

	/* A real run carries out the reset that a system suspend queued. */
	if (v->resume_pending && !kicked(v)) {
		v->resume_pending = false;
		pthread_mutex_lock(&v->host->lock);
		v->line = false;
		pthread_mutex_unlock(&v->host->lock);
		reset_registers(v);
		v->csr[CSR_SCOUNTEREN] = 0;
		v->core[CORE_PC] = v->run->riscv_sbi.args[1];
		v->core[CORE_A0] = v->id;
		v->core[CORE_A1] = v->run->riscv_sbi.args[2];
	}

	for (;;) {
		enum step next;

		if (kicked(v)) {
			v->run->exit_reason = KVM_EXIT_INTR;
			return -EINTR;
		}
		next = is_stopped(v) ? STEP_IDLE : step(v, &errnum);
		if (next == STEP_EXIT)
			return -errnum;
		if (next == STEP_ON) {
			if (v->program[v->pos].kind == FAKE_CPU)
				take_signals(open_mask);
			continue;
		}
		set_idle(v, true);
		while (next == STEP_STUCK) {
			sleep_in_guest(v, open_mask);
			next = step(v, &errnum);
		}
		if (next == STEP_IDLE && !kicked(v))
			sleep_in_guest(v, open_mask);
		set_idle(v, false);
	}
}

static int run_vcpu(struct fake_vcpu *v)
{
	sigset_t kick, old;
	int ret;

	if (!v->run)
		return -EINVAL;
	if (atomic_exchange(&v->inside, true)) {
		pthread_mutex_lock(&v->host->lock);
		complain(v->host, "two threads in KVM_RUN of vCPU %u", v->id);
		pthread_mutex_unlock(&v->host->lock);
	}
	sigemptyset(&kick);
	sigaddset(&kick, process_kick_signal());
	pthread_sigmask(SIG_BLOCK, &kick, &old);
	pthread_mutex_lock(&v->lock);
	v->reserved = false;
	v->ran = true;
	atomic_fetch_add(&v->entries, 1);
	complete(v);
	if (kicked(v)) {
		atomic_fetch_add(&v->immediate_runs, 1);
		ret = -EINTR;
	} else {
		ret = enter_guest(v, &old);
	}
	pthread_mutex_unlock(&v->lock);
	atomic_store(&v->inside, false);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

/* --- the system calls ------------------------------------------------- */

static int set_mp_state(struct fake_vcpu *v, const struct fake_vm *vm, uint32_t state)
{
	int ret = 0;

	pthread_mutex_lock(&v->host->lock);
	if (state == MP_RUNNABLE || state == MP_STOPPED)
		v->stopped = state == MP_STOPPED;
	else if (state != MP_INIT_RECEIVED || !vm->reset_cap)
		ret = -EINVAL;
	pthread_mutex_unlock(&v->host->lock);
	if (!ret && state == MP_INIT_RECEIVED)
		reset_registers(v);
	return ret;
}

static int vcpu_ioctl(struct fake_vcpu *v, struct fake_vm *vm, unsigned long request,
		      unsigned long arg)
{
	struct kvm_one_reg *reg = (struct kvm_one_reg *)arg;
	struct kvm_mp_state *mp = (struct kvm_mp_state *)arg;
	const struct kvm_interrupt *irq = (const struct kvm_interrupt *)arg;
	int ret;

	switch (request) {
	case KVM_RUN:
		return run_vcpu(v);
	case KVM_INTERRUPT: /* needs no vCPU mutex */
		pthread_mutex_lock(&v->host->lock);
		v->line = irq->irq == INTERRUPT_SET;
		atomic_fetch_add(v->line ? &v->irq_sets : &v->irq_unsets, 1);
		if (v->line)
			wake(v);
		pthread_mutex_unlock(&v->host->lock);
		return 0;
	case KVM_GET_ONE_REG:
	case KVM_SET_ONE_REG:
		if (request == KVM_SET_ONE_REG && reg->id == v->host->unheard)
			return 0;
		pthread_mutex_lock(&v->lock);
		ret = access_reg(v, vm, reg->id, (void *)(uintptr_t)reg->addr,
				 request == KVM_SET_ONE_REG);
		pthread_mutex_unlock(&v->lock);
		return ret;
	case KVM_GET_REG_LIST:
		pthread_mutex_lock(&v->lock);
		ret = get_reg_list(v, (struct kvm_reg_list *)arg);
		pthread_mutex_unlock(&v->lock);
		return ret;
	case KVM_GET_MP_STATE:
		pthread_mutex_lock(&v->lock);
		pthread_mutex_lock(&v->host->lock);
		mp->mp_state = v->stopped ? MP_STOPPED : MP_RUNNABLE;
		pthread_mutex_unlock(&v->host->lock);
		pthread_mutex_unlock(&v->lock);
		return 0;
	case KVM_SET_GUEST_DEBUG:
		pthread_mutex_lock(&v->lock);
		v->debug = ((const struct kvm_guest_debug *)arg)->control & KVM_GUESTDBG_ENABLE;
		pthread_mutex_unlock(&v->lock);
		return 0;
	case KVM_SET_MP_STATE:
		pthread_mutex_lock(&v->lock);
		ret = set_mp_state(v, vm, mp->mp_state);
		pthread_mutex_unlock(&v->lock);
		return ret;
	default:
		return -EINVAL; /* ENABLE_CAP, TRANSLATE and the rest of what riscv lacks */
	}
}

static int create_device(struct fake_host *host, struct fake_vm *vm,
			 struct kvm_create_device *device)
{
	struct fake_vcpu *v;

	if (device->type != 11 || !host->host_aia)
		return -ENODEV;
	if (device->flags & KVM_CREATE_DEVICE_TEST)
		return 0;
	if (vm->aia.fd >= 0)
		return -EEXIST;
	for (v = host->vcpus; v; v = v->next)
		if (v->generation == vm->generation && v->ran)
			return -EBUSY;
	device->fd = (uint32_t)(vm->aia.fd = host->next_fd++);
	vm->aia.open = true;
	host->live_fds++;
	return 0;
}

static struct fake_vm *aia_vm(struct fake_host *host, int fd)
{
	struct fake_vm *vm;

	for (vm = host->vms; vm; vm = vm->next)
		if (vm->aia.open && vm->aia.fd == fd)
			break;
	return vm;
}

static int aia_ioctl(struct fake_host *host, struct fake_vm *vm, unsigned long request,
		     const struct kvm_device_attr *attr)
{
	bool set = request == KVM_SET_DEVICE_ATTR;

	if (!set && request != KVM_GET_DEVICE_ATTR)
		return -ENOTTY;
	if (set && host->aia_arm.armed && host->aia_arm.group == attr->group &&
	    host->aia_arm.attr == attr->attr)
		return -host->aia_arm.errnum;
	/* Its number is in bits 12 and up. */
	if (set && attr->group == 4 && host->deaf_file && attr->attr >> 12 == host->deaf_file - 1)
		return 0;
	return fake_aia_attr(&vm->aia, set, attr, vm->nr_vcpus);
}

void fake_arm_aia(struct fake_host *host, uint32_t group, uint64_t attr, int errnum)
{
	host->aia_arm.armed = true;
	host->aia_arm.group = group;
	host->aia_arm.attr = attr;
	host->aia_arm.errnum = errnum;
}

static int vm_ioctl(struct fake_host *host, struct fake_vm *vm, unsigned long request,
		    unsigned long arg)
{
	switch (request) {
	case KVM_CHECK_EXTENSION:
		return check_extension(host, vm, arg);
	case KVM_ENABLE_CAP:
		return enable_cap(host, vm, (const struct kvm_enable_cap *)arg);
	case KVM_SET_USER_MEMORY_REGION:
		return set_memory(host, vm, (const struct kvm_userspace_memory_region *)arg);
	case KVM_CREATE_VCPU:
		return create_vcpu(host, vm, arg);
	case KVM_IRQ_LINE:
		return fake_aia_line(&vm->aia, (const struct kvm_irq_level *)arg);
	case KVM_SIGNAL_MSI:
		return fake_aia_msi(&vm->aia, (const struct kvm_msi *)arg);
	case KVM_CREATE_DEVICE:
		return create_device(host, vm, (struct kvm_create_device *)arg);
	case KVM_SET_GSI_ROUTING:
		return fake_aia_routing(&vm->aia, (const struct kvm_irq_routing *)arg,
					host->irq_routes);
	case KVM_IRQFD: /* without an AIA: accepted, and the events vanish */
		return vm->aia.fd < 0 ? 0 : fake_aia_irqfd(&vm->aia, (const struct kvm_irqfd *)arg);
	case KVM_IOEVENTFD:
		return fake_aia_ioeventfd(&vm->aia, (const struct kvm_ioeventfd *)arg);
	default:
		return -EINVAL;
	}
}

static int host_open(void *opaque)
{
	struct fake_host *host = opaque;
	int ret;

	pthread_mutex_lock(&host->lock);
	ret = account(host, FAKE_OPEN);
	if (!ret) {
		if (host->kvm_fd >= 0)
			complain(host, "/dev/kvm opened twice");
		ret = host->kvm_fd = host->next_fd++;
		host->live_fds++;
	}
	pthread_mutex_unlock(&host->lock);
	return ret;
}

static struct fake_vcpu *open_vcpu(struct fake_host *host, int fd)
{
	struct fake_vcpu *v;

	for (v = host->vcpus; v; v = v->next)
		if (v->open && v->fd == fd)
			break;
	return v;
}

static struct fake_vm *open_vm(struct fake_host *host, int fd)
{
	struct fake_vm *vm;

	for (vm = host->vms; vm; vm = vm->next)
		if (vm->open && vm->fd == fd)
			break;
	return vm;
}

static int host_ioctl(void *opaque, int fd, unsigned long request, unsigned long arg)
{
	struct fake_host *host = opaque;
	struct fake_vcpu *v;
	struct fake_vm *vm;
	int ret;

	pthread_mutex_lock(&host->lock);
	ret = account(host, request);
	if (ret) {
		if (request == KVM_RUN) {
			/* As in KVM: no exit is reported with an error. */
			v = open_vcpu(host, fd);
			if (v && v->run)
				v->run->exit_reason = 0;
		}
		goto out;
	}
	if (fd >= 0 && fd == host->kvm_fd) {
		if (request == KVM_GET_API_VERSION)
			ret = host->api_version;
		else if (request == KVM_GET_VCPU_MMAP_SIZE)
			ret = host->run_size;
		else if (request == KVM_CREATE_VM)
			ret = arg ? -EINVAL : create_vm(host);
		else if (request == KVM_CHECK_EXTENSION)
			ret = check_extension(host, NULL, arg);
		else
			ret = -EINVAL;
		goto out;
	}
	vm = open_vm(host, fd);
	if (vm) {
		ret = vm_ioctl(host, vm, request, arg);
		goto out;
	}
	vm = aia_vm(host, fd);
	if (vm) {
		ret = aia_ioctl(host, vm, request, (const struct kvm_device_attr *)arg);
		goto out;
	}
	v = open_vcpu(host, fd);
	if (!v) {
		complain(host, "request 0x%lx on descriptor %d, which is not open", request, fd);
		ret = -EBADF;
		goto out;
	}
	for (vm = host->vms; vm->generation != v->generation; vm = vm->next)
		;
	pthread_mutex_unlock(&host->lock);
	return vcpu_ioctl(v, vm, request, arg);
out:
	pthread_mutex_unlock(&host->lock);
	return ret;
}

static void *host_map(void *opaque, int fd, size_t size, off_t offset)
{
	struct fake_host *host = opaque;
	struct fake_vcpu *v;
	void *area = NULL;

	pthread_mutex_lock(&host->lock);
	if (!account(host, FAKE_MAP)) {
		v = open_vcpu(host, fd);
		if (!v || v->run || offset || size != (size_t)host->run_size) {
			complain(host, "a strange mapping of descriptor %d", fd);
		} else {
			v->run = aligned_alloc(4096, size);
			if (!v->run)
				abort();
			memset(v->run, 0, size);
			area = v->run;
			host->live_maps++;
		}
	}
	pthread_mutex_unlock(&host->lock);
	return area;
}

static void host_unmap(void *opaque, void *addr, size_t size)
{
	struct fake_host *host = opaque;
	struct fake_vcpu *v;

	pthread_mutex_lock(&host->lock);
	for (v = host->vcpus; v && v->run != addr; v = v->next)
		;
	if (!v || size != (size_t)host->run_size || atomic_load(&v->inside)) {
		complain(host, "a strange unmapping");
	} else {
		free(v->run);
		v->run = NULL;
		host->live_maps--;
	}
	pthread_mutex_unlock(&host->lock);
}

static void host_close(void *opaque, int fd)
{
	struct fake_host *host = opaque;
	struct fake_vcpu *v;
	struct fake_vm *vm;

	pthread_mutex_lock(&host->lock);
	v = open_vcpu(host, fd);
	vm = open_vm(host, fd);
	if (fd >= 0 && fd == host->kvm_fd) {
		host->kvm_fd = -1;
	} else if (vm) {
		vm->open = false;
	} else if (aia_vm(host, fd)) {
		aia_vm(host, fd)->aia.open = false;
	} else if (v) {
		if (atomic_load(&v->inside))
			complain(host, "vCPU %u closed while it runs", v->id);
		v->open = false;
		close(v->wake_fd);
		v->wake_fd = -1;
	} else {
		complain(host, "descriptor %d closed, which is not open", fd);
		host->live_fds++;
	}
	host->live_fds--;
	pthread_mutex_unlock(&host->lock);
}

static const struct kvm_sys_ops fake_ops = {
	.open = host_open,
	.ioctl = host_ioctl,
	.map = host_map,
	.unmap = host_unmap,
	.close = host_close,
};

struct kvm_sys fake_host_sys(struct fake_host *host)
{
	return (struct kvm_sys){.ops = &fake_ops, .opaque = host};
}
