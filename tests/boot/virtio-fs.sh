#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio
# time: 900
# long: 5000
# lab: --helpers
#
# Directories shared by virtio-fs, with virtiofsd beside lkvm: one for reading only, one for
# writing; walking and reading a tree of many files, of which the guest must see what the host does
# (treesum says of what its sum is); copies with owners and modes, files that are removed while open,
# links; virtiofsd killed under it, after which the guest lives on without that share; and all of it
# as a user who may do nothing but open /dev/kvm. The tree has 60 files; in the long form 20,000, as
# many as a part of a kernel's, and the guest reboots in between.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

command -v virtiofsd >/dev/null || [ -x /usr/libexec/virtiofsd ] || skip "no virtiofsd here"

DIRS=2 FILES_EACH=3 PART=dir1/sub0 MIB=1
! long || { DIRS=20 FILES_EACH=100 PART=dir1 MIB=8; }
COUNT=$((DIRS * 10 * FILES_EACH))

hundredths() { sed 's/ .*//;s/\.//' /proc/uptime; }

# The process of virtiofsd whose shared directory ends in $1; lkvm is its ancestor.
daemon_of() {
	for p in /proc/[0-9]*; do
		tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -q "^virtiofsd .*$PWD/$1 " || continue
		[ "$(sed 's/.*) . \([0-9]*\) .*/\1/' "$p/stat")" != "$PID" ] || echo "${p#/proc/}"
	done
}

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

guest 60 -k "$KERNEL" --share ro:source,ro --9p rw,source
status_is 125
said '^Fatal: --share ro:source,ro and --9p rw,source: a VM has only one share with the tag .source.$' err

shell 300 -m 320 --loglevel info -p "$QUIET lkvm.modules=virtio" --share ro:source,ro --share rw:work
said '^share0: .*/ro is served by virtiofsd \(--sandbox' err
said '^share1: .*/rw is served by virtiofsd' err
note "$(grep share0 err)"
told 120 'mkdir /src /work && mount -t virtiofs source /src && mount -t virtiofs work /work'

# Walking and reading.
from=$(hundredths)
told 4000 'treesum /src'
[ "$ANSWER" = "$host" ] || fail "the tree: host $host, guest $ANSWER"
note "$COUNT files walked and read: $(($(hundredths) - from))0 ms"
told 120 'cd /src && cat dir0/sub0/link'
[ "$(echo "$ANSWER" | head -n 1)" = "$(head -n 1 ro/dir0/sub0/file0.c)" ] || fail "a link: $ANSWER"

# Nothing of it can be changed, though the guest mounted it for writing.
told 120 'for what in "echo x >new" "echo x >>dir0/sub0/file1.c" "mkdir new" "rm dir0/sub0/file1.c" "mv dir0 dir9" "chmod 777 dir0" "ln -s x y" "ln dir0/sub0/file1.c hard" "truncate -s 0 dir0/sub0/file1.c" "mkfifo fifo" "chown 7 dir0"; do sh -c "$what" 2>&1 | grep -q "Read-only file system" || echo "not refused: $what"; done'
[ -z "$ANSWER" ] || fail "$ANSWER"
[ "$(bin/treesum ro)" = "$host" ] || fail "the read-only tree has changed"

# Writing: a copy is a copy, on both sides.
told 1200 "cp -a /src/$PART /work/copy && cd /work && mkdir sub0 && chown 77:88 sub0 && chmod 1751 sub0"
diff -r ro/$PART rw/copy || fail "the copy is another"
[ "$(stat -c %u:%g:%a rw/sub0)" = 77:88:1751 ] || fail "$(stat rw/sub0)"
told 120 'cp -a /src/dir0/sub0/file1.c /work/owned; stat -c %u:%g:%a /work/owned'
[ "$ANSWER $(stat -c %u:%g:%a rw/owned)" = "1234:4321:640 1234:4321:640" ] ||
	fail "owner and mode: $ANSWER"
told 120 "cd /work && dd if=/dev/urandom of=big bs=1M count=$MIB 2>/dev/null && sync && md5sum <big"
[ "$ANSWER" = "$(md5sum <rw/big)" ] || fail "$MIB MiB: $ANSWER"
told 120 'echo 3 >/proc/sys/vm/drop_caches; md5sum <big'
[ "$ANSWER" = "$(md5sum <rw/big)" ] || fail "$MIB MiB, read: $ANSWER"

