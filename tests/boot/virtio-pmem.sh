#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio
# lab: --helpers --modules=ext4,loop
# time: 900
# long: 900
#
# A file as the guest's persistent memory: mounted with DAX and written, flushed, and found by the
# host in the file at once; still there for the next guest. A second one that is read-only stays as
# it is whatever the guest writes. Files of a wrong size or in use are refused, and a file that is
# cut off under a guest ends it with a word. In the long form the guest reboots in between, and
# another one has its root file system there, whose programs it runs in place.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

sum() { md5sum | cut -d ' ' -f 1; }

# In a directory of its own: another guest may be running here.
refused() ( # refused REGEX OPTION...
	like=$1
	shift
	cd other
	guest 60 -k "$KERNEL" -m 320 "$@"
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
shell 300 -m 320 -c 2 -p "$QUIET lkvm.modules=virtio,ext4" --pmem work.img --pmem ro.img,ro
told 120 'for d in 0 1; do blockdev --getsize64 /dev/pmem$d; done; mkdir /w /r; mount -t ext4 -o dax /dev/pmem0 /w && mount -t ext4 -o dax,ro,noload /dev/pmem1 /r && grep -c dax /proc/mounts; cat /w/canary /r/canary'
[ "$ANSWER" = '67108864
67108864
2
sings in the coal mine
sings in the coal mine' ] || fail "the two: $ANSWER"
refused 'work.img.*in use' --pmem ../work.img
refused 'work.img.*in use' -d ../work.img

# Written, flushed: the host finds it in the file while the guest runs.
told 120 'dd if=/dev/urandom of=/w/data bs=64K count=16 conv=fsync 2>/dev/null; echo "the word is $((6 * 7))" >/w/word; sync; md5sum </w/data | cut -d " " -f 1'
written=$ANSWER
grep -aq 'the word is 42' work.img || fail 'what the guest flushed is not in the file'

# The second can't be changed, by whatever way, and the guest lives.
ask 120 'umount /r; dd if=/dev/zero of=/dev/pmem1 bs=4K count=4 seek=16 conv=fsync 2>&1; echo 3 >/proc/sys/vm/drop_caches; mount -t ext4 -o dax,ro,noload /dev/pmem1 /r && cat /r/canary'
[ "$(sum <ro.img)" = "$before" ] || fail 'the read-only file was changed'
said '^sings in the coal mine$'

# The same after a reboot.
reboots() {
	from_here
	say 'umount /w; reboot -f'
	await 300 '^Hello from the guest: '
	ask 60 :
	told 120 'mkdir /w && mount -t ext4 -o dax /dev/pmem0 /w && md5sum </w/data | cut -d " " -f 1'
	[ "$ANSWER" = "$written" ] || fail "after the reboot: $ANSWER, not $written"
}
! long || reboots
told 120 'umount /w'

# The host reads it as any other image.
mount -o loop,ro work.img mnt
[ "$(sum <mnt/data)" = "$written" ] || fail 'the host sees another file'
umount mnt
say 'poweroff -nf'
finish 60
status_is 0
silent
[ "$(stat -c %s work.img)" = 67108864 ] || fail 'the size has changed'
e2fsck -fn work.img >fsck.log 2>&1 || fail "the file system: $(cat fsck.log)"

# The next guest finds it; then it is cut off under that.
shell 300 -m 320 -p "$QUIET lkvm.modules=virtio,ext4" --pmem work.img
told 120 'mkdir /w && mount -t ext4 -o dax,ro /dev/pmem0 /w && md5sum </w/data | cut -d " " -f 1; umount /w'
[ "$ANSWER" = "$written" ] || fail "the next guest finds $ANSWER, not $written"
truncate -s 0 work.img
say 'dd if=/dev/pmem0 of=/dev/null bs=1M'
finish 60
status_is 126
said 'a page of guest memory could not be provided' err

# The root file system: programs and all are the file's own pages.
long || exit 0
mkdir root
(cd root && cpio -id <"$INITRD" 2>/dev/null)
rm root/init
cat >root/start <<'SH'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
echo "root: $(grep ' / ' /proc/mounts | grep pmem)"
exec sh
SH
chmod 755 root/start
truncate -s 128M root.img
mke2fs -q -t ext4 -b 4096 -d root -F root.img
start -k "$KERNEL" -i "$INITRD" -m 320 --pmem root.img -p "quiet lkvm.modules=virtio,ext4 lkvm.run=switch-root root=/dev/pmem0 rootflags=dax init=/start"
await 300 '^root: /dev/pmem0 / ext4 rw.*,dax'
note "$(heard | grep '^root: ')"
ask 60 :
told 120 'cp /bin/treesum /bin/again && again /modules && treesum /modules'
[ "$(echo "$ANSWER" | sort -u | wc -l)" = 1 ] || fail "a program that was copied: $ANSWER"
sums=$(echo "$ANSWER" | head -n 1)
told 120 'echo kept >/word; sync; mount -o remount,ro / && grep -c "pmem0.* ro[, ].*dax" /proc/mounts'
say 'poweroff -nf'
finish 60
status_is 0
silent
e2fsck -fn root.img >fsck.log 2>&1 || fail "the root file system: $(cat fsck.log)"
mount -o loop,ro root.img mnt
[ "$(cat mnt/word)" = kept ] || fail 'what the guest wrote is not there'
cmp mnt/bin/again mnt/bin/treesum || fail 'the copied program is another'
[ "$(mnt/bin/treesum mnt/modules)" = "$sums" ] || fail "the host sees other modules than $sums"
umount mnt
