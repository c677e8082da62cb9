// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm restore": a VM in the foreground that goes on from a snapshot. Its exit status is
 * that of "lkvm run".
 *
 * What the file can't have is said on the command line, in run's words: disks, networks,
 * shares. No path of the file is followed; it has none. Before a VM exists the file's
 * configuration is compared with the command line and with this host, and every reason
 * why they do not fit is told, not only the first. With --dry-run that is all.
 *
 * The file is the VM's memory while it lives, where it is not compressed: it is locked
 * (flock(2), shared), which keeps off who asks, and must not be written to. Replacing it by
 * another under its name, as "lkvm snapshot" does, is no harm.
 *
 * The option table is made when the command starts: a row for each kind of virtio device.
 */
#include "cmd.h"
#include "lkvm/control.h"
#include "lkvm/riscv/config.h"
#include "lkvm/snapshot/snapshot.h"
#include "service.h"
#include "vm_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct restore_options {
	struct vm_options common;
	enum hgatp_choice hgatp;
	enum snapshot_verify verify;
	enum clock_choice clock;
	bool says_reset, dry_run;
};

static int set_reset(void *target, const struct option_spec *opt, const char *value, bool on,
		     struct error *err)
{
	((struct restore_options *)target)->says_reset = true;
	return option_set_word(target, opt, value, on, err);
}

/* In the order of enum snapshot_verify. */
static const char *const verify_words[] = {"meanwhile", "before", "never", NULL};

/* In the order of enum clock_choice. */
static const char *const clock_words[] = {"continue", "host", NULL};

#define FIELD(field) .offset = offsetof(struct restore_options, field)

static const struct option_spec fixed_rows[] = {
	{"name", 0, "NAME", "what the VM is called (as in the file)", "Running",
	 .set = set_vm_name},
	{"paused", 0, NULL, "do not let it run before \"lkvm resume\"", NULL,
	 .set = option_set_flag, FIELD(common.vm.paused)},
	{"clock", 0, "HOW",
	 "the guest's time goes on from where it stood, or with the host's: continue, host "
	 "(continue)",
	 NULL, .set = option_set_word, FIELD(clock), .words = clock_words},
	{"verify", 0, "WHEN",
	 "check guest memory meanwhile, before the guest runs, never (meanwhile)", NULL,
	 .set = option_set_word, FIELD(verify), .words = verify_words},
	{"kernel", 'k', "FILE", "what boots when the guest resets", NULL, .set = option_set_string,
	 FIELD(common.vm.kernel)},
	{"initrd", 'i', "FILE", "its initial RAM disk", NULL, .set = option_set_string,
	 FIELD(common.vm.initrd)},
	{"on-reboot", 0, "WHAT", "when the guest resets: restart (with -k), exit (without)", NULL,
	 .set = set_reset, FIELD(common.vm.on_reset), .words = reset_words},
	{"hgatp", 0, "MODE", "G-stage mode: auto, host, sv39, sv48, sv57 (auto)", NULL,
	 .set = option_set_word, FIELD(hgatp), .words = paging_words},
	{"dry-run", 0, NULL, "say whether it can be restored here, or every reason why not", NULL,
	 .set = option_set_flag, FIELD(dry_run)},
	{"timeout", 0, "SECONDS", "end the VM after this time, with status 124", NULL,
	 .set = option_set_uint, FIELD(common.vm.timeout_s)},
	GDB_ROW,
	{"loglevel", 0, "LEVEL", "error, warning, info, debug (warning)", NULL,
	 .set = set_loglevel},
};

struct restore_rows {
	struct option_table table;
	struct option_spec rows[ARRAY_SIZE(fixed_rows) + MAX_VIRTIO_ROWS + 1];
};

struct option_table *restore_table(void)
{
	struct restore_rows *t = calloc(1, sizeof(*t));
	size_t row;

	if (!t)
		return NULL;
	for (row = 0; row < ARRAY_SIZE(fixed_rows); row++)
		t->rows[row] = fixed_rows[row];
	add_virtio_rows(t->rows, row, "Devices");
	t->table = (struct option_table){
		.command = "restore",
		.operands = "FILE",
		.summary = "Start a virtual machine that goes on from a snapshot.\n\n"
			   "Devices are given again, as to \"lkvm run\"; all else is in the file.",
		.rows = t->rows};
	return &t->table;
}

static int settle_reset(const struct restore_options *o, struct vm_config *cfg, bool firmware,
			struct error *err)
{
	if (firmware)
		cfg->firmware = o->common.vm.kernel;
	else
		cfg->kernel = o->common.vm.kernel;
	cfg->initrd = o->common.vm.initrd;
	cfg->on_reset = o->common.vm.on_reset;
	if (o->common.vm.kernel)
		return 0;
	if (o->common.vm.initrd)
		return fail(err, "-i %s: without -k nothing boots it", o->common.vm.initrd);
	if (o->says_reset && o->common.vm.on_reset == RESET_RESTART)
		return fail(err, "--on-reboot restart wants the kernel that boots then (-k)");
	cfg->on_reset = RESET_EXIT;
	return 0;
}

