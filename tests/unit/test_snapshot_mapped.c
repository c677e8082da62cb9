// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs whose memory is mapped from the file: all of it is there, the file never changes, what
 * is given back reads as zeroes, damage ends the VM and is never saved again, and the time
 * to the committed state does not grow with the size.
 */
#include "../../snapshot/private.h"
#include "snapshot_rig.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error err;

static uint8_t *bytes_of(int fd, size_t *len)
{
	struct stat st;
	uint8_t *p;

	ck_assert_int_eq(fstat(fd, &st), 0);
	*len = (size_t)st.st_size;
	p = malloc(*len);
	ck_assert_int_eq(pread_all(fd, p, *len, 0), (long)*len);
	return p;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return !*p && !memcmp(p, p + 1, len - 1);
}

START_TEST(file_is_untouched)
{
	uint8_t *before, *after, *ram;
	struct second b;
	struct rig a;
	size_t len;
	int fd;

	first_vm(&a, FAKE_7_2);
	fd = save_as(&a, SNAPSHOT_RAW);
	before = bytes_of(fd, &len);
	second_init(&b, fd, FAKE_7_2);
	b.rig.cfg.paused = true;
	rig_create(&b.rig);
	rig_start(&b.rig);
	ram = b.rig.vm->mem.regions[0].hva;
	ck_assert(b.rig.vm->mem.regions[0].copied);
	ck_assert(!memcmp(a.vm->mem.regions[0].hva, ram, 64 * MIB));
	rig_call(&b.rig, do_unpause, NULL);
	memset(ram, 0xee, 64 * MIB);
	/* A balloon that takes pages, whole huge ones and single ones: zeroes, not the file's. */
	ck_assert_int_eq(memory_discard(&b.rig.vm->mem, RAM + 4 * MIB, 2 * MIB), 0);
	ck_assert_int_eq(memory_discard(&b.rig.vm->mem, RAM + 9 * MIB + 4096, 4096), 0);
	ck_assert(all_zero(ram + 4 * MIB, 2 * MIB));
	ck_assert(all_zero(ram + 9 * MIB + 4096, 4096));
	ck_assert_uint_eq(ram[9 * MIB], 0xee);
	ck_assert_uint_eq(ram[9 * MIB + 8192], 0xee);
	second_end(&b);
	after = bytes_of(fd, &len);
	ck_assert(!memcmp(before, after, len));
	free(before);
	free(after);
	a.fds_before--;
	close(fd);
	quit(&a);
}
END_TEST

/* A reset boots in empty memory. */
START_TEST(reset_is_empty)
{
	struct second b;
	struct rig a;
	uint8_t *ram;
	int fd;

	first_vm(&a, FAKE_7_2);
	*(uint8_t *)memory_for_write(&a.vm->mem, RAM + 60 * MIB, 1) = 1;
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	second_init(&b, fd, FAKE_7_2);
	b.rig.cfg.kernel = b.rig.kernel;
	rig_create(&b.rig);
	rig_start(&b.rig);
	rig_call(&b.rig, do_reset, NULL);
	ck_assert(fake_wait_generation(b.rig.host, 1));
	ck_assert(fake_wait_idle(b.rig.host, 0));
	ram = b.rig.vm->mem.regions[0].hva;
	ck_assert(all_zero(ram + 50 * MIB, 12 * MIB));
	ck_assert(!b.rig.vm->mem.regions[0].copied);
	second_end(&b);
	close(fd);
}
END_TEST

/* A flipped bit: found meanwhile, found before, or not looked for. */
START_TEST(damage)
{
	struct second b;
	char log[4096];
	struct rig a;
	uint8_t byte;
	off_t at;
	int fd;

	first_vm(&a, FAKE_7_2);
	*(uint8_t *)memory_for_write(&a.vm->mem, RAM + 60 * MIB, 1) = 1;
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	at = place_of(fd, RAM + 60 * MIB);
	byte = 3;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	second_init(&b, fd, FAKE_7_2);
	b.image.verify = (enum snapshot_verify)_i;
	if (_i == SNAPSHOT_VERIFY_BEFORE) {
		b.rig.vm = vm_create(&b.rig.cfg, fake_host_sys(b.rig.host), &b.rig.log, &b.rig.err);
		ck_assert_ptr_null(b.rig.vm);
		ck_assert_ptr_nonnull(strstr(b.rig.err.msg, "guest memory at 0x83c00000: damaged"));
		rig_end(&b.rig);
	} else {
		rig_create(&b.rig);
		rig_start(&b.rig);
		if (_i == SNAPSHOT_VERIFY_NEVER) {
			usleep(300000);
			vm_end(b.rig.vm, VM_QUIT);
			ck_assert_int_eq(rig_join(&b.rig), VM_QUIT);
		} else {
			ck_assert_int_eq(rig_join(&b.rig), VM_DIED);
			ck_assert_ptr_nonnull(strstr(rig_log(&b.rig, log, sizeof(log)),
						     "guest memory at 0x83c00000: damaged"));
		}
		rig_end(&b.rig);
	}
	snapshot_saved_free(&b.saved);
	snapshot_close(&b.file);
	close(fd);
}
END_TEST

