#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own
# lab: --peer
# time: 120
#
# The guest's kernel has no warning and no error to tell that the same kernel would not tell as a
# guest of QEMU on its virt machine, on the same host. Numbers in messages do not count.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

append="console=ttyS0 panic=1 quiet lkvm.quiet lkvm.run=/bin/dmesg,-r"

# complaints <CONSOLE: level 4 (warning) and more urgent, without time and numbers.
complaints() {
	tr -d '\r' | sed -n 's/^<[0-4]>\[ *[0-9.]*\] //p' |
		sed 's/0x[0-9a-f]*/N/g; s/[0-9a-f]\{8,\}/N/g; s/[0-9][0-9.]*/N/g' | sort -u
}

guest 60 -k "$KERNEL" -i "$INITRD" -m 256 -c 2 -p "${append#console=ttyS0 panic=1 }"
status_is 0
said '^lkvm-status: 0$'
complaints <out >ours

[ -n "$LKVM_PEER" ] || skip "no QEMU to compare with"
echo "+ qemu-system-riscv64"
timeout -s KILL 90 "$LKVM_PEER" -M virt -accel kvm -cpu host -m 256 -smp 2 -nodefaults \
	-display none -serial stdio -no-reboot -kernel "$KERNEL" -initrd "$INITRD" \
	-append "$append" </dev/null >peer 2>err || fail "QEMU: $(cat err)"
tr -d '\r' <peer | grep -q '^lkvm-status: 0$' || fail "QEMU's guest did not come up: $(tail peer)"
complaints <peer >theirs

note "the guest's complaints under lkvm:"
cat ours
note "and under QEMU:"
cat theirs
grep -vxF -f theirs ours >only || :
[ ! -s only ] || fail "only under lkvm: $(cat only)"
