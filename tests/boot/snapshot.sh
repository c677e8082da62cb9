#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 aia-vec128
# files: own
# time: 300
# long: 600
# long-hosts: sv57 aia-vec128 aia-guests-vec256
#
# A Linux guest is saved while it counts, and goes on; is saved again and ended; and comes back from
# the file with its processes, their floating point, its files and its clock, as if nothing had been.
# What was loaded and not let go is the same file again, byte by byte. It learns by its generation id
# that it is not what it was, and brought back twice it is two guests, which draw other random numbers.
# A disk that is full leaves the guest running and the old file in place.
# With 2 vCPUs; in its long form with 1 and compressed too, and with time that goes on meanwhile.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

# counter: sets COUNT to what the guest's background loop has come to.
counter() {
	told 20 'cat /tmp/n'
	COUNT=$ANSWER
}

# counts: it still does, on from $1.
counts() {
	counter
	first=$COUNT
	sleep 1
	counter
	note "the guest counted $1 before, $first and $COUNT now"
	[ "$first" -ge "$1" ] || fail "the guest counted back from $1 to $first"
	[ "$COUNT" -gt "$first" ] || fail "the guest does not count any more"
}

# What a guest says of its being another one: both are 1.
FORKS='dmesg | grep -c "reseeded due to virtual machine fork" || :; grep -c vmgenid /proc/interrupts || :'

# generation: which one the VM says it is.
generation() { "$LKVM" info "$name" | sed -n 's/.*generation id: //p'; }

full_disk() {
	mkdir -p small
	mount -t tmpfs -o size=4m none small || fail "no small disk"
	echo old >small/file
	! "$LKVM" snapshot "$name" small/file 2>err || fail "128 MiB fit a disk of 4"
	grep -q 'No space left' err || fail "it said: $(cat err)"
	[ "$(cat small/file)" = old ] || fail "the old file does not stand"
	[ "$(find small -type f | wc -l)" = 1 ] || fail "something is left: $(ls -a small)"
	umount small
}

# draws: sets DRAWN to what the guest's kernel gives for random, once it knows of its new generation
draws() {
	until_true 20 "the guest did not make its random numbers anew" reseeded
	told 20 'head -c 32 /dev/urandom | sha256sum'
	DRAWN="$ANSWER $(generation)"
}
reseeded() {
	told 20 "$FORKS"
	[ "$ANSWER" = "1
1" ]
}

# Two VMs from one file are two: neither has the other's secrets.
twice() {
	DRAWN_BEFORE=
	for once in 1 2; do
		VERB=restore
		start file
		draws
		note "restore $once draws $DRAWN"
		[ "${DRAWN%% *}" != "${DRAWN_BEFORE%% *}" ] || fail "both drew $DRAWN"
		[ "${DRAWN##* }" != "${DRAWN_BEFORE##* }" ] || fail "both are of generation $DRAWN"
		DRAWN_BEFORE=$DRAWN
		say poweroff -f
		finish 20
		status_is 0
	done
}

round() { # round CPUS COMPRESS CLOCK
	name=snap$1
	unset VERB
	shell 60 -c "$1" -m 128 --name "$name" -p "$QUIET"
	told 20 '(i=0; while :; do i=$((i+1)); echo $i >/tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.1
		done) & echo a mark >/tmp/mark; x=unset; x=kept'
	sleep 1
	"$LKVM" snapshot "$name" file || fail "it can't be saved"
	counts 1
	[ "$3" = host ] || {
		full_disk
		counts "$COUNT"
	}
	first_id=$(generation)
	before=$COUNT
	told 20 'cut -d. -f1 /proc/uptime'
	uptime=$ANSWER
	"$LKVM" snapshot --kill --compress "$2" "$name" file || fail "it can't be saved again"
	finish 20
	status_is 0
	"$LKVM" snapshot verify file || fail "the file is not good"
	"$LKVM" snapshot info file
	note "the file: $(du -k file | cut -f1) KiB"
	sleep 5

	VERB=restore
	start --paused --clock "$3" file
	until "$LKVM" info "$name" >info.out 2>/dev/null; do
		[ ! -e status ] || fail "lkvm restore ended with $(cat status)"
		sleep 0.1
	done
	"$LKVM" snapshot --compress "$2" "$name" again || fail "the loaded VM can't be saved"
	cmp file again || fail "what was loaded is not what was saved"
	[ "$3" = host ] || "$LKVM" snapshot diff file again || fail "they differ"
	"$LKVM" resume "$name"
	counts "$before"
	# Time that jumps makes Linux say that a CPU was stuck; nothing else may be odd.
	known=none
	[ "$3" = continue ] || known='watchdog: BUG: soft lockup'
	odd="dmesg | grep -v '$known' | grep -ciE 'stall|lockup|bug|oops' || :"
	told 20 'cat /tmp/mark; echo $x; nproc; cut -d. -f1 /proc/uptime; '"$odd; $FORKS"
	note "it says:" "$ANSWER"
	now=$(echo "$ANSWER" | sed -n 4p)
	[ "$(echo "$ANSWER" | sed '4d')" = "a mark
kept
$1
0
1
1" ] || {
		told 20 "dmesg | grep -iE 'stall|lockup|bug|oops' || :"
		fail "not all came back; the guest's kernel says: $ANSWER"
	}
	[ "$3" = host ] || near "$now" "$uptime" 30 ||
		fail "the guest's clock went from $uptime to $now"
	[ "$3" = continue ] || [ "$now" -ge $((uptime + 5)) ] ||
		fail "5 s went by on the host; in the guest: $uptime to $now"
	[ "$(generation)" != "$first_id" ] || fail "its generation id is still $first_id"
	say poweroff -f
	finish 20
	status_is 0
	silent
}

! long || round 1 none host
round 2 none continue
twice
! long || round 2 zstd continue
! long || round 2 zlib host

note "what is not whole is refused"
head -c 1000000 file >cut.file
! "$LKVM" snapshot verify cut.file 2>err || fail "a file that was cut off is good"
grep -q 'the file ends in it' err || fail "it said: $(cat err)"
STATUS=0
"$LKVM" restore cut.file </dev/null 2>err || STATUS=$?
status_is 125
STATUS=0
"$LKVM" restore --rng file </dev/null 2>err || STATUS=$?
status_is 125
grep -q 'the VM has no rng0' err || fail "it said: $(cat err)"