/* All reasons, a line each, where there are several. */
static int tell(struct log *log, const struct reasons *why, const char *path, struct error *err)
{
	char text[ERROR_MAX];
	unsigned int i;

	for (i = 0; why->nr > 1 && i < why->nr && i < REASONS_MAX; i++)
		log_error(log, "%s: %s", path, why->list[i].msg);
	if (why->nr > 1)
		return fail(err, "%s can't be restored here for %u reasons", path, why->nr);
	snprintf(text, sizeof(text), "%.200s can't be restored here", path);
	return reasons_fail(why, text, err);
}

/* The file against the command line and the host. */
static int settle(struct log *log, struct restore_options *o, const char *path,
		  const struct snapshot_file *f, struct snapshot_saved *s, struct arch_config *arch,
		  struct error *err)
{
	struct kvm_sys sys = {.ops = &kvm_sys_linux};
	struct reasons why = {0};
	struct error reason;

	if (vm_options_settle(&o->common, err))
		return -1;
	if (snapshot_saved_read(s, f, arch, &reason) ||
	    (s->cfg.console == CONSOLE_VIRTIO && add_console(&o->common.vm, &reason)))
		return fail(err, "%s: %s", path, reason.msg);
	arch->hgatp.choice = o->hgatp;
	snapshot_saved_match(s, o->common.vm.virtio, o->common.vm.nr_virtio, &why);
	if (arch_host_check(f, s->arch, &s->cfg, sys, &why, &reason))
		return fail(err, "%s: %s", path, reason.msg);
	if (tell(log, &why, path, err) || settle_reset(o, &s->cfg, s->firmware, err))
		return -1;
	if (o->common.vm.name)
		s->cfg.name = o->common.vm.name;
	s->cfg.paused = o->common.vm.paused;
	s->cfg.clock = o->clock;
	s->cfg.timeout_s = o->common.vm.timeout_s;
	s->cfg.console_in = STDIN_FILENO;
	s->cfg.console_out = STDOUT_FILENO;
	return 0;
}

static int start(struct log *log, const struct vm_config *cfg, const struct vm_options *o)
{
	struct service service = SERVICE_INIT;
	enum vm_verdict verdict;
	struct error err;
	struct vm *vm = vm_open(cfg, log, &err);

	if (!vm)
		return not_started(log, &err);
	vm->control = control_create(vm, vm_commands, &err);
	if (!vm->control || vm_let_debug(vm, o, &err) || service_begin(&service, vm, false, &err)) {
		vm_destroy(vm);
		return not_started(log, &err);
	}
	verdict = vm_run(vm);
	service_end(&service);
	return vm_close(vm, verdict);
}

/* It is the VM's memory from here on. lkvm itself replaces files and never writes into one. */
static int hold_file(const struct snapshot_file *f, const char *path, struct error *err)
{
	if (!flock(f->fd, LOCK_SH | LOCK_NB) || errno != EWOULDBLOCK)
		return 0;
	return fail(err, "%s: somebody has locked it, to change it", path);
}

static int restore(struct log *log, struct restore_options *o, const char *path)
{
	struct arch_config arch = {.irqchip = IRQCHIP_AUTO};
	struct snapshot_saved saved = {.arch = NULL};
	struct snapshot_image image;
	struct snapshot_file file;
	struct error err;
	int ret;

	if (snapshot_path_open(path, &file, &err))
		return not_started(log, &err);
	if (hold_file(&file, path, &err) || settle(log, o, path, &file, &saved, &arch, &err)) {
		ret = not_started(log, &err);
	} else if (o->dry_run) {
		printf("%s can be restored here\n", path);
		ret = 0;
	} else {
		snapshot_image(&image, &file, &saved);
		image.verify = o->verify;
		saved.cfg.image = &image.image;
		ret = start(log, &saved.cfg, &o->common);
	}
	snapshot_saved_free(&saved);
	snapshot_path_close(&file);
	return ret;
}

int cmd_restore(struct log *log, int argc, char **argv)
{
	struct restore_options o = {.common.level = LOG_LEVEL_WARNING};
	struct option_table *t = restore_table();
	struct operands ops;
	struct error err;
	int ret;

	if (!t) {
		fail(&err, "no memory");
		return not_started(log, &err);
	}
	ret = options_parse(t, &o, argc, argv, &ops, &err);
	if (!ret && ops.argc != 1)
		ret = fail(&err, "lkvm restore wants one FILE");
	if (ret > 0) {
		options_help(t, STDOUT_FILENO);
		ret = 0;
	} else if (ret < 0) {
		ret = not_started(log, &err);
	} else {
		atomic_store(&log->level, o.common.level);
		ret = restore(log, &o, ops.argv[0]);
	}
	vm_options_free(&o.common);
	operands_free(&ops);
	free(t);
	return ret;
}
