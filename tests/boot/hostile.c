// SPDX-License-Identifier: GPL-2.0-only
/*
 * hostile-run: play the hostile guest's cases (guest/hostile), one VM each, and watch the
 * process from outside.
 *
 * usage: hostile-run LKVM IMAGE BUS [NAME...]		in a directory of its own
 *
 * The variable HOSTILE_COUNT says how often storms poke (1000), and what takes longer by
 * it gets more time.
 *
 * Theory of operation: the guest itself says whether its devices answered as they
 * must, and stops at three places until a line comes: before the poke, after it, and
 * when the poked device works again. What this program sees at these places must
 * agree: the process lives, has no more descriptors and threads than before, about as
 * much memory beyond the guest's, used less than a second of CPU time for itself, said
 * little, and left the files as long as they were and the read-only one as it was. At
 * the network card's other end only frames from its own address come out; in case C7
 * this end sends all it can until the guest says "poked".
 *
 * An emulated host runs lkvm's own code some twenty times slower than the machine
 * under it, so its second is longer: CPU_LIMIT counts that in, and the largest figure
 * seen is printed. (Time that the emulated host lost to others counts too.)
 *
 * Some cases leave work in flight at the end, which is the guest's own, a reboot or a signal:
 * then the process must be gone, or the guest be there again, within END_SECONDS.
 *
 * Output: a line for each case, and a last one with counts. Status 0 where all went
 * well. Single-threaded; poll(2) on two pipes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RAM_MIB 32
#define DISK_SIZE (1024 * 1024)
#define PMEM_SIZE (2 * 1024 * 1024)
#define COUNT 1000
#define CASE_SECONDS 40
/* From the last line to the end of the process, whatever the guest left in flight. */
#define END_SECONDS 15
#define CPU_LIMIT 8.0
#define MEMORY_SLACK_KIB 2048
#define OUT_LIMIT (64 * 1024)
#define FLOOD_LIMIT (1024 * 1024)
#define ERR_LIMIT 8192
#define MAX_CASES 128

/* What the network card is told to be. */
#define MAC "02:15:15:15:15:15"
#define MAC_BYTES "\x02\x15\x15\x15\x15\x15"

#define ID_NET 1
#define ID_CONSOLE 3
#define ID_BALLOON 5
#define ID_9P 9
#define ID_VSOCK 19
#define ID_PMEM 27

struct sample {
	int fds, threads;
	long kib;
	double cpu;
};

struct run {
	const char *lkvm, *image, *bus;
	unsigned long count; /* of a storm's pokes */
	pid_t pid;
	int in, out, err, net;
	bool flood;
	unsigned long foreign; /* frames from an address that is not the card's */
	char line[512];	       /* of output, not yet complete */
	size_t len;
	size_t out_bytes, err_bytes;
	char said[2048]; /* end of what lkvm said */
	char wrong[512]; /* what the guest said was wrong */
	struct timespec deadline;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- the process from outside ---------------------------------------------------- */

static int count_entries(pid_t pid, const char *what)
{
	struct dirent *e;
	char path[64];
	int nr = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((e = readdir(dir)))
		nr += e->d_name[0] != '.';
	closedir(dir);
	return nr;
}

/* Resident in all mappings but those that the guest fills: its RAM and images. */
static long resident_kib(pid_t pid)
{
	long size = 0, rss, sum = 0;
	char path[64], line[256], perms[8];
	bool image = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*x-%*x %7[rwxps-]", perms) == 1)
			image = strstr(line, ".img") != NULL;
		sscanf(line, "Size: %ld", &size);
		if (sscanf(line, "Rss: %ld", &rss) == 1 && size != RAM_MIB * 1024L && !image)
			sum += rss;
	}
	fclose(f);
	return sum;
}