/* The nice value of the thread called @name; -100: there is none. */
static int nice_of(const char *name)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *e;
	char path[300], comm[32];
	int ret = -100;
	FILE *f;

	ck_assert_ptr_nonnull(dir);
	while (ret == -100 && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%31s", comm) == 1 && !strcmp(comm, name))
			ret = getpriority(PRIO_PROCESS, (id_t)strtoul(e->d_name, NULL, 10));
		fclose(f);
	}
	closedir(dir);
	return ret;
}

static void ask_nice(struct rig *rig, void *arg)
{
	(void)rig;
	*(int *)arg = getpriority(PRIO_PROCESS, 0);
}

/* Who checks gives way to vCPUs and to the loop. */
START_TEST(check_gives_way)
{
	int mine = getpriority(PRIO_PROCESS, 0), tries = 2000;
	int least = mine + 10 < 19 ? mine + 10 : 19;
	struct second b;
	int found, loop;
	struct rig a;
	int fd;

	/* Who is as nice as can be gives way already. */
	if (mine == 19)
		return;
	first_vm(&a, FAKE_7_2);
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	second_init(&b, fd, FAKE_7_2);
	rig_create(&b.rig);
	rig_start(&b.rig);
	/* It may not be there yet; when it is done it stays for two seconds. */
	while ((found = nice_of("snapshot-check")) != least && tries--)
		usleep(5000);
	ck_assert_int_eq(found, least);
	ck_assert_int_eq(nice_of("vcpu0"), mine);
	rig_call(&b.rig, ask_nice, &loop);
	ck_assert_int_eq(loop, mine);
	second_end(&b);
	close(fd);
}
END_TEST

/*
 * Who needs the end of the check makes it, and does not wait for a thread that gives way (here
 * there is none: no loop runs that would start it). What was given up goes on later.
 */
START_TEST(check_is_taken_over)
{
	_Atomic bool cancel = true;
	struct snapshot_check *check;
	uint8_t byte = 3;
	struct second b;
	struct rig a;
	int fd;

	first_vm(&a, FAKE_7_2);
	*(uint8_t *)memory_for_write(&a.vm->mem, RAM + 60 * MIB, 1) = 1;
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	if (_i)
		ck_assert_int_eq(pwrite(fd, &byte, 1, place_of(fd, RAM + 60 * MIB)), 1);
	second_init(&b, fd, FAKE_7_2);
	rig_create(&b.rig);
	check = b.image.check;
	ck_assert_ptr_nonnull(check);
	ck_assert_int_eq(snapshot_check_finish(check, &cancel, &err), 1);
	ck_assert_str_eq(err.msg, "given up");
	if (_i < 2) {
		cancel = false;
		ck_assert_int_eq(snapshot_check_finish(check, &cancel, &err), _i ? -1 : 0);
		ck_assert_int_eq(snapshot_check_finish(check, &cancel, &err), _i ? -1 : 0);
		ck_assert(!_i || strstr(err.msg, "guest memory at 0x83c00000: damaged"));
	}
	rig_start(&b.rig);
	if (_i) {
		ck_assert_int_eq(rig_join(&b.rig), VM_DIED);
		rig_end(&b.rig);
		snapshot_saved_free(&b.saved);
		snapshot_close(&b.file);
	} else {
		second_end(&b);
	}
	close(fd);
}
END_TEST

/*
 * However often a save is given up, the check goes on, and its thread is as nice as before. The
 * walk is left anywhere in the middle.
 */
START_TEST(check_goes_on)
{
	int mine = getpriority(PRIO_PROCESS, 0), tries = 100, ret = 1, seen = -100;
	_Atomic bool cancel = true;
	uint8_t byte = 3;
	struct second b;
	struct rig a;
	int fd;

	first_vm(&a, FAKE_7_2);
	memset(memory_for_write(&a.vm->mem, RAM, 64 * MIB), 0x11, 64 * MIB);
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	ck_assert_int_eq(pwrite(fd, &byte, 1, place_of(fd, RAM + 64 * MIB - 1)), 1);
	second_init(&b, fd, FAKE_7_2);
	rig_create(&b.rig);
	rig_start(&b.rig);
	while (ret > 0 && tries--) {
		usleep(200);
		ret = snapshot_check_finish(b.image.check, &cancel, &err);
		if (nice_of("snapshot-check") != -100)
			seen = nice_of("snapshot-check");
	}
	ck_assert_int_eq(rig_join(&b.rig), VM_DIED);
	if (seen != -100)
		ck_assert_int_le(seen, mine + 10);
	rig_end(&b.rig);
	snapshot_saved_free(&b.saved);
	snapshot_close(&b.file);
	close(fd);
}
END_TEST

