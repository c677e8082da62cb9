// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm caps": what this host offers to guests, for people or (--json) programs.
 * Status 0; 1 with the reason where there is no usable /dev/kvm.
 *
 * All strings that are printed are our own words or names from fixed tables, so
 * the JSON needs no escaping; the kernel's release is the one exception and holds
 * no character that would.
 */
#include "cmd.h"
#include "lkvm/riscv/host.h"
#include "lkvm/riscv/layout.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

struct caps_options {
	bool json;
};

static const struct option_spec rows[] = {
	{.name = "json",
	 .help = "print JSON",
	 .set = option_set_flag,
	 .offset = offsetof(struct caps_options, json)},
	{.name = NULL},
};

/* Kernels that do not tell are not to be taken for ones without paging. */
static const char *first_stage(const struct host *h)
{
	return h->satp_mode ? satp_name(h->satp_mode) : "unknown";
}

/* The widths a guest can have on this host, narrowest first. */
static size_t gpa_widths(const struct hgatp_host *host, unsigned int *widths)
{
	static const unsigned int all[] = {41, 50, 59};
	size_t i, n = 0;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] < host->max_bits && host->interface != HGATP_FIXED)
			widths[n++] = all[i];
	widths[n++] = host->max_bits;
	return n;
}

static void print_exts(const char *title, const struct host_ext *ext, unsigned int nr,
		       const char *(*name)(unsigned int), bool on, bool switchable)
{
	unsigned int i;
	int column = 0;

	for (i = 0; i < nr; i++) {
		if (!ext[i].there || ext[i].on != on || ext[i].switchable != switchable)
			continue;
		if (!column)
			column = printf("  %s:", title);
		if (column + 1 + (int)strlen(name(i)) > 79)
			column = printf("\n   ") - 1;
		column += printf(" %s", name(i));
	}
	if (column)
		printf("\n");
}

static void print_text(const struct host *h, const struct utsname *uts)
{
	unsigned int widths[4];
	size_t i, n = gpa_widths(&h->gstage, widths);

	printf("KVM API %d on Linux %s (%s)\n", KVM_API_VERSION, uts->release, uts->machine);
	printf("G-stage:");
	for (i = 0; i < n; i++)
		printf(" %s (%u bits)%s", hgatp_name(widths[i]), widths[i], i + 1 < n ? "," : "");
	printf("\n  chosen by %s\n", hgatp_interface_name(h->gstage.interface));
	printf("first stage: up to %s\n", first_stage(h));
	printf("interrupt chips: plic (in lkvm)%s\n", h->aia ? ", aia (in the kernel)" : "");
	printf("vCPUs: at most %d, %d advised; memslots: %d\n", h->vcpus_max, h->vcpus_advised,
	       h->memslots);
	printf("time: %llu Hz\n", (unsigned long long)h->timebase);
	printf("cache blocks: cbom %u, cboz %u, cbop %u bytes; vector registers: %u bytes\n",
	       h->cbom, h->cboz, h->cbop, h->vlenb);
	printf("mvendorid 0x%llx, marchid 0x%llx, mimpid 0x%llx\n",
	       (unsigned long long)h->mvendorid, (unsigned long long)h->marchid,
	       (unsigned long long)h->mimpid);
	printf("vCPU registers listed: %ld\n", h->registers);
	printf("ISA extensions\n");
	print_exts("can be hidden", h->isa, ISA_EXT_COUNT, isa_ext_name, true, true);
	print_exts("always there", h->isa, ISA_EXT_COUNT, isa_ext_name, true, false);
	print_exts("off, not for guests", h->isa, ISA_EXT_COUNT, isa_ext_name, false, false);
	print_exts("off, can be switched on", h->isa, ISA_EXT_COUNT, isa_ext_name, false, true);
	printf("SBI extensions\n");
	print_exts("on", h->sbi, SBI_EXT_COUNT, sbi_ext_name, true, true);
	print_exts("always on", h->sbi, SBI_EXT_COUNT, sbi_ext_name, true, false);
	print_exts("off until user space wants them", h->sbi, SBI_EXT_COUNT, sbi_ext_name, false,
		   true);
	print_exts("off", h->sbi, SBI_EXT_COUNT, sbi_ext_name, false, false);
}

