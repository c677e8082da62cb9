#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# long-hosts: sv57 stable
# files: virtio
# time: 900
# long: 900
#
# The balloon takes memory from a guest and the host has it back, by whole blocks of 2 MiB where it
# has huge pages; it gives it back, also by itself when the guest runs out; what the guest frees
# goes back to the host without being asked for; the guest's own figures are shown; and the host's
# kernel has nothing to complain of. And virtio-rng feeds /dev/hwrng.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

# A host that maps guest memory by 4 KiB only (Linux 6.12) has 256 faults for each MiB touched.
MIB=100

rss_mib() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$PID/status"; }

balloon() { "$LKVM" balloon "guest-$PID" "$@"; }

# What KVM says of a part of a huge mapping that it is to unmap, and its like.
complaints() { dmesg | grep -cE 'WARNING:|BUG:|Skip unmap range|arch/riscv/(kvm|mm)' || :; }

# in_time SECONDS WHAT COMMAND...
in_time() {
	limit=$1 what=$2
	shift 2
	within "$limit" "$@" || fail "$what: $(balloon), $(rss_mib) MiB resident"
}

holds() { balloon | grep -qE "^target $1, actual $1, of 256M;"; }
gave_way() { ! balloon | grep -q "actual $1M"; }
resident_below() { [ "$(rss_mib)" -lt "$1" ]; }

INITRD=$VIRTIO_INITRD
complained=$(complaints)
shell 300 -m 256 --balloon --rng -p "quiet lkvm.modules=virtio lkvm.run=shell"

# Random bytes, none alike; the driver took them from us.
ask 120 'cat /sys/class/misc/hw_random/rng_current'
[ "$ANSWER" = virtio_rng.0 ] || fail "hwrng is $ANSWER"
ask 120 'dd if=/dev/hwrng bs=64 count=64 2>/dev/null >/tmp/random; wc -c </tmp/random'
[ "$ANSWER" = 4096 ] || fail "hwrng gave $ANSWER bytes"
ask 120 'od -An -v -tx8 -w8 /tmp/random | sort | uniq -d | wc -l'
[ "$ANSWER" = 0 ] || fail "hwrng gave the same $ANSWER times"

# Half of it is free in single pages, too small to be reported, and the host has them yet. The
# balloon takes those first: half of each block. When the other half is free too it takes that, and
# the blocks are whole.
say "holes $MIB &"
await 240 'holes-ready'
before=$(rss_mib)
[ "$before" -gt "$MIB" ] || fail "only $before MiB are resident"
few=$((MIB * 4 / 10))M many=$((MIB * 12 / 10))M
balloon $few
in_time 240 'the balloon does not fill' holds $few
note "$few of single pages in the balloon: from $before to $(rss_mib) MiB resident"
say 'kill $!'
ask 120 wait
balloon $many
in_time 240 'the balloon does not fill' holds $many
in_time 120 'the memory is not back' resident_below $((before - MIB * 6 / 10))
note "$many in the balloon: from $before to $(rss_mib) MiB resident"
balloon | grep -qE '; [0-9]+ s ago the guest had total [0-9.]+[MK], free ' ||
	fail "no figures of the guest: $(balloon)"
balloon 0
in_time 240 'the balloon does not empty' holds 0

# What was freed in large pieces is reported by the guest itself, after some seconds.
say "holes $MIB keep &"
await 240 'holes-ready' 2
before=$(rss_mib)
[ "$before" -gt "$MIB" ] || fail "only $before MiB are resident"
say 'kill $!'
in_time 240 'free pages do not come back' resident_below $((before - MIB * 6 / 10))
note "$MIB MiB freed: from $before to $(rss_mib) MiB resident"

# The guest needs more than the balloon leaves it: the balloon gives way, and nobody is killed.
ask 120 'free -m | awk "/Mem/ { print \$7 }"'
free=$ANSWER
note "$free MiB available"
balloon $((free - 30))M
in_time 240 'the balloon does not fill' holds $((free - 30))M
say 'holes 60 keep &'
await 240 'holes-ready' 3
in_time 60 'the balloon does not give way' gave_way $((free - 30))
note "$(balloon)"
ask 120 'dmesg | grep -c "Out of memory"'
[ "$ANSWER" = 0 ] || fail "the guest killed somebody"

# More than there is, and other nonsense.
! balloon 257M 2>refused || fail 'more was taken than there is'
said 'the guest has only 256M' refused
! balloon 12Q 2>refused || fail "12Q were taken"

say 'poweroff -f'
finish 60
status_is 0
silent
[ "$(complaints)" = "$complained" ] || fail "the host's kernel complains: $(dmesg | tail -n 40)"
