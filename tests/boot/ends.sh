#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: own tiny
# time: 200
#
# Every way in which a VM ends has its exit status.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

one_line() {
	[ "$(wc -l <err)" -eq 1 ] || fail "lkvm said: $(cat err)"
	said "$1" err
}

note power-off
guest 20 -k "$FILES/tiny" -c 2
status_is 0
silent
said '^tiny: hart 0$'
said '^tiny: 2 harts$'

note "reset, with --on-reboot exit"
guest 20 -k "$FILES/tiny-reset" --on-reboot exit
status_is 0
silent
[ "$(grep -c 'tiny: hart' out)" -eq 1 ] || fail "the guest ran more than once"

note "the time limit, of an idle guest and of one that resets for ever"
guest 20 -k "$FILES/tiny-idle" -c 4 --timeout 2
status_is 124
one_line '^Error: --timeout 2: '
guest 20 -k "$FILES/tiny-reset" --timeout 3
status_is 124
one_line '^Error: --timeout 3: '
resets=$(grep -c 'tiny: hart' out)
note "$resets resets in 3 s"
[ "$resets" -ge 3 ] || fail "too few resets"

note "the time limit, of Linux on its way up"
guest 30 -k "$KERNEL" -i "$INITRD" -m 128 --timeout 1
status_is 124

# Not SIGINT: a shell starts background work with that one ignored, which lkvm respects.
note signals
for signal in TERM:143 HUP:129; do
	start -k "$FILES/tiny-idle" -c 2
	await 20 '^tiny: 2 harts'
	kill -"${signal%:*}" "$PID"
	finish 10
	status_is "${signal#*:}"
done
start -k "$FILES/tiny-idle"
await 20 '^tiny: 1 harts'
kill -KILL "$PID"
finish 10
status_is 137

note "lkvm stop"
start -k "$FILES/tiny-idle" --name stopped
await 20 '^tiny: 1 harts'
"$LKVM" stop --kill stopped >answer
finish 10
status_is 0
[ "$(cat answer)" = 'stopped at once' ] || fail "stop said: $(cat answer)"
if "$LKVM" stop stopped 2>answer; then
	fail "a VM was stopped that is not there"
fi
grep -q '^Fatal: no VM called stopped runs here$' answer || fail "stop said: $(cat answer)"

note "a panic"
shell 60 -m 256 -c 2 -p "$QUIET"
say 'echo c >/proc/sysrq-trigger'
finish 60
status_is 126
said 'Kernel panic - not syncing: sysrq triggered crash'
one_line '^Error: the guest.s kernel panicked$'
