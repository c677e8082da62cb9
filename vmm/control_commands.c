// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core's commands of the control socket: the table, and the small ones.
 *
 * To add a command of the core: a handler and a row here. A part of its own (snapshots)
 * has a table of its own, which is named where the VM's control is created.
 *
 * Thread and lock: the loop's thread alone; no lock. Nothing is saved.
 */
#include "control_parts.h"

#include "lkvm/arch.h"
#include "lkvm/gdb.h"
#include "lkvm/kvm_stats.h"
#include "lkvm/stat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a pause may wait for the slowest vCPU. */
#define PAUSE_MS 5000

#define REPLY_MAX 1024

/* "x31", "sstatus" and their like, in hexadecimal: as wide as the widest vector register. */
#define HEX_MAX (2 * 8192 + 3)

static const char *state(struct control *control)
{
	if (control->paused)
		return "paused";
	if (gdb_stopped(control->vm->gdb))
		return "debugged";
	return vm_suspended(control->vm) ? "suspended" : "running";
}

static int no_arguments(struct control_call *call, struct error *err)
{
	return control_arguments(call, err, "{}");
}

static json_t *status(struct control_call *call)
{
	struct vm *vm = call->vm;
	uint64_t ram = 0;
	size_t i;

	for (i = 0; i < vm->mem.nr; i++)
		if (!vm->mem.regions[i].file)
			ram += vm->mem.regions[i].size;
	return json_pack("{s:s, s:i, s:s, s:s, s:I, s:i, s:I, s:I}", "name", vm->cfg->name, "pid",
			 (int)getpid(), "lkvm", LKVM_VERSION, "state", state(call->control),
			 "restarts", (json_int_t)vm->resets, "vcpus", (int)vm->nr_vcpus, "memory",
			 (json_int_t)ram, "seconds",
			 (json_int_t)((now_ns() - call->control->begin_ns) / NSEC_PER_SEC));
}

static int do_status(struct control_call *call, json_t **result, struct error *err)
{
	if (no_arguments(call, err))
		return -1;
	*result = status(call);
	return *result ? 0 : fail(err, "no memory");
}

/* Lines of text to an array of strings. */
static json_t *lines_of(char *text)
{
	json_t *lines = json_array();
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n")))
		if (*line)
			/* What is no UTF-8 is a user's file name. */
			json_array_append_new(lines, json_string(line) ?: json_string("?"));
	return lines;
}

static int do_info(struct control_call *call, json_t **result, struct error *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out;

	if (no_arguments(call, err))
		return -1;
	out = open_memstream(&text, &len);
	if (!out)
		return fail(err, "no memory");
	arch_print_plan(call->vm, out);
	if (fclose(out)) {
		free(text);
		return fail(err, "no memory");
	}
	*result = status(call);
	json_object_set_new(*result, "machine", lines_of(text));
	free(text);
	return *result ? 0 : fail(err, "no memory");
}

/* The object @key of @parent, made where it is missing; borrowed. */
static json_t *child(json_t *parent, const char *key)
{
	json_t *object = json_object_get(parent, key);

	if (!object && !json_object_set_new(parent, key, json_object()))
		object = json_object_get(parent, key);
	return object;
}

static void add_figure(void *opaque, const struct stat_row *row)
{
	json_t *object = child(opaque, row->owner);
	char index[16];

	if (row->part) {
		snprintf(index, sizeof(index), "%u", row->index);
		object = child(child(object, row->part), index);
	}
	json_object_set_new(object, row->name, json_integer((json_int_t)row->value));
}

static void add_exits(void *opaque, const char *name, uint64_t value)
{
	json_object_set_new(opaque, name, json_integer((json_int_t)value));
}

/*
 * KVM's own figures of the VM and each vCPU. KVM opens a vCPU's only while it does not run
 * the guest, so all of them stop for a moment.
 */
static json_t *kvm_figures(struct vm *vm, struct error *err)
{
	json_t *all;
	char name[24];
	unsigned int i;
	int ret;

	if (vm_pause(vm, PAUSE_MS)) {
		fail(err, "a vCPU did not stop in time; the VM goes on");
		return NULL;
	}
	all = json_object();
	ret = kvm_stats(&vm->kvm, NULL, add_exits, child(all, "vm"));
	for (i = 0; !ret && i < vm->nr_vcpus; i++) {
		snprintf(name, sizeof(name), "vcpu%u", i);
		ret = kvm_stats(&vm->kvm, &vm->vcpus[i].kvm, add_exits, child(all, name));
	}
	vm_unpause(vm);
	if (!ret)
		return all;
	json_decref(all);
	fail_errno(err, -ret, "KVM does not tell its figures");
	return NULL;
}

