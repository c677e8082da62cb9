#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable aia
# files: stable unstable
# time: 400
#
# An older guest on a newer host and a newer one on an older host. Hosts of 7.x start a hart with
# user-mode rdtime disabled, and a 6.12 guest only enables it with the SBI PMU at hand: so with and
# without the PMU, and on harts that were stopped and started again, time must pass in user mode.
# With the AIA lkvm learns of such a hart by looking, so there it is given two seconds.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

case $(uname -r) in
6.*) guest=unstable ;;
*) guest=stable ;;
esac

# times CPUS WAIT OPTIONS...
times() {
	cpus=$1 wait=$2
	shift 2
	guest 100 -k "$FILES/$guest" -i "$FILES/$guest.initrd" -m 256 -c "$cpus" --timeout 90 "$@" \
		-p "quiet lkvm.run=/bin/rdtime,hotplug,$wait"
	grep -a rdtime out || :
	status_is 0
	silent
	said '^Hello from the guest: '
	said "^rdtime: $cpus CPUs good\$"
	[ "$cpus" -eq 1 ] || said "^rdtime: $cpus CPUs good after hotplug\$"
	said '^lkvm-status: 0$'
}

if "$LKVM" run -k "$FILES/$guest" --irqchip aia --dry-run >aia.log 2>&1 </dev/null; then
	times 2 2 --irqchip aia --disable-sbi-pmu
	exit 0
fi
for cpus in 1 2 4; do
	times "$cpus" 0
	times "$cpus" 0 --disable-sbi-pmu
done
