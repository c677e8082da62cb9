#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own modules
# lab: --helpers
# time: 240
# long: 3600
#
# Commands in guests, one after the other, of every kind of end: the command's own status, no such
# command, a panic, the time limit, a refused start, a signal; by pipes and at a terminal. Each run
# has its status, and what it leaves behind is looked for: processes, sockets, files, mounts, the
# terminal's settings. All this is in namespaces of its own, where nothing else is but the runs.
#
# A run of each of 5 kinds; the long form makes 100 runs of 11 kinds.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands; BusyBox sh knows
. "$FILES/lib.sh"

# --- outside: the namespaces, and a terminal that the runs are at -----------------------------------

if [ -z "${INSIDE-}" ]; then
	[ "$(id -u)" -eq 0 ] || skip "not root: there are no namespaces"
	[ -x /helpers/bin/socat ] || skip "no socat"
	mkdir -p /lib/modules && tar -xf "$FILES/modules.tar" -C /lib/modules
	mkfifo typed
	INSIDE=yes socat - "EXEC:unshare -m -p -n -i -f sh $FILES/command-leaves.sh,pty,setsid,ctty,stderr" \
		<typed | tee screen &
	exec 7>typed
	wait $!
	said '^# [0-9]+ runs, nothing is left$' screen
	exit 0
fi

# --- inside -------------------------------------------------------------------------------------------

mount -t proc none /proc
stty rows 41 cols 133 </dev/tty
for dir in /tmp /run /dev/shm /mnt; do mount -t tmpfs none $dir; done
export HOME=/tmp/home XDG_RUNTIME_DIR=/run TMPDIR=/tmp
mkdir -m 700 /tmp/home /tmp/work /run/lkvm
cd /tmp/work || exit 1
head -c 200000 /dev/urandom >data
# Beyond the files of the runs, which are looked at.
OUT=/mnt/out ERR=/mnt/err
runs=0

# What there is, by the shell itself as far as it goes: a process to look with would be seen.
state() {
	echo "processes:" /proc/[0-9]*
	# Of this network namespace.
	cat /proc/net/unix /proc/net/tcp /proc/net/udp /proc/net/packet
	cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg /proc/self/mounts
	find /tmp /run /dev/shm /root
	stty -g </dev/tty
	stty -a </dev/tty
} 2>&1

nothing_left() {
	state >/mnt/after
	cmp -s /mnt/before /mnt/after
}

# run STATUS OPTIONS... -- CMD...: in and out are the caller's
run() {
	wanted=$1
	shift
	status=0
	"$LKVM" run -k "$KERNEL" -m 160 "$@" || status=$?
	[ "$status" = "$wanted" ] || fail "$*: status $status, and not $wanted: $(cat "$OUT" "$ERR")"
}

# signalled SIGNAL STATUS: in the middle of the command's work
signalled() {
	: >"$OUT"
	"$LKVM" run -k "$KERNEL" -m 160 -- sh -c 'echo up; sleep 1000' >"$OUT" 2>"$ERR" </dev/tty &
	PID=$!
	until_true 60 "the command does not run" grep -q '^up' "$OUT"
	kill -"$1" $PID
	status=0
	wait $PID || status=$?
	PID=
	[ "$status" = "$2" ] || fail "$1: status $status, and not $2: $(cat "$ERR")"
}

is() { [ "$(cat "$1")" = "$2" ] || fail "$1 has '$(cat "$1")', and not '$2'"; }
raw() { [ "$(stty -g </dev/tty)" != "$MODES" ]; }
MODES=$(stty -g </dev/tty)

kind_status() {
	run 7 -- sh -c 'uname -m; echo said >&2; exit 7' </dev/null >"$OUT" 2>"$ERR"
	is "$OUT" riscv64
	is "$ERR" said
}

kind_input() {
	run 0 -- sha256sum <data >"$OUT" 2>"$ERR"
	is "$OUT" "$(sha256sum <data)"
}

# The terminal is the guest's meanwhile, and ours again when lkvm is asked to end.
kind_terminal() {
	run 3 --console-log /mnt/log -- sh -c 'stty size; exit 3' </dev/tty >/dev/tty 2>/dev/tty
	grep -q '^41 133' /mnt/log || fail "the terminal's size: $(tail -n 1 /mnt/log)"
	"$LKVM" run -k "$KERNEL" -m 160 --console-log /mnt/log -- sh -c 'echo up; sleep 1000' \
		</dev/tty >/dev/tty 2>/dev/tty &
	PID=$!
	until_true 60 "nothing is said at the terminal" grep -q '^up' /mnt/log
	raw || fail "the terminal is not the guest's"
	kill -TERM $PID
	status=0
	wait $PID || status=$?
	PID=
	[ "$status" = 143 ] || fail "TERM at a terminal: status $status"
}

kind_panic() {
	run 126 -- sh -c 'echo c >/proc/sysrq-trigger; sleep 100' </dev/null >"$OUT" 2>"$ERR"
	grep -q 'Kernel panic' "$ERR" || fail "a panic's words are not shown: $(cat "$ERR")"
}

kind_term() { signalled TERM 143; }
kind_hup() { signalled HUP 129; }

# Who is killed can't clear up: the next one does.
kind_kill() {
	signalled KILL 137
	[ "$("$LKVM" list --json)" = '[]' ] || fail "a killed VM is in the list"
}

kind_missing() {
	run 127 -- no-such-command </dev/null >"$OUT" 2>"$ERR"
	is "$ERR" 'lkvm: no-such-command: no such command in the guest'
}

kind_late() { run 124 --timeout 6 -- sleep 1000 </dev/null >"$OUT" 2>"$ERR"; }
kind_refused() { run 125 --env NOT_THERE -- true </dev/null >"$OUT" 2>"$ERR"; }

# By virtiofsd, which is a process with a socket.
kind_share() {
	run 0 --share "$PWD" -- cp data copy </dev/null >"$OUT" 2>"$ERR"
	cmp data copy || fail "the share has no copy: $(cat "$ERR")"
	rm copy
}

kinds='status input terminal panic term' wanted_runs=5
! long || kinds="$kinds hup kill missing late refused share" wanted_runs=100

touch "$OUT" "$ERR" /mnt/log
state >/mnt/before
while [ $runs -lt $wanted_runs ]; do
	for kind in $kinds; do
		[ $runs -lt $wanted_runs ] || break
		clock
		began=$NOW
		"kind_$kind"
		runs=$((runs + 1))
		clock
		note "$runs: $kind, $((NOW - began)) s"
		# A helper may be a moment late.
		within 5 nothing_left || fail "left behind by $kind: $(diff /mnt/before /mnt/after)"
	done
done
note "$runs runs, nothing is left"
