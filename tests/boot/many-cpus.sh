#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own tiny
# time: 500
# long: 600
#
# More vCPUs than KVM takes are reduced to its limit, with one line. Each of them runs (the tiny
# guest starts them all), and Linux boots with 256 of them, with its own limit on how
# many it uses; in the long form with all: two minutes of reading the device tree, which it does in
# quadratic time.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

reduced() {
	[ "$(wc -l <err)" -eq 1 ] || fail "lkvm said: $(cat err)"
	said '^Warning: -c 2000: KVM on this host takes at most [0-9]+, so the VM has [0-9]+ vCPUs$' err
	limit=$(sed 's/.* has \([0-9]*\) vCPUs$/\1/' err)
}

guest 120 -k "$FILES/tiny" -c 2000
status_is 0
reduced
said "^tiny: $limit harts\$"

many=256
! long || many=2000
guest 400 -k "$KERNEL" -i "$INITRD" -c $many -m 512 -p "quiet loglevel=0 nr_cpus=2"
status_is 0
! long || reduced
said '^Hello from the guest: .*, 2 CPUs, '
