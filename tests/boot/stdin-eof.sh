#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own tiny
# time: 90
#
# End of file on standard input, from the start and in the middle, is no busy loop: lkvm's threads
# other than the vCPU's use no time, and all of them little, while the guest idles.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

# The VM's threads idle: 5 seconds pass, of which they may use so much (ticks are 10 ms).
idles() {
	main=$(ticks "/task/$PID")
	all=$(ticks "")
	sleep 5
	main=$(($(ticks "/task/$PID") - main))
	all=$(($(ticks "") - all))
	note "$1: main thread $main, all threads $all of 500 ticks"
	[ $main -le 5 ] || fail "the main thread used $main of 500 ticks"
	[ $all -le 100 ] || fail "lkvm used $all of 500 ticks"
}

"$LKVM" run -k "$FILES/tiny-idle" </dev/null >out 2>err &
PID=$!
sleep 1
said '^tiny: 1 harts$'
idles "tiny guest, </dev/null"
kill -TERM $PID
wait $PID || STATUS=$?
status_is 143

shell 60 -m 128 -p "$QUIET"
exec 8>&-
sleep 1
idles "Linux, pipe closed"
[ ! -e status ] || fail "lkvm ended"
kill -TERM "$PID"
finish 10
status_is 143