static int do_stat(struct control_call *call, json_t **result, struct error *err)
{
	struct stat_sink sink = {.emit = add_figure};
	json_t *kvm = NULL;
	int exits = 0;

	if (control_arguments(call, err, "{s?b}", "exits", &exits))
		return -1;
	if (exits) {
		kvm = kvm_figures(call->vm, err);
		if (!kvm)
			return -1;
	}
	sink.opaque = json_object();
	arch_stat(call->vm, &sink);
	*result = json_pack("{s:I, s:I, s:o}", "seconds",
			    (json_int_t)((now_ns() - call->control->begin_ns) / NSEC_PER_SEC),
			    "restarts", (json_int_t)call->vm->resets, "figures",
			    (json_t *)sink.opaque);
	if (kvm)
		json_object_set_new(*result, "kvm", kvm);
	return *result ? 0 : fail(err, "no memory");
}

static int do_pause(struct control_call *call, json_t **result, struct error *err)
{
	(void)result;
	if (no_arguments(call, err))
		return -1;
	if (call->control->paused)
		return fail(err, "the VM is paused already");
	if (vm_pause(call->vm, PAUSE_MS))
		return fail(err, "a vCPU did not stop in time; the VM goes on");
	call->control->paused = true;
	control_event(call->control, "paused", NULL);
	return 0;
}

static int do_resume(struct control_call *call, json_t **result, struct error *err)
{
	bool woken = false;

	if (no_arguments(call, err))
		return -1;
	if (call->control->paused) {
		call->control->paused = false;
		vm_unpause(call->vm);
	} else {
		woken = vm_wake(call->vm);
		if (!woken)
			return fail(err, "the VM is neither paused nor suspended");
	}
	control_event(call->control, "resumed", json_pack("{s:b}", "woken", (int)woken));
	*result = json_pack("{s:b}", "woken", (int)woken);
	return 0;
}

static int do_events(struct control_call *call, json_t **result, struct error *err)
{
	(void)result;
	if (no_arguments(call, err))
		return -1;
	call->control->clients[call->client].listens = true;
	return 0;
}

/* What the words mean is the device's business. */
static int do_device(struct control_call *call, json_t **result, struct error *err)
{
	const char *device, *words = "";
	char reply[REPLY_MAX];

	if (control_arguments(call, err, "{s:s, s?s}", "device", &device, "words", &words) ||
	    arch_device_command(call->vm, device, words, reply, sizeof(reply), err))
		return -1;
	*result = json_pack("{s:s}", "text", reply);
	if (strchr(words, ' '))
		control_event(call->control, "device",
			      json_pack("{s:s, s:s, s:s}", "device", device, "words", words, "text",
					reply));
	return 0;
}

/* Most significant byte first, as one reads a number. */
static void add_register(void *opaque, const char *name, const void *value, size_t size)
{
	const uint8_t *bytes = value;
	char text[HEX_MAX];
	size_t i, len = 2;

	memcpy(text, "0x", 3);
	for (i = size; i-- > 0 && len + 2 < sizeof(text); len += 2)
		snprintf(text + len, 3, "%02x", bytes[i]);
	json_object_set_new(opaque, name, json_string(text));
}

static int do_debug(struct control_call *call, json_t **result, struct error *err)
{
	struct vm *vm = call->vm;
	json_t *harts = json_array(), *registers;
	unsigned int i;
	int ret = 0;

	if (no_arguments(call, err) || vm_pause(vm, PAUSE_MS)) {
		json_decref(harts);
		return *err->msg ? -1 : fail(err, "a vCPU did not stop in time; the VM goes on");
	}
	for (i = 0; i < vm->nr_vcpus && !ret; i++) {
		registers = json_object();
		ret = arch_registers(&vm->vcpus[i], add_register, registers, err);
		json_array_append_new(harts, json_pack("{s:i, s:s, s:o}", "hart", (int)i, "state",
						       arch_vcpu_state(&vm->vcpus[i]), "registers",
						       registers));
	}
	vm_unpause(vm);
	*result = json_pack("{s:o}", "harts", harts);
	return ret;
}

static int do_commands(struct control_call *call, json_t **result, struct error *err)
{
	const struct control_command *const *table, *row;
	json_t *list;

	if (no_arguments(call, err))
		return -1;
	list = json_array();
	for (table = call->control->tables; *table; table++)
		for (row = *table; row->name; row++)
			json_array_append_new(list, json_pack("{s:s, s:s}", "name", row->name,
							      "help", row->help));
	*result = json_pack("{s:o}", "commands", list);
	return 0;
}

const struct control_command control_core_commands[] = {
	{"status", do_status, "name, state and size of the VM"},
	{"info", do_info, "the same, and its machine"},
	{"stat", do_stat, "counters of vCPUs, interrupt chip and devices"},
	{"events", do_events, "tell this client what happens from now on"},
	{"pause", do_pause, "stop the vCPUs"},
	{"resume", do_resume, "let them go on, or wake a guest that suspended itself"},
	{"stop", control_stop, "have the guest power off, or end the VM"},
	{"reset", control_reset, "restart the guest as after power-on"},
	{"device", do_device, "hand a command to one device"},
	{"debug", do_debug, "the registers of all harts"},
	{"commands", do_commands, "list the commands"},
	{NULL, NULL, NULL},
};
