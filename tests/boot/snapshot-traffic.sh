#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# long-hosts: sv57 aia stable
# files: virtio
# lab: --helpers --modules=tun
# time: 300
# long: 1800
#
# A Linux guest with its hands full is saved, ended and brought back, again and again: it writes a
# file system and reads it past its cache, answers a TCP stream through a tap device, appends to a file
# of a share, prints, and sleeps (see `traffic` below). Each second time it goes on after the save,
# so that the file is of no use, and only that it went on counts. At the end nothing is missing and
# nothing is there twice: what came back by TCP, the log in the share, the console's lines over all the
# processes it had, the journal on the disk; and e2fsck finds a whole file system.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
if [ -z "${OWN_NET-}" ]; then
	export OWN_NET=yes
	exec unshare -n sh "$0" "$@"
fi
. "$FILES/lib.sh"

INITRD=$VIRTIO_INITRD
CYCLES=2
! long || CYCLES=20
STREAM=

# numbered REGEX-PREFIX FILE SUFFIX: its lines are PREFIX1SUFFIX, PREFIX2SUFFIX ...: sets LINES
numbered() {
	tr -d '\r' <"$2" | grep -a "^$1[0-9][0-9]*$3\$" >lines.have || :
	LINES=$(wc -l <lines.have)
	awk -v n="$LINES" -v a="$1" -v b="$3" 'BEGIN { for (i = 1; i <= n; i++) print a i b }' >lines.want
	cmp lines.want lines.have >cmp.out 2>&1 || fail "$2: $(cat cmp.out): $(diff lines.want lines.have | head -n 5)"
}

# Paced, so that it lasts; what the guest sends back is to be the same.
stream() {
	i=0
	while [ ! -e share/stop ]; do
		i=$((i + 1))
		echo "piece $i of the stream, with some more words to fill it up"
		[ $((i % 100)) -ne 0 ] || sleep 0.05
	done | tee sent | nc 10.7.0.2 9000 >back
}

# alive: more of everything than before, since the guest came back.
alive() {
	size=$(stat -c %s share/log)
	back=$(stat -c %s back)
	until_true 60 "the log does not grow" grows share/log "$size"
	until_true 120 "the stream stands still" grows back "$back"
	! [ -s share/bad ] || fail "$(cat share/bad)"
}
grows() { [ "$(stat -c %s "$1")" -gt "$2" ]; }

# What the guest does until share/stop is there. What goes wrong is a line in share/bad, and each kind
# of work ends with its count in share/NAME.count.
#	disk	a file after the other written, read again past the cache and compared; then its number
#		appended to a journal
#	lines	numbered lines to a file of the share that stays open, and to the console; between two of
#		them a sleep that must not take less than it is to
write_traffic() {
	cat >share/traffic <<'END'
share=$1 mount=$2
cd "$share" || exit

now() { # sets NOW, in hundredths of a second
	read -r NOW _ </proc/uptime
	NOW=${NOW%.*}${NOW#*.}
}

disk() {
	n=0
	while [ ! -e stop ]; do
		n=$((n + 1))
		head -c $((50000 + n % 7 * 50001)) /dev/urandom >/tmp/new
		cp /tmp/new "$mount/file$((n % 8))"
		sync
		echo 3 >/proc/sys/vm/drop_caches
		cmp /tmp/new "$mount/file$((n % 8))" || echo "disk: file $n is another" >>bad
		echo "$n" >>"$mount/journal"
	done 2>&1
	seq 1 "$n" | cmp - "$mount/journal" || echo "disk: the journal is another" >>bad
	echo "$n" >disk.count
}

lines() {
	n=0
	exec 5>>log
	now
	while [ ! -e stop ]; do
		before=$NOW
		usleep 30000
		now
		[ $((NOW - before)) -ge 3 ] || echo "timer: $before to $NOW is no 0.03 s" >>bad
		for piece in 1 2 3 4 5 6 7 8 9 10; do
			n=$((n + 1))
			echo "line $n of the log" >&5 || echo "share: line $n can't be written" >>bad
			echo "tick $n"
		done
	done
	echo "$n" >lines.count
}

disk &
lines
wait
umount "$mount" || echo "disk: it can't be unmounted" >>bad
echo "all work is done"
END
}

mkdir share
write_traffic
truncate -s 32M disk.img
mke2fs -F -q -t ext4 disk.img || skip "no mke2fs"
ip link set lo up
ip tuntap add tap0 mode tap
ip addr add 10.7.0.1/24 dev tap0
ip link set tap0 up

set -- --name traffic -d disk.img -n mode=tap,tapif=tap0 --9p share,work --rng
shell 120 -c 2 -m 320 -p "$QUIET lkvm.modules=virtio,ext4" "$@"
told 60 'mkdir /work /disk; mount -t 9p -o trans=virtio,version=9p2000.L,cache=none work /work &&
	mount -t ext4 /dev/vda /disk'
told 30 'ip addr add 10.7.0.2/24 dev eth0 && ip link set eth0 up && ping -c 1 -W 5 10.7.0.1'
told 30 '(nc -l -p 9000 -e cat >/dev/null 2>&1 &) ; sleep 0.3'
stream &
STREAM=$!
say 'dmesg -n 1; stty -echo; sh /work/traffic /work /disk'
await 60 '^tick '
: >all
i=0
while [ $i -lt "$CYCLES" ]; do
	i=$((i + 1))
	sleep "$((2 + i % 3))"
	if [ $((i % 2)) = 0 ]; then
		"$LKVM" snapshot traffic file || fail "cycle $i: it can't be saved"
		alive
	fi
	"$LKVM" snapshot --kill traffic file >said || fail "cycle $i: it can't be saved"
	note "cycle $i: $(cat said)"
	finish 30
	status_is 0
	silent
	cat out >>all
	VERB=restore
	start "$@" file
	alive
done
touch share/stop
await 120 '^all work is done'
wait $STREAM || fail "the stream broke"
cmp sent back || fail "what came back is not what was sent"
# Linux breaks virtio's queues at power-off, and its network driver may then go round for ever.
say 'ip link set eth0 down; poweroff -f'
finish 60
status_is 0
cat out >>all
! [ -s share/bad ] || fail "$(cat share/bad)"
e2fsck -fn disk.img >fsck.log 2>&1 || fail "the file system: $(cat fsck.log)"
note "stream: $(stat -c %s back) bytes there and back, $(sha256sum <back | cut -c 1-16)"
numbered 'line ' share/log ' of the log'
[ "$LINES" = "$(cat share/lines.count)" ] || fail "the log has $LINES lines, not $(cat share/lines.count)"
note "share: $LINES lines"
numbered 'tick ' all ''
[ "$LINES" = "$(cat share/lines.count)" ] || fail "the console had $LINES lines, not $(cat share/lines.count)"
note "console: $LINES lines; disk: $(cat share/disk.count) files"
