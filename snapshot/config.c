// SPDX-License-Identifier: GPL-2.0-only
/*
 * The configuration in a snapshot: what has to be the same for the state to fit.
 *
 * Section "writer" (not mandatory): text, which lkvm wrote it. Section "config":
 *
 *	text name of the VM
 *	u32 vCPUs, u32 console (0 serial, 1 SBI, 2 virtio), u32 transport (0 auto, 1 mmio, 2 pci)
 *	u8 no default words, u8 firmware; text the user's kernel command line, or none
 *	u32 regions of RAM, each: u64 address, u64 size
 *	u32 virtio devices, each: text option, text name
 *
 * No path is in it: what devices are made of is said anew by whoever restores. Their
 * order gives them their places in the machine, so the file's counts.
 *
 * No state; the caller's thread.
 */
#include "lkvm/snapshot/section.h"
#include "lkvm/virtio/kind.h"
#include "private.h"

#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64
#define OPTION_BYTES 32
#define PARAMS_BYTES 65536
#define WRITER_BYTES 64

/* For the walk: @regions of RAM beside the fields of struct snapshot_saved. */
struct config_walk {
	struct snapshot_saved *s;
	struct mem_request mem[MEMORY_MAX_REGIONS];
};

static bool is_name(const char *text)
{
	return text && *text &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
		       strlen(text);
}

static void walk_memory(struct config_walk *c, struct xfer *x)
{
	struct snapshot_saved *s = c->s;
	uint32_t i;

	xfer_u32(x, &s->nr_mem);
	xfer_check(x, s->nr_mem && s->nr_mem <= MEMORY_MAX_REGIONS, "no or too many regions");
	for (i = 0; i < s->nr_mem && !x->failed; i++) {
		struct mem_request *m = &c->mem[i];

		xfer_u64(x, &m->gpa);
		xfer_u64(x, &m->size);
		xfer_check(x, m->size && m->size % MIB == 0 && m->gpa % SNAPSHOT_PAGE == 0,
			   "a region of RAM is none");
		m->placed = true;
	}
}

static void walk_devices(struct snapshot_saved *s, struct xfer *x)
{
	uint32_t i;

	xfer_u32(x, &s->nr_devices);
	xfer_check(x, s->nr_devices <= VM_MAX_VIRTIO, "too many devices");
	if (x->failed)
		s->nr_devices = 0;
	for (i = 0; i < s->nr_devices; i++) {
		section_text(x, &s->devices[i].option, OPTION_BYTES);
		section_text(x, &s->devices[i].name, OPTION_BYTES);
		xfer_check(x, is_name(s->devices[i].option) && is_name(s->devices[i].name),
			   "a device's name is none");
	}
}

static void walk_config(void *opaque, struct xfer *x)
{
	struct config_walk *c = opaque;
	struct snapshot_saved *s = c->s;

	section_text(x, &s->name, NAME_BYTES);
	xfer_check(x, is_name(s->name), "the VM's name is none");
	xfer_u32(x, &s->cpus);
	xfer_check(x, s->cpus, "no vCPUs");
	xfer_u32(x, &s->console);
	xfer_check(x, s->console <= CONSOLE_VIRTIO, "a console that this lkvm does not know");
	xfer_u32(x, &s->transport);
	xfer_check(x, s->transport <= TRANSPORT_PCI, "a transport that this lkvm does not know");
	xfer_bool(x, &s->nodefaults);
	xfer_bool(x, &s->firmware);
	section_text(x, &s->params, PARAMS_BYTES);
	walk_memory(c, x);
	walk_devices(s, x);
}

static void walk_writer(void *opaque, struct xfer *x)
{
	section_text(x, opaque, WRITER_BYTES);
}

static char *plain(const char *text)
{
	/* Walks take char *, and only read it while saving. */
	return (char *)(uintptr_t)text;
}

