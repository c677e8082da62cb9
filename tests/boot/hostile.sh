#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests that break the rules of their devices, one VM a case: guest/hostile plays, and
# tests/boot/hostile.c watches the process from outside. With an AIA the cases of PCI, of MSI-X
# and of the chip itself; without, all of them. In the long form storms poke a hundred times as often.
#
# hosts: sv57 aia
# files: guests
# time: 600
# long: 7200
# long-hosts: sv57
# lab: --modules=vhost_vsock

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

export XDG_RUNTIME_DIR="$PWD"
! long || export HOSTILE_COUNT=100000

play() { # play BUS [CASE...]
	bus=$1
	shift
	"$FILES/hostile-run" "$LKVM" "$FILES/hostile" "$bus" "$@" || fail "see above"
}

if "$LKVM" run -k "$FILES/hostile" -m 64 --irqchip aia --dry-run </dev/null >dry-run 2>&1; then
	play pci A12 A12-vectors A13 A13-storm A14 A15 A16 A17 A17-message D2 D11-address D11-identity
	# What the guest did is its own affair: the host's kernel has nothing to say about it.
	! dmesg | grep -E 'WARNING|BUG:|Oops' || fail "see above"
else
	play mmio
	play pci
fi
