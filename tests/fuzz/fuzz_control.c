// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the control socket: the input is what a client sends, cut into pieces,
 * with the loop turning in between.
 *
 * One VM serves all inputs, as in life. It is made on a host that says yes to
 * everything, and its vCPUs never start. Besides what the sanitizers see: an
 * answer begins with "ok" or "error" and ends its line, a complete line gets one,
 * and when the client is gone its place is free again.
 */
#include "lkvm/control.h"
#include "lkvm/riscv/config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* libFuzzer has no place of its own for what lives as long as the process. */
static struct vm *vm;
static char runtime[] = "/tmp/lkvm-fuzz-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static int yes_open(void *opaque)
{
	(void)opaque;
	return 1 << 29;
}

static int yes_ioctl(void *opaque, int fd, unsigned long request, unsigned long arg)
{
	(void)opaque;
	(void)fd;
	switch (request) {
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_GET_VCPU_MMAP_SIZE:
		return 8192;
	case KVM_CREATE_VM:
	case KVM_CREATE_VCPU:
		return 1 << 29;
	case KVM_CHECK_EXTENSION:
		return arg == KVM_CAP_MAX_VCPUS;
	case KVM_GET_ONE_REG:
		/* Every extension is there, and time runs at 1 Hz. */
		*(unsigned char *)(uintptr_t)((struct kvm_one_reg *)arg)->addr = 1;
		return 0;
	default:
		return 0;
	}
}

static void *yes_map(void *opaque, int fd, size_t size, off_t offset)
{
	(void)opaque;
	(void)fd;
	(void)offset;
	return calloc(1, size);
}

static void yes_unmap(void *opaque, void *addr, size_t size)
{
	(void)opaque;
	(void)size;
	free(addr);
}

static void yes_close(void *opaque, int fd)
{
	(void)opaque;
	(void)fd;
}

static const struct kvm_sys_ops yes_ops = {
	.open = yes_open,
	.ioctl = yes_ioctl,
	.map = yes_map,
	.unmap = yes_unmap,
	.close = yes_close,
};

static void clean_up(void)
{
	char dir[sizeof(runtime) + 8];

	vm_destroy(vm);
	snprintf(dir, sizeof(dir), "%s/lkvm", runtime);
	rmdir(dir);
	rmdir(runtime);
}

/* The smallest thing that passes as a RISC-V Image. */
static const char *kernel_path(void)
{
	static char path[32];
	uint8_t image[64] = {[10] = 0x20, [17] = 0x20, [32] = 2};
	int fd = memfd_create("Image", MFD_CLOEXEC);

	memcpy(image + 48, "RISCV", 5);
	memcpy(image + 56, "RSC\x05", 4);
	if (fd < 0 || write(fd, image, sizeof(image)) != sizeof(image))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct arch_config arch;
	static struct vm_config cfg = {.name = "fuzz",
				       .cpus = 1,
				       .mem = {{.size = 16 * MIB}},
				       .nr_mem = 1,
				       .console_in = -1,
				       .console_out = -1,
				       .arch = &arch};
	struct error err;

	(void)argc;
	(void)argv;
	cfg.kernel = kernel_path();
	if (!mkdtemp(runtime) || setenv("XDG_RUNTIME_DIR", runtime, 1))
		abort();
	signal(SIGPIPE, SIG_IGN);
	vm = vm_create(&cfg, (struct kvm_sys){.ops = &yes_ops}, NULL, &err);
	if (vm)
		vm->control = control_create(vm, &err);
	if (!vm || !vm->control) {
		fprintf(stderr, "%s\n", err.msg);
		abort();
	}
	atexit(clean_up);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/lkvm/fuzz.sock", runtime);
	return 0;
}

static int dial(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		abort();
	return fd;
}

static void turn(void)
{
	while (loop_run_once(vm->loop, 0) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t got = 0, sent = 0, piece;
	char answer[16384];
	bool line;
	ssize_t n;
	int fd;

	if (!size)
		return 0;
	piece = 1 + data[0];
	data++;
	size--;
	line = memchr(data, '\n', size < 256 ? size : 256);
	fd = dial();
	while (sent < size) {
		n = send(fd, data + sent, size - sent < piece ? size - sent : piece, MSG_NOSIGNAL);
		if (n <= 0)
			break; /* answered and closed */
		sent += (size_t)n;
		turn();
	}
	turn();
	while (got < sizeof(answer) && (n = recv(fd, answer + got, sizeof(answer) - got, 0)) > 0)
		got += (size_t)n;
	if (got &&
	    ((strncmp(answer, "ok", 2) && strncmp(answer, "error ", 6)) || answer[got - 1] != '\n'))
		abort();
	if (line && !got)
		abort();
	if (!line && size < 256 && got)
		abort();
	close(fd);
	turn();
	vm->verdict = VM_ALIVE;
	return 0;
}
