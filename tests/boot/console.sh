#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: icount
# files: own
# time: 600
# long: 900
#
# A script drives a guest's shell through pipes both ways. Then 128 KiB of any bytes (in the long form
# 1 MiB) go in through the console and come back out, with the same checksum everywhere.
# A MiB is some four million exits, which an emulated host does fastest on one CPU.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

shell 60 -m 256 -p "$QUIET"
ask 20 'echo $((6 * 7)); cat /proc/sys/kernel/hostname; false'
[ "$ANSWER" = "42
guest" ] || fail "the shell answered: $ANSWER"
[ "$RC" = 1 ] || fail "false has status $RC"

size=131072
! long || size=1048576
head -c $size /dev/urandom >data
sum=$(sha256sum <data | cut -d ' ' -f 1)

ask 20 'old=$(stty -g)'
say "stty raw -echo; echo =rea''dy=; head -c $size >/tmp/data; stty \$old; echo =do''ne="
await 20 '^=ready='
begun=$(date +%s)
cat data >&8
await 600 '=done='
note "$size bytes into the guest: $(($(date +%s) - begun)) s"
ask 20 'sha256sum </tmp/data; wc -c </tmp/data'
[ "$ANSWER" = "$sum  -
$size" ] || fail "sent $size bytes with sum $sum, the guest has: $ANSWER"

say "stty raw -echo; echo =g''o=; read -r x; cat /tmp/data; stty \$old; echo =se''nt="
await 20 '^=go='
sleep 0.5
from_here
begun=$(date +%s)
say
tries=1500
until [ "$(stat -c %s out)" -ge $((FROM + size)) ]; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || fail "only $(($(stat -c %s out) - FROM)) of $size bytes arrived"
	sleep 0.2
done
note "$size bytes out of the guest: $(($(date +%s) - begun)) s"
at=$FROM
FROM=$((at + size))
await 20 '=sent='
tail -c +$((at + 1)) out | head -c $size >back
[ "$(sha256sum <back | cut -d ' ' -f 1)" = "$sum" ] || fail "other bytes came back"

say poweroff -f
finish 20
status_is 0
silent
