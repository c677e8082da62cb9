#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# long-hosts: sv57 stable
# files: virtio
# lab: --helpers --modules=ext4,loop
# time: 240
# long: 600
#
# Disks of each sort side by side on an ext4 file system of the host's, on both transports: by the
# page cache and past it, by io_uring, threads and the vCPU itself. Each CPU of the guest writes
# through its own queue; host and guest agree on every byte. A read-only disk with a serial number,
# a discard that the host sees, an image on a file system that fills and one that is cut off: the
# guest hears of both and goes on.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

sum() { md5sum "$1" | cut -d ' ' -f 1; }
is() { [ "$ANSWER" = "$1" ] || fail "not $1, but: $ANSWER"; }

# boot TRANSPORT CPUS
boot() {
	note "virtio-$1, $2 vCPUs"
	for name in cache uring threads vcpu; do
		dd if=/dev/urandom of=fs/$name bs=64K count=64 2>/dev/null
	done
	dd if=/dev/urandom of=fs/ro bs=64K count=16 2>/dev/null
	rm -f tiny/image fs/cut
	truncate -s 16M tiny/image
	truncate -s 4M fs/cut
	ro=$(sum fs/ro)
	shell 60 -m 320 -c "$2" --virtio-transport "$1" -p "$QUIET lkvm.modules=virtio" \
		-d fs/cache -d fs/uring,direct,aio=uring -d fs/threads,direct,aio=threads \
		-d fs/vcpu,aio=none -d fs/ro,ro,serial=some-serial-number -d tiny/image -d fs/cut

	told 20 'cd /sys/block; ls -d vd? | xargs; cat vde/ro; echo $(cat vde/serial) $(cat vde/size); ls vda/mq | wc -l'
	is "vda vdb vdc vdd vde vdf vdg
1
some-serial-number 2048
$2"
	told 60 'dd if=/dev/vde bs=64K 2>/dev/null | md5sum | cut -d " " -f 1'
	is "$ro"
	ask 20 'dd if=/dev/zero of=/dev/vde bs=4K count=1 conv=fsync 2>&1'
	[ "$RC" != 0 ] || fail 'a read-only disk could be written'

	# From each CPU, so by each queue, to places of its own; all disks at once.
	told 20 'cat /sys/block/vda/mq/*/cpu_list | sort | xargs'
	note "queues of CPUs: $ANSWER"
	[ "$(echo "$ANSWER" | wc -w)" = "$2" ] || fail "queues of CPUs: $ANSWER"
	told 90 "w() { taskset \$((1 << \$2)) dd if=/dev/urandom of=/dev/\$1 bs=64K count=4 seek=\$((\$2 * 8)) oflag=direct 2>/dev/null; }; for c in $(seq -s ' ' 0 $(($2 - 1))); do for d in vda vdb vdc vdd; do w \$d \$c & done; done; wait; sync"
	told 90 'for d in vda vdb vdc vdd; do dd if=/dev/$d bs=64K iflag=direct 2>/dev/null | md5sum | cut -d " " -f 1; done'
	is "$(for name in cache uring threads vcpu; do sum fs/$name; done)"

	# Blocks that are not needed any more are the host's.
	before=$(du -k fs/uring | cut -f 1)
	told 20 'blkdiscard -o 1048576 -l 2097152 /dev/vdb && dd if=/dev/vdb bs=64K skip=16 count=32 2>/dev/null | tr -d "\0" | wc -c'
	is 0
	after=$(du -k fs/uring | cut -f 1)
	note "discard: $before KiB before, $after KiB after"
	[ $((before - after)) -ge 2048 ] || fail "2 MiB discarded: from $before to $after KiB"

	# The host's file system is full; the file ends too early.
	ask 40 'dd if=/dev/zero of=/dev/vdf bs=64K count=128 conv=fsync 2>&1'
	[ "$RC" != 0 ] || fail 'the guest did not hear that the file system is full'
	said 'disk5: (writing|syncing).*No space left on device' err
	truncate -s 1M fs/cut
	ask 40 'dd if=/dev/vdg of=/dev/null bs=64K iflag=direct 2>&1'
	[ "$RC" != 0 ] || fail 'the guest did not hear that the file is cut off'
	said 'disk6: reading at byte [0-9]* failed: Input/output error' err
	told 20 'dd if=/dev/vdf of=/dev/null bs=64K count=4 iflag=direct 2>/dev/null; dd if=/dev/vdg of=/dev/null bs=64K count=4 iflag=direct 2>/dev/null; echo alive'
	is alive
	say 'poweroff -nf'
	finish 30
	status_is 0
	[ "$(wc -l <err)" -le 40 ] || fail "lkvm said much: $(wc -l <err) lines"
	[ "$(sum fs/ro)" = "$ro" ] || fail 'the read-only image was changed'
	[ "$(stat -c '%s' fs/cache fs/uring fs/threads fs/vcpu tiny/image | xargs)" = \
		'4194304 4194304 4194304 4194304 16777216' ] || fail 'a size has changed'
}

INITRD=$VIRTIO_INITRD
truncate -s 64M fs.img
mke2fs -q -t ext4 -F fs.img
mkdir fs tiny
mount -o loop fs.img fs
mount -t tmpfs -o size=2M tiny tiny
boot mmio 4
! long || boot mmio 1
boot pci 2
umount fs tiny
