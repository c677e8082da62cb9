// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the control socket: the input is what a client sends, cut into pieces,
 * with the loop turning in between.
 *
 * One VM serves all inputs, as in life. It is made on a host that says yes to
 * everything, and its vCPUs never start. Besides what the sanitizers see: all that comes
 * back is lines of JSON, each an event or an answer of one of two kinds; each complete
 * line that could be a request gets one, unless an earlier one waits for the VM's end; and
 * when the client is gone its place is free again.
 */
#include "lkvm/control.h"
#include "lkvm/riscv/config.h"
#include "yes_kvm.h"

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

static int yes_ioctl(void *opaque, int fd, unsigned long request, unsigned long arg)
{
	(void)opaque;
	(void)fd;
	if (request != KVM_GET_ONE_REG)
		return yes_answer(request, arg);
	/* Every extension is there, and time runs at 1 Hz. */
	*(unsigned char *)(uintptr_t)((struct kvm_one_reg *)arg)->addr = 1;
	return 0;
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

/* The core's commands but "reset", which would start vCPUs that have nothing to run. */
static struct control_command commands[16];
static const struct control_command *const tables[] = {commands, NULL};

static void make_table(void)
{
	const struct control_command *row;
	size_t n = 0;

	for (row = control_core_commands; row->name; row++)
		if (strcmp(row->name, "reset"))
			commands[n++] = *row;
}

static void renew(void)
{
	struct error err;

	if (vm->verdict == VM_ALIVE)
		return;
	vm->verdict = VM_ALIVE;
	control_destroy(vm->control);
	vm->control = control_create(vm, tables, &err);
	if (!vm->control)
		abort();
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
	make_table();
	if (vm)
		vm->control = control_create(vm, tables, &err);
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

/* Look at one line that came back. Return: it is an answer. */
static bool look_at(const char *line, size_t len)
{
	json_t *message = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL), *error;
	bool answer;

	if (!json_is_object(message) ||
	    json_integer_value(json_object_get(message, "version")) != CONTROL_VERSION)
		abort();
	answer = !json_is_string(json_object_get(message, "event"));
	error = json_object_get(message, "error");
	if (answer && (!json_object_get(message, "id") ||
		       json_is_object(error) == json_is_object(json_object_get(message, "return"))))
		abort();
	if (error && !*json_string_value(json_object_get(error, "message")))
		abort();
	json_decref(message);
	return answer;
}

/* All that came back is whole lines. Return: how many are answers. */
static size_t look_at_all(const char *text, size_t len)
{
	size_t answers = 0;
	const char *end;

	while (len) {
		end = memchr(text, '\n', len);
		if (!end)
			abort();
		answers += look_at(text, (size_t)(end - text));
		len -= (size_t)(end - text) + 1;
		text = end + 1;
	}
	return answers;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[1 << 20];
	size_t got = 0, sent = 0, piece, answers;
	bool line;
	ssize_t n;
	int fd;

	if (!size)
		return 0;
	piece = 1 + data[0] * 16;
	data++;
	size--;
	line = memchr(data, '\n', size);
	fd = dial();
	while (sent < size) {
		n = send(fd, data + sent, size - sent < piece ? size - sent : piece, MSG_NOSIGNAL);
		if (n <= 0)
			break; /* answered and closed */
		sent += (size_t)n;
		turn();
		while (got < sizeof(text) && (n = recv(fd, text + got, sizeof(text) - got, 0)) > 0)
			got += (size_t)n;
	}
	turn();
	while (got < sizeof(text) && (n = recv(fd, text + got, sizeof(text) - got, 0)) > 0)
		got += (size_t)n;
	/* "stop" is answered when the VM ends. */
	if (vm->verdict != VM_ALIVE)
		control_ended(vm->control, vm->verdict);
	while (got < sizeof(text) && (n = recv(fd, text + got, sizeof(text) - got, 0)) > 0)
		got += (size_t)n;
	answers = look_at_all(text, got);
	if (line != !!answers && sent < CONTROL_REQUEST_MAX)
		abort();
	close(fd);
	turn();
	renew();
	return 0;
}
