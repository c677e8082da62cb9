// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing an eventfd that the other side of vhost-user has too, without ever waiting.
 *
 * An eventfd that is full makes write(2) wait, unless its open file says O_NONBLOCK; and
 * that open file is the back end's as well. It can clear the flag and fill the counter
 * between any two calls of ours, and write(2) to an eventfd knows no RWF_NOWAIT (Linux
 * 6.18: its file has read_iter, but no write_iter). Where the kernel itself rings, it does
 * not wait: a counter that is full stays full. So it is asked to: a read of an empty file
 * by asynchronous I/O (io_submit(2)) is over at once, and says so on an eventfd
 * (IOCB_FLAG_RESFD), which is the bell.
 *
 * Where the host has no asynchronous I/O to give (CONFIG_AIO, fs.aio-max-nr), the flag is
 * set before each write. That is no promise: a back end that clears it and fills the
 * counter just then holds the thread up until it reads. It is told once.
 *
 * Thread and lock: the caller's, one thread at a time. Nothing is saved.
 */
#include "vhost_user_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int vhost_user_bell_open(struct vhost_user_bell *bell)
{
	aio_context_t context = 0;

	bell->file = memfd_create("lkvm-empty", MFD_CLOEXEC);
	if (bell->file < 0)
		return -errno;
	if (syscall(SYS_io_setup, 1, &context))
		return -errno;
	bell->context = context;
	return 0;
}

void vhost_user_bell_close(struct vhost_user_bell *bell)
{
	if (bell->context)
		syscall(SYS_io_destroy, (aio_context_t)bell->context);
	if (bell->file >= 0)
		close(bell->file);
	bell->context = 0;
	bell->file = -1;
}

static bool ring_by_kernel(struct vhost_user_bell *bell, int fd)
{
	uint8_t byte;
	struct iocb read = {.aio_lio_opcode = IOCB_CMD_PREAD,
			    .aio_fildes = (uint32_t)bell->file,
			    .aio_buf = (uintptr_t)&byte,
			    .aio_nbytes = sizeof(byte),
			    .aio_flags = IOCB_FLAG_RESFD,
			    .aio_resfd = (uint32_t)fd};
	struct iocb *list[1] = {&read};
	struct io_event event;
	struct timespec now = {0};

	if (syscall(SYS_io_submit, (aio_context_t)bell->context, 1L, list) != 1)
		return false;
	/* It is there already: reading what is in memory does not wait. */
	syscall(SYS_io_getevents, (aio_context_t)bell->context, 1L, 1L, &event, &now);
	return true;
}

void vhost_user_bell_ring(struct vhost_user_bell *bell, int fd)
{
	static const uint64_t one = 1;

	if (bell->context && ring_by_kernel(bell, fd))
		return;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)!write(fd, &one, sizeof(one));
}
