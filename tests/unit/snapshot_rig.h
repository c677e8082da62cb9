/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VMs of the rig that are saved into files, and VMs that come from them, for tests.
 */
#ifndef LKVM_TESTS_SNAPSHOT_RIG_H
#define LKVM_TESTS_SNAPSHOT_RIG_H

#include "lkvm/snapshot/snapshot.h"
#include "rig.h"

#include <semaphore.h>

#define RAM UINT64_C(0x80000000)
#define UART UINT64_C(0x10000000)
#define PLIC UINT64_C(0x0c000000)

/**
 * snapshot_hello - a guest that prints, leaves an interrupt pending, and waits
 */
extern const struct fake_op snapshot_hello[];

/**
 * struct save - one save, from begin to end
 */
struct save {
	struct snapshot_request req;
	struct snapshot_result result;
	struct error why;
	sem_t over;
	int ret;
};

/**
 * begin_save() - for rig_call(): begin @arg, a struct save with its @req filled
 * end_save() - wait until it is over
 *
 * Return: 0, or -1 with @why set.
 */
void begin_save(struct rig *rig, void *arg);
int end_save(struct save *s);

/**
 * save_as() - save the rig's VM to a new file
 */
int save_as(struct rig *rig, enum snapshot_encoding encoding);

/* For rig_call(). */
void do_pause(struct rig *rig, void *arg);
void do_unpause(struct rig *rig, void *arg);
void do_reset(struct rig *rig, void *arg);

/**
 * quit() - end the VM and the rig
 */
void quit(struct rig *rig);

/**
 * scribble() - patterns in a hart, as a guest might have them
 */
void scribble(struct fake_vcpu *v);

/**
 * first_vm() - two harts that have printed and wait, their state all patterns; paused
 */
void first_vm(struct rig *rig, enum fake_kernel kernel);

/**
 * with_svadu() - the host's harts, and so the guest's, write page tables by themselves
 */
void with_svadu(struct rig *rig, bool on);

/**
 * struct second - a VM from a file
 */
struct second {
	struct rig rig;
	struct snapshot_file file;
	struct snapshot_saved saved;
	struct snapshot_image image;
};

void second_init(struct second *s, int fd, enum fake_kernel kernel);
void second_end(struct second *s);

/**
 * place_of() - where in an uncompressed file the first region's byte at @gpa is
 */
off_t place_of(int fd, gpa_t gpa);

/**
 * differs_at() - the first byte in which two files differ, or -1
 */
long long differs_at(int a, int b);

/**
 * same_file() - fails the test where they differ
 */
void same_file(int a, int b);

/**
 * has_reason() - is there one with @text?
 */
bool has_reason(const struct reasons *why, const char *text);

#endif /* LKVM_TESTS_SNAPSHOT_RIG_H */
