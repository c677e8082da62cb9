// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: reserving, mapping and the one accessor (include/lkvm/memory.h).
 *
 * A region is an anonymous private mapping, parts of which may become private ones of a
 * file (a VM that comes from a snapshot), or a shared one of a file. It lies inside a larger
 * PROT_NONE reservation: at least one guard page on each side, and room to slide the mapping
 * until its address is congruent to the GPA. Nothing is populated: MAP_NORESERVE leaves the
 * decision how much memory the guest may really use to the host's overcommit policy, as for every
 * process.
 *
 * The file is a memfd, sealed against shrinking and growing before anybody else gets
 * it: a peer that cut it off would otherwise end us by SIGBUS.
 *
 * Thread and lock: regions are added while the VM is built by one thread; later
 * they are only read, by all threads, without a lock. Dirty bits are set by
 * atomic OR. What is saved: the bytes, by the snapshot code; nothing here.
 */
#include "lkvm/memory.h"

#include "lkvm/userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUEST_PAGE UINT64_C(4096)
#define GUEST_PAGE_SHIFT 12

#define HUGE_PAGE (2 * MIB)

/* One page would do for a stray index; a large step over it should fault too. */
#define GUARD (2 * MIB)

void memory_init(struct guest_memory *mem)
{
	memset(mem, 0, sizeof(*mem));
}

void memory_share(struct guest_memory *mem)
{
	mem->shared = true;
}

static size_t dirty_words(const struct memory_region *region)
{
	return (size_t)(((region->size >> GUEST_PAGE_SHIFT) + 63) / 64);
}

/* Address space for @size bytes at any place that suits @align, and the guards. */
static void *reserve(uint64_t size, uint64_t align, size_t *map_size, struct error *err)
{
	char text[32];
	void *map;

	format_size(text, sizeof(text), size);
	if (size > SIZE_MAX - 2 * GUARD - align) {
		fail(err, "%s of memory do not fit the address space of this host", text);
		return NULL;
	}
	*map_size = (size_t)(size + 2 * GUARD + align);
	map = mmap(NULL, *map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map != MAP_FAILED)
		return map;
	fail_errno(err, errno,
		   "-m: cannot reserve %s of address space (a size without a suffix is in MiB)",
		   text);
	return NULL;
}

