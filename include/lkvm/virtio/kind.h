/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kinds of virtio device that a VM can be given: how each is spelled as an
 * option, and how one is made from the option's text. virtio/kinds.c lists them
 * all; a new kind costs its own file and one line there.
 *
 * The text is kept as the user wrote it and taken apart when the VM is built, so a
 * command line, a configuration file and a restore ask for a device in the same
 * words.
 */
#ifndef LKVM_VIRTIO_KIND_H
#define LKVM_VIRTIO_KIND_H

#include "lkvm/config.h"
#include "lkvm/loop.h"
#include "lkvm/suboptions.h"
#include "lkvm/virtio/device.h"

/* With its end: a device's name; what a device claims. */
#define VIRTIO_NAME_MAX 24
#define VIRTIO_CLAIM_MAX 160
#define VIRTIO_TAG_MAX 128

/* What kinds of different names claim alike. */
#define VIRTIO_CLAIM_TAG "share with the tag '%s'"
#define VIRTIO_CLAIM_VSOCK "socket device (vsock)"

/**
 * struct virtio_world - what a device is built from, and lives in
 * @name: the device's own, unique in its VM ("disk0"); outlives the device
 * @mem: guest memory: RAM is there, nothing is in it yet
 * @loop: the VM's; outlives the device
 * @nr_vcpus: how many there are, for the number of queues
 * @vm_name: what the VM is called, for files that are named after it
 * @dry_run: the device is built to be shown only: change nothing outside
 * @console: what the guest's console is connected to, where that is a virtio console
 * @asked, @nr_asked: all devices that were asked for; @index: this one among them. For a
 *                    kind whose options make one device together.
 * @place: find and map guest addresses for a device's own memory (pmem): @size bytes
 *         of @fd from offset 0, shared, a memslot of its own, which is not RAM. Only
 *         while the device is built. Returns the address, or 0 with @err set.
 * @event: tell who listens to the VM's events that @device has a new @figure, as an event of
 *         that name; loop's thread, @opaque as for @place. NULL: nobody does
 * @ready: the guest tells (@status, printable) that it is ready, loop's thread; or (NULL) it
 *         will, while the device is built. @opaque as for @place. NULL: nobody asks
 * @opaque: for @place, @event and @ready; outlives the device
 */
struct virtio_world {
	const char *name;
	struct guest_memory *mem;
	struct loop *loop;
	struct log *log;
	unsigned int nr_vcpus;
	const char *vm_name;
	bool dry_run;
	const struct virtio_console_host *console;
	const struct virtio_request *asked;
	size_t nr_asked, index;
	gpa_t (*place)(void *opaque, int fd, uint64_t size, bool read_only, struct error *err);
	void (*event)(void *opaque, const char *event, const char *device, const char *figure,
		      uint64_t value);
	void (*ready)(void *opaque, const char *status);
	void *opaque;
};

/**
 * struct virtio_shared - a directory that a guest may mount, as the words of its option say
 * @dir: where it is on the host, as it was written; from malloc()
 * @tag: what the guest mounts it by
 */
struct virtio_shared {
	char *dir;
	char tag[VIRTIO_TAG_MAX];
	bool read_only;
};

/**
 * struct virtio_kind - one way to ask for a device
 * @option: long option, without dashes; @letter: short one, or 0
 * @arg: what its value is called in help; NULL: the option is a flag
 * @help: one sentence for help
 * @words: the words of its value, with their meaning for help: the rows that @build parses by.
 *         NULL: there are none
 * @prefix: devices are called @prefix with a number behind it
 * @single: a VM has at most one
 * @shares_memory: will a device for @text give guest memory to another process? Asked
 *                 before RAM is mapped (memory_share()); NULL: never
 * @claim: what a device @name for @text takes that a VM has but once, in words for people:
 *         "network device with the address 52:54:00:00:00:01". False where that is nothing, or
 *         the text is faulty, which @build says better; NULL: never anything
 * @publishes: does a device for @text forward ports of the host, that is, take words
 *             "publish="? True where the text is faulty, which @build says better; NULL: never
 * @share: the directory that a device @name for @text shares with the guest. False where the
 *         text is faulty; NULL: the kind shares none. A VM has each tag but once, by whatever
 *         kind: a claim of its own is not needed.
 * @build: a device from @text ("" for a flag): files are opened here, helpers are
 *         started by the device's start operation. Returns NULL with @err set, in
 *         which the option's name need not be said. *@vdev stays NULL with 0 returned
 *         where @text asks for no device ("mode=none").
 */
struct virtio_kind {
	const char *option;
	char letter;
	const char *arg;
	const char *help;
	const struct suboption *words;
	const char *prefix;
	bool single;
	bool (*shares_memory)(const char *text);
	bool (*claim)(const char *name, const char *text, char what[VIRTIO_CLAIM_MAX]);
	bool (*publishes)(const char *text);
	bool (*share)(const char *name, const char *text, struct virtio_shared *shared);
	int (*build)(const struct virtio_world *world, const char *text,
		     struct virtio_device **vdev, struct error *err);
};

/* All of them, in the order of help; ended by NULL. */
extern const struct virtio_kind *const virtio_kinds[];

/**
 * virtio_asked_name() - what device @index of @asked is called: "disk1" is the second of
 *                       its prefix
 */
void virtio_asked_name(const struct virtio_request *asked, size_t index,
		       char name[VIRTIO_NAME_MAX]);

/**
 * virtio_asked_check() - do no two of @asked claim the same (struct virtio_kind)?
 *
 * Before the first of them is built: no file is opened, no helper started.
 *
 * Return: 0, or -1 with @err naming both options.
 */
int virtio_asked_check(const struct virtio_request *asked, size_t nr, struct error *err);

/**
 * virtio_asked_publish() - have the first of @asked that can forward the host's @ports
 * @ports: as "publish=" takes them, @nr_ports of them, one at least
 * @text: receives memory that its words point into from now; the caller frees it last of all
 *
 * Return: 0, or -1 with @err set: there is none, or no memory.
 */
int virtio_asked_publish(struct virtio_request *asked, size_t nr, const char *const *ports,
			 size_t nr_ports, char **text, struct error *err);

#endif /* LKVM_VIRTIO_KIND_H */
