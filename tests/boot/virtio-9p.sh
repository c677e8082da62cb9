#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# long-hosts: sv57 stable
# files: virtio
# time: 900
# long: 5000
#
# Directories shared by virtio-9p, as Linux's 9p file system sees them: one for reading only, one
# for writing; walking and reading a tree of many files, of which the guest must see what the host
# does (treesum says of what its sum is); copies with owners and modes, files that are removed while
# open, renames, links; and what is refused: every change of the first, device nodes, set-user-ID
# bits, and before the guest starts a tag that two shares have. The tree has 60 files; in the long
# form 20,000, as many as a part of a kernel's.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

DIRS=2 FILES_EACH=3 PART=dir1/sub0
! long || { DIRS=20 FILES_EACH=100 PART=dir1; }
COUNT=$((DIRS * 10 * FILES_EACH))

hundredths() { sed 's/ .*//;s/\.//' /proc/uptime; }

INITRD=$VIRTIO_INITRD
cpio -id bin/treesum <"$INITRD" 2>/dev/null

mkdir ro rw outside
echo sings >outside/canary
bin/treesum make ro $DIRS $FILES_EACH
ln -s file0.c ro/dir0/sub0/link
ln -s ../outside/canary rw/out
chown 1234:4321 ro/dir0/sub0/file1.c
chmod 640 ro/dir0/sub0/file1.c
host=$(bin/treesum ro)
note "$host"
[ "${host% *}" = "$COUNT files" ] || fail "the host has $host"

guest 60 -k "$KERNEL" --9p ro,source,ro --9p rw,source
status_is 125
said '^Fatal: --9p ro,source,ro and --9p rw,source: a VM has only one share with the tag .source.$' err

shell 300 -m 320 -p "$QUIET lkvm.modules=virtio" --9p ro,source,ro --9p rw,work
told 120 'mkdir /src /work; m() { mount -t 9p -o trans=virtio,version=9p2000.L,$3 $1 $2; }; m source /src ro,cache=loose && m work /work msize=524288'

# Walking and reading.
from=$(hundredths)
told 4000 'treesum /src'
[ "$ANSWER" = "$host" ] || fail "the tree: host $host, guest $ANSWER"
note "$COUNT files walked and read with cache=loose: $(($(hundredths) - from))0 ms"

# Nothing of it can be changed, not even where the guest mounts it to be.
told 120 'head -n 1 /src/dir0/sub0/link; umount /src && m source /src rw'
[ "$ANSWER" = "$(head -n 1 ro/dir0/sub0/file0.c)" ] || fail "a link: $ANSWER"
if ! long; then
	told 240 'treesum /src'
	[ "$ANSWER" = "$host" ] || fail "the tree without caches: host $host, guest $ANSWER"
fi
told 240 'cd /src; for what in "echo x >new" "echo x >>dir0/sub0/file1.c" "mkdir new" "rm dir0/sub0/file1.c" "mv dir0 dir9" "chmod 777 dir0" "touch dir0" "ln -s x y" "ln dir0/sub0/file1.c hard" "truncate -s 0 dir0/sub0/file1.c" "mkfifo fifo" "chown 7 dir0"; do (eval "$what") 2>&1 | grep -q "Read-only file system" || echo "not refused: $what"; done'
[ -z "$ANSWER" ] || fail "on the read-only share: $ANSWER"
[ "$(bin/treesum ro)" = "$host" ] || fail "the read-only tree has changed"

# Writing: a copy is a copy, on both sides.
told 1200 "cp -a /src/$PART /work/copy && cd /work && mkdir sub0 && chown 77:88 sub0 && chmod 1751 sub0"
diff -r ro/$PART rw/copy || fail "the copy is another"
[ "$(stat -c %u:%g:%a rw/sub0)" = 77:88:1751 ] || fail "$(stat rw/sub0)"
told 120 'cp -a /src/dir0/sub0/file1.c /work/owned; stat -c %u:%g:%a /work/owned'
[ "$ANSWER $(stat -c %u:%g:%a rw/owned)" = "1234:4321:640 1234:4321:640" ] ||
	fail "owner and mode: $ANSWER"
told 120 'cd /work && dd if=/dev/urandom of=big bs=1M count=3 2>/dev/null && echo 3 >/proc/sys/vm/drop_caches; md5sum <big'
[ "$ANSWER" = "$(md5sum <rw/big)" ] || fail "3 MiB: $ANSWER"

# Removed while open, and renamed over.
told 120 'echo before >f; exec 5<f 6>>f; rm f; echo after >&6; cat <&5; exec 5<&- 6>&-; test ! -e f'
[ "$ANSWER" = "before
after" ] || fail "a file removed while open: $ANSWER"
[ ! -e rw/f ] || fail "the removed file is there"
told 120 'echo old >a; echo new >b; exec 5<a; mv b a; cat <&5; cat a; exec 5<&-; mkdir -p d/e; mv d/e d2; echo x >d2/g; mv d2 d/e; cat d/e/g'
[ "$(echo "$ANSWER" | head -n 2)" = "old
new" ] || fail "a file renamed over one that is open: $ANSWER"
[ "$(cat rw/d/e/g)" = x ] || fail "a directory that was moved"
told 120 'ln a hard && stat -c %h a && echo more >>hard && cat a'
[ "$ANSWER" = "2
new
more" ] || fail "a hard link: $ANSWER"

# Links: the guest follows them itself, in its own tree.
told 120 'ln -s a link && cat link && readlink out'
echo "$ANSWER" | grep -q '^../outside/canary$' || fail "links: $ANSWER"
told 120 'cat out 2>/dev/null; mkdir /outside; echo mine >/outside/canary; cat out; echo yours >out; ln -s /etc etc; ls etc/ >/dev/null 2>&1; rm etc out; rm -rf /outside'
[ "$(echo "$ANSWER" | head -n 1)" = mine ] || fail "a link that leads out of the share: $ANSWER"
[ "$(cat outside/canary)" = sings ] || fail "the canary is dead"
[ "$(ls outside)" = canary ] || fail "there is something new outside"

# What a host must not be given.
told 120 'for what in "mknod sda b 8 0" "mknod null c 1 3" "chmod 4755 a"; do ($what) 2>&1 | grep -q "not permitted" || echo "not refused: $what"; done'
[ -z "$ANSWER" ] || fail "$ANSWER"
told 120 'mkfifo pipe && (echo through >pipe & cat pipe)'
[ "$ANSWER" = through ] || fail "a FIFO: $ANSWER"
[ -p rw/pipe ] || fail "the FIFO is none on the host"
ask 120 'setfattr -n user.one -v two a 2>&1; getfattr -n user.one a 2>&1 | tail -n 1'
note "attributes: $ANSWER"

told 120 'cd / && umount /work /src && dmesg | grep -iE "9p|BUG|WARN" | tail -n 5'
note "$ANSWER"
say 'poweroff -nf'
finish 60
status_is 0
silent
