// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio devices that were asked for, looked at together before the first is built:
 * their names, and whether two of them want what a VM has but once.
 *
 * The words are all there is to look at. Each kind says what its words claim: a socket device
 * its being the only one, say. A share claims its mount tag, whether 9p or virtio-fs serves it
 * (for --share that depends on the host, and the same command line should do everywhere).
 *
 * An option that is only said of such a device (--publish) is put into its words.
 *
 * No state; before the guest runs. Nothing is saved: the words are.
 */
#include "lkvm/virtio/kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void virtio_asked_name(const struct virtio_request *asked, size_t index, char name[VIRTIO_NAME_MAX])
{
	const char *prefix = asked[index].kind->prefix;
	unsigned int nth = 0;
	size_t i;

	for (i = 0; i < index; i++)
		if (!strcmp(asked[i].kind->prefix, prefix))
			nth++;
	snprintf(name, VIRTIO_NAME_MAX, "%s%u", prefix, nth);
}

static bool claims(const struct virtio_request *asked, size_t index, char what[VIRTIO_CLAIM_MAX])
{
	const struct virtio_request *r = &asked[index];
	struct virtio_shared shared;
	char name[VIRTIO_NAME_MAX];

	virtio_asked_name(asked, index, name);
	if (r->kind->share && r->kind->share(name, r->text, &shared)) {
		snprintf(what, VIRTIO_CLAIM_MAX, VIRTIO_CLAIM_TAG, shared.tag);
		free(shared.dir);
		return true;
	}
	return r->kind->claim && r->kind->claim(name, r->text, what);
}

int virtio_asked_check(const struct virtio_request *asked, size_t nr, struct error *err)
{
	char mine[VIRTIO_CLAIM_MAX], other[VIRTIO_CLAIM_MAX];
	size_t i, j;

	for (i = 0; i < nr; i++) {
		if (!claims(asked, i, mine))
			continue;
		for (j = 0; j < i; j++)
			if (claims(asked, j, other) && !strcmp(mine, other))
				return fail(err, "--%s %s and --%s %s: a VM has only one %s",
					    asked[j].kind->option, asked[j].text,
					    asked[i].kind->option, asked[i].text, mine);
	}
	return 0;
}

int virtio_asked_publish(struct virtio_request *asked, size_t nr, const char *const *ports,
			 size_t nr_ports, char **text, struct error *err)
{
	size_t i, len = 0;
	FILE *out;

	*text = NULL;
	while (nr && !(asked->kind->publishes && asked->kind->publishes(asked->text))) {
		asked++;
		nr--;
	}
	if (!nr)
		return fail(err,
			    "--publish %s: ports are forwarded to a network device in user mode, "
			    "and there is none (-n user)",
			    ports[0]);
	out = open_memstream(text, &len);
	if (!out)
		return fail(err, "no memory");
	fputs(asked->text, out);
	for (i = 0; i < nr_ports; i++)
		fprintf(out, "%spublish=%s", i || *asked->text ? "," : "", ports[i]);
	if (fclose(out)) {
		free(*text);
		*text = NULL;
		return fail(err, "no memory");
	}
	asked->text = *text;
	return 0;
}
