#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: virtio uboot
# time: 500
#
# Virtio devices behind PCI, with interrupts by pin: the guest finds the bus and its functions,
# reads and writes a disk, gets random bytes, takes a function off the bus and finds it again,
# reboots and does it again. Then more disks than the bus has slots; and another driver, U-Boot's,
# which reads and writes a disk behind both transports.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

INITRD=$VIRTIO_INITRD
sum() { sha256sum "$1" | cut -d ' ' -f 1; }

told() { # told SECONDS COMMAND: it must succeed; ANSWER
	ask "$1" "$2"
	[ "$RC" = 0 ] || fail "in the guest: $2: status $RC: $ANSWER"
}

is() { # is WORD: that was the answer
	[ "$ANSWER" = "$1" ] || fail "not $1, but: $ANSWER"
}

functions() { # functions COUNT: what the bus has
	told 20 'cd /sys/bus/pci/devices; for d in *; do echo $d $(cat $d/vendor $d/device $d/class); done'
	echo "$ANSWER" | grep -qx '0000:00:00.0 0x1b36 0x0008 0x060000' || fail "bridge: $ANSWER"
	[ "$(echo "$ANSWER" | grep -c ' 0x1af4 ')" = "$1" ] || fail "functions: $ANSWER"
}

look() {
	functions 2
	echo "$ANSWER" | grep -qx '0000:00:01.0 0x1af4 0x1042 0x018000' || fail "disk: $ANSWER"
	echo "$ANSWER" | grep -qx '0000:00:02.0 0x1af4 0x1044 0x00ff00' || fail "rng: $ANSWER"
	told 20 'ls -d /sys/bus/pci/drivers/virtio-pci/0000:00:0* | wc -l'
	is 2
	told 20 'awk "NR == 1 { print \$1 }" /sys/bus/pci/devices/0000:00:01.0/resource'
	note "BAR 0 of the disk: $ANSWER"
	[ $((ANSWER)) -ne 0 ] || fail "no address"
	told 60 'sha256sum /dev/vda | cut -d " " -f 1'
	is "$(sum disk.img)"
	told 20 'cat /sys/class/misc/hw_random/rng_current'
	is virtio_rng.0
	told 20 'dd if=/dev/hwrng bs=64 count=4 iflag=fullblock 2>/dev/null | wc -c'
	is 256
	told 20 'grep virtio /proc/interrupts'
	note "interrupts:$(echo "$ANSWER" | tr '\n' ';')"
	[ "$(echo "$ANSWER" | grep -c 'PLIC.*virtio')" = 2 ] || fail "not by pin: $ANSWER"
	! echo "$ANSWER" | grep -qE ': *0 +0 ' || fail "an interrupt that never came: $ANSWER"
}

dd if=/dev/urandom of=disk.img bs=1M count=8 2>/dev/null
shell 60 -c 2 -m 320 --virtio-transport pci -d disk.img --rng -p "$QUIET lkvm.modules=virtio"
look
told 30 'dd if=/dev/urandom of=/dev/vda bs=64k count=16 seek=7 oflag=direct conv=fsync 2>/dev/null'
told 30 'sha256sum /dev/vda | cut -d " " -f 1'
is "$(sum disk.img)"
told 30 'echo 1 >/sys/bus/pci/devices/0000:00:02.0/remove; ls /sys/bus/pci/devices | wc -l'
is 2
told 30 'echo 1 >/sys/bus/pci/rescan; ls /sys/bus/pci/devices | wc -l'
is 3
look
say reboot -f
await 60 '^Hello from the guest: ' 2
look
say poweroff -f
finish 20
status_is 0
silent

set --
while [ $# -lt 66 ]; do set -- "$@" -d disk.img,ro; done
shell 90 -m 320 --virtio-transport pci "$@" -p "$QUIET lkvm.modules=virtio"
functions 33
echo "$ANSWER" | grep -q '^0000:00:02.1 ' || fail "no second function: $ANSWER"
told 60 'sha256sum /dev/vda /dev/vdaf /dev/vdag | cut -d " " -f 1 | sort -u'
is "$(sum disk.img)"
say poweroff -f
finish 20
status_is 0
silent

uboot() { # uboot TRANSPORT BYTE
	start -f "$FILES/u-boot.bin" -m 256 --virtio-transport "$1" -d disk.img
	await 50 '^=> $'
	first=$(od -A n -t x1 -N 16 disk.img | sed 's/^ *//')
	say "virtio read 0x84000000 0 2; md.b 0x84000000 0x10"
	await 20 "^84000000: $first "
	say "mw.b 0x84000000 0x$2 0x400; virtio write 0x84000000 4 2"
	await 20 '2 blocks written: OK'
	say poweroff
	finish 20
	status_is 0
	silent
	[ "$(od -A n -t x1 -j 2048 -N 1024 -v disk.img | tr -s ' \n' '\n' | sort -u | xargs)" = "$2" ] ||
		fail "U-Boot's blocks are not there"
}
uboot pci 5a
uboot mmio a5
