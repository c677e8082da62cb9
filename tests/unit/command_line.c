// SPDX-License-Identifier: GPL-2.0-only
/*
 * Command lines for tests (command_line.h). What main() does to find the command is done here
 * again, in three lines; all else is the program's own code.
 */
#include "command_line.h"

#include "../../cmd/cmd.h"
#include "../../cmd/run.h"
#include "lkvm/riscv/config.h"
#include "lkvm/virtio/kind.h"
#include "lkvm/vm.h"
#include "unit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_WORDS 64

/* Cuts @line up in place. */
static int split(char *line, char **words)
{
	char *at = line;
	int n = 0;

	for (;;) {
		while (*at == ' ')
			at++;
		if (!*at)
			break;
		ck_assert_int_lt(n, MAX_WORDS);
		words[n++] = *at == '\'' ? at + 1 : at;
		at = *at == '\'' ? strchr(at + 1, '\'') : at + strcspn(at, " ");
		if (*at)
			*at++ = '\0';
	}
	words[n] = NULL;
	return n;
}

static void add(char *plan, const char *fmt, ...) __printf(2, 3);
static void add(char *plan, const char *fmt, ...)
{
	size_t len = strlen(plan);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(plan + len, sizeof(((struct command_line *)NULL)->plan) - len, fmt, ap);
	va_end(ap);
}

/* What differs from a machine that nobody asked anything of. */
static void describe(char *plan, const struct vm_config *cfg)
{
	static const char *const consoles[] = {"serial", "hv", "virtio"};
	static const char *const chips[] = {"auto", "plic", "aia"};
	static const char *const transports[] = {"auto", "mmio", "pci"};
	char size[32];
	size_t i;

	add(plan, "%s=%s", cfg->firmware ? "firmware" : "kernel",
	    cfg->firmware ? cfg->firmware : cfg->kernel);
	if (cfg->initrd)
		add(plan, " initrd=%s", cfg->initrd);
	if (cfg->params)
		add(plan, " params=[%s]", cfg->params);
	if (cfg->nodefaults)
		add(plan, " nodefaults");
	add(plan, " cpus=%u", cfg->cpus);
	for (i = 0; i < cfg->nr_mem; i++) {
		add(plan, " mem=%s", format_size(size, sizeof(size), cfg->mem[i].size));
		if (cfg->mem[i].placed)
			add(plan, "@0x%llx", (unsigned long long)cfg->mem[i].gpa);
	}
	if (cfg->console != CONSOLE_SERIAL)
		add(plan, " console=%s", consoles[cfg->console]);
	if (cfg->transport != TRANSPORT_AUTO)
		add(plan, " transport=%s", transports[cfg->transport]);
	if (cfg->arch->irqchip != IRQCHIP_AUTO)
		add(plan, " irqchip=%s", chips[cfg->arch->irqchip]);
	for (i = 0; i < cfg->nr_virtio; i++)
		add(plan, " %s[%s]", cfg->virtio[i].kind->option, cfg->virtio[i].text);
	if (strncmp(cfg->name, "guest-", 6) != 0)
		add(plan, " name=%s", cfg->name);
	if (cfg->timeout_s)
		add(plan, " timeout=%u", cfg->timeout_s);
	if (cfg->dump_dtb)
		add(plan, " dump-dtb=%s", cfg->dump_dtb);
	for (i = 0; i < ISA_EXT_COUNT; i++)
		if (cfg->arch->isa.hide_isa[i])
			add(plan, " without-%s", isa_ext_name((unsigned int)i));
	for (i = 0; i < SBI_EXT_COUNT; i++)
		if (cfg->arch->isa.hide_sbi[i])
			add(plan, " without-sbi-%s", sbi_ext_name((unsigned int)i));
	if (cfg->arch->isa.set_mvendorid)
		add(plan, " mvendorid=%llu", (unsigned long long)cfg->arch->isa.mvendorid);
	if (cfg->arch->isa.set_marchid)
		add(plan, " marchid=%llu", (unsigned long long)cfg->arch->isa.marchid);
	if (cfg->arch->isa.set_mimpid)
		add(plan, " mimpid=%llu", (unsigned long long)cfg->arch->isa.mimpid);
}

static int try_run(struct command_line *c, struct log *log, int argc, char **argv, bool build)
{
	struct run_options *o;
	struct error err;
	struct vm *vm;
	int ret = run_parse(argc, argv, log, &o, &err);

	if (!ret && build) {
		vm = vm_create(run_config(o), fake_host_sys(c->host), log, &err);
		ret = vm ? 0 : -1;
		vm_destroy(vm);
	}
	if (!ret)
		describe(c->plan, run_config(o));
	run_options_free(o);
	return ret < 0 ? not_started(log, &err) : 0;
}

int command_line_try(struct command_line *c, const char *line, bool build)
{
	char *text = strdup(line), *words[MAX_WORDS + 1];
	int argc = split(text, words), log_fd = memfd_create("log", MFD_CLOEXEC), ret;
	const struct command *command = argc ? command_find(words[0]) : NULL;
	struct error err;
	struct log log;
	long len;

	ck_assert_int_ge(log_fd, 0);
	log_init(&log, log_fd, LOG_LEVEL_WARNING);
	c->plan[0] = '\0';
	if (command && command->run != cmd_run) {
		ret = command->run(&log, argc - 1, words + 1);
	} else if (command || words[0][0] == '-' || !access(words[0], F_OK) ||
		   strchr(words[0], '/')) {
		ret = try_run(c, &log, argc - !!command, words + !!command, build);
	} else {
		command_unknown(words[0], &err);
		ret = not_started(&log, &err);
	}
	len = pread_all(log_fd, c->message, sizeof(c->message) - 1, 0);
	ck_assert_int_ge(len, 0);
	c->message[len] = '\0';
	if (len && c->message[len - 1] == '\n')
		c->message[len - 1] = '\0';
	close(log_fd);
	free(text);
	return ret;
}
