/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A scripted host behind struct kvm_sys_ops: what KVM on RISC-V answers, as seen
 * on Linux 6.12, 7.2 and 7.3, its traps included, and guests that are a list of
 * operations. Tests drive lkvm's own code against it without a RISC-V machine.
 *
 * It keeps accounts: every descriptor and mapping it gave out is counted, every
 * use that real KVM would punish (a closed descriptor, a question on the wrong
 * descriptor, two threads in one KVM_RUN) is kept as a complaint, and any call
 * can be told to fail.
 *
 * Locks: struct fake_host has one for its tables, each vCPU one that KVM_RUN
 * holds all the time, as in KVM. vCPUs stay readable until fake_host_free(), also
 * after their descriptors were closed; their fields are settled only while no
 * thread runs them, unless they are atomic.
 */
#ifndef LKVM_TESTS_FAKE_KVM_H
#define LKVM_TESTS_FAKE_KVM_H

#include "fake_aia.h"

#include "lkvm/kvm.h"
#include "lkvm/riscv/isa.h"

#include <pthread.h>
#include <stdatomic.h>

enum fake_kernel {
	FAKE_6_12,
	FAKE_7_2,
	FAKE_7_3,
};

/* What capability number 247 (or 248) is on this host. */
enum fake_mode_cap {
	FAKE_NO_MODE_CAP,
	FAKE_POSTED_V4, /* 247: a mask of bits 0 to 2 */
	FAKE_POSTED_V7, /* 248: a mask of bits 8 to 10 */
	FAKE_OTHER_CAP, /* 247 is there and is something else */
};

/* Pseudo requests for fake_arm() and fake_calls(). */
#define FAKE_ANY 0ul
#define FAKE_OPEN 1ul
#define FAKE_MAP 2ul

#define FAKE_MAX_HARTS 16
#define FAKE_MAX_RESULTS 64

enum fake_op_kind {
	FAKE_END,	 /* nothing more: runs idle until kicked, for ever */
	FAKE_STORE,	 /* @size bytes @value to @addr by MMIO */
	FAKE_LOAD,	 /* result: what was loaded */
	FAKE_PRINT,	 /* @text, byte by byte, as one-byte stores to @addr */
	FAKE_SBI,	 /* extension @addr function @value with @args; results: ret[0], ret[1] */
	FAKE_CSR,	 /* forwarded CSR @addr; result: ret_value */
	FAKE_EVENT,	 /* system event of type @value */
	FAKE_RAW,	 /* exit reason @value with a zeroed payload */
	FAKE_ERROR,	 /* KVM_RUN fails with errno @value */
	FAKE_WAIT,	 /* runs idle until fake_poke() */
	FAKE_WAIT_IRQ,	 /* until the external interrupt wire is high */
	FAKE_STUCK,	 /* does not leave KVM_RUN, kicked or not, until fake_poke() */
	FAKE_START,	 /* SBI HSM start of hart @value */
	FAKE_STOP,	 /* SBI HSM stop of itself */
	FAKE_SCOUNTEREN, /* the guest writes @value to its own scounteren */
	FAKE_GOTO,	 /* go on at operation @value */
	FAKE_CPU,	 /* execute instructions in guest memory, for ever: fake_cpu.c */
};

struct fake_op {
	enum fake_op_kind kind;
	uint64_t addr;
	uint64_t value;
	unsigned int size;
	const char *text;
	uint64_t args[6];
};

struct fake_host;

/**
 * struct fake_vcpu - a vCPU of the scripted host
 * @generation: which VM of this process it belongs to, from 0
 * @run: the shared area, NULL while not mapped
 * @immediate_runs: KVM_RUN calls that found immediate_exit set on entry
 * @entries: KVM_RUN calls in all
 * @completions: MMIO, SBI and CSR exits that KVM finished
 * @completed_parked: of these, by a KVM_RUN that did not enter the guest
 * @idle: sits in KVM_RUN with nothing to do
 */
struct fake_vcpu {
	struct fake_host *host;
	struct fake_vcpu *next;
	unsigned int id, generation;
	int fd, wake_fd;
	bool open;
	struct kvm_run *run;
	pthread_mutex_t lock;

	bool ran, resume_pending;
	bool stopped, start_pending; /* the host's lock */
	bool line;		     /* likewise: the external interrupt */
	unsigned int pokes, poked;   /* likewise: wanted and seen */
	uint64_t core[33], csr[11], aia[7], sstateen0, ssp, compare, timer_state;
	uint64_t ids[3], fp[32], vector[5];
	uint8_t v[32][64];
	uint32_t fcsr;
	uint64_t sta[2], fwft[15];
	bool isa[ISA_EXT_COUNT], sbi[SBI_EXT_COUNT];

	bool debug;    /* breakpoints come to user space */
	bool reserved; /* lr.d was the last that touched memory */
	uint32_t exit; /* the exit that waits for completion, 0: none */
	const struct fake_op *program;
	size_t pos, printed;
	uint64_t results[FAKE_MAX_RESULTS];
	atomic_uint nr_results;
	atomic_uint immediate_runs, entries, completions, completed_parked;
	atomic_uint irq_sets, irq_unsets;
	atomic_bool idle;
	atomic_bool inside;
};

struct fake_slot {
	bool used;
	uint64_t gpa, size, hva;
	uint32_t flags;
};

#define FAKE_MAX_SLOTS 128