# Removed while open, and renamed over.
told 120 'echo before >f; exec 5<f 6>>f; rm f; echo after >&6; cat <&5; exec 5<&- 6>&-; test ! -e f'
[ "$ANSWER" = "before
after" ] || fail "a file removed while open: $ANSWER"
[ ! -e rw/f ] || fail "the removed file is there"
told 120 'echo old >a; echo new >b; exec 5<a; mv b a; cat <&5; cat a; exec 5<&-; mkdir -p d/e; mv d/e d2; echo x >d2/g; mv d2 d/e; cat d/e/g'
[ "$ANSWER" = "old
new
x" ] || fail "a file renamed over one that is open: $ANSWER"
told 120 'ln a hard && stat -c %h a && echo more >>hard && cat a'
[ "$ANSWER" = "2
new
more" ] || fail "a hard link: $ANSWER"

# Links: the guest follows them itself, in its own tree.
told 120 'ln -s a link && cat link && readlink out; cat out 2>&1 | grep -o "No such file"'
[ "$(echo "$ANSWER" | tail -n 2)" = "../outside/canary
No such file" ] || fail "links: $ANSWER"
told 120 'mkdir /outside; echo mine >/outside/canary; cat out; echo yours >out; ln -s /etc etc; ls etc/ >/dev/null 2>&1; rm etc out; rm -rf /outside'
[ "$ANSWER" = mine ] || fail "a link that leads out of the share: $ANSWER"
[ "$(cat outside/canary)" = sings ] || fail "the canary is dead"
[ "$(ls outside)" = canary ] || fail "there is something new outside"

# The guest starts again: memory is new, and virtiofsd is the same.
reboots() {
	fds=$(count_fds)
	from_here
	say 'reboot -f'
	await 300 '^Hello from the guest: '
	ask 60 :
	told 120 'mkdir /src /work && mount -t virtiofs source /src && mount -t virtiofs work /work && cat /work/a'
	[ "$ANSWER" = "new
more" ] || fail "after a reboot: $ANSWER"
	told 120 'cd /src && ls dir1/sub0 | wc -l'
	[ "$ANSWER" = "$FILES_EACH" ] || fail "after a reboot the guest finds $ANSWER files"
	[ "$(count_fds)" = "$fds" ] || fail "descriptors: $fds before, $(count_fds) after"
	[ "$(daemon_of rw)" = "$daemon" ] || fail "virtiofsd was started again"
}
daemon=$(daemon_of rw)
! long || reboots

# virtiofsd dies: its share is dead, and that is all.
[ -n "$daemon" ] || fail "where is virtiofsd?"
kill -9 "$daemon"
tries=50
until grep -q '^Error: share1: ' err; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || fail "lkvm does not say that virtiofsd is gone"
	sleep 0.1
done
note "$(grep '^Error: share1: ' err)"
told 120 'cd /src && head -n 1 dir0/sub0/file1.c'
before=$(ticks "")
sleep 1
[ $(($(ticks "") - before)) -lt 30 ] || fail "lkvm is busy after virtiofsd died"
say 'poweroff -nf'
finish 60
status_is 0
[ "$(grep -c '^Error: ' err)" = 1 ] || fail "more errors than one: $(cat err)"
[ -z "$(daemon_of ro)" ] || fail "virtiofsd outlives lkvm"

# As nobody, with a node of our own for /dev/kvm.
mknod kvm c 10 232
chmod 666 kvm
mkdir -m 700 run theirs
chown nobody run theirs
chmod 711 .. .
cat >unprivileged <<SH
#!/bin/sh
mount --bind kvm /dev/kvm
exec su -s /bin/sh -c 'exec "\$@"' -- nobody sh $LKVM "\$@"
SH
cat >lkvm-nobody <<SH
#!/bin/sh
exec unshare -m $PWD/unprivileged "\$@"
SH
chmod 755 unprivileged lkvm-nobody
export XDG_RUNTIME_DIR="$PWD/run"
LKVM=$PWD/lkvm-nobody
echo mine >theirs/mine
chown nobody theirs/mine
shell 300 -m 320 --loglevel info -p "$QUIET lkvm.modules=virtio" --share theirs:x
[ "$(stat -c %U "/proc/$PID")" = nobody ] || fail "lkvm runs as $(stat -c %U "/proc/$PID")"
note "as nobody: $(grep share0 err)"
said 'share0: .*/theirs is served by virtiofsd' err
told 120 'mkdir /x && mount -t virtiofs x /x && cat /x/mine && echo y >/x/y && mkdir /x/d && cat /x/y && ls -ln /x'
note "$ANSWER"
[ "$(stat -c %U theirs/y theirs/d | sort -u)" = nobody ] || fail "$(ls -l theirs)"
told 120 'echo more >>/x/mine; rm /x/y; ls /x | wc -l'
[ "$(cat theirs/mine)" = "mine
more" ] || fail "$(cat theirs/mine)"
[ "$(find run -mindepth 1 | grep -vc lkvm)" = 0 ] || fail "left over: $(find run)"
say 'poweroff -nf'
finish 60
status_is 0
