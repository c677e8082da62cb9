// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory by blocks: in which pieces it goes back to the host without splitting what
 * the host and the G-stage map as one (include/lkvm/memory.h).
 *
 * A transparent huge page of 2 MiB lies at a multiple of 2 MiB. HVA and GPA are congruent,
 * so that it is a block of GPAs too, wholly inside its region. What a region has before the
 * first such block and behind the last is of 4 KiB pages only.
 *
 * Whether there can be huge pages at all is the host's policy when the region is made,
 * read from sysfs: Linux, Documentation/admin-guide/mm/transhuge.rst. Should the policy be
 * changed while the guest runs, pieces are smaller or larger than they need to be, and
 * nothing worse.
 *
 * Thread and lock: as vmm/memory.c: regions do not change while there are vCPUs. What is
 * saved: nothing.
 */
#include "lkvm/memory.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SMALL_PAGE UINT64_C(4096)
#define HUGE_PAGE (2 * MIB)

#define POLICY "/sys/kernel/mm/transparent_hugepage/"

/* The word that is chosen in a file "always [madvise] never" is one of @words. */
static bool chosen(const char *path, const char *const *words)
{
	char text[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[len < 0 ? 0 : len] = '\0';
	for (; *words; words++)
		if (strstr(text, *words))
			return true;
	return false;
}

bool memory_may_be_huge(int fd)
{
	/* All sizes by one word, and (Linux 6.8, for files 6.12) this size by its own. */
	static const char *const yes[] = {"[always]", "[madvise]", "[within_size]",
					  "[advise]", "[force]",   NULL};

	if (fd < 0)
		return chosen(POLICY "enabled", yes) ||
		       chosen(POLICY "hugepages-2048kB/enabled", yes);
	return chosen(POLICY "shmem_enabled", yes) ||
	       chosen(POLICY "hugepages-2048kB/shmem_enabled", yes);
}

/* Where the blocks of a region begin and end; both are its end where it has none. */
static void find_blocks(const struct memory_region *r, gpa_t *start, gpa_t *end)
{
	*start = align_up(r->gpa, HUGE_PAGE);
	*end = align_down(r->gpa + r->size, HUGE_PAGE);
	if (!r->huge || *start < r->gpa || *start >= *end)
		*start = *end = r->gpa + r->size;
}

static const struct memory_region *find_ram(const struct guest_memory *mem, gpa_t gpa, uint64_t len)
{
	const struct memory_region *r = memory_find(mem, gpa, len);

	return r && !r->file ? r : NULL;
}

uint64_t memory_block(const struct guest_memory *mem, gpa_t gpa)
{
	const struct memory_region *r = find_ram(mem, gpa, 1);
	gpa_t start, end;

	if (!r)
		return 0;
	find_blocks(r, &start, &end);
	return gpa >= start && gpa < end ? HUGE_PAGE : SMALL_PAGE;
}

bool memory_whole_blocks(const struct guest_memory *mem, gpa_t *gpa, uint64_t *len)
{
	const struct memory_region *r = find_ram(mem, *gpa, *len);
	gpa_t start, end, first, last;

	if (!r)
		return false;
	find_blocks(r, &start, &end);
	first = align_up(*gpa, *gpa > start && *gpa < end ? HUGE_PAGE : SMALL_PAGE);
	last = *gpa + *len;
	last = align_down(last, last > start && last < end ? HUGE_PAGE : SMALL_PAGE);
	*gpa = first;
	*len = first < last ? last - first : 0;
	return true;
}