/* Seconds of CPU without what the guest itself used. */
static double cpu_seconds(pid_t pid)
{
	unsigned long user = 0, sys = 0, guest = 0;
	char path[64], text[1024], *p;
	unsigned int field;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	p = strrchr(text, ')');
	for (field = 2; p && *p; p++) {
		if (*p != ' ')
			continue;
		field++;
		if (field == 14)
			user = strtoul(p, NULL, 10);
		else if (field == 15)
			sys = strtoul(p, NULL, 10);
		else if (field == 43)
			guest = strtoul(p, NULL, 10);
	}
	/* Counted in different ways, so that the guest's may be a little more than all. */
	return ((double)(user + sys) - (double)guest) / (double)sysconf(_SC_CLK_TCK);
}

/* A thread of the kernel's that served a device may need a moment to end. */
static void settle(struct run *r, const struct sample *before)
{
	int tries;

	for (tries = 0; tries < 100; tries++) {
		if (count_entries(r->pid, "fd") <= before->fds &&
		    count_entries(r->pid, "task") <= before->threads)
			return;
		usleep(20000);
	}
}

static struct sample look(struct run *r)
{
	return (struct sample){
		.fds = count_entries(r->pid, "fd"),
		.threads = count_entries(r->pid, "task"),
		.kib = resident_kib(r->pid),
		.cpu = cpu_seconds(r->pid),
	};
}

/* --- start and talk ---------------------------------------------------------------- */

static void exec_lkvm(struct run *r, const char *name, int id)
{
	char params[128], ram[16], net[64];
	bool vhost = !strcmp(name, "C22") || !strcmp(name, "A17-vhost");
	const char *argv[40];
	int n = 0;

	snprintf(params, sizeof(params), "poke=%s bus=%s count=%lu", name, r->bus, r->count);
	snprintf(ram, sizeof(ram), "%d", RAM_MIB);
	snprintf(net, sizeof(net), "mode=fd,fd=%d,guest_mac=" MAC, r->net);
	argv[n++] = "lkvm";
	argv[n++] = "run";
	argv[n++] = "-k";
	argv[n++] = r->image;
	argv[n++] = "-m";
	argv[n++] = ram;
	argv[n++] = "-c";
	argv[n++] = strcmp(name, "B9") ? "1" : "2";
	argv[n++] = "--console";
	argv[n++] = "hv";
	argv[n++] = "--virtio-transport";
	argv[n++] = r->bus;
	argv[n++] = "-p";
	argv[n++] = params;
	argv[n++] = "-d";
	argv[n++] = "disk.img";
	argv[n++] = "-d";
	argv[n++] = "ro.img,ro";
	argv[n++] = "--rng";
	switch (id) {
	case ID_NET:
		argv[n++] = "-n";
		argv[n++] = net;
		break;
	case ID_CONSOLE:
		argv[n++] = "--console-port";
		/* Nobody reads a pty. */
		argv[n++] = strcmp(name, "C13-blocked") ? "port,path=port.out" : "port,pty";
		break;
	case ID_BALLOON:
		argv[n++] = "--balloon";
		break;
	case ID_9P:
		argv[n++] = "--9p";
		argv[n++] = "share,rw";
		argv[n++] = "--9p";
		argv[n++] = "share,ro,ro";
		break;
	case ID_VSOCK:
		argv[n++] = "--vsock";
		argv[n++] = vhost ? "7741,vhost=on" : "3,uds=vsock.sock";
		break;
	case ID_PMEM:
		argv[n++] = "--pmem";
		argv[n++] = "pmem.img";
		argv[n++] = "--pmem";
		argv[n++] = "pmem-ro.img,ro";
		break;
	}
	argv[n] = NULL;
	execv(r->lkvm, (char *const *)argv);
	_exit(125);
}

