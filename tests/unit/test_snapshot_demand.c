// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs whose memory comes out of the file as it is used, which is so where harts write page tables
 * by themselves: it is all there whoever asks, and how many at a time; nothing comes that is not
 * used; what is damaged or gone is never seen, and ends the VM; and who has no right to that has
 * memory read before.
 */
#include "lkvm/userfault.h"
#include "snapshot_rig.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not among what first_vm() writes. */
#define MARK (RAM + 60 * MIB)

static bool may_demand(void)
{
	int fd = userfault_open();

	if (fd < 0) {
		printf("no userfaultfd here: %s\n", strerror(-fd));
		return false;
	}
	close(fd);
	return true;
}

/* A file of a VM with Svadu; @image: what is in its memory. */
static int saved_vm(uint8_t **image)
{
	struct rig a;
	int fd;

	rig_init(&a, FAKE_7_2);
	with_svadu(&a, true);
	a.host->programs[0] = snapshot_hello;
	rig_create(&a);
	memset(memory_for_write(&a.vm->mem, RAM + 4 * MIB, 4 * MIB), 0x5a, 4 * MIB);
	memset(memory_for_write(&a.vm->mem, MARK, 4096), 0x77, 4096);
	rig_start(&a);
	ck_assert(fake_wait_idle(a.host, 0));
	rig_call(&a, do_pause, NULL);
	fd = save_as(&a, SNAPSHOT_RAW);
	*image = malloc(64 * MIB);
	memcpy(*image, a.vm->mem.regions[0].hva, 64 * MIB);
	quit(&a);
	return fd;
}

static void demanding(struct second *b, int fd)
{
	second_init(b, fd, FAKE_7_2);
	with_svadu(&b->rig, true);
	b->image.verify = SNAPSHOT_VERIFY_NEVER;
}

/* A VM from such a file, and what its memory must become. */
struct demanded {
	struct second b;
	uint8_t *image, *ram;
	int fd;
};

static void prepare(struct demanded *d)
{
	d->fd = saved_vm(&d->image);
	demanding(&d->b, d->fd);
}

static void go(struct demanded *d)
{
	rig_create(&d->b.rig);
	rig_start(&d->b.rig);
	d->ram = d->b.rig.vm->mem.regions[0].hva;
}

static void end(struct demanded *d)
{
	second_end(&d->b);
	free(d->image);
	close(d->fd);
}

static bool is_present(const uint8_t *page)
{
	unsigned char there;

	ck_assert_int_eq(mincore((void *)page, 4096, &there), 0);
	return there & 1;
}

/* Soon, by the thread that serves: nobody makes this page any more. */
static void plain(uint8_t *page)
{
	unsigned int tries;

	for (tries = 0; tries < 1000; tries++) {
		ck_assert_int_eq(madvise(page, 4096, MADV_DONTNEED), 0);
		if (!*(volatile uint8_t *)page)
			return;
		usleep(10000);
	}
	ck_abort_msg("it still comes out of the file");
}

/* One byte: its chunk comes, pages that are zero too, and nothing else. */
START_TEST(only_what_is_used)
{
	struct demanded d;
	unsigned int i;
	int pipes[2];

	if (!may_demand())
		return;
	prepare(&d);
	go(&d);
	ck_assert(d.b.image.demand);
	ck_assert(!is_present(d.ram + 60 * MIB));
	ck_assert_uint_eq(*(volatile uint8_t *)(d.ram + 60 * MIB + 8192), 0);
	for (i = 0; i < SNAPSHOT_CHUNK_PAGES; i++)
		ck_assert(is_present(d.ram + 60 * MIB + (size_t)i * 4096));
	ck_assert(!memcmp(d.ram + 60 * MIB, d.image + 60 * MIB, SNAPSHOT_CHUNK));
	ck_assert(!is_present(d.ram + 5 * MIB));
	/* The kernel's own accesses too. */
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(write(pipes[1], d.ram + 5 * MIB, 1), 1);
	close(pipes[0]);
	close(pipes[1]);
	ck_assert(is_present(d.ram + 5 * MIB));
	end(&d);
}
END_TEST

struct reader {
	const uint8_t *ram, *image;
	unsigned int seed;
	bool same;
};

static void *compare_all(void *arg)
{
	struct reader *r = arg;
	size_t i, page;

	r->same = true;
	for (i = 0; i < 64 * MIB / 4096; i++) {
		page = (i * 7919 + r->seed * 4099) % (64 * MIB / 4096) * 4096;
		r->same = r->same && !memcmp(r->ram + page, r->image + page, 4096);
	}
	return NULL;
}

/* Several at a time, each in an order of its own. */
START_TEST(many_at_once)
{
	struct reader readers[6];
	pthread_t threads[6];
	struct demanded d;
	unsigned int i;

	if (!may_demand())
		return;
	prepare(&d);
	d.b.image.verify = SNAPSHOT_VERIFY_MEANWHILE;
	d.b.rig.cfg.paused = true;
	go(&d);
	for (i = 0; i < ARRAY_SIZE(readers); i++) {
		readers[i] = (struct reader){d.ram, d.image, i, false};
		pthread_create(&threads[i], NULL, compare_all, &readers[i]);
	}
	for (i = 0; i < ARRAY_SIZE(readers); i++) {
		pthread_join(threads[i], NULL);
		ck_assert_msg(readers[i].same, "reader %u", i);
	}
	rig_call(&d.b.rig, do_unpause, NULL);
	end(&d);
}
END_TEST