struct fake_vm {
	struct fake_vm *next;
	int fd;
	bool open;
	unsigned int generation, bits, nr_vcpus;
	bool reset_cap;
	uint64_t time;
	struct fake_slot slots[FAKE_MAX_SLOTS];
	struct fake_aia aia;
};

struct fake_arm {
	unsigned long request;
	unsigned long nth; /* counts down; 0: spent */
	int errnum;
};

/**
 * struct fake_host - a machine with KVM
 *
 * What follows @kernel may be changed before the first VM is made.
 * @max_bits: 41, 50 or 59
 * @max_vcpus: what KVM_CAP_MAX_VCPUS says; ids are limited to 1024 whatever it says
 * @host_isa, @host_sbi: what the host has; extensions beyond the kernel's age are
 *                       not there whatever this says
 * @stuck: cannot be switched off although facts say it could
 * @no_debug: cannot debug guests
 * @no_multi: the words of enable bits are not there
 * @hw_ad: the host updates A and D bits by hardware
 * @host_aia, @aia_files, @aia_ids: its harts have an AIA; with guest interrupt files; and
 *                                  how many identities each file has, 0 included
 * @aia_half_files: KVM's files in software lose the upper half of a register
 * @irq_routes: what KVM_CAP_IRQ_ROUTING says
 * @satp_mode: 8, 9 or 10
 * @unlisted, @unheard: a register that KVM_GET_REG_LIST leaves out; one whose
 *                      KVM_SET_ONE_REG does nothing, and says that all went well; 0: none.
 *                      @deaf_file: the same of the interrupt file of hart n - 1
 * @programs: what each hart executes; NULL: FAKE_END
 * @program: if set, asked instead, for each new vCPU
 */
struct fake_host {
	enum fake_kernel kernel;
	enum fake_mode_cap mode_cap;
	unsigned int max_bits, max_vcpus;
	int api_version, run_size;
	bool host_isa[ISA_EXT_COUNT], host_sbi[SBI_EXT_COUNT], stuck[ISA_EXT_COUNT];
	bool no_debug, no_multi, hw_ad, host_aia, aia_files, aia_half_files;
	uint32_t aia_ids, irq_routes;
	uint64_t timebase, satp_mode, vlenb, block_size, ids[3];
	uint64_t unlisted, unheard;
	unsigned int deaf_file;
	const struct fake_op *programs[FAKE_MAX_HARTS];
	const struct fake_op *(*program)(void *opaque, unsigned int generation, unsigned int hart);
	void *opaque;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t cond;
	int next_fd, kvm_fd;
	unsigned int generations;
	struct fake_vm *vms;
	struct fake_vcpu *vcpus;
	size_t live_fds, live_maps;
	struct fake_arm arms[8];
	struct {
		bool armed;
		uint32_t group;
		uint64_t attr;
		int errnum;
	} aia_arm;
	struct {
		unsigned long request, calls;
	} counts[64];
	unsigned long all_calls;
	int armed_hit; /* errno of the last armed failure, 0 for none */
	unsigned long armed_request;
	char complaint[256];
};

/**
 * fake_cpu() - execute the instruction at the hart's pc (fake_cpu.c)
 * @code: where GPA @base and @size bytes from there are, or NULL where there is no memory
 *
 * Return: FAKE_CPU_ON; FAKE_CPU_EBREAK: with pc at it; FAKE_CPU_IDLE: nothing to do.
 */
enum fake_cpu_next {
	FAKE_CPU_ON,
	FAKE_CPU_EBREAK,
	FAKE_CPU_IDLE,
};
enum fake_cpu_next fake_cpu(struct fake_vcpu *v, uint8_t *code, uint64_t base, uint64_t size);

struct fake_host *fake_host_new(enum fake_kernel kernel);

/**
 * fake_host_free() - all descriptors should be closed by now; see fake_live()
 */
void fake_host_free(struct fake_host *host);

struct kvm_sys fake_host_sys(struct fake_host *host);

/**
 * fake_arm() - the @nth call (from 1, from now) of @request fails with @errnum
 */
void fake_arm(struct fake_host *host, unsigned long request, unsigned long nth, int errnum);

/**
 * fake_calls() - how often @request was made
 */
unsigned long fake_calls(struct fake_host *host, unsigned long request);

/**
 * fake_live() - descriptors and mappings that are open
 */
size_t fake_live(struct fake_host *host);

/**
 * fake_complaint() - the first thing that real KVM would have punished, or NULL
 */
const char *fake_complaint(struct fake_host *host);

/**
 * fake_vcpu() - the newest vCPU of this id, or NULL
 */
struct fake_vcpu *fake_vcpu(struct fake_host *host, unsigned int id);

/**
 * fake_vm() - the newest VM, or NULL
 */
struct fake_vm *fake_vm(struct fake_host *host);

/**
 * fake_arm_aia() - setting attribute @attr of group @group fails with @errnum from now on
 */
void fake_arm_aia(struct fake_host *host, uint32_t group, uint64_t attr, int errnum);

/**
 * fake_poke() - let the hart go on from FAKE_WAIT or FAKE_STUCK (any thread)
 */
void fake_poke(struct fake_host *host, unsigned int hart);

/**
 * fake_wait_results() / fake_wait_idle() / fake_wait_generation() - up to 10 s
 *
 * Return: did it come to that?
 */
bool fake_wait_results(struct fake_host *host, unsigned int hart, unsigned int nr);
bool fake_wait_idle(struct fake_host *host, unsigned int hart);
bool fake_wait_generation(struct fake_host *host, unsigned int generation);

#endif /* LKVM_TESTS_FAKE_KVM_H */
