// SPDX-License-Identifier: GPL-2.0-only
/*
 * The init of a guest that runs one command: "lkvm run ... -- CMD".
 *
 * lkvm packs it as /init of an initial RAM file system, together with modules and a plan
 * (/lkvm/plan, see plan.c). It loads the modules, mounts what the command is to see, runs
 * it as the user who started lkvm, carries its three streams over ports of a virtio
 * console (command.c), and tells its status on a fourth. Then lkvm ends the VM; a guest that
 * powered itself off would lose what the host has not taken from the ports yet. What goes
 * wrong before is told on that port too, or, where there is none, on the console, and the
 * guest powers off: lkvm shows the console's last lines when there is no verdict.
 *
 * There is no C library: the program is a few KiB, and the same for all guests.
 */
#include "init.h"

#include <linux/reboot.h>

void power_off(struct plan *p, const char *text)
{
	int fd = p->status >= 0 ? p->status : 2;

	sys(__NR_sync);
	write_whole(fd, text, str_len(text));
	if (p->status >= 0)
		sleep_ms(60000);
	else
		write_whole(fd, "\n", 1);
	sys(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0);
	for (;;)
		sleep_ms(1000);
}

void give_up(struct plan *p, const char *what, const char *which, long error)
{
	char text[512] = "error ";

	str_add(text, sizeof(text), what);
	if (which) {
		str_add(text, sizeof(text), " ");
		str_add(text, sizeof(text), which);
	}
	if (error) {
		str_add(text, sizeof(text), ": error ");
		str_add_number(text, sizeof(text), (unsigned long)(error < 0 ? -error : error));
	}
	power_off(p, text);
}

int main(int argc, char **argv)
{
	static struct plan plan;
	char text[64] = "status ";

	(void)argc;
	(void)argv;
	plan.status = -1;
	plan_carry_out(&plan);
	str_add_number(text, sizeof(text), command_run(&plan));
	power_off(&plan, text);
}
