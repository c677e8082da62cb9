#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: aia-vec128
# files: guests
# time: 200
# long: 3000
# long-hosts: vec128 aia-vec128 aia-guests-vec256
#
# A guest that checks itself (guest/checker: registers, memory, time, timers, IPIs, messages, what SBI
# keeps) is saved, ended and brought back, again and again, at moments that nobody chose, the first of
# them while it starts: it must not notice. Some come just after the guest was told to flood the
# console (of whose numbered lines none is lost or comes twice), to reboot, to be idle, or to put the
# whole machine to sleep (suspend to RAM), from which it is woken when it is back. Each round trip goes
# by another of the ways there are (compressed or not, checked before or meanwhile, paused in between
# and saved once more). Where the host has vectors, so has the guest, and in the long form also without.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

KERNEL=$FILES/checker

# any N: a number below that.
any() { echo $(($(od -An -N4 -tu4 /dev/urandom) % $1)); }

# asleep MS
asleep() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }

# lives SECONDS: the guest gets on.
lives() {
	await "$1" '^checker: (epoch|FAILED)'
	! heard | grep -aq FAILED || fail "the guest noticed: $(heard | grep -a FAILED)"
}

ready() {
	until "$LKVM" info checker >info.out 2>/dev/null; do
		[ ! -e status ] || fail "lkvm restore ended with $(cat status)"
		sleep 0.05
	done
}

# key LETTER: no line, whose end would wake a guest that sleeps.
key() { printf '%s' "$1" >&8; }

# moment N: save now? Every second cycle comes in the middle of something. ASLEEP: the guest is
# to be woken then.
moment() {
	ASLEEP=
	case $(($1 % 10)) in
	1 | 6) key f && asleep "$(any 150)" ;;
	3) key r && asleep "$(any 100)" ;;
	4 | 7)
		# Not in every KVM; by now it has said so.
		grep -aq '^checker: .* SUSP' all out || return 0
		ASLEEP=yes
		from_here
		key s
		# Fast asleep, or still on its way.
		if [ $(($1 % 3)) = 1 ]; then await 60 '^checker: asleep'; else asleep "$(any 100)"; fi
		;;
	8) key i && asleep "$(any 300)" ;;
	*) asleep "$(any "$SPREAD")" ;;
	esac
}

# It may not even have begun to go to sleep when it was saved.
woken() {
	! heard | grep -aq FAILED || fail "the guest noticed: $(heard | grep -a FAILED)"
	! heard | grep -aq '^checker: awake' || return 0
	"$LKVM" resume checker >/dev/null 2>&1 || :
	return 1
}

# whole FILE: numbered lines come one after the other, from 0 after each start of the guest.
whole() {
	tr -d '\r' <"$1" | awk '/^checker: [0-9]+ harts/ { next_line = 0 }
		/^checker: line / { if ($3 != next_line) { print "line " $3 ", not " next_line; exit 1 }
			next_line++; lines++ }
		END { print "# numbered lines: " lines + 0 }' || fail "the console lost or repeated something"
}

# cycle N
cycle() {
	case $(($1 % 3)) in
	0) how='--compress none' ;;
	1) how='--compress zstd' ;;
	2) how='--compress zlib' ;;
	esac
	case $(($1 % 4)) in
	1) verify=before ;;
	*) verify=meanwhile ;;
	esac
	moment "$1"
	! heard | grep -aq FAILED || fail "the guest noticed: $(heard | grep -a FAILED)"
	# shellcheck disable=SC2086	# two words
	"$LKVM" snapshot --kill $how checker file || fail "cycle $1: it can't be saved"
	finish 20
	status_is 0
	cat out >>all
	VERB=restore
	if [ $(($1 % 5)) = 4 ]; then
		start -k "$KERNEL" --paused --verify $verify file
		ready
		# shellcheck disable=SC2086	# two words
		"$LKVM" snapshot $how checker again || fail "cycle $1: the loaded VM can't be saved"
		cmp file again || {
			"$LKVM" snapshot diff file again || :
			fail "cycle $1: what was loaded is not what was saved"
		}
		"$LKVM" resume checker
	else
		start -k "$KERNEL" --verify $verify file
		ready
	fi
	[ -z "$ASLEEP" ] || until_true 30 "the guest does not wake up" woken
}

# play HARTS CYCLES OPTIONS...
play() {
	harts=$1 cycles=$2
	shift 2
	note "$harts harts, $cycles cycles $*"
	unset VERB
	: >all
	start -k "$KERNEL" -c "$harts" -m 32 --name checker --console hv -p check.spin=10 "$@"
	ready
	i=0
	while [ $i -lt "$cycles" ]; do
		cycle $i
		i=$((i + 1))
	done
	lives 60
	from_here
	lives 60
	say q
	finish 30
	status_is 0
	said '^checker: all good after [0-9]+ epochs'
	silent
	note "$(grep -a 'all good' out)"
	cat out >>all
	note "$(grep -aEm 1 '^checker: [0-9]+ harts' all)"
	grep -aq '^checker: .* SUSP' all || note "KVM has no SBI SUSP here: it was never put to sleep"
	case " $* " in
	*' --disable-v '*) said "^checker: $harts harts, vectors of 0 bytes" all ;;
	*) said "^checker: $harts harts, vectors of [1-9]" all ;;
	esac
	whole all
}

SPREAD=600
CYCLES=5
COUNTS=2
VECTORS=on
if "$LKVM" caps | grep -q 'vector registers: 0 bytes'; then
	VECTORS=off
	case ${LKVM_HOST-} in
	*vec*) fail "KVM has no vectors on this host" ;;
	esac
	note "no vectors on this host"
fi
CHIPS='plic'
! have --irqchip aia || CHIPS='plic aia:emul'
if long; then
	CYCLES=28
	COUNTS='1 2 4'
	[ $VECTORS = off ] || VECTORS='on off'
	! have --irqchip aia --aia hwaccel || CHIPS="$CHIPS aia:hwaccel"
fi
for chip in $CHIPS; do
	for harts in $COUNTS; do
		for vectors in $VECTORS; do
			set --
			[ "$vectors" = on ] || set -- --disable-v
			case $chip in
			plic) play "$harts" "$CYCLES" --irqchip plic "$@" ;;
			*) play "$harts" "$CYCLES" --irqchip aia --aia "${chip#*:}" "$@" ;;
			esac
		done
	done
done
