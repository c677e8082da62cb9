// SPDX-License-Identifier: GPL-2.0-only
/*
 * While a VM is saved: the loop serves clients and tells how far it is; what ends or
 * restarts the VM ends the save; and a disk that is full, takes little at a time or fails
 * leaves the VM running and the old file in place.
 */
#include "prng.h"
#include "saving_rig.h"
#include "unit.h"

#include "lkvm/control.h"
#include "lkvm/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error err;

/**
 * struct disk - one that is held up, or fails
 * @hold: each write waits until this is posted; @reached: one does
 * @nth: the call that fails with @errnum; @shorten: a write takes 1000 bytes at most
 */
struct disk {
	bool holds, shorten;
	sem_t hold, reached;
	unsigned long nth, calls;
	int errnum;
};

static int hit(struct disk *d)
{
	return ++d->calls == d->nth ? -d->errnum : 0;
}

static long disk_write(void *opaque, int fd, const void *buf, size_t len, uint64_t offset)
{
	struct disk *d = opaque;
	int ret = hit(d);

	if (d->holds) {
		sem_post(&d->reached);
		sem_wait(&d->hold);
	}
	if (ret)
		return ret;
	return snapshot_io_linux.write(NULL, fd, buf, d->shorten && len > 1000 ? 1000 : len,
				       offset);
}

static int disk_truncate(void *opaque, int fd, uint64_t size)
{
	int ret = hit(opaque);

	return ret ? ret : snapshot_io_linux.truncate(NULL, fd, size);
}

static int disk_sync(void *opaque, int fd)
{
	(void)fd;
	return hit(opaque);
}

static int disk_rename(void *opaque, int at, const char *from, const char *to)
{
	int ret = hit(opaque);

	return ret ? ret : snapshot_io_linux.rename(NULL, at, from, to);
}

static const struct snapshot_io_ops disk_ops = {
	.write = disk_write,
	.truncate = disk_truncate,
	.sync = disk_sync,
	.rename = disk_rename,
};

/* A VM with a control socket, which runs and can be asked. */
static void running_vm(struct rig *rig)
{
	rig_init(rig, FAKE_7_2);
	rig->host->programs[0] = snapshot_hello;
	rig_create(rig);
	memset(memory_for_write(&rig->vm->mem, RAM + 40 * MIB, MIB), 0x77, MIB);
	saving_rig_run(rig);
}

/* It runs: the hart is in the guest again. */
static void still_runs(struct rig *rig)
{
	int i;

	for (i = 0; i < 2000 && atomic_load(&rig->vm->gate) != GATE_OPEN; i++)
		usleep(10000);
	ck_assert_int_eq(atomic_load(&rig->vm->gate), GATE_OPEN);
	ck_assert(fake_wait_idle(rig->host, 0));
}

static const char *ask(const char *command)
{
	static struct error why;
	json_t *result;

	if (control_ask("rig", command, NULL, &result, &why))
		return why.msg;
	json_decref(result);
	return "";
}

