#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio
# time: 400
# long: 3600
# lab: --helpers
#
# Directories shared by virtio-fs, with virtiofsd beside lkvm: one for reading only, one for
# writing; walking a tree of many files, checksums, copies with owners and modes, files that are
# removed while open, links; a reboot of the guest; virtiofsd killed under it, after which the guest
# lives on without that share; and all of it as a user who may do nothing but open /dev/kvm. The tree
# has 60 files; in the long form 20,000, as many as a part of a kernel's.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

command -v virtiofsd >/dev/null || [ -x /usr/libexec/virtiofsd ] || skip "no virtiofsd here"

DIRS=2 FILES_EACH=3 MIB=1
! long || { DIRS=20 FILES_EACH=100 MIB=8; }
COUNT=$((DIRS * 10 * FILES_EACH))

# A tree of COUNT files, three directories deep, of 40 bytes to some KiB.
make_tree() {
	text=$(head -c 2048 "$KERNEL" | base64 | tr -d '\n')
	a=0
	while [ $a -lt $DIRS ]; do
		b=0
		while [ $b -lt 10 ]; do
			mkdir -p "$1/dir$a/sub$b"
			f=0
			while [ $f -lt $FILES_EACH ]; do
				echo "$a $b $f: the quick brown fox jumps" >"$1/dir$a/sub$b/file$f.c"
				[ $((f % 10)) -ne 0 ] || echo "$text" >>"$1/dir$a/sub$b/file$f.c"
				f=$((f + 1))
			done
			b=$((b + 1))
		done
		a=$((a + 1))
	done
}

hundredths() { sed 's/ .*//;s/\.//' /proc/uptime; }

# Names, modes, owners and contents of all files beneath the current directory, in one sum.
SUM='find . -type f | sort | xargs ls -ln | sed "s/  */ /g" | cut -d " " -f 1,3-5,9 | md5sum; find . -type f | sort | xargs cat | md5sum'

# The process of virtiofsd whose shared directory ends in $1; lkvm is its ancestor.
daemon_of() {
	for p in /proc/[0-9]*; do
		tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -q "^virtiofsd .*$PWD/$1 " || continue
		[ "$(sed 's/.*) . \([0-9]*\) .*/\1/' "$p/stat")" != "$PID" ] || echo "${p#/proc/}"
	done
}

mkdir ro rw outside
echo sings >outside/canary
make_tree ro
ln -s file0.c ro/dir0/sub0/link
ln -s ../outside/canary rw/out
chown 1234:4321 ro/dir0/sub0/file1.c
chmod 640 ro/dir0/sub0/file1.c
host=$(cd ro && eval "$SUM")

INITRD=$VIRTIO_INITRD
shell 60 -m 256 --loglevel info -p "$QUIET lkvm.modules=virtio" --share ro:source,ro --share rw:work
said 'Info: share0: .*/ro is served by virtiofsd \(--sandbox' err
said 'Info: share1: .*/rw is served by virtiofsd' err
note "$(grep share0 err)"
told 20 'mkdir /src /work && mount -t virtiofs source /src && mount -t virtiofs work /work'

# Walking and reading.
from=$(hundredths)
told 1200 'cd /src && find . -type f | wc -l'
note "find of $COUNT files: $(($(hundredths) - from))0 ms"
[ "$ANSWER" = "$COUNT" ] || fail "the guest finds $ANSWER files, not $COUNT"
told 1800 "$SUM"
[ "$ANSWER" = "$host" ] || fail "the tree's sums: host $host, guest $ANSWER"
told 20 'cat dir0/sub0/link'
[ "$(echo "$ANSWER" | head -n 1)" = "$(head -n 1 ro/dir0/sub0/file0.c)" ] || fail "a link: $ANSWER"

# Nothing of it can be changed, though the guest mounted it for writing.
told 60 'for what in "echo x >new" "echo x >>dir0/sub0/file1.c" "mkdir new" "rm dir0/sub0/file1.c" "mv dir0 dir9" "chmod 777 dir0" "ln -s x y" "ln dir0/sub0/file1.c hard" "truncate -s 0 dir0/sub0/file1.c" "mkfifo fifo" "chown 7 dir0"; do sh -c "$what" 2>&1 | grep -q "Read-only file system" || echo "not refused: $what"; done'
[ -z "$ANSWER" ] || fail "$ANSWER"
[ "$(cd ro && eval "$SUM")" = "$host" ] || fail "the read-only tree has changed"

