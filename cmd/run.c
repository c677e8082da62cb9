// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm run": turn options into a struct vm_config, build the VM, run it, and
 * give its verdict as exit status (lkvm(1)):
 *
 *   0 power-off   124 --timeout   125 not started   126 the guest died
 *   128+n ended by signal n
 *
 * With a command behind "--" the status is the command's (command.c), with a script the
 * script's (script.c).
 *
 * The option table is made when the command starts, because a row for each ISA
 * and SBI extension that can be hidden comes from the tables in riscv/isa.c.
 */
#include "run.h"
#include "cmd.h"
#include "command.h"
#include "lkvm/arch.h"
#include "lkvm/control.h"
#include "lkvm/guest_console.h"
#include "lkvm/riscv/config.h"
#include "lkvm/virtio/kind.h"
#include "script.h"
#include "service.h"
#include "vm_options.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define DEFAULT_RAM (512 * MIB)

struct run_options {
	struct vm_options common;
	struct arch_config arch;
	struct command_run command;
	struct script_options script;
	struct service service;
	char default_name[32], default_kernel[512];
	struct option_table *table;
	struct operands ops;
};

static int set_mem(void *target, const struct option_spec *opt, const char *value, bool on,
		   struct error *err)
{
	struct run_options *o = target;
	struct mem_request *m = &o->common.vm.mem[o->common.vm.nr_mem];
	const char *at = strchr(value, '@');
	char size[64];
	uint64_t gpa;

	(void)opt;
	(void)on;
	if (o->common.vm.nr_mem == ARRAY_SIZE(o->common.vm.mem))
		return fail(err, "more than %zu regions", ARRAY_SIZE(o->common.vm.mem));
	*m = (struct mem_request){.size = 0};
	if (at) {
		if ((size_t)(at - value) >= sizeof(size))
			return fail(err, "not a size");
		memcpy(size, value, (size_t)(at - value));
		size[at - value] = '\0';
		if (parse_size(at + 1, 1, &gpa, err))
			return -1;
		if (gpa % (2 * MIB))
			return fail(err, "the address must be a multiple of 2 MiB");
		m->placed = true;
		m->gpa = gpa;
		value = size;
	}
	if (parse_size(value, MIB, &m->size, err))
		return -1;
	if (!m->size || m->size % MIB)
		return fail(err, "RAM comes in whole MiB, at least one");
	o->common.vm.nr_mem++;
	return 0;
}

static int set_cpus(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	struct run_options *o = target;
	uint64_t cpus;

	(void)opt;
	(void)on;
	if (parse_uint(value, UINT32_MAX, &cpus, err))
		return -1;
	if (!cpus)
		return fail(err, "a VM has at least one vCPU");
	o->common.vm.cpus = (unsigned int)cpus;
	return 0;
}

static int set_timeout(void *target, const struct option_spec *opt, const char *value, bool on,
		       struct error *err)
{
	struct run_options *o = target;
	uint64_t seconds;

	(void)opt;
	(void)on;
	if (parse_uint(value, 1000000000, &seconds, err))
		return -1;
	if (!seconds)
		return fail(err, "a time limit is at least one second");
	o->common.vm.timeout_s = (unsigned int)seconds;
	return 0;
}

/* In the order of the enums that they stand for. */
static const char *const console_words[] = {"serial", "hv", "virtio", NULL};
static const char *const irqchip_words[] = {"auto", "plic", "aia", NULL};
static const char *const aia_words[] = {"auto", "emul", "hwaccel", NULL};
static const char *const transport_words[] = {"auto", "mmio", "pci", NULL};

static int set_gpa_bits(void *target, const struct option_spec *opt, const char *value, bool on,
			struct error *err)
{
	struct run_options *o = target;
	uint64_t bits;

	(void)opt;
	(void)on;
	if (parse_uint(value, 64, &bits, err))
		return -1;
	if (bits < 32)
		return fail(err, "RAM starts at 2 GiB, so 32 bits are the least");
	o->arch.hgatp.gpa_bits = (unsigned int)bits;
	return 0;
}

static int add_env(void *target, const struct option_spec *opt, const char *value, bool on,
		   struct error *err)
{
	struct command_run *c = &((struct run_options *)target)->command;

	(void)opt;
	(void)on;
	if (!*value || *value == '=')
		return fail(err, "say NAME, or NAME=VALUE");
	if (c->nr_env == ARRAY_SIZE(c->env))
		return fail(err, "more than %zu variables", ARRAY_SIZE(c->env));
	c->env[c->nr_env++] = value;
	return 0;
}

/* The extension rows: which one is told by the row's offset. */
static int hide_isa(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	struct run_options *o = target;

	(void)value;
	(void)on;
	(void)err;
	o->arch.isa.hide_isa[opt->offset] = true;
	return 0;
}

