#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio tiny
# time: 240
#
# Scripted boots: steps in order, on the serial and the virtio console, from options and from a
# file; and each way in which they come to no good end has its status and says why.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

note "a guest that says it and powers off at once, or waits for ever"
guest 20 -k "$FILES/tiny" -c 2 --expect 'tiny: hart 0' --expect '2 harts\n'
status_is 0
silent
guest 20 -k "$FILES/tiny-idle" -c 2 --expect 'harts' --console-log console.log
status_is 0
silent
[ "$(cat console.log)" = 'tiny: hart 0
tiny: 2 harts' ] || fail "console.log: $(cat console.log)"

note "no good ends"
guest 20 -k "$FILES/tiny-idle" --expect tiny --step-timeout 1 --expect 'no such' --expect more
status_is 124
said '^Error: --expect "no such", step 2 of 3: the guest did not say it within 1 s; the console said last:$' err
said '^  \| tiny: 1 harts$' err
guest 20 -k "$FILES/tiny" --expect 'no such'
status_is 1
said '^Error: the guest powered off before --expect "no such", step 1 of 1; the console said last:$' err
guest 20 -k "$FILES/tiny-reset" --on-reboot exit --expect 'no such'
status_is 1
said '^Error: the guest reset itself before ' err
guest 20 -k "$FILES/tiny-idle" --timeout 1 --expect 'no such'
status_is 124
said '^Error: time was up before ' err
printf 'expect a\nexpct b\n' >bad
guest 20 -k "$FILES/tiny" --script bad
status_is 125
said '^Fatal: --script bad: bad, line 2: expct is no step: there are expect, send and timeout$' err
guest 20 -k "$FILES/tiny" --after-script continue
status_is 125

note "standard input is not the script's"
for word in 1 2 3; do echo $word; done | while read -r word; do
	"$LKVM" run -k "$FILES/tiny" --expect 'tiny: 1 harts' >>loop.out 2>loop.err ||
		fail "$word: $(cat loop.err)"
done
[ "$(grep -c '1 harts' loop.out)" = 3 ] || fail "a script has eaten its caller's input"

cat >talk.script <<'END'
# log in, look, crash
timeout 120
expect "Hello from the guest"
send   echo "re"ady
expect "\nready"
send   "cat /proc/sys/kernel/ostype; printf 'x\\x79z\\n'"
expect Linux
expect xyz
timeout 30
END
for kind in serial virtio; do
	note "Linux, --console $kind"
	guest 150 -k "$KERNEL" -i "$VIRTIO_INITRD" -m 256 --console $kind --console-log console.log \
		-p "$QUIET lkvm.modules=virtio" --script talk.script --send 'echo $((6 * 7))x' --expect '\n42x'
	status_is 0
	silent
	said 'Hello from the guest' console.log
	! grep -q "$(printf '[\r\033]')" console.log || fail "control characters in console.log"
done

note "a panic of a kernel that would stand still"
echo 'send "echo c >/proc/sysrq-trigger"' >>talk.script
echo 'expect "never said"' >>talk.script
guest 150 -k "$KERNEL" -i "$VIRTIO_INITRD" -m 256 -p "$QUIET panic=0" --script talk.script
status_is 126
said "^Error: the guest's kernel panicked before expect \"never said\" in line 11 of the script; the console said last:\$" err
said '^  \| .*Kernel panic - not syncing: sysrq triggered crash' err
