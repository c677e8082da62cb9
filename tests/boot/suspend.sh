#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 aia
# files: own
# time: 180
#
# Suspend to RAM (SBI SUSP, which hosts of 7.x have): the guest comes back on the RTC's alarm, on
# console input and by `lkvm resume`, with all its CPUs and the right time. While it sleeps lkvm
# uses no time, and a signal still ends it.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

# asleep: the guest has gone to sleep for the $1th time and lkvm is idle.
asleep() {
	before=-1
	tries=60
	until now=$(ticks "") && [ "$now" -eq "$before" ]; do
		before=$now
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "lkvm is not idle: the guest does not sleep"
		sleep 0.7
	done
	sleep 2
	now=$(($(ticks "") - now))
	note "asleep: $now of 200 ticks used"
	[ $now -le 4 ] || fail "lkvm used $now of 200 ticks while the guest slept"
	! tr -d '\r' <out | grep -q "^=woke=$1=" || fail "the guest woke up by itself"
}

# woken N: back from the Nth sleep with everything there.
woken() {
	await 30 "^=woke=$1=0="
	asked=$(date +%s)
	ask 30 'nproc; rdtime && date +%s'
	now=$(date +%s)
	echo "$ANSWER"
	[ "$RC" -eq 0 ] || fail "the guest's command failed: $ANSWER"
	[ "$(echo "$ANSWER" | head -n 2)" = "2
rdtime: 2 CPUs good" ] || fail "not all CPUs came back: $ANSWER"
	guest=$(echo "$ANSWER" | tail -n 1)
	# A busy host may take its time to answer.
	{ [ "$guest" -ge $((asked - 3)) ] && [ "$guest" -le $((now + 3)) ]; } ||
		fail "the guest's clock says $guest, the host's $asked to $now"
}

shell 60 -m 256 -c 2 --name sleeper -p "$QUIET"
ask 20 'cat /sys/power/mem_sleep'
note "mem_sleep: $ANSWER"
case $ANSWER in
*"[deep]"*) ;;
*) fail "the guest does not know how to suspend to RAM" ;;
esac

note "woken by the alarm"
say 'date +%s; alarm 6; echo mem >/sys/power/state; echo =wo''ke=1=$?='
begun=$(date +%s)
woken 1
took=$((now - begun))
note "came back after $took s"
[ $took -ge 4 ] || fail "it came back too early"
ask 20 'dmesg | grep -c "PM: suspend exit"'
[ "$ANSWER" = 1 ] || fail "the kernel tells of no suspend"

note "woken by console input"
say 'echo mem >/sys/power/state; echo =wo''ke=2=$?='
asleep 2
say
woken 2

note "woken by console input, the serial port armed for it"
ask 20 'f=$(ls -d /sys/class/tty/ttyS0/power/wakeup /sys/class/tty/ttyS0/device/power/wakeup \
	2>/dev/null | head -n 1); echo enabled >"$f"; cat "$f"'
note "wakeup: $ANSWER"
say 'echo mem >/sys/power/state; echo =wo''ke=9=$?='
asleep 9
say
woken 9

note "woken by lkvm resume"
if "$LKVM" resume sleeper 2>answer; then
	fail "a VM was resumed that is awake"
fi
cat answer
say 'echo mem >/sys/power/state; echo =wo''ke=3=$?='
asleep 3
"$LKVM" resume sleeper >answer || fail "lkvm resume failed"
cat answer
woken 3

note "ended in its sleep"
say 'echo mem >/sys/power/state; echo =wo''ke=4=$?='
asleep 4
kill -TERM "$PID"
finish 10
status_is 143
silent
