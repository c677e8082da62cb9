#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests that break the rules of their devices, one VM a case: guest/hostile plays, and
# tests/boot/hostile.c watches the process from outside.
#
# hosts: sv57
# files: guests
# time: 400

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

export XDG_RUNTIME_DIR="$PWD"
for bus in mmio pci; do
	"$FILES/hostile-run" "$LKVM" "$FILES/hostile" $bus || fail "see above"
done
