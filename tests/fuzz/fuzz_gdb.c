// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the GDB stub: the input is what a debugger sends, cut into pieces, with the loop
 * turning in between. Most pieces get the frame of a packet here, for nobody guesses
 * checksums. Its first bytes make registers, and page tables in the guest's memory.
 *
 * One VM serves all inputs, as in life. It is made on a host that says yes to everything,
 * and its vCPUs never start. Besides what the sanitizers see: all that comes back is
 * packets with good checksums and acknowledgements; and when the debugger is gone no
 * breakpoint is left in memory, and its place is free again.
 */
#include "lkvm/gdb.h"
#include "lkvm/riscv/config.h"
#include "yes_kvm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)
#define HEAD 64
#define USED 0x8000

/* KVM_CAP_SET_GUEST_DEBUG */
#define CAP_SET_GUEST_DEBUG 23

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* libFuzzer has no place of its own for what lives as long as the process. */
static struct vm *vm;
static uint64_t registers[256];

/* Registers keep what is written, by the end of their ids. */
static int one_reg(const struct kvm_one_reg *reg, bool set)
{
	uint64_t *slot = &registers[(reg->id ^ reg->id >> 19) & 255];
	size_t size = (size_t)1 << (reg->id >> 52 & 15);

	if (size > sizeof(*slot))
		return -22;
	if (set)
		memcpy(slot, (void *)(uintptr_t)reg->addr, size);
	else
		memcpy((void *)(uintptr_t)reg->addr, slot, size);
	return 0;
}

static int yes_ioctl(void *opaque, int fd, unsigned long request, unsigned long arg)
{
	(void)opaque;
	(void)fd;
	if (request == KVM_CHECK_EXTENSION && arg == CAP_SET_GUEST_DEBUG)
		return 1;
	if (request == KVM_GET_ONE_REG || request == KVM_SET_ONE_REG)
		return one_reg((const struct kvm_one_reg *)arg, request == KVM_SET_ONE_REG);
	return yes_answer(request, arg);
}

static long yes_read(void *opaque, int fd, void *buf, size_t len, uint64_t offset)
{
	(void)opaque;
	(void)fd;
	(void)buf;
	(void)len;
	(void)offset;
	return 0;
}

static const struct kvm_sys_ops yes_ops = {
	.open = yes_open,
	.ioctl = yes_ioctl,
	.map = yes_map,
	.unmap = yes_unmap,
	.read = yes_read,
	.close = yes_close,
};

static void die(const char *why)
{
	fprintf(stderr, "fuzz_gdb: %s\n", why);
	abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct arch_config arch = {.irqchip = IRQCHIP_PLIC};
	static struct vm_config cfg = {.name = "fuzz",
				       .firmware = "/dev/null",
				       .cpus = 2,
				       .mem = {{.size = 16 * MIB}},
				       .nr_mem = 1,
				       .console_in = -1,
				       .console_out = -1,
				       .arch = &arch};
	static struct log log;
	char path[] = "/tmp/lkvm-fuzz-XXXXXX", name[64];
	struct gdb_address address;
	struct error err;
	int fd = memfd_create("firmware", MFD_CLOEXEC);

	(void)argc;
	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	log_init(&log, memfd_create("log", MFD_CLOEXEC), LOG_LEVEL_FATAL);
	if (fd < 0 || write(fd, path, sizeof(path)) < 0 || !mkdtemp(path))
		die("no files");
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	cfg.firmware = name;
	/* Every extension is there, and time runs at 1 Hz. */
	memset(registers, 1, sizeof(registers));
	vm = vm_create(&cfg, (struct kvm_sys){.ops = &yes_ops}, &log, &err);
	if (!vm)
		die(err.msg);
	snprintf(name, sizeof(name), "unix:%s/gdb", path);
	if (gdb_parse(name, &address, &err))
		die(err.msg);
	vm->gdb = gdb_create(vm, &address, &err);
	if (!vm->gdb)
		die(err.msg);
	unlink(name + 5);
	rmdir(path);
	return 0;
}

static void turn(void)
{
	while (loop_run_once(vm->loop, 0) > 0)
		;
}

/* All that waits: packets in good frames, and acknowledgements between them. */
static void hear(int fd)
{
	static char text[1 << 17];
	ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT), i = 0;
	unsigned int sum, want;

	while (i < n) {
		if (text[i] == '+' || text[i] == '-') {
			i++;
			continue;
		}
		if (text[i++] != '$')
			die("something between packets");
		for (sum = 0; i < n && text[i] != '#'; i++)
			sum += (unsigned char)text[i];
		/* Cut off by the end of what fits: the rest is not looked at. */
		if (i + 3 > n)
			return;
		if (sscanf(text + i + 1, "%2x", &want) != 1 || want != (sum & 255))
			die("a bad checksum");
		i += 3;
	}
}

/* Memory as it is before each input: page tables that the input chose, and code. */
static const uint8_t *prepare(const uint8_t *head, uint8_t *ram)
{
	size_t i;

	memset(ram, 0, USED);
	for (i = 0; i < HEAD; i++)
		ram[i * 0x208 % 0x4000 + i % 8] = head[i];
	memset(registers, 0, sizeof(registers));
	memcpy(registers, head, HEAD);
	return head + HEAD;
}

/* A piece of the stream as it is, or in a good frame. */
static bool say(int fd, const uint8_t *data, size_t len, bool frame)
{
	uint8_t text[4 + 128 + 4], sum = 0;
	size_t n = 0, i;

	if (frame)
		text[n++] = '$';
	for (i = 0; i < len; i++)
		sum = (uint8_t)(sum + (text[n++] = data[i]));
	if (frame)
		n += (size_t)snprintf((char *)text + n, 4, "#%02x", sum);
	return send(fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *ram = memory_for_write(&vm->mem, RAM, 16 * MIB);
	size_t piece;
	int fds[2];

	if (size < HEAD || !ram || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return 0;
	data = prepare(data, ram);
	size -= HEAD;
	gdb_serve(vm->gdb, fds[1]);
	for (; size > 1; data += piece, size -= piece) {
		bool frame = data[0] & 1;

		piece = min_u64(size - 1, data[0] >> 1);
		if (!say(fds[0], data + 1, piece, frame))
			break;
		data++;
		size--;
		turn();
		hear(fds[0]);
	}
	close(fds[0]);
	turn();
	if (gdb_attached(vm->gdb) || gdb_stopped(vm->gdb))
		die("it has left, and is there");
	if (vm->paused)
		die("it has left, and the VM stands");
	return 0;
}
