#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# long-hosts: sv57 stable
# files: virtio rootfs
# lab: --helpers
# time: 900
# long: 7200
#
# A Debian system on a virtio disk, to systemd's login on the console and off again; in it fio with
# verification on every queue of a second disk, a file system frozen while the host looks at it,
# discarded blocks that the host gets back, and a disk that grows while it is mounted. One
# combination of transport, number of vCPUs and console; the long form plays all of them, on hosts
# with either kernel.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

NAME=rootfs-$$

used_kib() { du -k "$1" | cut -f 1; }

# A file system on the second disk, made and filled by the guest, is whole as the host finds it
# while it is frozen; a writer waits until it is thawed.
frozen() {
	told 180 'mkfs.ext4 -q -F /dev/vdb && mount /dev/vdb /mnt && cp -a /etc /mnt/ && fsfreeze -f /mnt'
	told 60 '(echo late >/mnt/late; echo over >/tmp/over) & sleep 1; test ! -e /tmp/over'
	cp second.img frozen.img
	e2fsck -fy frozen.img >fsck.log 2>&1 || [ $? -le 1 ] || fail "frozen: $(cat fsck.log)"
	e2fsck -fn frozen.img >fsck.log 2>&1 || fail "frozen: $(cat fsck.log)"
	rm frozen.img
	told 60 'fsfreeze -u /mnt && wait && cat /mnt/late && umount /mnt'
	[ "$ANSWER" = late ] || fail "after the thaw: $ANSWER"
}

discarded() {
	told 180 'dd if=/dev/urandom of=/dev/vdb bs=1M count=16 oflag=direct 2>/dev/null; sync'
	before=$(used_kib second.img)
	[ "$before" -ge 16384 ] || fail "16 MiB written are $before KiB on the host"
	told 180 'blkdiscard -o 4M -l 8M /dev/vdb && cmp -n 8M -i 4M:0 /dev/vdb /dev/zero'
	after=$(used_kib second.img)
	note "discard: $before KiB before, $after KiB after"
	[ $((before - after)) -ge 8192 ] || fail "8 MiB discarded: from $before to $after KiB"
	before=$(used_kib root.img)
	told 180 'fstrim /'
	after=$(used_kib root.img)
	note "fstrim: $before KiB before, $after KiB after"
	[ "$after" -lt "$before" ] || fail "fstrim: from $before to $after KiB"
}

grown() {
	told 180 'mkfs.ext4 -q -F /dev/vdb && mount /dev/vdb /mnt && blockdev --getsize64 /dev/vdb'
	[ "$ANSWER" = 67108864 ] || fail "the disk has $ANSWER bytes before"
	"$LKVM" resize "$NAME" disk1 96M >resize.log 2>&1 || fail "lkvm resize: $(cat resize.log)"
	[ "$(stat -c %s second.img)" = 100663296 ] || fail "the image was not made larger"
	ANSWER=
	for try in 1 2 3 4 5 6 7 8 9 10; do
		[ "$ANSWER" != 100663296 ] || break
		told 60 'sleep 0.2; blockdev --getsize64 /dev/vdb'
	done
	[ "$ANSWER" = 100663296 ] || fail "the disk has $ANSWER bytes after $try looks"
	told 180 'resize2fs /dev/vdb >/dev/null 2>&1 && df --output=size -m /mnt | tail -n 1 | xargs && umount /mnt'
	note "resize: the file system has $ANSWER MiB"
	[ "$ANSWER" -gt 80 ] || fail "the file system has $ANSWER MiB after"
}

# One job a CPU, so that each queue is used; what was written is read again and compared.
verified() { # verified CPUS
	told 60 'ls /sys/block/vdb/mq | wc -l'
	[ "$ANSWER" = "$1" ] || fail "$ANSWER queues for $1 vCPUs"
	told 60 'cat /sys/block/vdb/mq/*/cpu_list | sort | xargs'
	note "queues of CPUs: $ANSWER"
	told 600 "fio --name=v --filename=/dev/vdb --direct=1 --ioengine=libaio --iodepth=8 \
--rw=randwrite --bsrange=512-64k --blockalign=512 --size=4M --offset_increment=4M --numjobs=$1 \
--cpus_allowed=0-$(($1 - 1)) --cpus_allowed_policy=split --verify=crc32c --verify_fatal=1 \
--group_reporting --minimal >/tmp/fio && cut -d ';' -f 5,6,47 /tmp/fio"
	note "fio: errors;KiB read;KiB written: $(echo "$ANSWER" | tail -n 1)"
}

# boot TRANSPORT CPUS CONSOLE
boot() {
	note "virtio-$1, $2 vCPUs, console $3"
	rootfs root.img
	rm -f second.img
	truncate -s 64M second.img
	begun=$(date +%s)
	start -k "$KERNEL" -i "$VIRTIO_INITRD" -c "$2" -m 384 --virtio-transport "$1" \
		--console "$3" --name "$NAME" -d root.img -d second.img,serial=second -p "$ROOTFS_WORDS"
	case $3 in
	serial) tty=/dev/ttyS0 ;;
	virtio) tty=/dev/hvc0 ;;
	esac
	login 600
	note "login after $(($(date +%s) - begun)) s"
	told 60 tty
	[ "$ANSWER" = "$tty" ] || fail "the login is on $ANSWER, not $tty"
	told 180 'nproc; systemctl is-system-running --wait; systemctl --failed --no-legend'
	[ "$ANSWER" = "$(printf '%s\nrunning' "$2")" ] || fail "the system: $ANSWER"
	told 60 'cat /sys/block/vdb/serial; readlink -f /sys/block/vdb/device/..'
	case $1,$ANSWER in
	mmio,*/platform/*virtio_mmio* | mmio,*.virtio_mmio* | mmio,*virtio-mmio* | pci,*pci0000:*) ;;
	*) fail "the disk is at $ANSWER" ;;
	esac
	case $ANSWER in
	second*) ;;
	*) fail "the disk's serial number: $ANSWER" ;;
	esac
	verified "$2"
	frozen
	discarded
	grown
	say poweroff
	finish 180
	status_is 0
	silent
	e2fsck -fn root.img >fsck.log 2>&1 || fail "the root file system: $(cat fsck.log)"
}

if ! long; then
	boot pci 2 virtio
	exit 0
fi
for transport in mmio pci; do
	for cpus in 1 4; do
		for console in serial virtio; do
			boot $transport $cpus $console
		done
	done
done
