/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hostile: a guest that breaks the rules of its virtio devices, one rule a boot.
 *
 * A poke is a function that does something no driver may do and says whether the
 * device answered as it must. main.c then sees that the other devices still work and
 * that the poked one does after a reset. README.md lists the pokes by what they break.
 */
#ifndef LKVM_GUEST_HOSTILE_H
#define LKVM_GUEST_HOSTILE_H

#include "../virtio.h"

/**
 * struct stage - where a poke plays
 * @v: the device to poke
 * @other: a device of another kind that must not notice, or NULL
 * @buf: 16 pages of memory for requests
 * @pci: which transport
 * @count: how often a storm pokes
 */
struct stage {
	const struct guest *guest;
	struct vbus *bus;
	struct vdev *v, *other;
	uint8_t *buf;
	bool pci;
	uint64_t count;
};

/**
 * struct poke - a case
 * @name: as the command line says it
 * @id: kind of device it is for
 * @play: poke; false where the answer was wrong (what was wrong has been printed)
 */
struct poke {
	const char *name;
	uint32_t id;
	bool (*play)(struct stage *s);
};

/* Each ends with a row whose name is NULL. There is nothing of pci_pokes in virtio-mmio. */
extern const struct poke transport_pokes[], pci_pokes[], ring_pokes[], packed_pokes[], blk_pokes[],
	misc_pokes[], net_pokes[], vsock_pokes[], share_pokes[], message_pokes[], end_pokes[];

/**
 * leave() - what is done last in the case called @name: the device is reset, or work is left
 * in flight
 */
bool leave(struct stage *s, const char *name);

/**
 * wrong() - say what was not as it must be; always false
 */
bool wrong(const char *what, uint64_t value);

/**
 * up() - reset, negotiate, enable all queues, DRIVER_OK
 * @num: entries of each queue
 */
bool up(struct stage *s, struct vdev *v, uint64_t features, uint32_t num);

/**
 * sane() - bring @v up and have it carry out a request that makes sense
 */
bool sane(struct stage *s, struct vdev *v);

/**
 * works() - a request that makes sense on a device that is up already
 */
bool works(struct stage *s, struct vdev *v);

/**
 * needs_reset() - the device says so, and by a configuration interrupt too
 */
bool needs_reset(struct stage *s);

/**
 * broke() - offer head @head of queue @queue: it must be found broken
 */
bool broke(struct stage *s, uint32_t queue, uint16_t head);

/* A block request: header in @header, its data wherever, its status in @status. */
#define BLK_IN 0
#define BLK_OUT 1
#define BLK_FLUSH 4
#define BLK_GET_ID 8
#define BLK_DISCARD 11
#define BLK_WRITE_ZEROES 13

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/**
 * blk_request() - descriptors 0 to 2 of queue 0: a request with one data buffer
 * @write: the device writes the data
 */
void blk_request(struct stage *s, uint32_t type, uint64_t sector, const volatile void *data,
		 uint32_t len, bool write);

/* Where blk_request() puts its header, its status, and data may go. */
#define BLK_HEADER(s) ((volatile struct blk_header *)(s)->buf)
#define BLK_STATUS(s) ((volatile uint8_t *)(s)->buf + 64)
#define BLK_DATA(s) ((volatile uint8_t *)(s)->buf + 4096)

#endif /* LKVM_GUEST_HOSTILE_H */
