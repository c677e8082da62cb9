#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own modules rootfs package
# lab: --modules=ext4,overlay
# time: 200
#
# The Debian package's own test of a guest (debian/tests/boot), in a Debian system of the host's,
# with lkvm where the package puts it and the kernel and its modules where Debian has them. It fails
# when lkvm does, and is skipped without KVM.

# What is mounted here goes with the namespace: nobody removes files through it.
if [ -z "${OWN_MOUNTS-}" ]; then
	export OWN_MOUNTS=yes
	exec unshare -m sh "$0" "$@"
fi
# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

ROOT=/dev/vda
[ ! -e "$FILES/rootfs.img" ] || ROOT=$FILES/rootfs.img
mkdir r
mount -o ro "$ROOT" r || skip "the host has no ext4"
for dir in boot tmp root usr/bin usr/lib run; do
	mkdir -p "over/$dir" "work/$dir"
	mount -t overlay overlay -o "lowerdir=r/$dir,upperdir=over/$dir,workdir=work/$dir" "r/$dir"
done
mount --bind /dev r/dev
mount --bind /proc r/proc
mount --bind /sys r/sys
mkdir -p modules r/usr/lib/modules
tar -xf "$FILES/modules.tar" -C modules
mount --bind modules r/usr/lib/modules
cp "$KERNEL" "r/boot/vmlinuz-$(uname -r)"
cp "$LKVM" r/usr/bin/lkvm
cp "$FILES/package-boot" r/tmp/boot

# play STATUS
play() {
	STATUS=0
	timeout 150 chroot r env HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin bash /tmp/boot \
		>said 2>&1 </dev/null || STATUS=$?
	cat said
	status_is "$1"
}
play 0

note "an lkvm that gives another status"
cat >r/usr/bin/lkvm <<'END'
#!/bin/sh
case $1 in run) echo riscv64 ;; esac
END
play 1
said 'the status is 0, not 7' said

note "no KVM"
rm -rf nothing
mkdir nothing
umount r/dev
mount --bind nothing r/dev
play 77
