// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket's commands "snapshot" and "dump".
 *
 * "snapshot": save the VM into the file whose descriptor
 * came with the request. Arguments: "compress" ("none", "zlib", "zstd"). The answer says what the
 * state is called, how many bytes were written, how long the guest stood still, and what is lost
 * because KVM gives it to nobody. It
 * comes when all is written; meanwhile the event "saving" tells how far that is. A client
 * that leaves before ends the save, and the guest goes on.
 *
 * "dump": the same with a core file, without arguments.
 *
 * The VM opens nothing by path and renames nothing: whoever asks has made the file, and
 * puts it in place when it has got to the disk.
 *
 * Thread: the loop's. Nothing is saved of it.
 */
#include "lkvm/snapshot/control.h"

#include "lkvm/snapshot/dump.h"
#include "lkvm/snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int encoding_of(const char *word, enum snapshot_encoding *encoding, struct error *err)
{
	unsigned int i;

	for (i = 0; snapshot_encodings[i]; i++) {
		if (strcmp(word, snapshot_encodings[i]))
			continue;
		*encoding = (enum snapshot_encoding)i;
		return 0;
	}
	return fail(err, "compress is \"none\", \"zlib\" or \"zstd\"");
}

static int check_fd(int fd, struct error *err)
{
	struct stat st;

	if (fd < 0)
		return fail(err, "no descriptor of a file came with the request");
	if (fstat(fd, &st))
		return fail_errno(err, errno, "the file can't be looked at");
	if (!S_ISREG(st.st_mode) || st.st_size)
		return fail(err, "the file is no plain and empty one");
	return (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY
		       ? fail(err, "the file is not open for writing")
		       : 0;
}

/**
 * struct asked - whom to answer
 * @fd: the file's
 */
struct asked {
	struct control *control;
	struct control_later *later;
	int fd;
};

/* Who asked puts the file in place: without that one it would be nobody's. */
static bool progress(void *opaque, uint64_t done, uint64_t total)
{
	const struct asked *a = opaque;

	control_event(
		a->control, "saving",
		json_pack("{s:I, s:I}", "done", (json_int_t)done, "total", (json_int_t)total));
	return control_awaited(a->later);
}

static json_t *texts(const struct reasons *all)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < all->nr && i < REASONS_MAX; i++)
		json_array_append_new(list, json_string(all->list[i].msg));
	return list;
}

static void answer(void *opaque, const struct snapshot_result *done, const struct error *err)
{
	struct asked *a = opaque;
	char id[2 * SNAPSHOT_ID_SIZE + 1];
	json_t *result = NULL;

	close(a->fd);
	if (done) {
		snapshot_id_text(done->id, id);
		control_event(a->control, "snapshot", json_pack("{s:s}", "id", id));
		result = json_pack(
			"{s:s, s:I, s:I, s:o}", "id", id, "written", (json_int_t)done->written,
			"paused", (json_int_t)(done->paused_ns / 1000), "lost", texts(&done->lost));
	}
	if (a->later)
		control_answer(a->later, result, done ? NULL : err);
	else
		json_decref(result);
	free(a);
}

static int begin(struct control_call *call, struct snapshot_request *req, struct error *err)
{
	struct asked *a = malloc(sizeof(*a));

	if (!a)
		return fail(err, "no memory");
	*a = (struct asked){.control = call->control, .fd = call->fd};
	if (snapshot_begin(call->vm, req, answer, a, err)) {
		free(a);
		return -1;
	}
	call->fd = -1;
	a->later = control_later(call, err);
	if (a->later)
		return CONTROL_LATER;
	/* Nobody could be told what becomes of it. */
	call->vm->reader->cancel(call->vm->reader);
	return -1;
}

static int do_snapshot(struct control_call *call, json_t **result, struct error *err)
{
	struct snapshot_request req = {.fd = call->fd, .progress = progress};
	const char *compress = "none";

	(void)result;
	return control_arguments(call, err, "{s?s}", "compress", &compress) ||
			       encoding_of(compress, &req.encoding, err) || check_fd(call->fd, err)
		       ? -1
		       : begin(call, &req, err);
}

static int do_dump(struct control_call *call, json_t **result, struct error *err)
{
	const struct snapshot_io io = {.ops = &snapshot_io_linux};
	struct dump_result done;

	if (control_arguments(call, err, "{}") || check_fd(call->fd, err) ||
	    dump_write(call->vm, io, call->fd, &done, err))
		return -1;
	*result = json_pack("{s:I, s:I}", "written", (json_int_t)done.written, "paused",
			    (json_int_t)(done.paused_ns / 1000));
	return *result ? 0 : fail(err, "no memory");
}

const struct control_command snapshot_commands[] = {
	{"snapshot", do_snapshot, "save the VM into the file that comes along"},
	{"dump", do_dump,
	 "write memory and registers for debuggers into the file that comes along"},
	{NULL, NULL, NULL},
};
