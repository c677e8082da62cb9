// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqmove MOVES REPLUGS: move interrupts among CPUs, and take CPUs away, under load.
 *
 * All interrupts whose line in /proc/interrupts names a virtio device take part, as far as
 * the kernel lets them be moved (a driver may have spread its own over the CPUs). Those
 * that come often at the start, and so did to the end, must come again after each of their
 * moves, and on the CPU they were moved to: one that does not within a minute is stuck.
 * Each REPLUGS takes one of CPUs 1 and up off line, MOVES in between, and brings it back.
 *
 * Messages (MSI) are moved off a CPU before it goes. Linux looks at what a CPU's interrupt file
 * still has pending only when the CPU comes back (imsic_starting_cpu()), and KVM empties the file
 * as it starts the hart (kvm_riscv_vcpu_aia_imsic_reset()): what comes in between is lost, and with
 * it a device that waits to be looked at. No program in user space can help that.
 *
 * What the guest is busy with is somebody else's: who starts the load says so, and looks
 * whether it came to its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_CPUS 16
#define MAX_IRQS 64
#define PATIENCE 60.0

struct irq {
	unsigned int number;
	char name[48];
	unsigned long count[MAX_CPUS];
	int movable, busy, message;
	unsigned int moves;
};

static struct irq irqs[MAX_IRQS];
static unsigned int nr_irqs, nr_cpus;
/* Columns of /proc/interrupts, which has CPUs that are on line only. */
static unsigned int columns[MAX_CPUS], nr_columns;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void nap(unsigned int ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&ts, NULL);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static struct irq *find(unsigned int number)
{
	unsigned int i;

	for (i = 0; i < nr_irqs; i++)
		if (irqs[i].number == number)
			return &irqs[i];
	if (nr_irqs == MAX_IRQS)
		return NULL;
	irqs[nr_irqs] = (struct irq){.number = number, .movable = 1};
	return &irqs[nr_irqs++];
}

static void head(char *line)
{
	char *word;

	nr_columns = 0;
	for (word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
		if (!strncmp(word, "CPU", 3) && nr_columns < MAX_CPUS)
			columns[nr_columns++] = (unsigned int)atoi(word + 3);
}

/* "33: 12 0 0 0 IMSIC 5 Edge virtio0-input.0" */
static void row(char *line)
{
	char *at, *end, *name;
	unsigned long number = strtoul(line, &end, 10);
	struct irq *irq;
	unsigned int i;

	if (*end != ':' || !strstr(line, "virtio"))
		return;
	irq = find((unsigned int)number);
	if (!irq)
		return;
	at = end + 1;
	for (i = 0; i < nr_columns; i++)
		irq->count[columns[i] % MAX_CPUS] = strtoul(at, &at, 10);
	line[strcspn(line, "\n")] = '\0';
	irq->message = strstr(at, "MSI") != NULL;
	name = strrchr(line, ' ');
	snprintf(irq->name, sizeof(irq->name), "%.47s", name ? name + 1 : line);
}

static void look(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	char line[1024];

	if (!f) {
		perror("/proc/interrupts");
		exit(1);
	}
	if (fgets(line, sizeof(line), f))
		head(line);
	while (fgets(line, sizeof(line), f))
		row(line);
	fclose(f);
}

static unsigned long total(const struct irq *irq)
{
	unsigned long sum = 0;
	unsigned int i;

	for (i = 0; i < MAX_CPUS; i++)
		sum += irq->count[i];
	return sum;
}

static void show(void)
{
	unsigned int i, cpu;

	for (i = 0; i < nr_irqs; i++) {
		printf("irqmove: %u %s:", irqs[i].number, irqs[i].name);
		for (cpu = 0; cpu < nr_cpus; cpu++)
			printf(" %lu", irqs[i].count[cpu]);
		printf("%s%s, %u moves\n", irqs[i].busy ? " busy" : "",
		       irqs[i].movable ? "" : " fixed", irqs[i].moves);
	}
}

static void stuck(const struct irq *irq, unsigned int cpu)
{
	printf("irqmove: %u %s: nothing on CPU %u within %.0f s\n", irq->number, irq->name, cpu,
	       PATIENCE);
	show();
	exit(1);
}

static int online(unsigned int cpu, int on)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	return put(path, on ? "1" : "0");
}