/* An unnamed file of zeroes that keeps its size. */
static int ram_file(uint64_t size, struct error *err)
{
	int fd = memfd_create("lkvm-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return fail_errno(err, errno, "cannot make a file for guest memory");
	if (!ftruncate(fd, (off_t)size) &&
	    !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return fd;
	fail_errno(err, errno, "cannot make a file for guest memory");
	close(fd);
	return -1;
}

/* Make @size bytes at @start, which are reserved, RAM: of @fd, or (-1) anonymous. */
static int map_ram(void *start, size_t size, int fd, struct error *err)
{
	char text[32];
	bool ok;

	if (fd < 0)
		ok = !mprotect(start, size, PROT_READ | PROT_WRITE);
	else
		ok = mmap(start, size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) != MAP_FAILED;
	if (!ok)
		return fail_errno(err, errno, "cannot map %s of guest memory",
				  format_size(text, sizeof(text), size));
	return 0;
}

/* Best effort: without huge pages everything works, only slower. */
static bool advise(void *start, size_t len)
{
	madvise(start, len, MADV_DONTDUMP);
	return !madvise(start, len, MADV_HUGEPAGE);
}

/* May [@gpa, @gpa + @size) become a region? */
static bool may_add(const struct guest_memory *mem, gpa_t gpa, uint64_t size, uint64_t align,
		    struct error *err)
{
	char text[32];
	size_t i;

	format_size(text, sizeof(text), size);
	if (!size || gpa % GUEST_PAGE || size % GUEST_PAGE || !is_power_of_two(align) ||
	    align < GUEST_PAGE)
		return fail(err, "a memory region must be whole 4K pages, not %s at 0x%llx", text,
			    (unsigned long long)gpa) == 0;
	if (gpa + size < gpa)
		return fail(err, "a memory region of %s at 0x%llx ends beyond 64 bits", text,
			    (unsigned long long)gpa) == 0;
	if (mem->nr == MEMORY_MAX_REGIONS)
		return fail(err, "at most %d memory regions are possible", MEMORY_MAX_REGIONS) == 0;
	for (i = 0; i < mem->nr; i++) {
		const struct memory_region *r = &mem->regions[i];

		if (gpa < r->gpa + r->size && r->gpa < gpa + size)
			return fail(err, "memory of %s at 0x%llx overlaps the region at 0x%llx",
				    text, (unsigned long long)gpa, (unsigned long long)r->gpa) == 0;
	}
	return true;
}

/* The table is kept sorted, so slots move too: none is KVM's yet. */
static struct memory_region *insert(struct guest_memory *mem, const struct memory_region *region)
{
	size_t i, at;

	for (at = mem->nr; at && mem->regions[at - 1].gpa > region->gpa; at--)
		mem->regions[at] = mem->regions[at - 1];
	mem->regions[at] = *region;
	mem->nr++;
	for (i = 0; i < mem->nr; i++)
		mem->regions[i].slot = (uint32_t)i;
	return &mem->regions[at];
}

struct memory_region *memory_add(struct guest_memory *mem, gpa_t gpa, uint64_t size, uint64_t align,
				 struct error *err)
{
	struct memory_region region = {.gpa = gpa, .size = size, .fd = -1};
	uintptr_t start;

	if (!may_add(mem, gpa, size, align, err))
		return NULL;
	region.map = reserve(size, align, &region.map_size, err);
	if (!region.map)
		return NULL;
	start = (uintptr_t)region.map + GUARD;
	start += (gpa - start) & (align - 1);
	region.hva = (void *)start;
	if (mem->shared)
		region.fd = ram_file(size, err);
	if ((mem->shared && region.fd < 0) || map_ram(region.hva, (size_t)size, region.fd, err)) {
		munmap(region.map, region.map_size);
		if (region.fd >= 0)
			close(region.fd);
		return NULL;
	}
	if (advise(region.hva, (size_t)size))
		region.huge = align % HUGE_PAGE == 0 && memory_may_be_huge(region.fd);
	return insert(mem, &region);
}

struct memory_region *memory_add_file(struct guest_memory *mem, gpa_t gpa, uint64_t size,
				      uint64_t align, int fd, bool read_only, struct error *err)
{
	struct memory_region region = {
		.gpa = gpa, .size = size, .fd = fd, .file = true, .read_only = read_only};
	uintptr_t start;
	char text[32];

	if (!may_add(mem, gpa, size, align, err))
		return NULL;
	region.map = reserve(size, align, &region.map_size, err);
	if (!region.map)
		return NULL;
	start = (uintptr_t)region.map + GUARD;
	start += (gpa - start) & (align - 1);
	region.hva = (void *)start;
	if (mmap(region.hva, (size_t)size, PROT_READ | (read_only ? 0 : PROT_WRITE),
		 MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED) {
		fail_errno(err, errno, "cannot map %s of a file",
			   format_size(text, sizeof(text), size));
		munmap(region.map, region.map_size);
		return NULL;
	}
	return insert(mem, &region);
}

/* The region of whole pages that are ours alone. */
static struct memory_region *find_own(struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	/* The table is ours to change. */
	struct memory_region *r = (struct memory_region *)memory_find(mem, gpa, len);

	return r && !r->file && r->fd < 0 && len && !((gpa | len) % GUEST_PAGE) ? r : NULL;
}

int memory_map_copy(struct guest_memory *mem, gpa_t gpa, uint64_t len, int fd, uint64_t offset)
{
	struct memory_region *r = find_own(mem, gpa, len);
	void *start;

	if (!r || offset % GUEST_PAGE)
		return -EINVAL;
	start = (char *)r->hva + (gpa - r->gpa);
	if (mmap(start, (size_t)len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset) == MAP_FAILED)
		return -errno;
	madvise(start, (size_t)len, MADV_DONTDUMP);
	r->copied = true;
	return 0;
}

int memory_on_demand(struct guest_memory *mem, gpa_t gpa, uint64_t len, int fd)
{
	struct memory_region *r = find_own(mem, gpa, len);
	int ret;

	if (!r)
		return -EINVAL;
	ret = userfault_register(fd, (char *)r->hva + (gpa - r->gpa), (size_t)len);
	if (!ret)
		r->copied = true;
	return ret;
}

bool memory_gpa_of(const struct guest_memory *mem, const void *hva, gpa_t *gpa)
{
	size_t i;

	for (i = 0; i < mem->nr; i++) {
		uint64_t offset = (uintptr_t)hva - (uintptr_t)mem->regions[i].hva;

		if (offset < mem->regions[i].size) {
			*gpa = mem->regions[i].gpa + offset;
			return true;
		}
	}
	return false;
}

void memory_destroy(struct guest_memory *mem)
{
	size_t i;

	memory_log_dirty(mem, false);
	for (i = 0; i < mem->nr; i++) {
		munmap(mem->regions[i].map, mem->regions[i].map_size);
		if (mem->regions[i].fd >= 0 && !mem->regions[i].file)
			close(mem->regions[i].fd);
	}
	memset(mem->regions, 0, sizeof(mem->regions));
	mem->nr = 0;
}

/*
 * [@start, @end) lies within a huge page. If only a part of that were unmapped, the rest
 * would keep the whole of it until the host is short of memory, and KVM of Linux 7.2 on
 * RISC-V would warn that it can't unmap a part, before it unmaps the whole. This advice
 * splits the page at once, where there is one. Best effort.
 */
static void split_huge(uintptr_t start, uintptr_t end)
{
	if (start < end)
		madvise((void *)start, end - start, MADV_COLD);
}

/*
 * Pages of a file that are given back would be the file's again. Where there are too many
 * mappings for another one, zeroes are written.
 */
static void forget_copy(void *start, size_t len)
{
	if (mmap(start, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		memset(start, 0, len);
	else
		advise(start, len);
}

/* A file keeps its pages when they are unmapped: they are cut out of it. */
static int give_back(const struct memory_region *r, uint64_t offset, uint64_t len)
{
	uintptr_t start = (uintptr_t)r->hva + offset, end = start + len;
	uintptr_t head = align_up(start, HUGE_PAGE), tail = align_down(end, HUGE_PAGE);

	if (r->copied) {
		forget_copy((void *)start, (size_t)len);
		return 0;
	}
	if (r->fd < 0) {
		split_huge(start, min_u64(head, end));
		if (head <= tail)
			split_huge(tail, end);
		return madvise((void *)start, (size_t)len, MADV_DONTNEED) ? -errno : 0;
	}
	return fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			 (off_t)len)
		       ? -errno
		       : 0;
}

int memory_forget(struct guest_memory *mem, struct error *err)
{
	size_t i;

	for (i = 0; i < mem->nr; i++) {
		int ret = mem->regions[i].file
				  ? 0
				  : give_back(&mem->regions[i], 0, mem->regions[i].size);

		if (ret)
			return fail_errno(err, -ret, "cannot clear guest memory");
		mem->regions[i].copied = false;
	}
	return 0;
}

const struct memory_region *memory_find(const struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	size_t i;

	/* A VM has one or two regions; a search tree would cost more than this. */
	for (i = 0; i < mem->nr; i++) {
		const struct memory_region *r = &mem->regions[i];
		uint64_t offset = gpa - r->gpa; /* wraps to huge for gpa below */

		if (offset < r->size)
			return len <= r->size - offset ? r : NULL;
	}
	return NULL;
}

static void *region_ptr(const struct memory_region *region, gpa_t gpa)
{
	return (char *)region->hva + (gpa - region->gpa);
}

static void mark_dirty(const struct memory_region *region, gpa_t gpa, uint64_t len)
{
	uint64_t page, last;

	if (!region->dirty || !len)
		return;
	page = (gpa - region->gpa) >> GUEST_PAGE_SHIFT;
	last = (gpa - region->gpa + len - 1) >> GUEST_PAGE_SHIFT;
	for (; page <= last; page++)
		atomic_fetch_or_explicit(&region->dirty[page / 64], UINT64_C(1) << (page % 64),
					 memory_order_relaxed);
}

const void *memory_look_up(const struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	const struct memory_region *region = memory_find(mem, gpa, len);

	return region ? region_ptr(region, gpa) : NULL;
}

const void *memory_for_ring(const struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	const struct memory_region *region = memory_find(mem, gpa, len);

	return region && !region->file ? region_ptr(region, gpa) : NULL;
}

bool memory_may_write(const struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	const struct memory_region *region = memory_find(mem, gpa, len);

	return region && !region->read_only;
}

void *memory_for_write(struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	const struct memory_region *region = memory_find(mem, gpa, len);

	if (!region || region->read_only)
		return NULL;
	mark_dirty(region, gpa, len);
	return region_ptr(region, gpa);
}

bool memory_read(const struct guest_memory *mem, gpa_t gpa, void *buf, uint64_t len)
{
	const void *p = memory_for_read(mem, gpa, len);

	if (!p)
		return false;
	memcpy(buf, p, (size_t)len);
	return true;
}

bool memory_write(struct guest_memory *mem, gpa_t gpa, const void *buf, uint64_t len)
{
	void *p = memory_for_write(mem, gpa, len);

	if (!p)
		return false;
	memcpy(p, buf, (size_t)len);
	return true;
}

int memory_discard(struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	const struct memory_region *r = memory_find(mem, gpa, len);
	int ret;

	if (!r || r->file || !len || gpa % GUEST_PAGE || len % GUEST_PAGE)
		return -EINVAL;
	ret = give_back(r, gpa - r->gpa, len);
	mark_dirty(r, gpa, len);
	return ret;
}

int memory_log_dirty(struct guest_memory *mem, bool on)
{
	size_t i;

	for (i = 0; i < mem->nr; i++) {
		struct memory_region *r = &mem->regions[i];

		free(r->dirty);
		r->dirty = NULL;
		if (!on)
			continue;
		r->dirty = calloc(dirty_words(r), sizeof(*r->dirty));
		if (!r->dirty) {
			memory_log_dirty(mem, false);
			return -ENOMEM;
		}
	}
	return 0;
}

uint64_t memory_total(const struct guest_memory *mem)
{
	uint64_t total = 0;
	size_t i;

	for (i = 0; i < mem->nr; i++)
		if (!mem->regions[i].file)
			total += mem->regions[i].size;
	return total;
}
