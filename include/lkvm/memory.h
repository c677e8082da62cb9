/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: the regions of RAM a VM has, and the one accessor.
 *
 * Every access names a GPA and a length. Both are checked once, without
 * overflow, and must lie wholly inside one region (regions may touch, but an
 * access never spans two: they are different mappings). What the VMM writes is
 * marked dirty while dirty logging is on.
 *
 * The host mapping has PROT_NONE pages on both sides, so that a bug that
 * slips past the check faults instead of reaching a neighbour. The HVA is
 * congruent to the GPA modulo the region's alignment, so that huge G-stage
 * mappings can form.
 *
 * RAM is anonymous memory of this process, unless memory_share() was called first:
 * then each region is an unnamed file, which can be given to another process
 * (vhost-user). That process may write guest RAM as the guest may, but can't change
 * the file's size under us.
 *
 * Regions are added before the first vCPU runs and stay until the VM ends, so
 * look-ups take no lock. The bytes are the guest's, who may change them at any
 * time: copy first, then check the copy.
 */
#ifndef LKVM_MEMORY_H
#define LKVM_MEMORY_H

#include "lkvm/util.h"

#include <stdatomic.h>

#define MEMORY_MAX_REGIONS 64

/**
 * struct memory_region - one piece of guest RAM
 * @gpa: first guest physical address
 * @size: bytes
 * @hva: where lkvm sees it
 * @fd: the file that backs it, from offset 0; -1 for anonymous memory
 * @slot: number of its memslot
 * @file: somebody's file and no RAM: neither cleared by a reset nor told as memory
 * @read_only: neither the guest nor lkvm may write it
 * @copied: parts of it are a file's pages (memory_map_copy()) or come when they are used
 *	(memory_on_demand())
 * @huge: the host may have pages of 2 MiB behind it, which the G-stage maps whole
 * @dirty: one bit a 4 KiB page that lkvm wrote, or NULL while logging is off
 */
struct memory_region {
	gpa_t gpa;
	uint64_t size;
	void *hva;
	int fd;
	uint32_t slot;
	bool file, read_only, copied, huge;
	_Atomic uint64_t *dirty;
	/* private: the reservation around @hva */
	void *map;
	size_t map_size;
};

struct guest_memory {
	struct memory_region regions[MEMORY_MAX_REGIONS]; /* sorted by gpa */
	size_t nr;
	bool shared;
};

void memory_init(struct guest_memory *mem);

/**
 * memory_share() - back regions by files that other processes can map
 *
 * For those that memory_add() adds from now on. Such memory counts as shared memory
 * of the host (/dev/shm and its like do too), and is made of huge pages only where
 * /sys/kernel/mm/transparent_hugepage/shmem_enabled lets it.
 */
void memory_share(struct guest_memory *mem);

/**
 * memory_add() - reserve and map one region of zeroed RAM
 * @gpa: multiple of 4 KiB
 * @size: multiple of 4 KiB, not 0
 * @align: power of two, at least 4 KiB: HVA modulo @align equals GPA modulo @align
 *
 * Return: the region, until the next call (the table is kept sorted), or NULL
 * with @err set (overlap, wrap, no address space, no file).
 */
struct memory_region *memory_add(struct guest_memory *mem, gpa_t gpa, uint64_t size, uint64_t align,
				 struct error *err);

/**
 * memory_add_file() - a region that is a file, from its start, shared with its other users
 * @fd: stays the caller's; must live as long as the region
 * @read_only: nothing ever reaches the file
 *
 * A file that gets shorter under us raises SIGBUS where lkvm itself touches what is gone
 * (system calls given such memory fail with EFAULT). So nothing that lkvm follows on its
 * own, as rings, may lie there: see memory_for_ring(). Otherwise as memory_add().
 */
struct memory_region *memory_add_file(struct guest_memory *mem, gpa_t gpa, uint64_t size,
				      uint64_t align, int fd, bool read_only, struct error *err);

/**
 * memory_map_copy() - RAM at @gpa becomes a copy of @fd at @offset, page by page as it is
 * used: writes never reach the file
 * @gpa, @len, @offset: multiples of 4 KiB; inside one region
 *
 * Before vCPUs run. The descriptor may be closed then, but the file may neither be changed
 * nor cut off while the VM lives.
 *
 * Return: 0 or -errno: it can't be mapped (-EINVAL: not such a range, or the region is
 * shared with others), and nothing has changed.
 */
int memory_map_copy(struct guest_memory *mem, gpa_t gpa, uint64_t len, int fd, uint64_t offset);

/**
 * memory_on_demand() - RAM at @gpa, which nobody has touched, waits for whoever serves @fd
 * @gpa, @len: multiples of 4 KiB; inside one region
 * @fd: of userfault_open()
 *
 * Who touches a page there is held until it was made (userfault_fill()) and userfault_wake() was
 * called for it. What is discarded or forgotten is plain memory from then on, and so is all of it
 * when @fd is closed. Before vCPUs run.
 *
 * Return: 0 or -errno (-EINVAL: not such a range, or the region is shared with others), and
 * nothing has changed.
 */
int memory_on_demand(struct guest_memory *mem, gpa_t gpa, uint64_t len, int fd);

/**
 * memory_gpa_of() - the GPA of what lies at @hva
 *
 * Return: false where that is no guest memory.
 */