static void plug(unsigned int cpu, int on)
{
	int ret = online(cpu, on);

	if (!ret)
		return;
	printf("irqmove: CPU %u %s line: %s\n", cpu, on ? "on" : "off", strerror(-ret));
	exit(1);
}

/* No message that can be moved goes to @cpu any more. */
static void vacate(unsigned int cpu)
{
	char path[64];
	unsigned int i, tries;

	for (i = 0; i < nr_irqs; i++) {
		if (!irqs[i].movable || !irqs[i].message)
			continue;
		snprintf(path, sizeof(path), "/proc/irq/%u/smp_affinity_list", irqs[i].number);
		/* Linux is busy with a move for a tick or two after it. */
		for (tries = 500; tries && put(path, cpu ? "0" : "1") == -EBUSY; tries--)
			nap(10);
	}
	/* What was under way is there. */
	nap(100);
}

static void move(struct irq *irq, unsigned int cpu)
{
	char path[64], text[16];
	double end = now() + PATIENCE;
	unsigned long before;
	int ret;

	snprintf(path, sizeof(path), "/proc/irq/%u/smp_affinity_list", irq->number);
	snprintf(text, sizeof(text), "%u", cpu);
	before = irq->count[cpu];
	ret = put(path, text);
	if (ret) {
		/* The driver's own affairs, or the CPU went meanwhile. */
		irq->movable = ret != -EIO && ret != -EPERM;
		return;
	}
	irq->moves++;
	if (!irq->busy)
		return;
	for (look(); irq->count[cpu] == before; look()) {
		if (now() > end)
			stuck(irq, cpu);
		nap(2);
	}
}

static unsigned int choose_busy(void)
{
	unsigned long before[MAX_IRQS];
	unsigned int i, n = 0;

	look();
	for (i = 0; i < nr_irqs; i++)
		before[i] = total(&irqs[i]);
	nap(3000);
	look();
	for (i = 0; i < nr_irqs; i++) {
		irqs[i].busy = total(&irqs[i]) - before[i] >= 15;
		n += irqs[i].busy;
	}
	return n;
}

/* Move once, to a CPU that is on line and is not @gone. */
static int one_move(unsigned int turn, unsigned int gone)
{
	unsigned int i, cpu;

	for (i = 0; i < nr_irqs; i++) {
		struct irq *irq = &irqs[(turn + i) % nr_irqs];

		cpu = (turn + turn / nr_irqs) % nr_cpus;
		if (cpu == gone)
			cpu = 0;
		if (!irq->movable)
			continue;
		move(irq, cpu);
		if (irq->movable)
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int moves, replugs, done = 0, turn = 0, i, cpu, tries = 20;
	double begun;

	if (argc != 3) {
		fprintf(stderr, "usage: irqmove MOVES REPLUGS\n");
		return 2;
	}
	moves = (unsigned int)atoi(argv[1]);
	replugs = (unsigned int)atoi(argv[2]);
	nr_cpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	if (nr_cpus > MAX_CPUS)
		nr_cpus = MAX_CPUS;
	/* The load may be slow to begin. */
	while (!choose_busy()) {
		if (tries--)
			continue;
		printf("irqmove: no interrupt is busy\n");
		return 1;
	}
	begun = now();
	for (i = 0; i < replugs || done < moves; i++) {
		cpu = nr_cpus > 1 && i < replugs ? 1 + i % (nr_cpus - 1) : MAX_CPUS;
		if (cpu != MAX_CPUS) {
			vacate(cpu);
			plug(cpu, 0);
		}
		do {
			if (!one_move(turn++, cpu)) {
				show();
				printf("irqmove: no interrupt can be moved\n");
				return 1;
			}
			done++;
		} while (replugs && done < (uint64_t)moves * (i + 1) / replugs);
		if (cpu != MAX_CPUS)
			plug(cpu, 1);
	}
	look();
	show();
	printf("irqmove: %u moves, %u times a CPU off line and back, %.0f s\n", done,
	       nr_cpus > 1 ? replugs : 0, now() - begun);
	return 0;
}