static void json_exts(const char *title, const struct host_ext *ext, unsigned int nr,
		      const char *(*name)(unsigned int))
{
	const char *comma = "";
	unsigned int i;

	printf(",\n  \"%s\": [", title);
	for (i = 0; i < nr; i++) {
		if (!ext[i].there)
			continue;
		printf("%s\n    {\"name\": \"%s\", \"on\": %s, \"switchable\": %s}", comma, name(i),
		       ext[i].on ? "true" : "false", ext[i].switchable ? "true" : "false");
		comma = ",";
	}
	printf("\n  ]");
}

static void print_json(const struct host *h, const struct utsname *uts)
{
	unsigned int widths[4];
	size_t i, n = gpa_widths(&h->gstage, widths);

	printf("{\n  \"version\": 1,\n  \"kernel\": \"%s\",\n  \"machine\": \"%s\",\n"
	       "  \"kvm_api\": %d,\n",
	       uts->release, uts->machine, KVM_API_VERSION);
	printf("  \"gstage\": {\"interface\": \"%s\", \"max_gpa_bits\": %u, \"modes\": [",
	       hgatp_interface_name(h->gstage.interface), h->gstage.max_bits);
	for (i = 0; i < n; i++)
		printf("%s{\"name\": \"%s\", \"gpa_bits\": %u}", i ? ", " : "",
		       hgatp_option(widths[i]), widths[i]);
	printf("]},\n  \"satp\": \"%s\",\n  \"irqchips\": [\"plic\"%s],\n  \"kernel_aia\": %s,\n",
	       first_stage(h), h->aia ? ", \"aia\"" : "", h->aia ? "true" : "false");
	printf("  \"vcpus\": {\"max\": %d, \"advised\": %d},\n  \"memslots\": %d,\n", h->vcpus_max,
	       h->vcpus_advised, h->memslots);
	printf("  \"timebase\": %llu,\n  \"cbom\": %u, \"cboz\": %u, \"cbop\": %u, \"vlenb\": "
	       "%u,\n",
	       (unsigned long long)h->timebase, h->cbom, h->cboz, h->cbop, h->vlenb);
	printf("  \"mvendorid\": %llu, \"marchid\": %llu, \"mimpid\": %llu,\n",
	       (unsigned long long)h->mvendorid, (unsigned long long)h->marchid,
	       (unsigned long long)h->mimpid);
	printf("  \"registers\": %ld", h->registers);
	json_exts("isa", h->isa, ISA_EXT_COUNT, isa_ext_name);
	json_exts("sbi", h->sbi, SBI_EXT_COUNT, sbi_ext_name);
	printf("\n}\n");
}

const struct option_table caps_table = {"caps", "", "Show what this host offers to guests.", rows,
					false};

int cmd_caps(struct log *log, int argc, char **argv)
{
	struct caps_options o = {false};
	struct operands ops;
	struct utsname uts;
	struct host host;
	struct error err;
	int ret;

	ret = options_parse(&caps_table, &o, argc, argv, &ops, &err);
	if (ret > 0) {
		options_help(&caps_table, STDOUT_FILENO);
		operands_free(&ops);
		return 0;
	}
	if (!ret && (ops.argc || ops.nr_rest))
		ret = fail(&err, "lkvm caps takes no operand");
	operands_free(&ops);
	if (!ret)
		ret = host_probe((struct kvm_sys){.ops = &kvm_sys_linux}, &host, &err);
	if (ret) {
		log_fatal(log, "%s", err.msg);
		return 1;
	}
	uname(&uts);
	if (o.json)
		print_json(&host, &uts);
	else
		print_text(&host, &uts);
	return 0;
}