/* The disk hangs: nobody else does. */
START_TEST(others_are_served)
{
	struct disk d = {.holds = true};
	struct save s = {.req = {.io = {&disk_ops, &d}}}, second = {.req = {.fd = -1}};
	struct rig rig;

	sem_init(&d.hold, 0, 0);
	sem_init(&d.reached, 0, 0);
	running_vm(&rig);
	s.req.fd = open(saving_dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	ck_assert_int_ge(s.req.fd, 0);
	rig_call(&rig, begin_save, &s);
	ck_assert_int_eq(sem_wait(&d.reached), 0);
	ck_assert_str_eq(ask("status"), "");
	ck_assert_str_eq(ask("debug"), "");
	rig_call(&rig, begin_save, &second);
	ck_assert_int_eq(end_save(&second), -1);
	ck_assert_str_eq(second.why.msg, "the VM is being saved already");
	/* Paused meanwhile it stays so; the save goes on. */
	ck_assert_str_eq(ask("pause"), "");
	d.holds = false;
	sem_post(&d.hold);
	ck_assert_msg(!end_save(&s), "%s", s.why.msg);
	ck_assert_uint_eq(rig.vm->paused, 1);
	ck_assert_str_eq(ask("resume"), "");
	still_runs(&rig);
	close(s.req.fd);
	quit(&rig);
}
END_TEST

static void do_end(struct rig *rig, void *arg)
{
	if (arg)
		vm_reset(rig->vm);
	else
		vm_end(rig->vm, VM_QUIT);
}

static void *let_go(void *opaque)
{
	struct disk *d = opaque;

	usleep(100000);
	d->holds = false;
	sem_post(&d->hold);
	return NULL;
}

/* The VM ends, or restarts, in the middle. */
START_TEST(ends_meanwhile)
{
	struct disk d = {.holds = true};
	struct save s = {.req = {.io = {&disk_ops, &d}}};
	struct rig rig;
	pthread_t thread;

	sem_init(&d.hold, 0, 0);
	sem_init(&d.reached, 0, 0);
	running_vm(&rig);
	s.req.fd = open(saving_dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	rig_call(&rig, begin_save, &s);
	ck_assert_int_eq(sem_wait(&d.reached), 0);
	rig_call(&rig, do_end, _i ? &d : NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, let_go, &d), 0);
	ck_assert_int_eq(end_save(&s), -1);
	pthread_join(thread, NULL);
	ck_assert_str_eq(s.why.msg, "the VM ended or restarted while it was saved");
	if (_i) {
		ck_assert(fake_wait_generation(rig.host, 1));
		vm_end(rig.vm, VM_QUIT);
	}
	ck_assert_int_eq(rig_join(&rig), VM_QUIT);
	close(s.req.fd);
	rig_end(&rig);
}
END_TEST

/* As "lkvm snapshot" does it. Return: 0 with the file in place. */
static int save_over(struct rig *rig, struct disk *d)
{
	const struct snapshot_io io = {&disk_ops, d};
	struct save s = {.req = {.io = io}};
	struct snapshot_target t;

	if (snapshot_target_open(&t, io, saving_path, &err))
		return -1;
	s.req.fd = t.fd;
	rig_call(rig, begin_save, &s);
	if (end_save(&s)) {
		err = s.why;
		snapshot_target_abort(&t);
		return -1;
	}
	return snapshot_target_commit(&t, &err);
}

static void file_id(uint8_t id[SNAPSHOT_ID_SIZE])
{
	struct snapshot_file f;
	int fd = open(saving_path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_msg(!snapshot_open(&f, fd, &err), "%s", err.msg);
	ck_assert_msg(!snapshot_verify(&f, &err), "%s", err.msg);
	memcpy(id, f.header.id, SNAPSHOT_ID_SIZE);
	snapshot_close(&f);
	close(fd);
}

/* A full disk, a disk that fails, at each call: the VM runs on, the old file stands. */
START_TEST(failing_disk)
{
	static const int errors[] = {ENOSPC, EIO};
	uint8_t before[SNAPSHOT_ID_SIZE], after[SNAPSHOT_ID_SIZE];
	struct disk d = {.errnum = errors[_i]};
	unsigned long last;
	struct rig rig;

	running_vm(&rig);
	ck_assert_msg(!save_over(&rig, &d), "%s", err.msg);
	last = d.calls;
	file_id(before);
	*(uint8_t *)memory_for_write(&rig.vm->mem, RAM + 40 * MIB, 1) = 1;
	/* The last are two syncs with a rename between them. */
	for (d.nth = 1; d.nth < last; d.nth++) {
		d.calls = 0;
		ck_assert_int_eq(save_over(&rig, &d), -1);
		ck_assert_ptr_nonnull(strstr(err.msg, strerror(errors[_i])));
		if (d.nth == last - 2)
			ck_assert_ptr_nonnull(strstr(err.msg, "did not get to the disk"));
		file_id(after);
		ck_assert_mem_eq(before, after, sizeof(before));
		still_runs(&rig);
	}
	d.nth = 0;
	ck_assert_msg(!save_over(&rig, &d), "%s", err.msg);
	file_id(after);
	ck_assert(memcmp(before, after, sizeof(before)));
	quit(&rig);
}
END_TEST

START_TEST(short_writes)
{
	uint8_t id[SNAPSHOT_ID_SIZE];
	struct disk d = {.shorten = true};
	struct rig rig;

	running_vm(&rig);
	ck_assert_msg(!save_over(&rig, &d), "%s", err.msg);
	ck_assert_uint_gt(d.calls, 1000);
	file_id(id);
	still_runs(&rig);
	quit(&rig);
}
END_TEST

static void count_saving(void *opaque, json_t *event)
{
	json_t *data = json_object_get(event, "data");

	if (strcmp(json_string_value(json_object_get(event, "event")), "saving"))
		return;
	ck_assert_int_le(json_integer_value(json_object_get(data, "done")), 64 * (int)MIB);
	ck_assert_int_eq(json_integer_value(json_object_get(data, "total")), 64 * (int)MIB);
	++*(int *)opaque;
}

/* Over the socket: a client hears how far it is, then the answer; and one that left harms nobody.
 */
START_TEST(by_socket)
{
	int fd = open(saving_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), events = 0;
	uint8_t id[SNAPSHOT_ID_SIZE];
	char text[2 * SNAPSHOT_ID_SIZE + 1];
	struct prng p = prng_start("by_socket");
	struct control_client *c;
	uint64_t *ram;
	json_t *result;
	struct rig rig;
	size_t i;

	ck_assert_int_ge(fd, 0);
	running_vm(&rig);
	c = control_connect("rig", &err);
	ck_assert_msg(c, "%s", err.msg);
	ck_assert_int_eq(control_send(c, "events", NULL, -1, &err), 0);
	ck_assert_int_eq(control_result(c, 5000, &result, &err), 0);
	json_decref(result);
	/* Compressing all of it takes longer than the first of the events. */
	ram = memory_for_write(&rig.vm->mem, RAM, 64 * MIB);
	for (i = 0; i < 64 * MIB / sizeof(*ram); i++)
		ram[i] = prng_u64(&p);
	ck_assert_int_eq(
		control_send(c, "snapshot", json_pack("{s:s}", "compress", "zlib"), fd, &err), 0);
	ck_assert_msg(!control_result_events(c, 60000, count_saving, &events, &result, &err), "%s",
		      err.msg);
	file_id(id);
	ck_assert_str_eq(json_string_value(json_object_get(result, "id")),
			 snapshot_id_text(id, text));
	json_decref(result);
	ck_assert_int_gt(events, 0);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(control_send(c, "snapshot", NULL, fd, &err), 0);
	control_hang_up(c);
	still_runs(&rig);
	quit(&rig);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot_saving");
	TCase *tc = tcase_create("snapshot_saving");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, saving_rig_begin, saving_rig_end);
	tcase_add_test(tc, others_are_served);
	tcase_add_loop_test(tc, ends_meanwhile, 0, 2);
	tcase_add_loop_test(tc, failing_disk, 0, 2);
	tcase_add_test(tc, short_writes);
	tcase_add_test(tc, by_socket);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
