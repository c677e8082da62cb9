// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fuzz the 9p server, through its device and a real ring, on a real directory in a
 * scratch place: the input is a sequence of messages, built from the fields that each
 * has (fids and names from a small set, so that they meet) or raw, with more or less
 * room for the answer; resets; save and load, with bytes changed.
 *
 * The share holds a file, a directory, a FIFO and links to what lies beside it. Besides
 * what the sanitizers see: nothing outside the share is touched (a canary, its
 * directory and the directory above keep every time stamp), an answer is as long as it
 * says and is one to its question, nothing stays in flight, and no descriptor is left
 * when all is over.
 *
 * One device serves all inputs; each begins with a reset and a fresh share.
 */
#include "lkvm/virtio/p9.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)
#define RAM_SIZE (256 * KIB)
#define NUM 8
#define DESC RAM
#define AVAIL (RAM + 0x400)
#define USED (RAM + 0x800)
#define MSG (RAM + 0x10000)
#define REPLY (RAM + 0x20000)
#define MSG_MAX 0x8000
#define REPLY_MAX 0x8000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct input {
	const uint8_t *data;
	size_t size;
};

/* libFuzzer has no place of its own for what lives as long as the process. */
static struct guest_memory mem;
static struct virtio_device *vdev;
static char base[] = "/dev/shm/lkvm-fuzz-9p-XXXXXX";
static int base_fd, share_fd;
static struct stat canary, outside, above;
static uint16_t sent;

static void need(bool ok)
{
	if (!ok)
		abort();
}

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes-- && in->size) {
		v = v << 8 | *in->data++;
		in->size--;
	}
	return v;
}

static uint8_t *ram(gpa_t at, uint64_t len)
{
	const struct memory_region *r = memory_find(&mem, at, len);

	need(r != NULL);
	return (uint8_t *)r->hva + (at - r->gpa);
}

/* --- the place ------------------------------------------------------------------------- */

static void empty(int dir)
{
	DIR *d = fdopendir(dir);
	struct dirent *e;

	need(d != NULL);
	while ((e = readdir(d))) {
		int fd;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!unlinkat(dir, e->d_name, 0))
			continue;
		need(!fchmodat(dir, e->d_name, 0700, 0));
		fd = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		need(fd >= 0);
		empty(fd);
		need(!unlinkat(dir, e->d_name, AT_REMOVEDIR));
	}
	closedir(d);
}

