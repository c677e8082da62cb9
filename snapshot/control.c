// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket's commands "snapshot" and "dump".
 *
 * "snapshot": save the VM into the file whose descriptor
 * came with the request. Arguments: "compress" ("none", "zlib"). The answer says what the
 * state is called, how many bytes were written, and how long the guest stood still.
 *
 * "dump": the same with a core file, without arguments.
 *
 * The VM opens nothing by path and renames nothing: whoever asks has made the file, and
 * puts it in place when it has got to the disk.
 *
 * Thread: the loop's, which serves nothing else meanwhile. Nothing is saved of it.
 */
#include "lkvm/snapshot/control.h"

#include "lkvm/snapshot/dump.h"
#include "lkvm/snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int encoding_of(const char *word, enum snapshot_encoding *encoding, struct error *err)
{
	if (!strcmp(word, "none"))
		*encoding = SNAPSHOT_RAW;
	else if (!strcmp(word, "zlib"))
		*encoding = SNAPSHOT_ZLIB;
	else
		return fail(err, "compress is \"none\" or \"zlib\"");
	return 0;
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

static int do_snapshot(struct control_call *call, json_t **result, struct error *err)
{
	struct snapshot_request req = {.fd = call->fd};
	struct snapshot_result done;
	const char *compress = "none";
	char id[2 * SNAPSHOT_ID_SIZE + 1];

	if (control_arguments(call, err, "{s?s}", "compress", &compress) ||
	    encoding_of(compress, &req.encoding, err) || check_fd(call->fd, err) ||
	    snapshot_save(call->vm, &req, &done, err))
		return -1;
	snapshot_id_text(done.id, id);
	control_event(call->control, "snapshot", json_pack("{s:s}", "id", id));
	*result = json_pack("{s:s, s:I, s:I}", "id", id, "written", (json_int_t)done.written,
			    "paused", (json_int_t)(done.paused_ns / 1000));
	return *result ? 0 : fail(err, "no memory");
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