bool memory_gpa_of(const struct guest_memory *mem, const void *hva, gpa_t *gpa);

void memory_destroy(struct guest_memory *mem);

/**
 * memory_forget() - give all pages back to the host; the guest sees zeroes
 *
 * For a reset. No vCPU may run.
 *
 * Return: 0, or -1 with @err set.
 */
int memory_forget(struct guest_memory *mem, struct error *err);

/**
 * memory_discard() - give [@gpa, @gpa + @len) back to the host; it reads as zeroes
 *
 * For pages that the guest does not use (any thread, the guest may run). Both must be
 * multiples of 4 KiB, and lie inside one region. Marked dirty.
 *
 * Return: 0, or -errno (-EINVAL: not such a range).
 */
int memory_discard(struct guest_memory *mem, gpa_t gpa, uint64_t len);

/**
 * memory_block() - RAM at @gpa: how large is the aligned piece that may be mapped as one?
 *
 * memory_discard() of a part of that would have the host split its page, and the G-stage
 * mapping with it: KVM of Linux 7.2 warns in the host's log then. (any thread)
 *
 * Return: 2 MiB where the whole of such a block lies inside a region with huge pages,
 * else 4 KiB; 0 where there is no RAM.
 */
uint64_t memory_block(const struct guest_memory *mem, gpa_t gpa);

/**
 * memory_whole_blocks() - cut [*@gpa, *@gpa + *@len), inside one region, to whole blocks
 *
 * Both are multiples of 4 KiB then; *@len 0: no block lies inside. (any thread)
 *
 * Return: true; false where it is no RAM.
 */
bool memory_whole_blocks(const struct guest_memory *mem, gpa_t *gpa, uint64_t *len);

/**
 * memory_may_be_huge() - does the host's policy let RAM have huge pages?
 * @fd: as that of struct memory_region
 */
bool memory_may_be_huge(int fd);

/**
 * memory_find() - the region that holds all of [gpa, gpa + len), or NULL
 *
 * @len 0 asks for the region that holds @gpa itself.
 */
const struct memory_region *memory_find(const struct guest_memory *mem, gpa_t gpa, uint64_t len);

/**
 * memory_look_up() - memory_for_read() by a call, for what is not in the window
 */
const void *memory_look_up(const struct guest_memory *mem, gpa_t gpa, uint64_t len);

/**
 * struct memory_window - the first region, where it may be written; the fields are private
 *
 * Most VMs have one region, and a device may ask for each 4 KiB of a large request: who looks up
 * many addresses in a row keeps one of these, so that the usual case needs no call. Good until the
 * next memory_add().
 */
struct memory_window {
	gpa_t gpa;
	uint64_t size;
	char *hva;
};

static inline struct memory_window memory_window(const struct guest_memory *mem)
{
	const struct memory_region *first = &mem->regions[0];

	return (struct memory_window){
		.gpa = first->gpa, .size = first->read_only ? 0 : first->size, .hva = first->hva};
}

/**
 * memory_in_window() - host address of [gpa, gpa + len), which may be written there
 *
 * Nothing is marked dirty: who writes calls memory_for_write() for what was written.
 *
 * Return: NULL where it does not lie in there: memory_look_up() says whether it is anywhere.
 */
static inline void *memory_in_window(const struct memory_window *w, gpa_t gpa, uint64_t len)
{
	uint64_t offset = gpa - w->gpa; /* wraps to huge for gpa below */

	return offset < w->size && len <= w->size - offset ? w->hva + offset : NULL;
}

/**
 * memory_for_read() - host address of [gpa, gpa + len) for reading, or NULL
 *
 * Valid until memory_destroy(). The guest may write it while it is read.
 */
static inline const void *memory_for_read(const struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	struct memory_window w = memory_window(mem);
	const void *hva = memory_in_window(&w, gpa, len);

	return hva ? hva : memory_look_up(mem, gpa, len);
}

/**
 * memory_for_ring() - the same, where it is RAM and not a file's
 */
const void *memory_for_ring(const struct guest_memory *mem, gpa_t gpa, uint64_t len);

/**
 * memory_may_write() - does [gpa, gpa + len) lie in one region that may be written?
 */
bool memory_may_write(const struct guest_memory *mem, gpa_t gpa, uint64_t len);

/**
 * memory_for_write() - as memory_for_read(), for writing; the range counts as dirty from
 * now. NULL too where it may not be written.
 */
void *memory_for_write(struct guest_memory *mem, gpa_t gpa, uint64_t len);

/**
 * memory_read() / memory_write() - copy out of and into guest RAM
 *
 * Return: true; false (nothing copied) where the range is not inside one region.
 */
bool memory_read(const struct guest_memory *mem, gpa_t gpa, void *buf, uint64_t len);
bool memory_write(struct guest_memory *mem, gpa_t gpa, const void *buf, uint64_t len);

/**
 * memory_log_dirty() - start (zeroed) or stop the record of lkvm's own writes
 *
 * Return: 0 or -ENOMEM.
 */
int memory_log_dirty(struct guest_memory *mem, bool on);

/**
 * memory_is_logged() - is that record kept just now?
 */
static inline bool memory_is_logged(const struct guest_memory *mem)
{
	return mem->regions[0].dirty;
}

/**
 * memory_total() - bytes of RAM over all regions
 */
uint64_t memory_total(const struct guest_memory *mem);

#endif /* LKVM_MEMORY_H */