/* A thread that makes and takes back a wish. */
struct restless {
	_Atomic bool stop, over;
};

static void *fidget(void *opaque)
{
	struct restless *r = opaque;

	while (!atomic_load(&r->over)) {
		atomic_store(&r->stop, true);
		usleep(100);
		atomic_store(&r->stop, false);
		usleep(100);
	}
	return NULL;
}

/* All of it, in many turns: good; damaged; what must be zero is not, in the middle and at the end.
 */
START_TEST(walk_in_turns)
{
	unsigned int stops = 0, tries = 20;
	struct snapshot_memory m;
	struct snapshot_file f;
	struct memory_walk w;
	struct restless r;
	pthread_t thread;
	uint8_t byte = 3;
	struct rig a;
	int fd, ret;

	first_vm(&a, FAKE_7_2);
	memset(memory_for_write(&a.vm->mem, RAM, 32 * MIB), 0x11, 32 * MIB);
	memset(memory_for_write(&a.vm->mem, RAM + 40 * MIB, 8 * MIB), 0x11, 8 * MIB);
	fd = save_as(&a, _i == 4 ? SNAPSHOT_ZSTD : SNAPSHOT_RAW);
	quit(&a);
	if (_i == 1)
		ck_assert_int_eq(pwrite(fd, &byte, 1, place_of(fd, RAM + 47 * MIB)), 1);
	if (_i == 2)
		ck_assert_int_eq(pwrite(fd, &byte, 1, place_of(fd, RAM + 36 * MIB)), 1);
	if (_i == 3)
		ck_assert_int_eq(pwrite(fd, &byte, 1, place_of(fd, RAM + 60 * MIB)), 1);
	ck_assert_msg(!snapshot_open(&f, fd, &err), "%s", err.msg);
	ck_assert_msg(!snapshot_memory_open(&m, &f, &err), "%s", err.msg);
	/* Stopped in the middle, sooner or later. */
	while (!stops && tries--) {
		r = (struct restless){0};
		ck_assert_int_eq(pthread_create(&thread, NULL, fidget, &r), 0);
		ck_assert_int_eq(memory_walk_begin(&w, &m, NULL, &err), 0);
		while ((ret = memory_walk_on(&w, &r.stop, &err)) > 0)
			stops += w.region || w.chunk;
		memory_walk_end(&w);
		atomic_store(&r.over, true);
		pthread_join(thread, NULL);
		ck_assert_int_eq(ret, _i % 4 ? -1 : 0);
		ck_assert(!(_i % 4) || strstr(err.msg, "damaged"));
	}
	ck_assert_uint_gt(stops, 0);
	snapshot_memory_close(&m);
	snapshot_close(&f);
	close(fd);
}
END_TEST

struct at_once {
	struct rig *rig;
	struct save *save;
	_Atomic bool begun;
};

static void save_at_once(void *opaque)
{
	struct at_once *o = opaque;

	begin_save(o->rig, o->save);
	atomic_store(&o->begun, true);
}

/* Damage is not given a good checksum by saving it at once; and the VM does nothing any more. */
START_TEST(damage_is_not_saved)
{
	struct save s = {.req = {.encoding = SNAPSHOT_ZLIB}};
	struct second b;
	struct at_once o = {.rig = &b.rig, .save = &s};
	struct loop_work work;
	struct rig a;
	uint8_t byte = 3;
	int fd;

	first_vm(&a, FAKE_7_2);
	memset(memory_for_write(&a.vm->mem, RAM, 64 * MIB), 0x11, 64 * MIB);
	fd = save_as(&a, SNAPSHOT_RAW);
	quit(&a);
	ck_assert_int_eq(pwrite(fd, &byte, 1, place_of(fd, RAM + 60 * MIB)), 1);
	s.req.fd = memfd_create("again", MFD_CLOEXEC);
	second_init(&b, fd, FAKE_7_2);
	b.rig.cfg.paused = _i;
	rig_create(&b.rig);
	/* In the loop's first turn, before the thread has found it. */
	loop_work_init(&work, save_at_once, &o);
	loop_post(b.rig.vm->loop, &work);
	rig_start(&b.rig);
	while (!atomic_load(&o.begun))
		usleep(1000);
	ck_assert_int_eq(end_save(&s), -1);
	ck_assert_int_eq(rig_join(&b.rig), VM_DIED);
	ck_assert_uint_eq(b.rig.vm->paused, _i + 1U);
	rig_end(&b.rig);
	snapshot_saved_free(&b.saved);
	snapshot_close(&b.file);
	close(fd);
	close(s.req.fd);
}
END_TEST