static int start(struct run *r, const char *name, int id)
{
	int in[2], out[2], err[2], net[2] = {-1, -1};

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, net))
		return -1;
	fcntl(net[1], F_SETFD, FD_CLOEXEC);
	r->net = net[0];
	r->len = r->out_bytes = r->err_bytes = 0;
	r->said[0] = r->wrong[0] = '\0';
	r->flood = false;
	r->foreign = 0;
	r->pid = fork();
	if (!r->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		exec_lkvm(r, name, id);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	close(net[0]);
	r->in = in[1];
	r->out = out[0];
	r->err = err[0];
	r->net = net[1];
	fcntl(r->out, F_SETFL, O_NONBLOCK);
	fcntl(r->err, F_SETFL, O_NONBLOCK);
	return r->pid < 0 ? -1 : 0;
}

/* The cable's other end. */
static void serve_net(struct run *r)
{
	static const size_t sizes[] = {60, 1514, 64, 590, 20, 65000};
	char frame[65536];
	size_t i;
	ssize_t n;

	while ((n = recv(r->net, frame, sizeof(frame), MSG_DONTWAIT)) > 0)
		r->foreign += n < 12 || memcmp(frame + 6, MAC_BYTES, 6) != 0;
	if (!r->flood)
		return;
	memset(frame, 0, sizeof(frame));
	memset(frame, 0xff, 6);
	for (i = 0; i < 256; i++)
		if (send(r->net, frame, sizes[i % 6], MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
}

static void take_err(struct run *r)
{
	char buf[1024];
	ssize_t n;

	while ((n = read(r->err, buf, sizeof(buf) - 1)) > 0) {
		size_t have = strlen(r->said), keep = sizeof(r->said) - 1;

		r->err_bytes += (size_t)n;
		if (have + (size_t)n <= keep)
			memcpy(r->said + have, buf, (size_t)n);
		else
			n = 0;
		r->said[have + (size_t)n] = '\0';
	}
}

/*
 * Read on until a line is @want (1), the guest says what is wrong or the output ends
 * (0), or time is up (-1). With @lines each line goes there.
 */
static int await(struct run *r, const char *want, double until, FILE *lines)
{
	for (;;) {
		struct pollfd fds[2] = {{r->out, POLLIN, 0}, {r->err, POLLIN, 0}};
		double left = until - now();
		ssize_t n;
		char c;

		while ((n = read(r->out, &c, 1)) == 1) {
			r->out_bytes++;
			if (c == '\r')
				continue;
			if (c != '\n') {
				if (r->len < sizeof(r->line) - 1)
					r->line[r->len++] = c;
				continue;
			}
			r->line[r->len] = '\0';
			r->len = 0;
			if (lines)
				fprintf(lines, "%s\n", r->line);
			if (want && !strcmp(r->line, want))
				return 1;
			if (!strncmp(r->line, "hostile: wrong", 14) ||
			    !strncmp(r->line, "guest:", 6)) {
				size_t have = strlen(r->wrong);

				snprintf(r->wrong + have, sizeof(r->wrong) - have, "%s; ", r->line);
			}
		}
		take_err(r);
		serve_net(r);
		if (!n)
			return 0;
		if (left <= 0)
			return -1;
		/* A look at the network card's other end from time to time. */
		poll(fds, 2, r->flood ? 1 : left > 0.05 ? 50 : (int)(left * 1000) + 1);
	}
}

static int finish(struct run *r, double until)
{
	int status = -1;

	if (await(r, NULL, until, NULL) < 0)
		kill(r->pid, SIGKILL);
	waitpid(r->pid, &status, 0);
	take_err(r);
	close(r->in);
	close(r->out);
	close(r->err);
	close(r->net);
	return status;
}

/* --- files ---------------------------------------------------------------------------- */

static int fill_file(const char *name, size_t size, char with)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char block[4096];
	size_t at;

	if (fd < 0)
		return -1;
	memset(block, with, sizeof(block));
	for (at = 0; at < size; at += sizeof(block))
		if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block))
			return -1;
	return close(fd);
}

