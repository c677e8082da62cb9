/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VM is to be: the one struct that a command line, a configuration file
 * or a snapshot's header fills, and that vm_create() reads. Plain data; the
 * strings belong to whoever filled it and outlive the VM.
 */
#ifndef LKVM_CONFIG_H
#define LKVM_CONFIG_H

#include "lkvm/memory.h"
#include "lkvm/util.h"

struct arch_config;
struct error;
struct virtio_kind;
struct vm;

/**
 * struct mem_request - one -m option
 * @size: bytes
 * @placed: the user named the address
 * @gpa: that address; where not @placed the architecture's RAM base
 */
struct mem_request {
	uint64_t size;
	bool placed;
	gpa_t gpa;
};

enum console_kind {
	CONSOLE_SERIAL, /* the 8250 */
	CONSOLE_SBI,	/* the firmware console ("hv") */
	CONSOLE_VIRTIO, /* hvc0; its device is the first of @virtio */
};

/* What a guest's reset does. */
enum reset_choice {
	RESET_RESTART,
	RESET_EXIT, /* the VM ends */
};

/* Virtio devices of one VM. */
#define VM_MAX_VIRTIO 64

/**
 * struct virtio_request - one virtio device, as asked for
 * @kind: which option
 * @text: its value, as the user wrote it; "" for a flag
 */
struct virtio_request {
	const struct virtio_kind *kind;
	const char *text;
};

enum transport_choice {
	TRANSPORT_AUTO, /* the machine knows best */
	TRANSPORT_MMIO,
	TRANSPORT_PCI,
};

/* What the time is for a guest that goes on from a saved state. */
enum clock_choice {
	CLOCK_CONTINUE, /* as if none had passed */
	CLOCK_HOST,	/* as much has passed as on the host */
};

/**
 * struct vm_image - a saved state, as vm_create() and vm_run() take it
 * @vcpus: all vCPUs exist and none has run: what they are
 * @memory: in place of arch_boot()
 * @state: all devices are active: the rest
 * @end: the VM ends or restarts, and needs the state no more; may come twice
 *
 * The others return 0, or -1 with the error set. A guest's reset boots, whatever it came from.
 */
struct vm_image {
	int (*vcpus)(void *opaque, struct vm *vm, struct error *err);
	int (*memory)(void *opaque, struct vm *vm, struct error *err);
	int (*state)(void *opaque, struct vm *vm, struct error *err);
	void (*end)(void *opaque);
	void *opaque;
};

/**
 * struct vm_config - a VM, as asked for
 * @name: unique among this user's VMs
 * @kernel, @initrd, @firmware: paths or NULL
 * @initrd_fd: in place of @initrd: an open file; 0: none
 * @params: the user's kernel command line, or NULL
 * @nodefaults: add nothing to it
 * @quiet: the kernel is to say warnings only, from its first line
 * @cpus: vCPUs, at least 1
 * @mem, @nr_mem: RAM
 * @console: which console @console_in and @console_out are connected to
 * @console_in, @console_out: descriptors, -1 for none
 * @virtio, @nr_virtio: virtio devices, in the order asked for
 * @transport: what they sit behind
 * @timeout_s: end the VM after this many seconds; 0: never
 * @on_reset: whether a guest's reset ends the VM or restarts it
 * @dump_dtb: file that receives the device tree, or NULL
 * @dry_run: settle everything, print it, start nothing
 * @image: a state to go on from instead of booting, or NULL
 * @clock: with @image: does the time between count?
 * @paused: do not let the vCPUs run yet
 * @arch: the architecture's part
 */
struct vm_config {
	const char *name;
	const char *kernel, *initrd, *firmware;
	int initrd_fd;
	const char *params;
	bool nodefaults, quiet;
	unsigned int cpus;
	struct mem_request mem[MEMORY_MAX_REGIONS];
	size_t nr_mem;
	enum console_kind console;
	int console_in, console_out;
	struct virtio_request virtio[VM_MAX_VIRTIO];
	size_t nr_virtio;
	enum transport_choice transport;
	unsigned int timeout_s;
	enum reset_choice on_reset;
	const char *dump_dtb;
	bool dry_run;
	const struct vm_image *image;
	enum clock_choice clock;
	bool paused;
	const struct arch_config *arch;
};

#endif /* LKVM_CONFIG_H */
