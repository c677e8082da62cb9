# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh disable=SC2034	# variables for the scenarios
#
# What the guest scenarios are written in.
#
# Theory of operation: a scenario is a POSIX shell script that `driver` runs on the host (BusyBox
# in the lab, anything on a real machine), in a directory of its own, with this file read first.
# $FILES holds lkvm and what it boots. Two ways to run a guest:
#
#	guest SECONDS OPTIONS...	to its end, stdin at end of file: STATUS, ./out, ./err
#	start OPTIONS...		in the background, its console two pipes: PID; then `say`
#					a line, `await` a line, `ask` its shell, `finish`; VERB
#					is the command, where that is not run
#
# ./out is all that the guest's console said, ./err all that lkvm did. A scenario fails by `fail`,
# by `set -e` or by its time limit; what it left running is killed and what its guests said last is
# put into its log.

LKVM=$FILES/lkvm
KERNEL=$FILES/own
INITRD=$FILES/own.initrd
# With modules for all virtio devices; lkvm.modules=virtio loads those of the devices that are there.
VIRTIO_INITRD=$FILES/own.virtio
STATUS='' PID='' SEQ=0 FROM=0 NOW=0

# BusyBox prefers its own applets to the helper programs of the same name (`lab run --helpers`).
if [ -d /helpers/bin ]; then
	ip() { /helpers/bin/ip "$@"; }
	mke2fs() { /helpers/bin/mke2fs "$@"; }
fi

note() { echo "# $*"; }

fail() {
	echo "FAIL: $*"
	exit 1
}

skip() {
	echo "skip: $*"
	exit 77
}

show() { # show FILE LINES: its end, made printable
	[ -s "$1" ] || return 0
	echo "--- $1, its end:"
	tr -d '\r' <"$1" | tail -n "$2" | cat -v
}

# Where the VMs are that still run: twice, to tell who is stuck.
tell_state() {
	for again in 1 2; do
		for what in debug stat; do
			echo "--- lkvm $what ($again):"
			timeout 10 "$LKVM" "$what" -a 2>&1 || :
		done
		sleep 1
	done
}

at_end() {
	status=$?
	trap - EXIT
	if [ $status -ne 0 ] && [ $status -ne 77 ] && [ -n "$PID" ] && [ ! -e status ]; then
		tell_state
	fi
	[ -z "$PID" ] || [ -e status ] || kill -KILL "$PID" 2>/dev/null
	if [ $status -ne 0 ] && [ $status -ne 77 ]; then
		show out 40
		show err 10
	fi
	exit $status
}
trap at_end EXIT
set -e

# have OPTIONS...: can this host give them to $KERNEL?
have() { "$LKVM" run -k "$KERNEL" "$@" --dry-run >have.log 2>&1 </dev/null; }

# guest SECONDS OPTIONS...
guest() {
	limit=$1
	shift
	echo "+ lkvm run $*"
	STATUS=0
	timeout -s KILL "$limit" "$LKVM" run "$@" </dev/null >out 2>err || STATUS=$?
	[ $STATUS -ne 137 ] || fail "no end within $limit s"
}

status_is() { [ "$STATUS" = "$1" ] || fail "exit status is $STATUS, not $1"; }

# said REGEX [FILE]: the file (./out) has such a line.
said() { tr -d '\r' <"${2-out}" | grep -aqE "$1" || fail "nothing in ${2-out} is like: $1"; }

# silent: lkvm itself had nothing to say (a shell may have, of a child that a signal ended).
silent() { ! grep -vxE 'Terminated *' err || fail "lkvm said: $(cat err)"; }

# start OPTIONS...
start() {
	echo "+ lkvm ${VERB-run} $* (in the background)"
	rm -f in.pipe out.pipe status pid
	mkfifo in.pipe out.pipe
	: >out
	FROM=0
	cat out.pipe >>out &
	READER=$!
	{
		# shellcheck disable=SC2016	# for the inner shell
		sh -c 'echo $$ >pid; exec "$@"' sh "$LKVM" "${VERB-run}" "$@" <in.pipe >out.pipe 2>err &&
			echo 0 >status.new || echo $? >status.new
		mv status.new status
	} &
	exec 8>in.pipe
	until [ -s pid ]; do sleep 0.05; done
	PID=$(cat pid)
}

say() { printf '%s\n' "$*" >&8; }

# What the console has said since the last `from_here`.
heard() { tail -c +$((FROM + 1)) out | tr -d '\r'; }
from_here() { FROM=$(stat -c %s out); }

clock() { # sets NOW, in seconds; by what the shell does itself
	read -r NOW _ </proc/uptime
	NOW=${NOW%.*}
}