int saved_write(const struct vm *vm, struct snapshot_writer *w, struct error *err)
{
	const struct vm_config *cfg = vm->cfg;
	char names[VM_MAX_VIRTIO][VIRTIO_NAME_MAX], *writer = plain("lkvm " LKVM_VERSION);
	struct snapshot_saved s = {.name = plain(cfg->name),
				   .cpus = vm->nr_vcpus,
				   .console = cfg->console,
				   .transport = cfg->transport,
				   .nodefaults = cfg->nodefaults,
				   .firmware = cfg->firmware,
				   .params = plain(cfg->params),
				   .nr_devices = (uint32_t)cfg->nr_virtio};
	struct config_walk c = {.s = &s};
	size_t i;

	for (i = 0; i < vm->mem.nr; i++)
		if (!vm->mem.regions[i].file)
			c.mem[s.nr_mem++] = (struct mem_request){.gpa = vm->mem.regions[i].gpa,
								 .size = vm->mem.regions[i].size};
	for (i = 0; i < cfg->nr_virtio; i++) {
		virtio_asked_name(cfg->virtio, i, names[i]);
		s.devices[i] = (struct saved_device){plain(cfg->virtio[i].kind->option), names[i]};
	}
	return section_save(w, "writer", 0, walk_writer, &writer, err) ||
			       section_save(w, "config", SNAPSHOT_MANDATORY, walk_config, &c, err)
		       ? -1
		       : 0;
}

int snapshot_saved_read(struct snapshot_saved *s, const struct snapshot_file *f,
			struct arch_config *arch_cfg, struct error *err)
{
	struct config_walk c = {.s = s};

	memset(s, 0, sizeof(*s));
	if (snapshot_check_sections(f, err) ||
	    (snapshot_find(f, "writer") && section_load(f, "writer", walk_writer, &s->writer, err)))
		return -1;
	if (section_load(f, "config", walk_config, &c, err))
		return -1;
	s->arch = arch_saved_read(f, err);
	if (!s->arch)
		return -1;
	s->arch_cfg = arch_cfg;
	arch_saved_apply(s->arch, arch_cfg);
	s->cfg = (struct vm_config){.name = s->name,
				    .params = s->params,
				    .nodefaults = s->nodefaults,
				    .cpus = s->cpus,
				    .nr_mem = s->nr_mem,
				    .console = (enum console_kind)s->console,
				    .transport = (enum transport_choice)s->transport,
				    .arch = arch_cfg};
	memcpy(s->cfg.mem, c.mem, sizeof(c.mem));
	return 0;
}

void snapshot_saved_free(struct snapshot_saved *s)
{
	size_t i;

	arch_saved_free(s->arch);
	free(s->name);
	free(s->writer);
	free(s->params);
	for (i = 0; i < VM_MAX_VIRTIO; i++) {
		free(s->devices[i].option);
		free(s->devices[i].name);
	}
	memset(s, 0, sizeof(*s));
}

void snapshot_saved_match(struct snapshot_saved *s, const struct virtio_request *asked, size_t nr,
			  struct reasons *why)
{
	char name[VIRTIO_NAME_MAX];
	bool used[VM_MAX_VIRTIO] = {false};
	uint32_t i;
	size_t k;

	s->cfg.nr_virtio = 0;
	for (i = 0; i < s->nr_devices; i++) {
		const struct saved_device *d = &s->devices[i];

		for (k = 0; k < nr; k++) {
			virtio_asked_name(asked, k, name);
			if (!strcmp(name, d->name) && !strcmp(asked[k].kind->option, d->option))
				break;
		}
		if (k == nr) {
			reasons_add(why, "the VM has %s (--%s), and none was given", d->name,
				    d->option);
			continue;
		}
		used[k] = true;
		s->cfg.virtio[s->cfg.nr_virtio++] = asked[k];
	}
	for (k = 0; k < nr; k++) {
		virtio_asked_name(asked, k, name);
		if (!used[k])
			reasons_add(why, "--%s %s: the VM has no %s", asked[k].kind->option,
				    asked[k].text, name);
	}
}
