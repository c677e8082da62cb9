// SPDX-License-Identifier: GPL-2.0-only
/*
 * "lkvm help [COMMAND]", "lkvm help kconfig" and "lkvm version".
 */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a guest's kernel needs: built in, or as modules that lkvm or the guest loads. */
static int help_kconfig(void)
{
	printf("# Every guest of lkvm's\n"
	       "CONFIG_SERIAL_8250=y\n"
	       "CONFIG_SERIAL_8250_CONSOLE=y\n"
	       "CONFIG_SERIAL_OF_PLATFORM=y\n"
	       "CONFIG_RTC_DRV_GOLDFISH=y\n"
	       "CONFIG_POWER_RESET=y\n"
	       "CONFIG_VIRTIO_MMIO=y\n"
	       "CONFIG_PCI_HOST_GENERIC=y\n"
	       "CONFIG_VIRTIO_PCI=y\n"
	       "\n"
	       "# Devices, as they are asked for\n"
	       "CONFIG_VIRTIO_BLK=y\n"
	       "CONFIG_VIRTIO_NET=y\n"
	       "CONFIG_VIRTIO_CONSOLE=y\n"
	       "CONFIG_HW_RANDOM_VIRTIO=y\n"
	       "CONFIG_VIRTIO_BALLOON=y\n"
	       "CONFIG_VIRTIO_VSOCKETS=y\n"
	       "CONFIG_VIRTIO_PMEM=y\n"
	       "CONFIG_NET_9P=y\n"
	       "CONFIG_NET_9P_VIRTIO=y\n"
	       "CONFIG_9P_FS=y\n"
	       "CONFIG_FUSE_FS=y\n"
	       "CONFIG_VIRTIO_FS=y\n"
	       "\n"
	       "# \"lkvm run -- COMMAND\": of the above the console, 9P and a transport, and\n"
	       "CONFIG_BLK_DEV_INITRD=y\n"
	       "CONFIG_DEVTMPFS=y\n"
	       "CONFIG_TMPFS=y\n"
	       "CONFIG_OVERLAY_FS=y\n"
	       "CONFIG_SIGNALFD=y\n"
	       "CONFIG_UNIX98_PTYS=y\n"
	       "# for modules that are compressed\n"
	       "CONFIG_MODULE_DECOMPRESS=y\n");
	return 0;
}

static void help_all(void)
{
	const struct command *c;

	printf("lkvm - light virtual machines on RISC-V KVM\n\n"
	       "usage: lkvm COMMAND [options]\n"
	       "       lkvm KERNEL [options]        the same as: lkvm run -k KERNEL [options]\n\n"
	       "The most commonly used commands are:\n");
	for (c = commands; c->name; c++)
		if (c->common)
			printf("  %-10s %s\n", c->name, c->summary);
	printf("\n\"lkvm help COMMAND\" explains one and lists its options; \"lkvm help kconfig\"\n"
	       "prints what a guest's kernel needs. Man pages: lkvm(1), lkvm-run(1).\n");
}

static const struct option_spec no_rows[] = {{.name = NULL}};

const struct option_table help_table = {"help", "[COMMAND]", "Explain a command.", no_rows, true};
const struct option_table version_table = {"version", NULL, "Print the version.", no_rows, false};

static int help_about(struct log *log, const char *topic)
{
	const struct command *c = command_find(topic);
	char help_word[] = "--help";
	char *words[] = {help_word};
	struct error err;

	if (!strcmp(topic, "kconfig"))
		return help_kconfig();
	if (c && c->run != cmd_help)
		return c->run(log, 1, words);
	if (c) {
		help_all();
		return 0;
	}
	if (!command_near(topic))
		fail(&err, "there is no command %s; \"lkvm help\" lists them", topic);
	else
		fail(&err, "there is no command %s; did you mean \"lkvm help %s\"?", topic,
		     command_near(topic));
	return not_started(log, &err);
}

int cmd_help(struct log *log, int argc, char **argv)
{
	struct operands ops;
	struct error err;
	int ret = options_parse(&help_table, NULL, argc, argv, &ops, &err);

	if (ret < 0)
		return not_started(log, &err);
	if (!ret && ops.argc)
		ret = help_about(log, ops.argv[0]);
	else {
		help_all();
		ret = 0;
	}
	operands_free(&ops);
	return ret;
}

int cmd_version(struct log *log, int argc, char **argv)
{
	struct operands ops;
	struct error err;
	int ret = options_parse(&version_table, NULL, argc, argv, &ops, &err);

	if (ret < 0)
		return not_started(log, &err);
	if (ret > 0)
		options_help(&version_table, STDOUT_FILENO);
	else
		printf("lkvm %s\n", LKVM_VERSION);
	operands_free(&ops);
	return 0;
}
