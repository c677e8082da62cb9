#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: own
# time: 400
# long: 600
#
# The guest reboots five times in a row (in the long form ten) and powers off. After the last reset
# lkvm has as many descriptors and threads as after the second, and as much memory beyond the
# guest's RAM (within 64 KiB: the C library's allocator may settle differently).

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

# Not the 256 MiB that other things have that size: overhead_kib tells RAM by its size.
ram=320

figures() { # sets FDS THREADS KIB
	ask 30 :
	sleep 0.5
	FDS=$(count_fds)
	THREADS=$(count_threads)
	KIB=$(overhead_kib $ram)
	note "after $1 resets: $FDS descriptors, $THREADS threads, $KIB KiB beyond RAM," \
		"$(sed -n 's/^VmRSS:[^0-9]*//p' "/proc/$PID/status") in all"
}

shell 60 -c 2 -m $ram -p "$QUIET"
last=5
! long || last=10
for n in $(seq $last); do
	say reboot -f
	await 60 '^Hello from the guest: ' $((n + 1))
	if [ "$n" -eq 2 ]; then
		figures "$n"
		fds=$FDS threads=$THREADS kib=$KIB
	fi
done
figures $last
[ "$FDS" -eq "$fds" ] || fail "descriptors: $fds, then $FDS"
[ "$THREADS" -eq "$threads" ] || fail "threads: $threads, then $THREADS"
[ "$KIB" -le $((kib + 64)) ] || fail "memory beyond RAM: $kib, then $KIB KiB"
say poweroff -f
finish 20
status_is 0
silent