# await SECONDS REGEX [COUNT]: wait until the console has said so many such lines (1). To look takes
# half a dozen processes, which an emulated host feels: so only where something new was said.
await() {
	clock
	LATE=$((NOW + $1))
	while :; do
		SIZE=$(stat -c %s out)
		[ "$(heard | grep -acE -e "$2")" -lt "${3-1}" ] || return 0
		[ "$NOW" -lt "$LATE" ] || fail "the guest did not say within $1 s: $2"
		while [ "$(stat -c %s out)" = "$SIZE" ] && [ "$NOW" -lt "$LATE" ] && [ ! -e status ]; do
			sleep 0.2
			clock
		done
		if [ -e status ]; then
			sleep 0.3
			[ "$(heard | grep -acE -e "$2")" -lt "${3-1}" ] || return 0
			tail -n 20 err
			fail "lkvm ended with $(cat status) before the guest said: $2"
		fi
	done
}

# within SECONDS COMMAND...: until it succeeds; a status where it does not.
within() {
	tries=$(($1 * 5))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.2
	done
}

until_true() { # until_true SECONDS WHAT COMMAND...: or fail with WHAT
	limit=$1 what=$2
	shift 2
	within "$limit" "$@" || fail "$what"
}

# ask SECONDS COMMAND: have the guest's shell run it: ANSWER is its output, RC its status. What is
# typed has quotes within the marks, so that its echo is none.
ask() {
	SEQ=$((SEQ + 1))
	say "echo =beg''in=$SEQ=; $2; echo =en''d=$SEQ=\$?="
	await "$1" "=end=$SEQ=[0-9]+="
	ANSWER=$(heard | sed -n "/^=begin=$SEQ=\$/,/=end=$SEQ=[0-9]*=/p" | sed '1d;$d')
	RC=$(heard | sed -n "s/.*=end=$SEQ=\([0-9]*\)=.*/\1/p" | tail -n 1)
}

told() { # told SECONDS COMMAND: the same, and it must succeed
	ask "$1" "$2"
	[ "$RC" = 0 ] || fail "in the guest: $2: status $RC: $ANSWER"
}

# finish SECONDS: wait for the end: STATUS.
finish() {
	clock
	LATE=$((NOW + $1))
	until [ -e status ]; do
		[ "$NOW" -le "$LATE" ] || fail "lkvm did not end within $1 s"
		sleep 0.1
		clock
	done
	STATUS=$(cat status)
	exec 8>&-
	wait "$READER" || :
	PID=
}

# A shell in a guest: shell SECONDS OPTIONS...
shell() {
	limit=$1
	shift
	start -k "$KERNEL" -i "$INITRD" "$@"
	await "$limit" '^Hello from the guest: '
	ask 30 :
}
QUIET="quiet lkvm.run=shell"

# rootfs FILE: a Debian system of its own to write to, as a disk image ("files: rootfs").
rootfs() {
	if [ -e "$FILES/rootfs.img" ]; then
		cp --sparse=always "$FILES/rootfs.img" "$1"
	else
		dd if=/dev/vda of="$1" bs=1M 2>/dev/null
	fi
}
ROOTFS_WORDS="quiet audit=0 lkvm.modules=virtio,ext4 lkvm.run=switch-root root=/dev/vda rw"

# login SECONDS: as root to a Debian system; then a plain shell that `ask` can talk to.
login() {
	await "$1" ' login: *$'
	say root
	await 60 '^root@.*# *$'
	say 'exec sh'
	ask 60 'stty -echo; PS1='
}

# The scenario's long form is wanted (`run --long`).
long() { [ -n "${LKVM_LONG-}" ]; }

# The figures of /proc/PID: descriptors, threads, clock ticks used.
count_fds() { find "/proc/$PID/fd" -mindepth 1 | wc -l; }
count_threads() { find "/proc/$PID/task" -mindepth 1 -maxdepth 1 | wc -l; }
ticks() { # ticks [/task/TID]: user and system time in hundredths of a second
	sed 's/.*) //' "/proc/$PID$1/stat" | awk '{ print $12 + $13 }'
}

# near A B SECONDS: two times that are not further apart.
near() {
	[ $(($1 - $2)) -le "$3" ] || return 1
	[ $(($2 - $1)) -le "$3" ]
}

# KiB resident beyond the guest's RAM: in all mappings but those of $1 MiB.
overhead_kib() {
	awk -v ram="$(($1 * 1024))" '$1 == "Size:" { size = $2 }
		$1 == "Rss:" && size != ram { sum += $2 } END { print sum }' "/proc/$PID/smaps"
}
