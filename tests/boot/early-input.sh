#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: own
# time: 400
# long: 400
#
# What stands on standard input before the guest's driver is there gets to its shell, whole and in
# order, twice in a row (in the long form five times); and what is sent while the guest reboots gets
# to the next shell.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

# More than a FIFO load before the first line ends, more than a loop's turn in all.
{
	echo 'x=0; : 0123456789 0123456789 0123456789 0123456789'
	i=0
	while [ $i -lt 40 ]; do
		echo 'x=$((x + 1)) # 0123456789'
		i=$((i + 1))
	done
	echo 'echo =x=$x='
	echo 'poweroff -f'
} >script

runs=2
! long || runs=5
for run in $(seq $runs); do
	STATUS=0
	timeout -s KILL 60 "$LKVM" run -k "$KERNEL" -i "$INITRD" -m 128 -p "$QUIET" \
		<script >out 2>err || STATUS=$?
	[ $STATUS -ne 137 ] || fail "run $run: no end"
	status_is 0
	said '^=x=40=$'
	silent
done

# A pipe that ends, with nothing but these lines.
STATUS=0
printf 'echo first-li""ne\necho second-li""ne\npoweroff -f\n' |
	timeout -s KILL 60 "$LKVM" run -k "$KERNEL" -i "$INITRD" -m 128 -p "quiet lkvm.run=shell" \
		>out 2>err || STATUS=$?
[ $STATUS -ne 137 ] || fail "no end"
status_is 0
said '^first-line$'
said '^second-line$'

shell 60 -m 128 -p "$QUIET"
# The old shell must not read it: it comes when the new kernel has begun to speak, or is about to.
say 'echo =goi''ng=; reboot -f'
await 20 '^=going='
sleep 0.5
say 'echo =aft''er=$((6 * 7))='
await 60 '^=after=42='
await 1 '^Hello from the guest: ' 2
say 'poweroff -f'
finish 20
status_is 0
silent