static int hide_sbi(void *target, const struct option_spec *opt, const char *value, bool on,
		    struct error *err)
{
	struct run_options *o = target;

	(void)value;
	(void)on;
	(void)err;
	o->arch.isa.hide_sbi[opt->offset] = true;
	return 0;
}

static int set_id(void *target, const struct option_spec *opt, const char *value, bool on,
		  struct error *err)
{
	struct isa_request *isa = &((struct run_options *)target)->arch.isa;
	uint64_t id;

	(void)on;
	if (parse_uint(value, UINT64_MAX, &id, err))
		return -1;
	switch (opt->offset) {
	case 0:
		isa->mvendorid = id;
		isa->set_mvendorid = true;
		break;
	case 1:
		isa->marchid = id;
		isa->set_marchid = true;
		break;
	default:
		isa->mimpid = id;
		isa->set_mimpid = true;
		break;
	}
	return 0;
}

#define STRING(field) .set = option_set_string, .offset = offsetof(struct run_options, field)
#define FLAG(field) .set = option_set_flag, .offset = offsetof(struct run_options, field)
#define WORD(field, list)                                                                          \
	.set = option_set_word, .offset = offsetof(struct run_options, field), .words = (list)

static const struct option_spec run_rows[] = {
	{"kernel", 'k', "FILE", "Linux Image (also gzip, EFI zboot) or ELF to start", "Guest",
	 STRING(common.vm.kernel), .operand = true},
	{"initrd", 'i', "FILE", "initial RAM disk: any file", NULL, STRING(common.vm.initrd)},
	{"params", 'p', "TEXT", "kernel command line, after lkvm's own words", NULL,
	 STRING(common.vm.params)},
	{"firmware", 'f', "FILE", "raw S-mode binary to start at RAM base + 2 MiB", NULL,
	 STRING(common.vm.firmware)},
	{"nodefaults", 0, NULL, "add nothing to the kernel command line", NULL,
	 FLAG(common.vm.nodefaults)},
	{"cpus", 'c', "N", "number of vCPUs (1)", "Machine", .set = set_cpus},
	{"mem", 'm', "SIZE[@GPA]", "RAM in MiB, or with K M G T (512); repeat for more regions",
	 NULL, .set = set_mem},
	{"irqchip", 0, "CHIP", "interrupt chip: auto, plic, aia (auto)", NULL,
	 WORD(arch.irqchip, irqchip_words)},
	{"aia", 0, "MODE",
	 "AIA interrupt files: auto, emul, hwaccel, which ends the VM where they run out (auto)",
	 NULL, WORD(arch.aia, aia_words)},
	{"hgatp", 0, "MODE", "G-stage mode: auto, host, sv39, sv48, sv57 (auto)", NULL,
	 WORD(arch.hgatp.choice, paging_words)},
	{"gpa-bits", 0, "N", "at least N bits of guest physical address", NULL,
	 .set = set_gpa_bits},
	{"satp", 0, "MODE", "the guest's own paging: auto, host, sv39, sv48, sv57", NULL,
	 WORD(arch.satp, paging_words)},
	{"isa", 0, "LIST", "offer only these extensions, e.g. rv64gc_zba_zbb", NULL,
	 STRING(arch.isa.list)},
	{"custom-mvendorid", 0, "N", "mvendorid the guest reads", NULL, .set = set_id},
	{"custom-marchid", 0, "N", "marchid the guest reads", NULL, .set = set_id, .offset = 1},
	{"custom-mimpid", 0, "N", "mimpid the guest reads", NULL, .set = set_id, .offset = 2},
	{"console", 0, "KIND", "what standard input and output are: serial, virtio, hv", "Devices",
	 WORD(common.vm.console, console_words)},
	{"virtio-transport", 0, "KIND", "what virtio devices sit behind: auto, mmio, pci", NULL,
	 WORD(common.vm.transport, transport_words)},
	{"config", 0, "FILE", "options from a file, \"option = value\" a line", "Running",
	 .set = option_set_file},
	{"name", 0, "NAME", "what the VM is called (guest-PID)", NULL, .set = set_vm_name},
	{"timeout", 0, "SECONDS", "end the VM after this time, with status 124", NULL,
	 .set = set_timeout},
	{"on-reboot", 0, "WHAT", "when the guest resets: restart, exit (restart)", NULL,
	 WORD(common.vm.on_reset, reset_words)},
	GDB_ROW,
	{"dump-dtb", 0, "FILE", "write the guest's device tree to a file", NULL,
	 STRING(common.vm.dump_dtb)},
	SCRIPT_ROWS(offsetof(struct run_options, script)),
	{"modules", 0, "DIR", "kernel modules for a command (/lib/modules/RELEASE)", "Command",
	 STRING(command.modules)},
	{"env", 0, "NAME[=VALUE]", "a variable for a command's environment; repeat for more", NULL,
	 .set = add_env, .many = true},
	{"dry-run", 0, NULL, "settle everything, print it, start nothing", NULL,
	 FLAG(common.vm.dry_run)},
	{"loglevel", 0, "LEVEL", "error, warning, info, debug (warning)", NULL,
	 .set = set_loglevel},
};

