#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: tiny
# time: 120
#
# Twenty VMs side by side, commanded in parallel: each command reaches the one that is meant, what
# each guest says is its own, and nothing is left behind.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

XDG_RUNTIME_DIR=$PWD/run
export XDG_RUNTIME_DIR
mkdir run
ALL=$(seq -w 1 20)

note "start"
for n in $ALL; do
	{
		rc=0
		"$LKVM" run -k "$FILES/tiny-idle" -m "$((32 + ${n#0}))" -c 2 --balloon --name "vm$n" \
			--after-script continue --expect '2 harts' --console-log "$n.log" \
			</dev/null >"$n.out" 2>"$n.err" || rc=$?
		echo $rc >"$n.status"
	} &
done
states() { "$LKVM" list | awk -v state="$1" 'NR > 1 && $2 == state { n++ } END { print n + 0 }'; }
spoken() { grep -l '^tiny: 2 harts' -- *.log 2>/dev/null | wc -l; }
tries=300
until [ "$(states running)" = 20 ] && [ "$(spoken)" = 20 ]; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || fail "only $(states running) run, $(spoken) have spoken"
	sleep 0.2
done

# each COMMAND OPTION...: of lkvm, to all at once.
each() {
	command=$1
	shift
	for n in $ALL; do
		{
			rc=0
			"$LKVM" "$command" "vm$n" "$@" >"$n.answer" 2>&1 || rc=$?
			echo $rc >"$n.rc"
		} &
		PIDS="$PIDS $!"
	done
	# shellcheck disable=SC2086	# words
	wait $PIDS
	PIDS=
	for n in $ALL; do
		[ "$(cat "$n.rc")" = 0 ] || fail "lkvm $command vm$n: $(cat "$n.answer")"
	done
}
PIDS=

note "info, pause and resume"
each info
for n in $ALL; do
	said "^name: vm$n\$" "$n.answer"
	said "0x000080000000 +$((32 + ${n#0}))M  RAM" "$n.answer"
done
each pause
[ "$(states paused)" = 20 ] || fail "pause: $("$LKVM" list)"
"$LKVM" resume vm07 >/dev/null
[ "$(states paused):$(states running)" = 19:1 ] || fail "resume of one: $("$LKVM" list)"
"$LKVM" pause vm07 >/dev/null
each resume
[ "$(states running)" = 20 ] || fail "resume: $("$LKVM" list)"

note "balloon and stat"
for n in $ALL; do
	"$LKVM" balloon "vm$n" "${n#0}M" >"$n.answer" 2>&1 &
	PIDS="$PIDS $!"
done
# shellcheck disable=SC2086	# words
wait $PIDS
PIDS=
each balloon
for n in $ALL; do
	said "target ${n#0}M," "$n.answer"
done
each stat

note "stop"
each stop --kill
wait
for n in $ALL; do
	[ "$(cat "$n.status")" = 0 ] || fail "vm$n: status $(cat "$n.status")"
	[ ! -s "$n.err" ] || fail "vm$n: $(cat "$n.err")"
	[ "$(grep -c '2 harts' "$n.out")" = 1 ] || fail "vm$n said: $(cat "$n.out")"
done
[ "$("$LKVM" list --json)" = '[]' ] || fail "there is one left"
[ -z "$(ls -A run/lkvm)" ] || fail "left behind: $(ls run/lkvm)"
