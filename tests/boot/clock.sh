#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: own
# time: 90
#
# The guest's wall clock is the host's (by the RTC, within 2 s), and random numbers are there from
# the start: getrandom(2) does not wait, and two guests do not get the same.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

shell 60 -m 256 -p "$QUIET"
ask 20 'date +%s; hwclock -u -r >/dev/null && cat /sys/class/rtc/rtc0/since_epoch'
now=$(date +%s)
note "the host's clock says $now, the guest's clock and RTC:" "$ANSWER"
[ "$(echo "$ANSWER" | wc -l)" -eq 2 ] || fail "the guest has no RTC"
for guest in $ANSWER; do
	near "$guest" "$now" 2 ||
		fail "the guest says $guest, the host $now"
done
ask 20 'dmesg | sed -n "s/^\[ *\([0-9]*\)\.[0-9]*\] random: crng init done.*/\1/p"'
note "crng initialised at $ANSWER s"
[ "$ANSWER" = 0 ] || fail "the guest's random numbers were ready at: ${ANSWER:-never}"
ask 20 getrandom
first=$(echo "$ANSWER" | sed -n 's/^bytes: //p')
say poweroff -f
finish 20
status_is 0

guest 60 -k "$KERNEL" -i "$INITRD" -m 128 -p "quiet lkvm.quiet lkvm.run=/bin/getrandom"
status_is 0
grep -a getrandom out
said '^getrandom: at once, uptime '
second=$(tr -d '\r' <out | sed -n 's/^bytes: //p')
[ "${#first} ${#second}" = "64 64" ] || fail "not 32 bytes: $first, $second"
[ "$first" != "$second" ] || fail "two guests got the same random numbers"
