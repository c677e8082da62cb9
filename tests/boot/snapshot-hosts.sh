#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable sv39
# files: guests
# time: 120
#
# Snapshots that go from one kind of host to another. Each host saves the checker guest (guest/checker)
# in several forms into a directory that all hosts share, and restores what the hosts before it have
# left there. What `lkvm restore --dry-run` says of each beforehand must be what happens: the guest comes
# back and finds everything as it was, or nothing starts, for the same reasons.
#
# Here three hosts in a row: Linux 7.x, then 6.12, then 7.x with narrower page tables; tests/snapshot-hosts has all kinds of
# host save first, and then restore everything ($LKVM_HOSTS says what to do: save, restore, or both).
#
# A cell of the table is a file cells/FILE,HOST in that directory: "ok", or the reasons, a line each.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

# What another build has left is not looked at.
KEY=$(cat "$LKVM" "$FILES/checker" "$FILES/snapshot-hosts.sh" | sha256sum | cut -c 1-12)
STORE=$LKVM_SHARE/hosts-$KEY
HOST=${LKVM_HOST-this}
mkdir -p "$STORE/cells"

# save FORM OPTIONS...: the guest, a moment after its start, as HOST,FORM
save() {
	file=$STORE/$HOST,$1
	shift
	unset VERB
	start -k "$FILES/checker" --name checker --console hv --nodefaults \
		-p check.spin=5 "$@"
	await 60 '^checker: (epoch|FAILED)'
	"$LKVM" snapshot --kill checker "$file.new" || fail "$file: it can't be saved"
	finish 20
	status_is 0
	mv "$file.new" "$file"
	note "saved: $("$LKVM" snapshot info "$file" | sed -n 's/^ISA: //p')"
}

# maybe FORM OPTIONS...: where this host can give them
maybe() {
	form=$1
	shift
	! "$LKVM" run -k "$FILES/checker" "$@" --dry-run >have.log 2>&1 </dev/null || save "$form" "$@"
}

# What every host can be (the least of all), what this one is by itself, and what only some can do.
save_all() {
	isa=rv64imafdc_sstc
	[ "$HOST" != nosstc ] || isa=rv64imafdc
	save base -c 2 -m 32 --irqchip plic --satp sv39 --isa $isa \
		--disable-sbi-fwft --disable-sbi-sta --disable-sbi-pmu --disable-sbi-susp
	save plain -c 2 -m 32 --irqchip plic
	# Nothing else of these hosts counts for it.
	case $HOST in
	vec* | nosstc | max | aia*) ;;
	*) maybe high -c 1 -m 32 -m 32@0x30000000000 --irqchip plic --satp sv48 ;;
	esac
	maybe aia -c 2 -m 32 --irqchip aia --satp sv39
	maybe hwaccel -c 2 -m 32 --irqchip aia --aia hwaccel --satp sv39
}

# What the check says: the reasons, a line each, without the file's name.
reasons() {
	sed -n -e 's/^ *\(Error\|Fatal\): //' -e "s|^$1: ||" -e '/can.t be restored here for /d' \
		-e "s|^$1 can't be restored here: ||" -e p "$2" | sed 's/^vCPU [0-9]*: //'
}

# cell FILE: is it restored here, as it was said?
cell() {
	name=${1##*/}
	said=0 done=0
	"$LKVM" restore --dry-run "$1" >out 2>err </dev/null || said=$?
	for try in 1 2 3; do
		# The guest reads the key in its next epoch, looks at everything and powers off.
		done=0
		printf q | timeout -s KILL 60 "$LKVM" restore "$1" >out2 2>err2 || done=$?
		# A guest without Sstc on a host that has it: timers of such get lost, saved or not.
		if [ $done -ne 137 ] || ! grep -q 'not told of Sstc' err2; then break; fi
		note "$name: try $try: it waits for ever, for a timer that it set by an SBI call"
		echo "$try" >"$STORE/cells/$name,$HOST.lost"
	done
	reasons "$1" err >"$STORE/cells/$name,$HOST"
	case $said/$done in
	0/0)
		grep -aq 'checker: all good after' out2 || fail "$name: no word of the guest"
		echo ok >"$STORE/cells/$name,$HOST"
		note "$name: restored"
		;;
	125/125)
		cmp -s err err2 || fail "$name: it said $(cat err) and then $(cat err2)"
		note "$name: $(tr '\n' ';' <"$STORE/cells/$name,$HOST")"
		;;
	*)
		cat err err2
		tr -d '\r' <out2 | tail -n 5
		fail "$name: the check says $said, what happens is $done"
		;;
	esac
}

restore_all() {
	for file in "$STORE"/*,*; do
		case $file in
		*.new) ;;
		*) [ ! -f "$file" ] || cell "$file" ;;
		esac
	done
}

case ${LKVM_HOSTS-both} in
save) save_all ;;
restore) restore_all ;;
both)
	for old in "$LKVM_SHARE"/hosts-*; do
		[ "$old" = "$STORE" ] || rm -r "$old"
	done
	save_all
	restore_all
	;;
esac
