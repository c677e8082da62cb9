// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands that go to one device of a running VM: "lkvm balloon", "lkvm link", "lkvm
 * resize". Each becomes the control command "device" with the device's name and its own
 * words; the device says what they mean (include/lkvm/virtio/device.h, command).
 */
#include "remote.h"

#include <stdlib.h>
#include <string.h>

/* All are asked with these; resize and link name one device, so one VM. */
static const struct option_spec rows[] = {
	REMOTE_NAME,
	REMOTE_ALL,
	REMOTE_JSON,
	{.name = NULL},
};

/* The operand after those that were taken, or NULL. */
static const char *operand(const struct remote *r, const struct operands *ops, int nth)
{
	return r->next + nth < ops->argc ? ops->argv[r->next + nth] : NULL;
}

static int tell_device(const char *name, const char *device, const char *words, json_t **result,
		       struct error *err)
{
	return control_ask(name, "device",
			   json_pack("{s:s, s:s}", "device", device, "words", words), result, err);
}

static int device_command(const struct remote *r, const char *name, const char *device,
			  const char *words, struct error *err)
{
	const char *text;
	json_t *result;

	if (tell_device(name, device, words, &result, err))
		return -1;
	if (r->json) {
		remote_json(name, result);
		return 0;
	}
	text = json_string_value(json_object_get(result, "text"));
	if (text && *text)
		remote_text(r, name, "%s", text);
	json_decref(result);
	return 0;
}

static int size_of(const char *text, uint64_t *size, struct error *err)
{
	struct error why;

	return parse_size(text, MIB, size, &why) ? fail(err, "%s: %s", text, why.msg) : 0;
}

/* --- balloon -------------------------------------------------------------- */

/* "target 40M, actual 38M, of 256M; ...": the sizes are exact. */
static void add_sizes(json_t *result)
{
	static const char *const names[] = {"target", "actual", "memory"};
	const char *text = json_string_value(json_object_get(result, "text"));
	char sizes[3][24];
	uint64_t bytes;
	size_t i;

	if (!text || sscanf(text, "target %23[^,], actual %23[^,], of %23[^;]", sizes[0], sizes[1],
			    sizes[2]) != 3)
		return;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!parse_size(sizes[i], 1, &bytes, NULL))
			json_object_set_new(result, names[i], json_integer((json_int_t)bytes));
}

static int balloon_one(struct remote *r, const char *name, const struct operands *ops,
		       struct error *err)
{
	const char *text = operand(r, ops, 0);
	char words[64] = "show";
	json_t *result;
	uint64_t size;

	if (text) {
		if (size_of(text, &size, err))
			return -1;
		snprintf(words, sizeof(words), "target %llu", (unsigned long long)size);
	}
	if (!r->json)
		return device_command(r, name, "balloon0", words, err);
	if (tell_device(name, "balloon0", words, &result, err))
		return -1;
	add_sizes(result);
	remote_json(name, result);
	return 0;
}

#define KVMTOOL_INSTEAD "say how large the balloon is to be: lkvm balloon NAME SIZE"

static const struct option_spec balloon_rows[] = {
	REMOTE_NAME,
	REMOTE_ALL,
	REMOTE_JSON,
	/* kvmtool's: by how much, not to what. */
	{"inflate", 'i', "N", KVMTOOL_INSTEAD, NULL, .set = option_refuse, .hidden = true},
	{"deflate", 'd', "N", KVMTOOL_INSTEAD, NULL, .set = option_refuse, .hidden = true},
	{.name = NULL},
};

const struct option_table balloon_table = {
	"balloon", "[NAME] [SIZE]",
	"Take SIZE of memory (MiB, or with K M G T) from a VM that has a balloon;\n"
	"0 gives all of it back. Without SIZE: show what it holds, and the guest's\n"
	"own figures.",
	balloon_rows, false};

int cmd_balloon(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};

	return remote_main(log, &balloon_table, &r, argc, argv, 1, balloon_one);
}

/* --- link ------------------------------------------------------------------- */

static bool is_link_state(const char *word)
{
	return !strcmp(word, "up") || !strcmp(word, "down");
}

static int link_one(struct remote *r, const char *name, const struct operands *ops,
		    struct error *err)
{
	const char *device = operand(r, ops, 0), *state = operand(r, ops, 1);
	char words[16] = "link";

	/* The device's name may be left out. */
	if (device && !state && is_link_state(device)) {
		state = device;
		device = NULL;
	}
	if (state && !is_link_state(state))
		return fail(err, "%s: a link is up or down", state);
	if (state)
		snprintf(words, sizeof(words), "link %s", state);
	return device_command(r, name, device ? device : "net0", words, err);
}

const struct option_table link_table = {
	"link", "[NAME] [DEVICE] [up|down]",
	"Plug the cable of a VM's network device (net0) in or out. Without up or down:\n"
	"show how it is.",
	rows, false};

int cmd_link(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};

	return remote_main(log, &link_table, &r, argc, argv, 2, link_one);
}

/* --- resize ------------------------------------------------------------------ */

static int resize_one(struct remote *r, const char *name, const struct operands *ops,
		      struct error *err)
{
	const char *disk = operand(r, ops, 0), *text = operand(r, ops, 1);
	char words[64] = "resize";
	uint64_t size;

	if (!disk)
		return fail(err, "lkvm resize wants a disk (disk0), and perhaps a size");
	if (text) {
		if (size_of(text, &size, err))
			return -1;
		snprintf(words, sizeof(words), "resize %llu", (unsigned long long)size);
	}
	return device_command(r, name, disk, words, err);
}

const struct option_table resize_table = {
	"resize", "[NAME] DISK [SIZE]",
	"Give the image of a VM's disk (disk0, disk1, ...) this SIZE (MiB, or with\n"
	"K M G T), and tell the guest. Without SIZE: tell it how large the image is now.",
	rows, false};

int cmd_resize(struct log *log, int argc, char **argv)
{
	struct remote r = {.name = NULL};

	return remote_main(log, &resize_table, &r, argc, argv, 2, resize_one);
}