/* Rows of virtio devices come behind this one. */
#define VIRTIO_ROWS_BEHIND "virtio-transport"

struct run_rows {
	struct option_table table;
	struct option_spec rows[ARRAY_SIZE(run_rows) + MAX_VIRTIO_ROWS + ISA_EXT_COUNT +
				SBI_EXT_COUNT + MAX_FOREIGN_ROWS + 1];
	char names[ISA_EXT_COUNT + SBI_EXT_COUNT][32];
};

struct option_table *run_table(void)
{
	struct run_rows *t = calloc(1, sizeof(*t));
	size_t row = 0, name = 0;
	unsigned int i;

	if (!t)
		return NULL;
	for (i = 0; i < ARRAY_SIZE(run_rows); i++) {
		t->rows[row++] = run_rows[i];
		if (!strcmp(run_rows[i].name, VIRTIO_ROWS_BEHIND))
			row = add_virtio_rows(t->rows, row, NULL);
	}
	for (i = 0; i < ISA_EXT_COUNT; i++, row++, name++) {
		snprintf(t->names[name], sizeof(t->names[name]), "disable-%s", isa_ext_name(i));
		t->rows[row] = (struct option_spec){
			.name = t->names[name],
			.help = "hide an ISA extension (\"lkvm caps\" lists them)",
			.group = i ? NULL : "Hiding extensions",
			.set = hide_isa,
			.offset = i,
			.hidden = true};
	}
	for (i = 0; i < SBI_EXT_COUNT; i++, row++, name++) {
		snprintf(t->names[name], sizeof(t->names[name]), "disable-sbi-%s", sbi_ext_name(i));
		t->rows[row] = (struct option_spec){.name = t->names[name],
						    .help = "hide the SBI extension",
						    .set = hide_sbi,
						    .offset = i,
						    .hidden = true};
	}
	for (i = 0; i < MAX_FOREIGN_ROWS && foreign_rows[i].name; i++)
		t->rows[row++] = foreign_rows[i];
	t->table = (struct option_table){.command = "run",
					 .operands = "[KERNEL] [-- COMMAND]",
					 .summary = "Start a virtual machine in the foreground.\n\n"
						    "--disable-EXT and --disable-sbi-EXT hide an "
						    "ISA or SBI extension from the\n"
						    "guest; \"lkvm caps\" lists them by name.",
					 .rows = t->rows};
	return &t->table;
}

/* A kernel tree's own, the host's, or the one in /boot that sorts last. */
static void find_kernel(struct run_options *o, struct log *log)
{
	static const char tree[] = "arch/riscv/boot/Image";
	size_t size = sizeof(o->default_kernel);
	struct utsname host;
	glob_t found;

	if (!access(tree, R_OK)) {
		snprintf(o->default_kernel, size, "%s", tree);
	} else {
		if (uname(&host) || (size_t)snprintf(o->default_kernel, size, "/boot/vmlinuz-%s",
						     host.release) >= size)
			return;
		if (access(o->default_kernel, R_OK)) {
			if (glob("/boot/vmlinuz-*", 0, NULL, &found))
				return;
			snprintf(o->default_kernel, size, "%s", found.gl_pathv[found.gl_pathc - 1]);
			globfree(&found);
		}
	}
	o->common.vm.kernel = o->default_kernel;
	log_info(log, "kernel: %s", o->common.vm.kernel);
}

