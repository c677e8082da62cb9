#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: own
# time: 400
#
# Linux to user space with 1, 2, 4 and 8 vCPUs and 128 MiB to 3 GiB of RAM. The guest has the host's
# own kernel; it must see all CPUs and its RAM, less what the kernel itself takes, and power off.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

boots() { # CPUS MIB
	guest 120 -k "$KERNEL" -i "$INITRD" -c "$1" -m "$2" --timeout 110 \
		-p "quiet lkvm.run=/bin/grep,MemTotal,/proc/meminfo"
	status_is 0
	silent
	cpus="$1 CPU"
	[ "$1" = 1 ] || cpus="$1 CPUs"
	said "^Hello from the guest: Linux [0-9].*-riscv64, $cpus, isa rv64ima"
	said '^lkvm-status: 0$'
	kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB.*/\1/p' out)
	note "$1 vCPUs, $2 MiB: the guest has $kib KiB"
	# Kernel image, page structures (1.6 %) and what else is reserved at boot: 70 MiB of 128; and
	# 64 MiB of bounce buffers where RAM goes beyond 4 GiB.
	least=$(($2 * 1024 * 97 / 100 - 73728))
	[ "$2" -le 2048 ] || least=$((least - 65536))
	[ "$kib" -lt $(($2 * 1024)) ] || fail "that is more than there is"
	[ "$kib" -gt $least ] || fail "that is too little"
}

boots 1 128
boots 2 256
boots 4 2048
boots 8 3072
