#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own guests
# time: 480
# long: 600
#
# RAM where fewer bits do not reach, beyond 2^41 and beyond 2^50: the modes that hold it run it, the
# others refuse and name the address, and a guest finds every word of both regions its own. Then
# Linux in it, and what --satp makes of Linux's own paging. The long form has every way to ask for
# them.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

far=0x30000000000
higher=0x8000000000000

# fills MODE BITS REGION OPTIONS...
fills() {
	mode=$1 bits=$2 region=$3
	shift 3
	guest 10 --dry-run -k "$FILES/fill" -m 256M -m "128M@$region" "$@"
	status_is 0
	said "^G-stage: $mode, $bits bits of guest physical address"
	guest 60 -k "$FILES/fill" --console hv -m 256M -m "128M@$region" "$@"
	status_is 0
	silent
	# Less what the program and the device tree are in.
	said '^fill: 0x80000000 256 MiB: 3[0-9]* words good$'
	said "^fill: $region 128 MiB: 16777216 words good\$"
	said '^fill: good$'
}

refused() {
	sentence=$1
	shift
	guest 10 -k "$FILES/fill" --console hv "$@"
	status_is 125
	[ "$(cat err)" = "Fatal: $sentence" ] || fail "lkvm said: $(cat err)"
}

! long || fills Sv48x4 50 $far
fills Sv48x4 50 $far --hgatp sv48
! long || fills Sv57x4 59 $far --hgatp sv57
! long || fills Sv57x4 59 $far --hgatp host
refused "--hgatp sv39: RAM of 128M at $far (ending at 0x30008000000) takes guest addresses of 42 bits, and\
 Sv39x4 holds 41 (up to 0x1fffffff000); this host has up to Sv57x4" -m 256M -m 128M@$far --hgatp sv39
fills Sv57x4 59 $higher
! long || fills Sv57x4 59 $higher --hgatp sv57
refused "--hgatp sv48: RAM of 128M at $higher (ending at 0x8000008000000) takes guest addresses of 52\
 bits, and Sv48x4 holds 50 (up to 0x3fffffffff000); this host has up to Sv57x4" \
	-m 256M -m 128M@$higher --hgatp sv48
# The last page below 2^56 stays free; the region before it can be had.
fills Sv57x4 59 0xfffffff7e00000
guest 10 -k "$FILES/fill" -m 256M -m 128M@0xfffffff8000000
status_is 125
said '^Fatal: -m 128M: at 0xfffffff8000000 it would end beyond 0xfffffffffff000, ' err

# mmu: what Linux says of its own paging.
mmu() { ask 30 'sed -n "s/^mmu.*: //p" /proc/cpuinfo | sort -u'; }

bye() {
	say poweroff -f
	finish 20
	status_is 0
	silent
}

# The higher region under Linux: seen, used, and what is written there is read again.
shell 90 -m 256M -m 128M@$higher -p "$QUIET"
ask 30 'grep "System RAM" /proc/iomem'
echo "$ANSWER"
echo "$ANSWER" | grep -q '^8000000000000-8000007ffffff : System RAM' ||
	fail "the second region is not there"
mmu
[ "$ANSWER" = sv57 ] || fail "Linux pages by $ANSWER"
ask 30 'sed -n "/^Node.*Normal/,/ min /s/^ *pages free *//p" /proc/zoneinfo'
before=$ANSWER
size=170000000
ask 30 'mount -t tmpfs -o size=90% big /mnt'
ask 240 "head -c $size /dev/zero | tr '\\0' '#' >/mnt/f"
ask 240 "tr -d '#' </mnt/f | wc -c; wc -c </mnt/f"
[ "$ANSWER" = "0
$size" ] || fail "filling memory gave: $ANSWER"
ask 30 'sed -n "/^Node.*Normal/,/ min /s/^ *pages free *//p" /proc/zoneinfo'
note "free pages of the second region: $before, and $ANSWER with memory full"
[ "$ANSWER" -lt $((before / 2)) ] || fail "the second region is not used"
bye

# The first stage: the narrowest that serves, or what is asked for.
modes='auto:sv39 sv48:sv48'
! long || modes='auto:sv39 host:sv57 sv39:sv39 sv48:sv48 sv57:sv57'
for want in $modes; do
	shell 60 -m 256M --satp "${want%:*}" -p "$QUIET"
	mmu
	note "--satp ${want%:*}: $ANSWER"
	[ "$ANSWER" = "${want#*:}" ] || fail "--satp ${want%:*} gave $ANSWER"
	bye
done
