#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio
# lab: --helpers
# time: 240
#
# lkvm attach: a second and a third terminal at a guest's console, one that only looks, one that
# reads nothing, one whose window has a size, on the virtio console; and SIGTERM, which asks a guest
# with a power button.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

XDG_RUNTIME_DIR=$PWD/run
export XDG_RUNTIME_DIR
mkdir run

start -k "$KERNEL" -i "$VIRTIO_INITRD" -m 256 --console virtio --power-button --name guest \
	-p "$QUIET lkvm.modules=virtio"
await 120 '^Hello from the guest: '
ask 30 :

note "one that types, one that looks"
mkfifo typed
"$LKVM" attach guest <typed >one.out 2>one.err &
ONE=$!
"$LKVM" attach --read-only guest </dev/null >look.out 2>look.err &
LOOK=$!
exec 7>typed
# What was said last comes first.
until_true 20 "nothing was said" grep -q 'end=1=0' one.out
until_true 20 "nothing was said" grep -q 'end=1=0' look.out
printf 'echo "si"x times se""ven is $((6 * 7))\r' >&7
until_true 20 "not typed" grep -q '^six times seven is 42' one.out
until_true 20 "not seen" grep -q '^six times seven is 42' look.out
await 20 '^six times seven is 42'

note "one that reads nothing holds up nobody"
mkfifo deaf.out
"$LKVM" attach guest </dev/null >deaf.out 2>deaf.err &
DEAF=$!
exec 6<deaf.out
from_here
# A pipe holds 64 KiB of it; what becomes of megabytes is the unit test's business.
told 60 'head -n 200 /proc/kallsyms'
printf 'echo af""ter\r' >&7
until_true 20 "one lags behind" grep -q '^after' one.out
kill -TERM "$DEAF"
rc=0
wait "$DEAF" || rc=$?
[ "$rc" = 143 ] || fail "attach ended by SIGTERM: $rc"
exec 6<&-
! grep 'bytes are missing here' one.out || fail "one that reads has missed something"

# The size of hvc0, as the guest's programs see it; '' for none.
sized() {
	ask 30 'stty size 2>/dev/null'
	[ "$ANSWER" = "$1" ]
}

# socat gives lkvm a terminal and keeps its other end. What the guest says goes there too.
window() {
	[ -x /helpers/bin/socat ] || { note "no socat: no window"; return 0; }
	note "a window"
	sized '' || fail "a size without a terminal: $ANSWER"
	mkfifo keys
	cat >attach.run <<-END
		stty rows 41 cols 133
		echo \$\$ >attach.pid
		exec "$LKVM" attach guest
	END
	socat - 'EXEC:sh attach.run,pty,setsid,ctty,stderr' <keys >screen &
	socat=$!
	exec 5>keys
	until_true 20 "the terminal's size is not the console's" sized '41 133'
	stty -F "$(readlink "/proc/$(cat attach.pid)/fd/0")" rows 50 cols 100
	until_true 20 "the terminal's new size is not the console's" sized '50 100'
	grep -q 'stty size' screen || fail "nothing is on the screen"
	printf '\001d' >&5
	wait $socat || fail "Ctrl-a d: $?"
	exec 5>&-
	# As a terminal that nobody looks at: programs in it go on as they were.
	sized '50 100' || fail "the size is not what it last was: $ANSWER"
}
window

note "leave, and SIGTERM"
kill -TERM "$LOOK"
wait "$LOOK" || :
say '{ dd if=/dev/input/event0 of=/dev/null bs=24 count=1; poweroff -f; } 2>/dev/null &'
ask 30 :
kill -TERM "$PID"
finish 60
status_is 0
rc=0
wait "$ONE" || rc=$?
[ "$rc" = 0 ] || fail "attach: $rc, $(cat one.err)"
said '^guest has ended$' one.err
silent
[ -z "$(ls -A run/lkvm)" ] || fail "left behind: $(ls run/lkvm)"
