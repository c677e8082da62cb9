/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A whole VM on a scripted host, for tests: a kernel file, a console on pipes, a
 * log in memory, and a thread that runs the VM's loop.
 */
#ifndef LKVM_TESTS_RIG_H
#define LKVM_TESTS_RIG_H

#include "fake_kvm.h"
#include "lkvm/riscv/config.h"
#include "lkvm/vm.h"

/**
 * struct rig - one VM and its surroundings
 * @host: its own scripted host
 * @cfg, @arch: may be changed before rig_create()
 * @out: read end of what the guest prints; @in: write end of what it reads
 * @verdict: valid after rig_join()
 */
struct rig {
	struct fake_host *host;
	struct log log;
	int log_fd, kernel_fd;
	int in, out, guest_in, guest_out;
	char kernel[32];
	struct vm_config cfg;
	struct arch_config arch;
	struct vm *vm;
	struct error err;
	pthread_t thread;
	bool running;
	enum vm_verdict verdict;
	size_t fds_before;
};

/**
 * rig_init() - one vCPU, 64 MiB, a minimal kernel; nothing is created yet
 */
void rig_init(struct rig *rig, enum fake_kernel kernel);

/**
 * rig_create() - vm_create(); fails the test where it fails
 */
void rig_create(struct rig *rig);

/**
 * rig_start() - vm_run() in a thread of its own; rig_join() - its verdict
 */
void rig_start(struct rig *rig);
enum vm_verdict rig_join(struct rig *rig);

/**
 * rig_call() - run @fn on the loop's thread and wait for it
 */
void rig_call(struct rig *rig, void (*fn)(struct rig *rig, void *arg), void *arg);

/**
 * rig_end() - vm_destroy() and free; fails the test where anything leaked or the
 * host has a complaint
 */
void rig_end(struct rig *rig);

/**
 * rig_log() - all that was logged, in @buf
 */
const char *rig_log(struct rig *rig, char *buf, size_t len);

/**
 * rig_output() - what the guest printed until now, in @buf
 */
const char *rig_output(struct rig *rig, char *buf, size_t len);

/**
 * rig_one_line() - is @text one printable line for a person?
 */
bool rig_one_line(const char *text);

/**
 * open_fds() - real descriptors this process has
 */
size_t open_fds(void);

/**
 * image_fd() - a memory file that holds a minimal RISC-V Image
 */
int image_fd(void);

#endif /* LKVM_TESTS_RIG_H */