static bool is_filled(const char *name, size_t size, char with)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	char block[4096];
	size_t at = 0, i;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, block, sizeof(block))) > 0)
		for (i = 0; i < (size_t)n; i++, at++)
			if (block[i] != with)
				break;
	if (fd >= 0)
		close(fd);
	return at == size;
}

static bool files_good(char *why, size_t len)
{
	struct stat st;

	if (stat("disk.img", &st) || st.st_size != DISK_SIZE) {
		snprintf(why, len, "the disk's image changed its size");
		return false;
	}
	if (!is_filled("ro.img", DISK_SIZE, 'r')) {
		snprintf(why, len, "the read-only disk changed");
		return false;
	}
	if (stat("pmem.img", &st) || st.st_size != PMEM_SIZE) {
		snprintf(why, len, "the persistent memory's file changed its size");
		return false;
	}
	if (!is_filled("pmem-ro.img", PMEM_SIZE, 'p')) {
		snprintf(why, len, "the read-only persistent memory changed");
		return false;
	}
	if (!is_filled("secret", 4096, 's')) {
		snprintf(why, len, "the file outside the share changed");
		return false;
	}
	return true;
}

/* --- cases ------------------------------------------------------------------------------ */

static bool compare(const struct run *r, const struct sample *a, const struct sample *poked,
		    const struct sample *b, char *why, size_t len)
{
	if (b->fds > a->fds)
		snprintf(why, len, "%d descriptors before, %d after", a->fds, b->fds);
	else if (b->threads > a->threads)
		snprintf(why, len, "%d threads before, %d after", a->threads, b->threads);
	else if (b->kib > a->kib + MEMORY_SLACK_KIB)
		snprintf(why, len, "%ld KiB before, %ld after", a->kib, b->kib);
	else if (poked->cpu - a->cpu > CPU_LIMIT * (double)r->count / COUNT)
		snprintf(why, len, "%.2f s of CPU", poked->cpu - a->cpu);
	else
		return true;
	return false;
}

static bool ended_well(struct run *r, const char *name, int status, char *why, size_t len)
{
	size_t limit = strstr(name, "flood") ? FLOOD_LIMIT : OUT_LIMIT;
	bool killed = !strcmp(name, "C5-killed");

	if (r->wrong[0])
		snprintf(why, len, "%s", r->wrong);
	else if (killed ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM
			: !WIFEXITED(status) || WEXITSTATUS(status))
		snprintf(why, len, "lkvm ended with status 0x%x", (unsigned int)status);
	else if (r->foreign)
		snprintf(why, len, "%lu frames from another address", r->foreign);
	else if (r->out_bytes > limit || r->err_bytes > ERR_LIMIT)
		snprintf(why, len, "%zu bytes of output, %zu of messages", r->out_bytes,
			 r->err_bytes);
	else
		return files_good(why, len);
	return false;
}

/* What else it takes for the process to end, where that is not the guest's own affair. */
static bool bring_to_end(struct run *r, const char *name)
{
	double until = now() + END_SECONDS;

	if (!strcmp(name, "C5-reboot"))
		return await(r, "hostile: ready", until, NULL) == 1 &&
		       write(r->in, "over\n", 5) == 5;
	if (!strcmp(name, "C5-killed"))
		return await(r, "hostile: busy", until, NULL) == 1 && !kill(r->pid, SIGTERM);
	return true;
}