/* What is given back before it came, or after, reads as zeroes, not as the file's. */
START_TEST(given_back)
{
	uint8_t zeroes[4096] = {0};
	struct demanded d;

	if (!may_demand())
		return;
	prepare(&d);
	go(&d);
	/* Two of a chunk's pages, then the rest of it. */
	ck_assert_int_eq(memory_discard(&d.b.rig.vm->mem, RAM + 4 * MIB + 4096, 8192), 0);
	ck_assert(!memcmp(d.ram + 4 * MIB + 4096, zeroes, 4096));
	ck_assert(!memcmp(d.ram + 4 * MIB, d.image + 4 * MIB, 4096));
	ck_assert(!memcmp(d.ram + 4 * MIB + 12288, d.image + 4 * MIB + 12288,
			  SNAPSHOT_CHUNK - 12288));
	ck_assert(!memcmp(d.ram + 4 * MIB + 8192, zeroes, 4096));
	ck_assert_int_eq(memory_discard(&d.b.rig.vm->mem, MARK, 4096), 0);
	ck_assert(!memcmp(d.ram + 60 * MIB, zeroes, 4096));
	end(&d);
}
END_TEST

START_TEST(reset_is_empty)
{
	struct demanded d;

	if (!may_demand())
		return;
	prepare(&d);
	d.b.rig.cfg.kernel = d.b.rig.kernel;
	go(&d);
	rig_call(&d.b.rig, do_reset, NULL);
	ck_assert(fake_wait_generation(d.b.rig.host, 1));
	ck_assert(fake_wait_idle(d.b.rig.host, 0));
	ck_assert_uint_eq(d.ram[60 * MIB], 0);
	ck_assert_ptr_null(d.b.image.demand);
	ck_assert(!d.b.rig.vm->mem.regions[0].copied);
	end(&d);
}
END_TEST

/* Memory that is all there is plain memory: what is thrown away reads as zeroes. */
START_TEST(all_come)
{
	struct demanded d;
	unsigned int i;

	if (!may_demand())
		return;
	prepare(&d);
	d.b.rig.cfg.paused = true;
	go(&d);
	/* A block, then all. */
	for (i = 0; i < 8; i++)
		ck_assert_uint_eq(*(volatile uint8_t *)(d.ram + 4 * MIB + i * SNAPSHOT_CHUNK),
				  0x5a);
	plain(d.ram + 5 * MIB);
	ck_assert(!is_present(d.ram + 6 * MIB));
	ck_assert(!is_present(d.ram + 60 * MIB));
	ck_assert(!memcmp(d.ram + 6 * MIB, d.image + 6 * MIB, 58 * MIB));
	ck_assert(!memcmp(d.ram, d.image, 4 * MIB));
	plain(d.ram + 60 * MIB);
	plain(d.ram + 6 * MIB);
	rig_call(&d.b.rig, do_unpause, NULL);
	end(&d);
}
END_TEST

/* Wait for what never comes: the disk must not get what the memory has not. */
static _Noreturn void act_on_damage(struct second *b, int fd, int disk, bool cut)
{
	uint8_t byte = 3, *ram;

	rig_create(&b->rig);
	rig_start(&b->rig);
	ram = b->rig.vm->mem.regions[0].hva;
	if (cut)
		ck_assert_int_eq(ftruncate(fd, place_of(fd, MARK)), 0);
	else
		ck_assert_int_eq(pwrite(fd, &byte, 1, place_of(fd, MARK) + 9), 1);
	ck_assert_int_eq(pwrite(disk, ram + 60 * MIB, 4096, 0), 4096);
	_exit(0);
}

/* Nobody looks for damage, but what is damaged, or cut off, is not seen: all ends first. */
START_TEST(damage)
{
	uint8_t *image, sector[4096];
	int fd, status, disk;
	char log[4096];
	struct second b;
	pid_t child;

	if (!may_demand())
		return;
	fd = saved_vm(&image);
	disk = memfd_create("disk", MFD_CLOEXEC);
	memset(sector, 0xee, sizeof(sector));
	ck_assert_int_eq(pwrite(disk, sector, sizeof(sector), 0), sizeof(sector));
	demanding(&b, fd);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child)
		act_on_damage(&b, fd, disk, _i);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 126, "status %x", status);
	rig_log(&b.rig, log, sizeof(log));
	ck_assert_msg(strstr(log, "read: guest memory at 0x83c00000: "), "%s", log);
	ck_assert_int_eq(pread(disk, sector, sizeof(sector), 0), sizeof(sector));
	ck_assert_uint_eq(sector[0], 0xee);
	rig_end(&b.rig);
	snapshot_saved_free(&b.saved);
	snapshot_close(&b.file);
	free(image);
	close(disk);
	close(fd);
}
END_TEST

/* Without the right to serve the kernel's faults. */
START_TEST(no_right)
{
	struct second b;
	uint8_t *image;
	int fd, ret;

	fd = saved_vm(&image);
	if (!geteuid())
		ck_assert_int_eq(seteuid(65534), 0);
	ret = userfault_open();
	if (ret < 0) {
		demanding(&b, fd);
		rig_create(&b.rig);
		rig_start(&b.rig);
		ck_assert_ptr_null(b.image.demand);
		ck_assert(is_present((uint8_t *)b.rig.vm->mem.regions[0].hva + 60 * MIB));
		ck_assert(!memcmp(b.rig.vm->mem.regions[0].hva, image, 64 * MIB));
		second_end(&b);
	} else {
		printf("everybody may use userfaultfd here\n");
		close(ret);
	}
	if (!getuid())
		ck_assert_int_eq(seteuid(0), 0);
	free(image);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_demand");
	TCase *tc = tcase_create("snapshot_demand");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, only_what_is_used);
	tcase_add_test(tc, many_at_once);
	tcase_add_test(tc, given_back);
	tcase_add_test(tc, reset_is_empty);
	tcase_add_test(tc, all_come);
	tcase_add_loop_test(tc, damage, 0, 2);
	tcase_add_test(tc, no_right);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
