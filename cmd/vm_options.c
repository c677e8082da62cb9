// SPDX-License-Identifier: GPL-2.0-only
/*
 * Options and life of a VM in the foreground, for "run" and "restore" (vm_options.h).
 *
 * Thread: that of the command line. No state.
 */
#include "vm_options.h"

#include "lkvm/control.h"
#include "lkvm/process.h"
#include "lkvm/virtio/console.h"
#include "lkvm/virtio/kind.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const paging_words[] = {"auto", "host", "sv39", "sv48", "sv57", NULL};
const char *const reset_words[] = {"restart", "exit", NULL};

int set_vm_name(void *target, const struct option_spec *opt, const char *value, bool on,
		struct error *err)
{
	struct vm_options *o = target;

	(void)opt;
	(void)on;
	if (!control_name_ok(value))
		return fail(err, "a name is 1 to %d of the characters A-Z a-z 0-9 . _ -",
			    VM_NAME_MAX);
	o->vm.name = value;
	return 0;
}

int set_loglevel(void *target, const struct option_spec *opt, const char *value, bool on,
		 struct error *err)
{
	struct vm_options *o = target;

	(void)opt;
	(void)on;
	return log_level_parse(value, &o->level, err);
}

int set_gdb(void *target, const struct option_spec *opt, const char *value, bool on,
	    struct error *err)
{
	struct vm_options *o = target;

	(void)opt;
	(void)on;
	o->debug = true;
	return gdb_parse(value, &o->gdb, err);
}

int vm_let_debug(struct vm *vm, const struct vm_options *o, struct error *err)
{
	if (!o->debug)
		return 0;
	vm->gdb = gdb_create(vm, &o->gdb, err);
	return vm->gdb ? 0 : -1;
}

/* A virtio device: which kind is told by the row's offset. */
static int add_virtio(void *target, const struct option_spec *opt, const char *value, bool on,
		      struct error *err)
{
	const struct virtio_kind *kind = virtio_kinds[opt->offset];
	struct vm_config *vm = &((struct vm_options *)target)->vm;
	size_t i;

	(void)on;
	for (i = 0; i < vm->nr_virtio; i++)
		if (kind->single && vm->virtio[i].kind == kind)
			return fail(err, "a VM has one of these at most");
	if (vm->nr_virtio == ARRAY_SIZE(vm->virtio))
		return fail(err, "a VM has at most %zu virtio devices", ARRAY_SIZE(vm->virtio));
	vm->virtio[vm->nr_virtio++] =
		(struct virtio_request){.kind = kind, .text = value ? value : ""};
	return 0;
}

static int add_publish(void *target, const struct option_spec *opt, const char *value, bool on,
		       struct error *err)
{
	struct vm_options *o = target;

	(void)opt;
	(void)on;
	if (virtio_net_check_publish(value, err))
		return -1;
	if (o->nr_publish == ARRAY_SIZE(o->publish))
		return fail(err, "more than %zu ports", ARRAY_SIZE(o->publish));
	o->publish[o->nr_publish++] = value;
	return 0;
}

int vm_options_settle(struct vm_options *o, struct error *err)
{
	if (!o->nr_publish)
		return 0;
	return virtio_asked_publish(o->vm.virtio, o->vm.nr_virtio, o->publish, o->nr_publish,
				    &o->network, err);
}

void vm_options_free(struct vm_options *o)
{
	free(o->network);
	o->network = NULL;
}

size_t add_virtio_rows(struct option_spec *rows, size_t row, const char *group)
{
	size_t i;

	for (i = 0; i < MAX_VIRTIO_ROWS - 1 && virtio_kinds[i]; i++) {
		rows[row++] = (struct option_spec){.name = virtio_kinds[i]->option,
						   .letter = virtio_kinds[i]->letter,
						   .arg = virtio_kinds[i]->arg,
						   .help = virtio_kinds[i]->help,
						   .group = i ? NULL : group,
						   .parts = virtio_kinds[i]->words,
						   .set = add_virtio,
						   .many = !virtio_kinds[i]->single,
						   .offset = i};
		if (virtio_kinds[i] == &virtio_net_kind)
			rows[row++] = (struct option_spec){
				.name = "publish",
				.arg = "[ADDRESS:]HOSTPORT:GUESTPORT[/udp]",
				.help = "connections to this port of the host reach the guest, by "
					"the first network device in user mode; repeat for more",
				.many = true,
				.set = add_publish};
	}
	return row;
}

int add_console(struct vm_config *vm, struct error *err)
{
	struct virtio_request *first = &vm->virtio[0];

	if (vm->nr_virtio == ARRAY_SIZE(vm->virtio))
		return fail(err, "--console virtio: a VM has at most %zu virtio devices",
			    ARRAY_SIZE(vm->virtio));
	memmove(first + 1, first, vm->nr_virtio++ * sizeof(*first));
	*first = (struct virtio_request){.kind = &virtio_console_kind, .text = "virtio"};
	return 0;
}

struct vm *vm_open(const struct vm_config *cfg, struct log *log, struct error *err)
{
	struct vm *vm;
	int signal_fd;

	if (process_init(err))
		return NULL;
	signal_fd = process_signal_fd(err);
	if (signal_fd < 0)
		return NULL;
	vm = vm_create(cfg, (struct kvm_sys){.ops = &kvm_sys_linux}, log, err);
	if (vm)
		vm->signal_fd = signal_fd;
	else
		close(signal_fd);
	return vm;
}

int vm_close(struct vm *vm, enum vm_verdict verdict)
{
	int sig = vm->end_signal, signal_fd = vm->signal_fd;

	vm_destroy(vm);
	close(signal_fd);
	if (verdict == VM_SIGNAL)
		process_die_by(sig);
	return vm_verdict_status(verdict);
}
