#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: virtio
# time: 400
# lab: --helpers
#
# Disks that qemu-storage-daemon serves over vhost-user: a raw image and a qcow2 one, in a guest
# with two CPUs and two queues each. A file system is made, filled and checked on the qcow2 image,
# written on by both CPUs at once; the raw image is compared on both sides; the daemon makes it
# larger, and the guest sees that; the guest starts again and finds what it wrote; a read-only export
# is read-only. At last the daemon is killed: the disks are dead, and the guest lives on.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

command -v qemu-storage-daemon >/dev/null || skip "no qemu-storage-daemon here"

is() { [ "$ANSWER" = "$1" ] || fail "not $1, but: $ANSWER"; }

sum() { md5sum "$1" | cut -d ' ' -f 1; }

export_of() { # export_of ID NODE WORDS: an export's description
	echo "type=vhost-user-blk,id=$1,node-name=$2,addr.type=unix,addr.path=$1.sock,num-queues=2$3"
}

truncate -s 16M raw.img
dd if=/dev/urandom of=raw.img bs=64K count=16 conv=notrunc 2>/dev/null
qemu-img create -q -f qcow2 disk.qcow2 256M
qemu-storage-daemon \
	--blockdev driver=file,node-name=f0,filename=raw.img \
	--blockdev driver=raw,node-name=raw,file=f0 \
	--export "$(export_of raw raw ,writable=on)" \
	--blockdev driver=file,node-name=f1,filename=disk.qcow2,discard=unmap \
	--blockdev driver=qcow2,node-name=qcow2,file=f1,discard=unmap \
	--export "$(export_of qcow2 qcow2 ,writable=on)" \
	--export "$(export_of ro qcow2 ,writable=off)" \
	--chardev socket,id=c,path=qmp.sock,server=on,wait=off --monitor chardev=c \
	</dev/null >qsd.err 2>&1 &
QSD=$!
tries=100
until [ -S raw.sock ] && [ -S qcow2.sock ] && [ -S ro.sock ]; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || fail "qemu-storage-daemon does not serve: $(cat qsd.err)"
	sleep 0.1
done

INITRD=$VIRTIO_INITRD
shell 60 -m 320 -c 2 -p "$QUIET lkvm.modules=virtio,ext4" --vhost-user "blk,socket=raw.sock" \
	--vhost-user "blk,socket=qcow2.sock" --vhost-user "blk,socket=ro.sock"

told 20 'cd /sys/block; for d in vda vdb vdc; do echo $d $(cat $d/size $d/ro) $(ls $d/mq | wc -l); done'
is 'vda 32768 0 2
vdb 524288 0 2
vdc 524288 1 2'
told 60 'md5sum </dev/vda | cut -d " " -f 1'
is "$(sum raw.img)"

# Written by the guest, read by the host, and the other way round.
told 60 'dd if=/dev/urandom of=/tmp/x bs=64K count=20 2>/dev/null; dd if=/tmp/x of=/dev/vda bs=64K seek=100 conv=fsync 2>/dev/null; md5sum </tmp/x | cut -d " " -f 1'
dd if=raw.img of=x bs=64K skip=100 count=20 2>/dev/null
is "$(sum x)"

# It grows; the driver hears of it.
printf '%s\n' '{"execute":"qmp_capabilities"}' \
	'{"execute":"block_resize","arguments":{"node-name":"raw","size":33554432}}' |
	socat -t 2 - UNIX-CONNECT:qmp.sock >qmp.out
told 20 'n=0; until [ "$(cat /sys/block/vda/size)" = 65536 ] || [ $n = 50 ]; do sleep 0.1; n=$((n + 1)); done; cat /sys/block/vda/size'
is 65536

# A file system in qcow2: both CPUs write at once.
told 120 'mke2fs /dev/vdb >/dev/null'
told 120 'mkdir /d && mount /dev/vdb /d && for c in 0 1; do (taskset $((c + 1)) dd if=/dev/urandom of=/d/f$c bs=64K count=64 conv=fsync 2>/dev/null) & done; wait; md5sum /d/f0 /d/f1; sync'
sums=$ANSWER
told 60 'echo 3 >/proc/sys/vm/drop_caches; md5sum /d/f0 /d/f1'
is "$sums"
told 20 'grep "virtio" /proc/interrupts'
note "$ANSWER"
ask 20 'echo x 2>&1 >/dev/vdc'
[ "$RC" != 0 ] || fail "a read-only disk could be written"

# The guest starts again.
fds=$(count_fds)
told 60 'umount /d'
from_here
say 'reboot -f'
await 60 '^Hello from the guest: '
ask 30 :
told 60 'mkdir /d && mount /dev/vdb /d && md5sum /d/f0 /d/f1'
is "$sums"
[ "$(count_fds)" = "$fds" ] || fail "descriptors: $fds before the reboot, $(count_fds) after"

# The daemon is killed. What waits for its disks waits in the guest; the rest goes on.
kill -9 "$QSD"
tries=50
until [ "$(grep -c '^Error: vhost-user[012]: ' err)" = 3 ]; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || fail "lkvm does not say that the back end is gone: $(cat err)"
	sleep 0.1
done
note "$(grep -m 1 '^Error: ' err)"
told 30 'echo alive; ls /sys/block | grep -c vd'
is 'alive
3'
before=$(ticks "")
sleep 1
[ $(($(ticks "") - before)) -lt 40 ] || fail "lkvm is busy after its back end died"
say 'poweroff -nf'
finish 30
status_is 0
rm -f ./*.sock
qemu-img check -q disk.qcow2 || fail "the qcow2 image is broken"
guest 30 -k "$KERNEL" --vhost-user blk,socket=raw.sock
status_is 125
said 'vhost-user.*raw.sock' err