# Writing: a copy is a copy, on both sides.
told 900 'cp -a /src/dir1 /work/copy && cd /work/copy && diff -r . /src/dir1 && chown 77:88 sub0 && chmod 1751 sub0'
diff -r ro/dir1 rw/copy || fail "the copy is another"
[ "$(stat -c %u:%g:%a rw/copy/sub0)" = 77:88:1751 ] || fail "$(stat rw/copy/sub0)"
told 20 'cp -a /src/dir0/sub0/file1.c /work/owned; stat -c %u:%g:%a /work/owned'
[ "$ANSWER $(stat -c %u:%g:%a rw/owned)" = "1234:4321:640 1234:4321:640" ] ||
	fail "owner and mode: $ANSWER"
told 60 "cd /work && dd if=/dev/urandom of=big bs=1M count=$MIB 2>/dev/null && sync && md5sum <big"
[ "$ANSWER" = "$(md5sum <rw/big)" ] || fail "$MIB MiB: $ANSWER"
told 30 'echo 3 >/proc/sys/vm/drop_caches; md5sum <big'
[ "$ANSWER" = "$(md5sum <rw/big)" ] || fail "$MIB MiB, read: $ANSWER"

# Removed while open, and renamed over.
told 20 'echo before >f; exec 5<f 6>>f; rm f; echo after >&6; cat <&5; exec 5<&- 6>&-; test ! -e f'
[ "$ANSWER" = "before
after" ] || fail "a file removed while open: $ANSWER"
[ ! -e rw/f ] || fail "the removed file is there"
told 20 'echo old >a; echo new >b; exec 5<a; mv b a; cat <&5; cat a; exec 5<&-; mkdir -p d/e; mv d/e d2; echo x >d2/g; mv d2 d/e; cat d/e/g'
[ "$ANSWER" = "old
new
x" ] || fail "a file renamed over one that is open: $ANSWER"
told 20 'ln a hard && stat -c %h a && echo more >>hard && cat a'
[ "$ANSWER" = "2
new
more" ] || fail "a hard link: $ANSWER"

# Links: the guest follows them itself, in its own tree.
told 20 'ln -s a link && cat link && readlink out; cat out 2>&1 | grep -o "No such file"'
[ "$(echo "$ANSWER" | tail -n 2)" = "../outside/canary
No such file" ] || fail "links: $ANSWER"
[ "$(cat outside/canary)" = sings ] || fail "the canary is dead"

# The guest starts again: memory is new, and virtiofsd is the same.
fds=$(count_fds)
daemon=$(daemon_of rw)
from_here
say 'reboot -f'
await 60 '^Hello from the guest: '
ask 30 :
told 20 'mkdir /src /work && mount -t virtiofs source /src && mount -t virtiofs work /work && cat /work/a'
[ "$ANSWER" = "new
more" ] || fail "after a reboot: $ANSWER"
told 1200 'cd /src && find . -type f | wc -l'
[ "$ANSWER" = "$COUNT" ] || fail "after a reboot the guest finds $ANSWER files"
[ "$(count_fds)" = "$fds" ] || fail "descriptors: $fds before the reboot, $(count_fds) after"
[ "$(daemon_of rw)" = "$daemon" ] || fail "virtiofsd was started again"

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
told 60 'head -n 1 dir0/sub0/file1.c'
before=$(ticks "")
sleep 1
[ $(($(ticks "") - before)) -lt 30 ] || fail "lkvm is busy after virtiofsd died"
say 'poweroff -nf'
finish 30
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
shell 60 -m 256 --loglevel info -p "$QUIET lkvm.modules=virtio" --share theirs:x
[ "$(stat -c %U "/proc/$PID")" = nobody ] || fail "lkvm runs as $(stat -c %U "/proc/$PID")"
note "as nobody: $(grep share0 err)"
said 'share0: .*/theirs is served by virtiofsd' err
told 20 'mkdir /x && mount -t virtiofs x /x && cat /x/mine && echo y >/x/y && mkdir /x/d && cat /x/y && ls -ln /x'
note "$ANSWER"
[ "$(stat -c %U theirs/y theirs/d | sort -u)" = nobody ] || fail "$(ls -l theirs)"
told 20 'echo more >>/x/mine; rm /x/y; ls /x | wc -l'
[ "$(cat theirs/mine)" = "mine
more" ] || fail "$(cat theirs/mine)"
[ "$(find run -mindepth 1 | grep -vc lkvm)" = 0 ] || fail "left over: $(find run)"
say exit
finish 30
status_is 0