static bool play(struct run *r, const char *name, int id, double *cpu, char *why, size_t len)
{
	static const char *const stops[] = {"hostile: ready", "hostile: poked", "hostile: after"};
	double until = now() + CASE_SECONDS * (double)r->count / COUNT;
	struct sample at[3];
	bool good = true;
	double end;
	int i, got, status;

	unlink("vsock.sock");
	if (fill_file("disk.img", DISK_SIZE, 0) || start(r, name, id)) {
		snprintf(why, len, "cannot start: %s", strerror(errno));
		return false;
	}
	for (i = 0; i < 3 && good; i++) {
		got = await(r, stops[i], until, NULL);
		if (got <= 0) {
			snprintf(why, len, "no \"%s\": %s%s", stops[i],
				 r->wrong[0] ? r->wrong
				 : got	     ? "time is up"
					     : "it ended",
				 r->said);
			good = false;
			break;
		}
		if (i == 2)
			settle(r, &at[0]);
		at[i] = look(r);
		r->flood = !i && !strcmp(name, "C7");
		good = write(r->in, "\n", 1) == 1;
	}
	if (good && !bring_to_end(r, name)) {
		snprintf(why, len, "it does not come to its end: %s%s", r->wrong, r->said);
		good = false;
	}
	/* In a while: what a stuck process says is worth more than when it ends. */
	end = now() + (good ? END_SECONDS : 1);
	status = finish(r, end);
	if (!good)
		return false;
	if (now() >= end) {
		snprintf(why, len, "it did not end within %d s: %s", END_SECONDS, r->said);
		return false;
	}
	*cpu = at[1].cpu - at[0].cpu;
	return compare(r, &at[0], &at[1], &at[2], why, len) &&
	       ended_well(r, name, status, why, len);
}

struct listed {
	char name[32];
	int id;
};

/* The guest itself knows its cases. */
static int list_cases(struct run *r, struct listed *cases)
{
	char *text = NULL, *line, *rest;
	size_t size = 0;
	FILE *lines = open_memstream(&text, &size);
	int nr = 0;

	if (start(r, "list", 0))
		return -1;
	await(r, NULL, now() + CASE_SECONDS, lines);
	finish(r, now() + CASE_SECONDS);
	fclose(lines);
	for (line = strtok_r(text, "\n", &rest); line && nr < MAX_CASES;
	     line = strtok_r(NULL, "\n", &rest))
		if (sscanf(line, "%31s %d", cases[nr].name, &cases[nr].id) == 2)
			nr++;
	free(text);
	return nr;
}

static bool wanted(int argc, char **argv, const char *name)
{
	int i;

	for (i = 4; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc <= 4;
}

int main(int argc, char **argv)
{
	struct listed cases[MAX_CASES];
	int i, nr, played = 0, bad = 0;
	double cpu, most = 0;
	struct run r;

	if (argc < 4) {
		fprintf(stderr, "usage: hostile-run LKVM IMAGE mmio|pci [NAME...]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	r = (struct run){.lkvm = argv[1], .image = argv[2], .bus = argv[3], .count = COUNT};
	if (getenv("HOSTILE_COUNT"))
		r.count = strtoul(getenv("HOSTILE_COUNT"), NULL, 10);
	mkdir("share", 0700);
	if (fill_file("disk.img", DISK_SIZE, 0) || fill_file("ro.img", DISK_SIZE, 'r') ||
	    fill_file("pmem.img", PMEM_SIZE, 0) || fill_file("pmem-ro.img", PMEM_SIZE, 'p') ||
	    fill_file("secret", 4096, 's') || fill_file("share/inside", 4096, 'i')) {
		fprintf(stderr, "hostile-run: cannot make the files: %s\n", strerror(errno));
		return 2;
	}
	nr = list_cases(&r, cases);
	for (i = 0; i < nr; i++) {
		char why[4096] = "";

		if (!wanted(argc, argv, cases[i].name))
			continue;
		cpu = 0;
		played++;
		if (play(&r, cases[i].name, cases[i].id, &cpu, why, sizeof(why))) {
			printf("ok %s/%s %.2f s\n", cases[i].name, r.bus, cpu);
		} else {
			printf("FAIL %s/%s: %s\n", cases[i].name, r.bus, why);
			bad++;
		}
		if (cpu > most)
			most = cpu;
		fflush(stdout);
	}
	printf("%s: %d cases, %d failed; at most %.2f s of CPU time\n", r.bus, played, bad, most);
	return bad || !played;
}
