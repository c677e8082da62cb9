#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio
# time: 240
#
# Three VMs side by side, and all commands to running VMs: each reaches the one that is meant and
# no other; what is said of them is JSON where that is wanted; guests power off when asked, those
# that do not are stopped; and nothing is left behind, also of one that was killed.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

XDG_RUNTIME_DIR=$PWD/run
export XDG_RUNTIME_DIR
mkdir run

# vm NAME OPTIONS...: one in the background, its console in NAME.out, its input NAME.in.
vm() {
	name=$1
	shift
	mkfifo "$name.in"
	{
		rc=0
		"$LKVM" run -k "$KERNEL" -i "$VIRTIO_INITRD" --name "$name" "$@" <"$name.in" \
			>"$name.out" 2>"$name.err" || rc=$?
		echo $rc >"$name.status"
	} &
}

greeted() { grep -aq '^Hello from the guest' "$1.out"; }
ended() { [ -s "$1.status" ]; }

# is ANSWER TEXT: what a command said
is() { [ "$1" = "$2" ] || fail "it said '$1', not '$2'"; }
has() { case $1 in *"$2"*) ;; *) fail "it said '$1', in which there is no '$2'" ;; esac; }

WORDS="quiet lkvm.modules=virtio lkvm.run=shell"
# red has somebody who listens to its power button, green has nobody, blue has no button.
vm red -m 256 -c 2 --power-button --balloon -p "$WORDS"
vm green -m 128 --power-button -p "$WORDS"
vm blue -m 128 -p "$WORDS"
exec 5>red.in 6>green.in 7>blue.in
is "$("$LKVM" list --json | tr -d '\n' | cut -c 1)" '['
for name in red green blue; do
	until_true 120 "$name does not come up" greeted $name
done
# struct input_event has 24 bytes; the first is the key.
printf '%s\n' '{ dd if=/dev/input/event0 of=/dev/null bs=24 count=1; poweroff -f; } 2>/dev/null &' >&5
echo 'echo re''ady' >&5
until_true 60 "red does not listen" grep -q '^ready' red.out

note "list, info"
"$LKVM" list >list.out
cat list.out
[ "$(awk 'NR > 1 { print $1 ":" $2 ":" $4 ":" $5 }' list.out | tr "\n" " ")" = \
	"blue:running:1:128M green:running:1:128M red:running:2:256M " ] || fail "list"
json=$("$LKVM" list --json)
has "$json" '{"name":"green","pid":'
has "$("$LKVM" info -n red --json)" '"state":"running","restarts":0,"vcpus":2,"memory":268435456'
has "$("$LKVM" info blue)" 'state: running'
"$LKVM" events -a >events.out 2>events.err &
EVENTS=$!
sleep 0.3

note "pause, resume, stat, debug"
is "$("$LKVM" pause green)" paused
has "$("$LKVM" list --json)" '"name":"green","pid":'
is "$("$LKVM" list | awk 'NR > 1 { printf "%s:%s ", $1, $2 }')" \
	'blue:running green:paused red:running '
! "$LKVM" stop --graceful green 2>refused || fail "a paused guest was asked"
said 'the VM is paused' refused
is "$("$LKVM" resume green)" resumed
"$LKVM" stat red >stat.out
said '^vcpu1 mmio_exits +[1-9]' stat.out
said '^button0 queue 0 notified' stat.out
"$LKVM" stat --exits --json red >stat.json
said '"kvm":.*"vcpu1":.*"wfi_exit_stat":[1-9]' stat.json
"$LKVM" debug red >debug.out
said '^hart 1, started' debug.out
said '  pc         0x[0-9a-f]{16}' debug.out
said ' satp +0x[89a][0-9a-f]{15}' debug.out
said ' f31 ' debug.out

note "balloon, reset, in parallel"
"$LKVM" balloon red 32M >b1 &
"$LKVM" reset blue >b2 &
"$LKVM" pause green >b3 &
wait $! || fail "pause"
"$LKVM" resume green >b4
full() { "$LKVM" balloon red | grep -q 'target 32M, actual 32M'; }
until_true 60 "the balloon does not fill" full
has "$("$LKVM" balloon red --json)" '"target":33554432,"actual":33554432,"memory":268435456'
twice() { [ "$(grep -ac '^Hello from the guest' blue.out)" = 2 ]; }
until_true 120 "blue does not start again" twice
has "$("$LKVM" info blue)" 'restarts: 1'
has "$("$LKVM" info red)" 'restarts: 0'

note "stop"
! "$LKVM" stop --graceful blue 2>refused || fail "blue was asked, which has no button"
said 'no power button' refused
"$LKVM" stop --timeout 20 red >s1 &
RED=$!
"$LKVM" stop --timeout 2 --json green >s2 &
GREEN=$!
"$LKVM" stop blue >s3 || fail "stop blue"
wait $RED || fail "stop red"
wait $GREEN || fail "stop green"
cat s1 s2 s3
is "$(cat s1)" 'the guest powered off'
is "$(cat s2)" '{"name":"green","ended":"stopped","forced":true}'
has "$(cat s3)" 'stopped at once: the VM has no power button'
for name in red green blue; do
	until_true 10 "$name has not ended" ended $name
	is "$(cat $name.status)" 0
done
is "$(cat red.err blue.err)" ''
has "$(cat green.err)" 'did not power off when asked'
until_true 10 "events does not end" test ! -d "/proc/$EVENTS"
wait $EVENTS || fail "events: $(cat events.err)"
cat events.out
for line in '"event":"paused",.*"vm":"green"' '"event":"resumed",.*"vm":"green"' \
	'"event":"reset",.*"vm":"blue"' '"event":"balloon",.*"vm":"red",.*"actual":33554432' \
	'"vm":"red","data":{"reason":"poweroff"}' '"vm":"green","data":{"reason":"stopped"}' \
	'"vm":"blue","data":{"reason":"stopped"}'; do
	said "$line" events.out
done
! grep -qE '"event":"(paused|resumed)".*"vm":"(red|blue)"|"event":"reset".*"vm":"(red|green)"' events.out ||
	fail "events of one VM came from another"

note "killed"
vm dead -m 128 -p "$WORDS"
exec 5>dead.in
lists() { "$LKVM" list --json | grep -q '"state":"running"'; }
until_true 60 "it does not come up" lists
kill -KILL "$("$LKVM" list | awk '$1 == "dead" { print $3 }')"
until_true 10 "it has not ended" ended dead
[ -S run/lkvm/dead.sock ] || fail "it left no socket: nothing to clean up"
is "$("$LKVM" list --json)" '[]'
is "$(ls -A run/lkvm)" ''
