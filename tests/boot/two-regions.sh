#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 sv48 stable
# files: own
# time: 120
#
# RAM in two regions, the second beyond what Sv39 reaches: Linux sees both and uses both.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

shell 60 -m 256M -m 128M@0x30000000000 -p "$QUIET"
ask 30 'grep "System RAM" /proc/iomem'
echo "$ANSWER"
# The kernel keeps parts of each for itself: where they start and end is what counts.
echo "$ANSWER" | grep -qE '^ *80[0-9a-f]{6}-8fffffff : System RAM|-8fffffff : System RAM' ||
	fail "the first region is not there"
echo "$ANSWER" | grep -q '^30000000000-30007ffffff : System RAM' ||
	fail "the second region is not there"
ask 30 'sed -n "s/^MemTotal: *\([0-9]*\) kB/\1/p" /proc/meminfo'
note "the guest has $ANSWER KiB"
# Less 70 MiB for the kernel and 64 MiB of bounce buffers, because there is RAM above 4 GiB.
[ "$ANSWER" -gt $((232 * 1024)) ] || fail "the guest has $ANSWER KiB of 384 MiB only"
# Linux takes pages from the highest zone first, which is the second region: fill a good part of
# it with what can be checked, and see that it is gone from there.
free='sed -n "/^Node.*Normal/,/ min /s/^ *pages free *//p" /proc/zoneinfo'
ask 30 "$free"
before=$ANSWER
ask 60 'mount -t tmpfs -o size=90% big /mnt; head -c 1048576 /dev/urandom >/tmp/x'
ask 60 'for i in $(seq 48); do cat /tmp/x; done >/mnt/f; for i in $(seq 48); do cat /tmp/x; done | cmp - /mnt/f'
[ "$RC" = 0 ] || fail "memory holds something else than was put there: $ANSWER"
ask 30 "$free"
note "free pages of the second region: $before, then $ANSWER"
[ $((before - ANSWER)) -gt 8000 ] || fail "the second region is not used"
say poweroff -f
finish 20
status_is 0
silent
