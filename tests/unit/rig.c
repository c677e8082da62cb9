// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rig of rig.h. The loop's thread is the one that runs vm_run(); everything
 * that belongs to that thread is sent there by rig_call().
 */
#include "rig.h"

#include "lkvm/process.h"
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

size_t open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int image_fd(void)
{
	uint8_t image[4096] = {0};
	int fd = memfd_create("Image", MFD_CLOEXEC);

	/* Linux Documentation/arch/riscv/boot-image-header.rst */
	image[8 + 2] = 0x20;  /* text_offset 2 MiB */
	image[16 + 1] = 0x20; /* image_size 8 KiB */
	image[32] = 2;	      /* version 0.2 */
	memcpy(image + 48, "RISCV\0\0\0", 8);
	memcpy(image + 56, "RSC\x05", 4);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write_all(fd, image, sizeof(image)), sizeof(image));
	return fd;
}

void rig_init(struct rig *rig, enum fake_kernel kernel)
{
	int in[2], out[2];

	memset(rig, 0, sizeof(*rig));
	ck_assert_int_eq(process_init(&rig->err), 0);
	rig->fds_before = open_fds();
	rig->host = fake_host_new(kernel);
	rig->log_fd = memfd_create("log", MFD_CLOEXEC);
	ck_assert_int_ge(rig->log_fd, 0);
	ck_assert_int_eq(fcntl(rig->log_fd, F_SETFL, O_APPEND), 0);
	log_init(&rig->log, rig->log_fd, LOG_LEVEL_DEBUG);
	rig->kernel_fd = image_fd();
	snprintf(rig->kernel, sizeof(rig->kernel), "/proc/self/fd/%d", rig->kernel_fd);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	rig->guest_in = in[0];
	rig->in = in[1];
	rig->out = out[0];
	rig->guest_out = out[1];
	rig->arch.irqchip = IRQCHIP_PLIC;
	rig->cfg = (struct vm_config){.name = "rig",
				      .kernel = rig->kernel,
				      .cpus = 1,
				      .mem = {{.size = 64 * MIB}},
				      .nr_mem = 1,
				      .console_in = rig->guest_in,
				      .console_out = rig->guest_out,
				      .arch = &rig->arch};
}

void rig_create(struct rig *rig)
{
	rig->vm = vm_create(&rig->cfg, fake_host_sys(rig->host), &rig->log, &rig->err);
	ck_assert_msg(rig->vm, "%s", rig->err.msg);
}

static void *run(void *opaque)
{
	struct rig *rig = opaque;

	rig->verdict = vm_run(rig->vm);
	return NULL;
}

void rig_start(struct rig *rig)
{
	ck_assert_int_eq(pthread_create(&rig->thread, NULL, run, rig), 0);
	rig->running = true;
}

enum vm_verdict rig_join(struct rig *rig)
{
	ck_assert_int_eq(pthread_join(rig->thread, NULL), 0);
	rig->running = false;
	return rig->verdict;
}

struct call {
	struct loop_work work;
	struct rig *rig;
	void (*fn)(struct rig *rig, void *arg);
	void *arg;
	sem_t done;
};

static void make_call(void *opaque)
{
	struct call *call = opaque;

	call->fn(call->rig, call->arg);
	sem_post(&call->done);
}

void rig_call(struct rig *rig, void (*fn)(struct rig *rig, void *arg), void *arg)
{
	struct call call = {.rig = rig, .fn = fn, .arg = arg};

	sem_init(&call.done, 0, 0);
	loop_work_init(&call.work, make_call, &call);
	loop_post(rig->vm->loop, &call.work);
	sem_wait(&call.done);
	sem_destroy(&call.done);
}

void rig_end(struct rig *rig)
{
	const char *complaint;

	ck_assert(!rig->running);
	vm_destroy(rig->vm);
	complaint = fake_complaint(rig->host);
	ck_assert_msg(!complaint, "%s", complaint ? complaint : "");
	ck_assert_uint_eq(fake_live(rig->host), 0);
	fake_host_free(rig->host);
	close(rig->log_fd);
	close(rig->kernel_fd);
	close(rig->in);
	close(rig->out);
	close(rig->guest_in);
	close(rig->guest_out);
	ck_assert_uint_eq(open_fds(), rig->fds_before);
}

const char *rig_log(struct rig *rig, char *buf, size_t len)
{
	ssize_t n = pread(rig->log_fd, buf, len - 1, 0);

	ck_assert_int_ge(n, 0);
	buf[n] = '\0';
	return buf;
}

const char *rig_output(struct rig *rig, char *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len - 1 && (n = read(rig->out, buf + done, len - 1 - done)) > 0)
		done += (size_t)n;
	buf[done] = '\0';
	return buf;
}

bool rig_one_line(const char *text)
{
	size_t i;

	for (i = 0; text[i]; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return false;
	return i > 10 && i < ERROR_MAX - 1;
}
