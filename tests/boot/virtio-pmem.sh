#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio
# lab: --helpers --modules=ext4,loop
# time: 240
#
# A file as the guest's persistent memory: mounted with DAX and written, flushed, and found by the
# host in the file at once; still there after a reboot. A second one that is read-only stays as it
# is whatever the guest writes. Files of a wrong size or in use are refused, and a file that is cut
# off under a guest ends it with a word.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

sum() { md5sum | cut -d ' ' -f 1; }

# In a directory of its own: another guest may be running here.
refused() ( # refused REGEX OPTION...
	like=$1
	shift
	cd other
	guest 30 -k "$KERNEL" -m 256 "$@"
	status_is 125
	said "$like" err
)

mkdir tree mnt other
echo 'sings in the coal mine' >tree/canary
for name in work ro; do
	truncate -s 64M $name.img
	mke2fs -q -t ext4 -b 4096 -d tree -F $name.img
done
before=$(sum <ro.img)

truncate -s 3M odd.img
refused 'odd.img has 3145728 bytes.*blocks of 2M' --pmem ../odd.img
refused 'tree is no regular file' --pmem ../tree

INITRD=$VIRTIO_INITRD
shell 60 -m 256 -c 2 -p "$QUIET lkvm.modules=virtio,ext4" --pmem work.img --pmem ro.img,ro
told 20 'for d in 0 1; do blockdev --getsize64 /dev/pmem$d; done; mkdir /w /r; mount -t ext4 -o dax /dev/pmem0 /w && mount -t ext4 -o dax,ro,noload /dev/pmem1 /r && grep -c dax /proc/mounts; cat /w/canary /r/canary'
[ "$ANSWER" = '67108864
67108864
2
sings in the coal mine
sings in the coal mine' ] || fail "the two: $ANSWER"
refused 'work.img.*in use' --pmem ../work.img
refused 'work.img.*in use' -d ../work.img

# Written, flushed: the host finds it in the file while the guest runs.
told 40 'dd if=/dev/urandom of=/w/data bs=64K count=16 conv=fsync 2>/dev/null; echo "the word is $((6 * 7))" >/w/word; sync; md5sum </w/data | cut -d " " -f 1'
written=$ANSWER
grep -aq 'the word is 42' work.img || fail 'what the guest flushed is not in the file'

# The second can't be changed, by whatever way, and the guest lives.
ask 40 'umount /r; dd if=/dev/zero of=/dev/pmem1 bs=4K count=4 seek=16 conv=fsync 2>&1; echo 3 >/proc/sys/vm/drop_caches; mount -t ext4 -o dax,ro,noload /dev/pmem1 /r && cat /r/canary'
[ "$(sum <ro.img)" = "$before" ] || fail 'the read-only file was changed'
said '^sings in the coal mine$'

from_here
say 'umount /w; reboot -f'
await 60 '^Hello from the guest: '
ask 30 :
told 40 'mkdir /w && mount -t ext4 -o dax /dev/pmem0 /w && md5sum </w/data | cut -d " " -f 1'
[ "$ANSWER" = "$written" ] || fail "after the reboot: $ANSWER, not $written"
told 20 'umount /w'

# The host reads it as any other image.
mount -o loop,ro work.img mnt
[ "$(sum <mnt/data)" = "$written" ] || fail 'the host sees another file'
umount mnt
say 'poweroff -nf'
finish 30
status_is 0
silent
[ "$(stat -c %s work.img)" = 67108864 ] || fail 'the size has changed'
e2fsck -fn work.img >fsck.log 2>&1 || fail "the file system: $(cat fsck.log)"

# Cut off under the guest.
shell 60 -m 256 -p "$QUIET lkvm.modules=virtio" --pmem work.img
told 20 'dd if=/dev/pmem0 of=/dev/null bs=1M count=1 2>/dev/null'
truncate -s 0 work.img
say 'dd if=/dev/pmem0 of=/dev/null bs=1M'
finish 30
status_is 126
said 'a page of guest memory could not be provided' err