/* Memory that others share is not mapped, and neither is what is compressed: it is read. */
START_TEST(not_mapped)
{
	struct snapshot_memory m;
	struct guest_memory mem;
	struct snapshot_file f;
	struct rig a;
	int fd;

	first_vm(&a, FAKE_7_2);
	fd = save_as(&a, _i ? SNAPSHOT_ZSTD : SNAPSHOT_RAW);
	memory_init(&mem);
	if (!_i)
		memory_share(&mem);
	ck_assert(memory_add(&mem, RAM, 64 * MIB, 2 * MIB, &err));
	ck_assert_int_eq(snapshot_open(&f, fd, &err), 0);
	ck_assert_int_eq(snapshot_memory_open(&m, &f, &err), 0);
	ck_assert(!snapshot_memory_map(&m, &mem));
	ck_assert(!mem.regions[0].copied);
	ck_assert(all_zero(mem.regions[0].hva, 64 * MIB));
	ck_assert_msg(!snapshot_memory_read(&m, &mem, &err), "%s", err.msg);
	ck_assert(!memcmp(a.vm->mem.regions[0].hva, mem.regions[0].hva, 64 * MIB));
	snapshot_memory_close(&m);
	snapshot_close(&f);
	memory_destroy(&mem);
	close(fd);
	a.fds_before--;
	quit(&a);
}
END_TEST

/* From the opened file to the committed state, on the scripted host. */
static uint64_t time_to_state(int fd, enum snapshot_verify verify)
{
	uint64_t begin = now_ns(), ns;
	struct second b;

	second_init(&b, fd, FAKE_7_2);
	b.image.verify = verify;
	b.rig.cfg.paused = true;
	rig_create(&b.rig);
	rig_start(&b.rig);
	/* The loop turns: the state is there. */
	rig_call(&b.rig, do_pause, NULL);
	ns = now_ns() - begin;
	rig_call(&b.rig, do_unpause, NULL);
	second_end(&b);
	return ns;
}

START_TEST(time_of_start)
{
	static const uint64_t sizes[] = {64 * MIB, 256 * MIB, GIB};
	uint64_t ns[ARRAY_SIZE(sizes)], before = 0, best;
	unsigned int i, k;
	struct rig a;
	uint64_t *ram;
	size_t w;
	int fd;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		rig_init(&a, FAKE_7_2);
		a.cfg.mem[0].size = sizes[i];
		a.host->programs[0] = snapshot_hello;
		rig_create(&a);
		rig_start(&a);
		ck_assert(fake_wait_idle(a.host, 0));
		/* A quarter of it is in use. */
		ram = a.vm->mem.regions[0].hva;
		for (w = 0; w < sizes[i] / 8; w += 4 * 512)
			memset(ram + w, (int)(w >> 11 & 0xff) | 1, 4096);
		fd = save_as(&a, SNAPSHOT_RAW);
		quit(&a);
		best = UINT64_MAX;
		for (k = 0; k < 3; k++)
			best = min_u64(best, time_to_state(fd, SNAPSHOT_VERIFY_MEANWHILE));
		ns[i] = best;
		before = time_to_state(fd, SNAPSHOT_VERIFY_BEFORE);
		printf("time: %llu MiB of RAM, a quarter in use: state committed after %llu us, "
		       "memory checked before: %llu us\n",
		       (unsigned long long)(sizes[i] / MIB), (unsigned long long)best / 1000,
		       (unsigned long long)before / 1000);
		close(fd);
	}
	/* Nothing in it is read; generously, for busy machines. */
	ck_assert_uint_lt(ns[2], before / 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_mapped");
	TCase *tc = tcase_create("snapshot_mapped");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, file_is_untouched);
	tcase_add_test(tc, reset_is_empty);
	tcase_add_loop_test(tc, damage, 0, 3);
	tcase_add_test(tc, check_gives_way);
	tcase_add_loop_test(tc, check_is_taken_over, 0, 3);
	tcase_add_test(tc, check_goes_on);
	tcase_add_loop_test(tc, walk_in_turns, 0, 5);
	tcase_add_loop_test(tc, damage_is_not_saved, 0, 2);
	tcase_add_loop_test(tc, not_mapped, 0, 2);
	tcase_add_test(tc, time_of_start);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
