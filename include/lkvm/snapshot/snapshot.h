/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Saving a VM into a file, and making a VM from one.
 *
 * Saving: the VM is paused, harts that are just being started are let finish that,
 * devices are quiet, then everything is written to a descriptor that the caller opened;
 * the caller brings it to the disk and puts it in place (snapshot_target_commit()).
 *
 * Restoring: snapshot_saved_read() takes the configuration out of the file, the caller
 * adds what a file can't have (disks, networks, consoles), snapshot_saved_match() compares
 * the two, arch_host_check() asks the host, and vm_create() takes snapshot_image().
 *
 * Everything here runs on the loop's thread, or before there is a VM; but the file is
 * written by a thread of its own.
 */
#ifndef LKVM_SNAPSHOT_SNAPSHOT_H
#define LKVM_SNAPSHOT_SNAPSHOT_H

#include "lkvm/arch_state.h"
#include "lkvm/config.h"
#include "lkvm/snapshot/format.h"
#include "lkvm/snapshot/memory.h"
#include "lkvm/vm.h"

/**
 * struct snapshot_request - how to save
 * @fd: an empty file, open until the save is over
 * @io: the file system's calls; .ops NULL: the real ones
 * @progress: told a few times a second how many of the @total bytes of RAM are done
 *            (loop thread); false: nobody wants the file any more, the save fails soon;
 *            may be NULL
 */
struct snapshot_request {
	int fd;
	enum snapshot_encoding encoding;
	struct snapshot_io io;
	bool (*progress)(void *opaque, uint64_t done, uint64_t total);
};

/**
 * struct snapshot_result - what became of it
 * @written: bytes, holes not counted
 * @paused_ns: how long the guest stood still for it
 * @lost: what is not in the file, because KVM gives it to nobody
 */
struct snapshot_result {
	uint8_t id[SNAPSHOT_ID_SIZE];
	uint64_t written, paused_ns;
	struct reasons lost;
};

/**
 * snapshot_done_fn - a save is over (loop thread); the VM has gone on
 * @result: NULL: it failed, and @err says why
 */
typedef void (*snapshot_done_fn)(void *opaque, const struct snapshot_result *result,
				 const struct error *err);

/**
 * snapshot_begin() - save @vm, which may run or be paused, and then goes on as before
 * @fn, @opaque: called once, after this has returned 0; @opaque goes to @req->progress too
 *
 * The vCPUs stand still until then; the loop turns. Where the VM ends or restarts before,
 * the save ends with an error.
 *
 * Return: 0; -1 with @err set: every reason against it, or what failed. The VM goes on.
 */
int snapshot_begin(struct vm *vm, const struct snapshot_request *req, snapshot_done_fn fn,
		   void *opaque, struct error *err);

/**
 * struct saved_device - a virtio device in a file
 * @option: how it was asked for ("disk"); @name: what it is called ("disk0")
 */
struct saved_device {
	char *option, *name;
};

/**
 * struct snapshot_saved - the configuration in a file
 * @cfg: as far as a file has it: vCPUs, RAM, console, transport, command line; its strings
 *       live as long as this
 * @arch_cfg: likewise
 * @devices: virtio devices, in their order
 */
struct snapshot_saved {
	struct vm_config cfg;
	struct arch_config *arch_cfg;
	struct arch_saved *arch;
	char *name, *writer, *params;
	uint32_t console, transport, cpus, nr_mem, nr_devices;
	bool nodefaults, firmware;
	struct saved_device devices[VM_MAX_VIRTIO];
};

/**
 * snapshot_saved_read() - the configuration in @f
 * @arch_cfg: the architecture's part of the VM that will be made; filled
 *
 * Return: 0, or -1 with @err set. snapshot_saved_free() in any case.
 */
int snapshot_saved_read(struct snapshot_saved *s, const struct snapshot_file *f,
			struct arch_config *arch_cfg, struct error *err);
void snapshot_saved_free(struct snapshot_saved *s);

/**
 * snapshot_saved_match() - put the devices in @asked into the file's order, into s->cfg
 *
 * Devices of one kind are taken in the order in which they were asked for. Adds a reason
 * to @why for each that is missing, and for each that the file does not have.
 */
void snapshot_saved_match(struct snapshot_saved *s, const struct virtio_request *asked, size_t nr,
			  struct reasons *why);

/* When guest memory is compared with its checksums. */
enum snapshot_verify {
	SNAPSHOT_VERIFY_MEANWHILE, /* while the guest runs; damage ends the VM */
	SNAPSHOT_VERIFY_BEFORE,	   /* before it runs; what is compressed always is */
	SNAPSHOT_VERIFY_NEVER,
};

struct snapshot_check;
struct snapshot_demand;

/**
 * struct snapshot_image - what vm_create() takes
 * @image: for struct vm_config
 * @verify: may be changed before
 * @memory: private: the index, open while memory is the file's
 * @check: private: who checks memory just now; @demand: who brings it
 */
struct snapshot_image {
	struct vm_image image;
	const struct snapshot_file *file;
	const struct snapshot_saved *saved;
	enum snapshot_verify verify;
	struct snapshot_memory memory;
	struct snapshot_check *check;
	struct snapshot_demand *demand;
};

/**
 * snapshot_image() - fill @i; all three must live as long as the VM
 *
 * Where it can, guest memory comes out of the file as it is used: the file must stay as it is
 * meanwhile.
 */
void snapshot_image(struct snapshot_image *i, const struct snapshot_file *f,
		    const struct snapshot_saved *s);

/**
 * snapshot_check_sections() - is there a mandatory section that this lkvm does not know?
 */
int snapshot_check_sections(const struct snapshot_file *f, struct error *err);

#endif /* LKVM_SNAPSHOT_SNAPSHOT_H */
