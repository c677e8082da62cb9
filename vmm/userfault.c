// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux's userfaultfd (include/lkvm/userfault.h).
 *
 * The system call comes first, for root and where the sysctl lets everybody; then the device,
 * whose permissions an administrator may have widened. No features are asked for: a fork's child
 * then has plain memory, and executes another program anyway.
 *
 * Filling is asked for in one call for all pages. Where one can't be made, because it is there or
 * its mapping is another one by now, the kernel stops or does nothing: then each is asked for by
 * itself, and such a one left out.
 *
 * No state, no lock. Nothing is saved.
 */
#include "lkvm/userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/userfaultfd.h has it since Linux 6.1. */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

static int open_device(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	/* A kernel without it, or nobody let us: the right is missing either way. */
	if (device < 0)
		return errno == ENOENT || errno == EACCES || errno == ENXIO ? -EPERM : -errno;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = -errno;
	close(device);
	return fd;
}

int userfault_open(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), ret;

	if (fd < 0)
		fd = errno == EPERM ? open_device() : -errno;
	if (fd < 0 || !ioctl(fd, UFFDIO_API, &api))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

int userfault_register(int fd, void *start, size_t len)
{
	struct uffdio_register r = {.range = {.start = (uintptr_t)start, .len = len},
				    .mode = UFFDIO_REGISTER_MODE_MISSING};

	return ioctl(fd, UFFDIO_REGISTER, &r) ? -errno : 0;
}

int userfault_next(int fd, void **page)
{
	struct uffd_msg msg;
	ssize_t n;

	do {
		n = read(fd, &msg, sizeof(msg));
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
	} while (n != sizeof(msg) || msg.event != UFFD_EVENT_PAGEFAULT);
	/* Without UFFD_FEATURE_EXACT_ADDRESS it is a page's; the kernel writes it as a number. */
	*page = (void *)(uintptr_t)msg.arg.pagefault.address;
	return 1;
}

/* Return: bytes done, or -errno. */
static long fill(int fd, uint64_t to, uint64_t from, uint64_t len)
{
	struct uffdio_copy copy = {
		.dst = to, .src = from, .len = len, .mode = UFFDIO_COPY_MODE_DONTWAKE};
	struct uffdio_zeropage zero = {.range = {.start = to, .len = len},
				       .mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE};
	int64_t done;
	int ret;

	if (from) {
		ret = ioctl(fd, UFFDIO_COPY, &copy);
		done = copy.copy;
	} else {
		ret = ioctl(fd, UFFDIO_ZEROPAGE, &zero);
		done = zero.zeropage;
	}
	if (!ret)
		return (long)len;
	return done > 0 ? (long)done : -errno;
}

int userfault_fill(int fd, void *to, const void *from, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), step = len, done = 0;

	while (done < len) {
		long n = fill(fd, (uintptr_t)to + done, from ? (uintptr_t)from + done : 0,
			      min_u64(step, len - done));

		if (n == -EEXIST || n == -ENOENT) {
			/* One of them: page by page. */
			n = step == page ? (long)page : 0;
			step = page;
		} else if (n == -EAGAIN) {
			n = 0;
		}
		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

void userfault_wake(int fd, void *start, size_t len)
{
	struct uffdio_range range = {.start = (uintptr_t)start, .len = len};

	ioctl(fd, UFFDIO_WAKE, &range);
}

int userfault_unregister(int fd, void *start, size_t len)
{
	struct uffdio_range range = {.start = (uintptr_t)start, .len = len};

	return ioctl(fd, UFFDIO_UNREGISTER, &range) ? -errno : 0;
}
