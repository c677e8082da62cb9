// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does time pass in user mode on every hart?
 *
 * Theory of operation: pinned to each CPU in turn, read the time CSR by rdtime (an illegal
 * instruction where scounteren.TM is clear), CLOCK_MONOTONIC through the vDSO (which does the same)
 * and by system call, twice, 20 ms apart. Each must have moved by at least that much and not by
 * seconds, the clocks must agree with one another, and rdtime with the device tree's frequency.
 * With "hotplug" as argument, then take each CPU that can be taken offline and bring it back, and
 * look at it again: a hart that starts anew starts with cleared CSRs. Behind it may be a number of
 * seconds for which the CPU stays away, and then is back before it is looked at.
 *
 * Says "rdtime: N CPUs good" (again after "hotplug") and returns 0, or what is wrong and 1.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NSEC 1000000000ull
#define PAUSE_NS 20000000ull
/* An emulated host may well stop us for a while. */
#define LATE_NS (5 * NSEC)

static sigjmp_buf trapped;

static void illegal(int sig)
{
	siglongjmp(trapped, sig);
}

static uint64_t rdtime(void)
{
	uint64_t t;

	__asm__ volatile("rdtime %0" : "=r"(t));
	return t;
}

static uint64_t ns_of(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * NSEC + (uint64_t)ts->tv_nsec;
}

struct sample {
	uint64_t ticks;
	uint64_t vdso;
	uint64_t call;
};

static void take(struct sample *s)
{
	struct timespec ts;

	s->ticks = rdtime();
	clock_gettime(CLOCK_MONOTONIC, &ts);
	s->vdso = ns_of(&ts);
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
	s->call = ns_of(&ts);
}

static uint64_t timebase(void)
{
	int fd = open("/proc/device-tree/cpus/timebase-frequency", O_RDONLY);
	uint32_t cell = 0;

	if (fd < 0 || read(fd, &cell, sizeof(cell)) != sizeof(cell))
		cell = 0;
	if (fd >= 0)
		close(fd);
	return be32toh(cell);
}

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static int check_cpu(int cpu, uint64_t freq)
{
	struct timespec pause = {.tv_nsec = PAUSE_NS};
	struct sample a, b;
	uint64_t by_ticks, by_vdso, by_call;

	if (pin(cpu)) {
		printf("rdtime: CPU %d: cannot go there: %s\n", cpu, strerror(errno));
		return 1;
	}
	if (sigsetjmp(trapped, 1)) {
		printf("rdtime: CPU %d: illegal instruction\n", cpu);
		return 1;
	}
	take(&a);
	nanosleep(&pause, NULL);
	take(&b);
	if (sched_getcpu() != cpu) {
		printf("rdtime: CPU %d: ran elsewhere\n", cpu);
		return 1;
	}
	by_ticks = (b.ticks - a.ticks) * NSEC / freq;
	by_vdso = b.vdso - a.vdso;
	by_call = b.call - a.call;
	if (by_ticks < PAUSE_NS || by_vdso < PAUSE_NS || by_call < PAUSE_NS || by_ticks > LATE_NS ||
	    by_vdso > LATE_NS || by_call > LATE_NS || a.vdso > a.call || b.vdso > b.call ||
	    b.vdso < a.call) {
		printf("rdtime: CPU %d: over 20 ms of sleep, rdtime moved by %llu ns, the vDSO's "
		       "clock by %llu, the kernel's by %llu\n",
		       cpu, (unsigned long long)by_ticks, (unsigned long long)by_vdso,
		       (unsigned long long)by_call);
		return 1;
	}
	return 0;
}

static int set_online(int cpu, const char *value)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return errno == ENOENT ? 1 : -1;
	ret = write(fd, value, 1) == 1 ? 0 : -1;
	close(fd);
	return ret;
}

static int hotplug(int cpu, int nr, uint64_t freq, unsigned int wait)
{
	int ret;

	/* Not from the CPU that goes away. */
	pin(cpu ? 0 : nr - 1);
	ret = set_online(cpu, "0");
	if (ret > 0) {
		printf("rdtime: CPU %d cannot be taken offline here\n", cpu);
		return 0;
	}
	sleep(wait);
	if (ret || set_online(cpu, "1")) {
		printf("rdtime: CPU %d: offline and online: %s\n", cpu, strerror(errno));
		return 1;
	}
	sleep(wait);
	if (check_cpu(cpu, freq))
		return 1;
	printf("rdtime: CPU %d good after hotplug\n", cpu);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = illegal};
	int nr = (int)sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t freq = timebase();
	unsigned int wait = argc > 2 ? (unsigned int)atoi(argv[2]) : 0;
	int cpu, bad = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGILL, &sa, NULL);
	if (!freq) {
		printf("rdtime: no timebase-frequency\n");
		return 1;
	}
	for (cpu = 0; cpu < nr; cpu++)
		bad |= check_cpu(cpu, freq);
	if (!bad)
		printf("rdtime: %d CPUs good\n", nr);
	if (argc > 1 && !strcmp(argv[1], "hotplug") && nr > 1) {
		for (cpu = 0; cpu < nr; cpu++)
			bad |= hotplug(cpu, nr, freq, wait);
		if (!bad)
			printf("rdtime: %d CPUs good after hotplug\n", nr);
	}
	return bad;
}