static void make_file(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	need(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void fresh_share(void)
{
	need(!fchmod(share_fd, 0755));
	empty(openat(share_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	make_file(share_fd, "f", "some text in a file");
	need(!mkdirat(share_fd, "d", 0755));
	need(!mkfifoat(share_fd, "p", 0644));
	need(!symlinkat("../outside", share_fd, "l"));
	need(!symlinkat("../outside/canary", share_fd, "c"));
	need(!symlinkat("/", share_fd, "r"));
}

static bool same(const struct stat *before, const char *name)
{
	struct stat st;

	need(!fstatat(base_fd, name, &st, AT_SYMLINK_NOFOLLOW));
	return st.st_mode == before->st_mode && st.st_uid == before->st_uid &&
	       st.st_nlink == before->st_nlink && st.st_size == before->st_size &&
	       !memcmp(&st.st_mtim, &before->st_mtim, sizeof(st.st_mtim)) &&
	       !memcmp(&st.st_ctim, &before->st_ctim, sizeof(st.st_ctim));
}

static void clean_up(void)
{
	vdev->ops->destroy(vdev);
	empty(openat(base_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	rmdir(base);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct virtio_p9_config config = {
		.tag = "fuzz", .max_fids = 64, .max_open = 16};
	struct virtio_p9 *p9;
	int dir;

	(void)argc;
	(void)argv;
	if (!mkdtemp(base)) {
		memcpy(base, "/tmp/////", 9);
		need(mkdtemp(base) != NULL);
	}
	base_fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(base_fd >= 0 && !mkdirat(base_fd, "share", 0755) &&
	     !mkdirat(base_fd, "outside", 0755));
	dir = openat(base_fd, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	make_file(dir, "canary", "sings");
	close(dir);
	share_fd = openat(base_fd, "share", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(share_fd >= 0 && !fstatat(base_fd, "outside/canary", &canary, 0) &&
	     !fstatat(base_fd, "outside", &outside, 0) && !fstat(base_fd, &above));
	memory_init(&mem);
	need(memory_add(&mem, RAM, RAM_SIZE, 4096, NULL));
	p9 = virtio_p9_create("9p0", &mem, NULL,
			      openat(base_fd, "share", O_PATH | O_DIRECTORY | O_CLOEXEC), &config,
			      NULL);
	need(p9 != NULL);
	vdev = virtio_p9_device(p9);
	atexit(clean_up);
	return 0;
}

/* --- the ring ------------------------------------------------------------------------------- */

static void go(void)
{
	static const uint8_t steps[] = {0, 1, 3, 11, 15};
	struct virtq_layout *layout;
	size_t i;

	memset(ram(RAM, 0x1000), 0, 0x1000);
	sent = 0;
	virtio_enter(vdev);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i] == 11) {
			virtio_set_features(vdev, 0, 1);
			virtio_set_features(vdev, 1, 1);
		}
		if (steps[i] == 15) {
			layout = virtio_queue_setup(vdev, 0);
			need(layout != NULL);
			*layout = (struct virtq_layout){
				.num = NUM, .desc = DESC, .avail = AVAIL, .used = USED};
			virtio_queue_enable(vdev, 0, true);
		}
		virtio_set_status(vdev, steps[i]);
	}
	need(vdev->status == 15 && virtio_queue_ready(vdev, 0));
	virtio_leave(vdev);
}

static void put_desc(unsigned int index, gpa_t addr, uint32_t len, uint16_t flags)
{
	uint64_t half[2] = {addr, len | (uint64_t)flags << 32 | (uint64_t)(index + 1) << 48};

	memcpy(ram(DESC + 16 * index, 16), half, 16);
}

/* Send what lies at MSG; the used length. */
static uint32_t send_message(uint32_t len, uint32_t room, uint32_t cut)
{
	uint16_t *avail = (uint16_t *)(void *)ram(AVAIL, 0x100);
	uint16_t *used = (uint16_t *)(void *)ram(USED, 0x100);
	uint32_t filled;

	/* Cut somewhere in two; a descriptor may be empty. */
	cut = cut > len ? len : cut;
	put_desc(0, MSG, cut, 1);
	put_desc(1, MSG + cut, len - cut, room ? 1 : 0);
	put_desc(2, REPLY, room, 2);
	avail[2 + sent % NUM] = 0;
	__atomic_store_n(&avail[1], ++sent, __ATOMIC_RELEASE);
	virtio_enter(vdev);
	virtio_queue_notify(vdev, 0);
	virtio_leave(vdev);
	while (__atomic_load_n(&used[1], __ATOMIC_ACQUIRE) != sent)
		sched_yield();
	memcpy(&filled, (uint8_t *)used + 4 + 8 * ((sent - 1) % NUM) + 4, 4);
	return filled;
}

static void check_answer(uint32_t len, uint32_t room, uint32_t used)
{
	const uint8_t *msg = ram(MSG, MSG_MAX), *reply = ram(REPLY, REPLY_MAX);
	uint32_t size;

	need(used <= room);
	if (!used) {
		need(len < 7 || room < 11);
		return;
	}
	memcpy(&size, reply, 4);
	need(size == used && used >= 7);
	need(reply[4] == 7 ? used == 11 : reply[4] == msg[4] + 1);
	need(reply[5] == msg[5] && reply[6] == msg[6]);
}

/* --- messages -----------------------------------------------------------------------------------
 */

/*
 * What each holds: f fid, 1 2 4 8 numbers, m a mode, s name, t any text, w names with
 * their count, d data with its count.
 */
static const struct {
	uint8_t type;
	const char *fields;
} kinds[] = {
	{8, "f"},      {12, "f4"},     {14, "fs4m4"}, {16, "fst4"},	  {18, "fsm444"},
	{20, "ffs"},   {22, "f"},      {24, "f8"},    {26, "f4m4488888"}, {30, "ffs"},
	{32, "fs84"},  {40, "f84"},    {50, "f4"},    {52, "f14884t"},	  {54, "f1884t"},
	{70, "ffs"},   {72, "fsm4"},   {74, "fsfs"},  {76, "fs4"},	  {100, "4t"},
	{102, "ftt4"}, {104, "f4tt4"}, {108, "2"},    {110, "ffw"},	  {116, "f84"},
	{118, "f8d"},  {120, "f"},     {122, "f"},
};

static const char *const names[] = {
	"f",	  "d",	     "p",    "l",	 "c",
	"r",	  "x",	     "y",    "..",	 ".",
	"",	  "a/b",     "../f", "user.a",	 "z\n",
	"user.b", "/",	     "x/y",  "9P2000.L", "security.selinux",
	"canary", "outside", "\xff", "f",
};

struct message {
	uint8_t *at;
	size_t len;
};

static void put(struct message *m, uint64_t v, unsigned int bytes)
{
	while (bytes--) {
		m->at[m->len++] = (uint8_t)v;
		v >>= 8;
	}
}

static uint64_t number(struct input *in, unsigned int bytes)
{
	uint64_t v = take(in, 1);

	/* Small, all ones, or whatever. */
	if (v < 0xf0)
		return v;
	return v < 0xf8 ? UINT64_MAX : take(in, bytes);
}

static void put_text(struct message *m, struct input *in)
{
	uint64_t which = take(in, 1);
	const char *s = names[which % ARRAY_SIZE(names)];
	size_t len = strlen(s), i;

	if (which < 0xf0) {
		put(m, len, 2);
		memcpy(m->at + m->len, s, len);
		m->len += len;
		return;
	}
	len = take(in, which & 1 ? 1 : 2) % 600;
	put(m, len, 2);
	for (i = 0; i < len; i++)
		put(m, in->size ? take(in, 1) : 'x', 1);
}

static void put_field(struct message *m, struct input *in, char field)
{
	uint64_t n;

	switch (field) {
	case 'f':
		n = take(in, 1);
		put(m, n == 0xff ? UINT32_MAX : n % 12, 4);
		break;
	case 'm':
		put(m, take(in, 2), 4);
		break;
	case 's':
	case 't':
		put_text(m, in);
		break;
	case 'w':
		n = take(in, 1) % 18;
		put(m, n, 2);
		while (n--)
			put_text(m, in);
		break;
	case 'd':
		n = take(in, 2) % 5000;
		put(m, n, 4);
		memset(m->at + m->len, 'w', n);
		m->len += n;
		break;
	default:
		put(m, number(in, (unsigned int)(field - '0')), (unsigned int)(field - '0'));
		break;
	}
}

static void one_message(struct input *in, uint64_t how)
{
	struct message m = {ram(MSG, MSG_MAX), 4};
	uint32_t len, room = REPLY_MAX, used;
	size_t which = take(in, 1) % ARRAY_SIZE(kinds);
	const char *field;

	put(&m, kinds[which].type, 1);
	put(&m, sent, 2);
	for (field = kinds[which].fields; *field; field++)
		put_field(&m, in, *field);
	if (how & 8)
		/* Raw bytes instead. */
		for (m.len = 7; in->size && m.len < 300;)
			put(&m, take(in, 1), 1);
	if (how & 16)
		m.len = m.len * (take(in, 1) & 127) / 127;
	len = (uint32_t)m.len;
	memcpy(m.at, &len, 4);
	if (how & 32)
		m.at[take(in, 1) % 4] = (uint8_t)take(in, 1);
	if (how & 64)
		room = (uint32_t)take(in, 1);
	used = send_message(len, room, how & 128 ? (uint32_t)take(in, 1) : 7);
	check_answer(len, room, used);
}

static void save_load(struct input *in, bool change)
{
	struct xfer x, y;

	virtio_device_quiesce(vdev);
	xfer_save_init(&x);
	virtio_device_transfer(vdev, &x);
	need(!xfer_done(&x, NULL));
	while (change && in->size && take(in, 1) & 1)
		x.buf[take(in, 2) % x.len] = (uint8_t)take(in, 1);
	xfer_load_init(&y, x.buf, x.len);
	virtio_device_transfer(vdev, &y);
	need(change || !xfer_done(&y, NULL));
	xfer_free(&x);
	if (!change || y.failed) {
		virtio_device_resume(vdev);
		return;
	}
	/* What was taken can be saved. Its rings may be anywhere: start anew. */
	xfer_save_init(&x);
	virtio_device_transfer(vdev, &x);
	need(!xfer_done(&x, NULL));
	xfer_free(&x);
	virtio_device_reset(vdev);
	virtio_device_resume(vdev);
	go();
}

static void hello(void)
{
	static const uint8_t version[] = "\x15\0\0\0\x64\xff\xff\0\x40\0\0\x08\0"
					 "9P2000.L";
	static const uint8_t attach[] = "\x17\0\0\0\x68\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0";

	memcpy(ram(MSG, 64), version, 21);
	need(send_message(21, 100, 7) == 21);
	memcpy(ram(MSG, 64), attach, 23);
	need(send_message(23, 100, 7) == 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	int before, after;

	fresh_share();
	before = dup(0);
	close(before);
	go();
	hello();
	while (in.size) {
		uint64_t how = take(&in, 1);

		if ((how & 7) < 6) {
			one_message(&in, how);
		} else if ((how & 7) == 6) {
			save_load(&in, how & 8);
		} else if (how == 255) {
			go();
			hello();
		}
	}
	virtio_device_reset(vdev);
	need(virtio_queue(vdev, 0)->inflight == 0);
	after = dup(0);
	close(after);
	need(before == after);
	need(same(&canary, "outside/canary") && same(&outside, "outside") && same(&above, "."));
	return 0;
}
