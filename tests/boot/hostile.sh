# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# Guests that break the rules of their devices, one VM a case: guest/hostile plays, and
# tests/boot/hostile.c watches the process from outside.
#
# hosts: sv57
# files: guests
# time: 240

for bus in mmio pci; do
	"$FILES/hostile-run" "$LKVM" "$FILES/hostile" $bus || fail "see above"
done