static int settle(struct run_options *o, const struct operands *ops, struct log *log,
		  struct error *err)
{
	if (ops->argc > 1)
		return fail(err, "%s: only one kernel can be started, and it is %s", ops->argv[1],
			    ops->argv[0]);
	if (ops->argc) {
		if (o->common.vm.kernel)
			return fail(err, "-k %s and %s: only one kernel can be started",
				    o->common.vm.kernel, ops->argv[0]);
		o->common.vm.kernel = ops->argv[0];
	}
	if (o->common.vm.firmware && o->common.vm.kernel)
		return fail(err, "-f %s and -k %s: a VM starts one of them", o->common.vm.firmware,
			    o->common.vm.kernel);
	if (!o->common.vm.firmware && !o->common.vm.kernel)
		find_kernel(o, log);
	if (!o->common.vm.firmware && !o->common.vm.kernel)
		return fail(err, "no kernel: name one with -k, or a firmware with -f");
	if (script_settle(&o->script, &o->common.vm, ops->nr_rest, err))
		return -1;
	if (ops->nr_rest &&
	    command_prepare(&o->command, &o->common.vm, ops->nr_rest, ops->rest, log, err))
		return -1;
	if (!ops->nr_rest && (o->command.modules || o->command.nr_env))
		return fail(err, "%s is for a command, and there is none after \"--\"",
			    o->command.modules ? "--modules" : "--env");
	if (vm_options_settle(&o->common, err))
		return -1;
	if (o->common.vm.console == CONSOLE_VIRTIO && add_console(&o->common.vm, err))
		return -1;
	if (!o->common.vm.nr_mem)
		o->common.vm.mem[o->common.vm.nr_mem++] = (struct mem_request){.size = DEFAULT_RAM};
	if (!o->common.vm.name) {
		snprintf(o->default_name, sizeof(o->default_name), "guest-%d", (int)getpid());
		o->common.vm.name = o->default_name;
	}
	o->common.vm.arch = &o->arch;
	return 0;
}

/* What the VM is to do besides running. */
static int accompany(struct run_options *o, struct vm *vm, struct error *err)
{
	bool guest = vm->ready.awaited, later = script_goes_on(&o->script) && !guest;

	if (vm_let_debug(vm, &o->common, err) ||
	    service_begin(&o->service, vm, later || guest, err))
		return -1;
	if (guest) {
		vm->ready.heard = service_guest_ready;
		vm->ready.opaque = &o->service;
	}
	if (later) {
		o->script.run.on_done = service_ready;
		o->script.run.opaque = &o->service;
	}
	return command_watch(&o->command, vm, err) || script_begin(&o->script, vm, err) ? -1 : 0;
}

static int run(struct log *log, struct run_options *o)
{
	const struct vm_config *cfg = &o->common.vm;
	char tail[GUEST_CONSOLE_TAIL];
	enum vm_verdict verdict;
	struct error err;
	struct vm *vm;
	size_t len;
	int status;

	vm = vm_open(cfg, log, &err);
	if (!vm)
		return not_started(log, &err);
	if (cfg->dry_run) {
		arch_print_plan(vm, stdout);
		vm_destroy(vm);
		return 0;
	}
	vm->control = control_create(vm, vm_commands, &err);
	if (!vm->control && cfg->name != o->default_name) {
		vm_destroy(vm);
		return not_started(log, &err);
	}
	if (!vm->control)
		log_warning(log, "the VM can't be reached by other commands: %s", err.msg);
	if (accompany(o, vm, &err)) {
		service_end(&o->service);
		vm_destroy(vm);
		return not_started(log, &err);
	}
	verdict = vm_run(vm);
	service_end(&o->service);
	len = guest_console_tail(vm->console, tail);
	status = vm_close(vm, verdict);
	if (o->command.status)
		return command_verdict(&o->command, verdict, tail, len, log);
	return script_verdict(&o->script, verdict, status, log);
}

int run_parse(int argc, char **argv, struct log *log, struct run_options **result,
	      struct error *err)
{
	struct run_options *o = calloc(1, sizeof(*o));
	int ret;

	*result = o;
	if (!o)
		return fail(err, "no memory");
	o->common = (struct vm_options){
		.vm = {.cpus = 1, .console_in = STDIN_FILENO, .console_out = STDOUT_FILENO},
		.level = LOG_LEVEL_WARNING};
	o->script = (struct script_options){.script = SCRIPT_INIT};
	o->service = (struct service)SERVICE_INIT;
	o->table = run_table();
	if (!o->table)
		return fail(err, "no memory");
	ret = options_parse(o->table, o, argc, argv, &o->ops, err);
	if (ret > 0)
		options_help(o->table, STDOUT_FILENO);
	if (ret)
		return ret;
	atomic_store(&log->level, o->common.level);
	return settle(o, &o->ops, log, err);
}

const struct vm_config *run_config(const struct run_options *o)
{
	return &o->common.vm;
}

void run_options_free(struct run_options *o)
{
	if (!o)
		return;
	command_free(&o->command);
	vm_options_free(&o->common);
	script_options_free(&o->script);
	operands_free(&o->ops);
	free(o->table);
	free(o);
}

int cmd_run(struct log *log, int argc, char **argv)
{
	struct run_options *o;
	struct error err;
	int ret = run_parse(argc, argv, log, &o, &err);

	if (ret < 0)
		ret = not_started(log, &err);
	else if (ret > 0)
		ret = 0;
	else
		ret = run(log, o);
	run_options_free(o);
	return ret;
}
