#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: guests
# time: 120
#
# G-stage mappings of 2 MiB: they form where the host's pages are huge and HVA and GPA agree modulo
# 2 MiB, and KVM's count of exits shows it: one fault for 512 pages. First with the test program
# that lays a memslot out right and wrong, then with lkvm itself.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

thp=/sys/kernel/mm/transparent_hugepage/enabled
[ -w $thp ] || skip "$thp can't be written"
was=$(sed 's/.*\[\(.*\)\].*/\1/' $thp)
trap 'echo "$was" >$thp; at_end' EXIT
case $(uname -r) in
6.*) skip "before Linux 7 only hugetlbfs gives huge G-stage mappings" ;;
esac

# exits LAYOUT: of a run of huge, which prints it.
exits() {
	"$FILES/huge" 64 "$1" >out
	cat out >&2
	sed -n 's/.* exits \([0-9]*\) .*/\1/p' out
}

less() { [ "$1" -lt "$2" ] || fail "$3: $1 exits, not less than $2"; }
more() { [ "$1" -ge "$2" ] || fail "$3: $1 exits, less than $2"; }

# 64 MiB are 16384 pages or 32 huge ones; ticks of the host and the program itself add some.
echo always >$thp
less "$(exits aligned)" 1024 "aligned, huge host pages"
more "$(exits misaligned)" 16384 "misaligned, huge host pages"
less "$(exits partial)" 2048 "partial, huge host pages"
echo never >$thp
more "$(exits aligned)" 16384 "aligned, small host pages"

# touched OPTIONS...: exits of lkvm's vCPU until the guest touched all pages of its RAM.
touched() {
	start -k "$FILES/fill" --console hv -p "fill.step=4096 fill.then=wait" "$@"
	await 60 '^fill: good$'
	sleep 0.2
	EXITS=$(cat /sys/kernel/debug/kvm/"$PID"-*/exits) || skip "no statistics in debugfs"
	kill -TERM "$PID"
	finish 10
}
for kind in never always; do
	echo $kind >$thp
	touched -m 128 -m 64@0x30000000000
	note "lkvm, 192 MiB, transparent_hugepage=$kind: $EXITS exits"
	case $kind in
	never) more "$EXITS" 47000 "lkvm, small host pages" ;;
	always) less "$EXITS" 3000 "lkvm, huge host pages" ;;
	esac
done
