#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Timers, IPIs and device interrupts on bare harts: guest/irq plays, with lines of the serial port
# and of disks, and a number of harts each. Where the host has an AIA, once with the PLIC too.
#
# open: the last change to guest/irq (how a flood is counted at its end) was not played yet
# hosts: sv57 nosstc aia aia-guests stable-aia stable-aia-guests
# files: guests
# time: 120
# long: 900

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

# play CHIP TRANSPORT HARTS OPTIONS...
play() {
	chip=$1 bus=$2 harts=$3
	shift 3
	note "$chip, $bus, $harts harts $*"
	if [ "$bus" = pci ]; then
		set -- "$@" -d disk.img,ro -d disk.img,ro -d disk.img,ro
	fi
	# Bytes for the serial port come from a pipe, so guest() does not do.
	STATUS=0
	printf 'abcdefgh' | timeout -s KILL 100 "$LKVM" run -k "$FILES/irq" -c "$harts" -m 64 \
		--irqchip "$chip" --virtio-transport "$bus" -d disk.img,ro -d disk.img,ro "$@" \
		-p "irq.chip=$chip irq.bus=$bus irq.harts=$harts irq.input=8 irq.flood=$FLOOD $WORDS" \
		>out 2>err || STATUS=$?
	grep -a '^# .* beside\|^not ok\|nothing' out || :
	status_is 0
	said '^irq: all [0-9]+ checks passed$'
	! grep -aq '^not ok' out || fail "see above"
	silent
}

truncate -s 1M disk.img
WORDS=''
FLOOD=100
COUNTS='1 4'
if long; then
	FLOOD=2000
	COUNTS='1 2 4 8'
fi

# have OPTIONS...: this host can give them.
have() {
	"$LKVM" run -k "$FILES/irq" -m 64 "$@" --dry-run >have.log 2>&1 </dev/null
}

if ! have --irqchip aia; then
	for harts in $COUNTS; do
		play plic mmio "$harts"
		play plic pci "$harts"
	done
	exit 0
fi
if have --irqchip aia --aia hwaccel; then
	# A guest interrupt file for each hart wherever it runs, or KVM does not enter the guest.
	WORDS=irq.ids=all
	play aia pci 1 --aia hwaccel
	play aia mmio 2 --aia hwaccel
	WORDS=
	mode=auto
else
	mode=emul
fi
for harts in $COUNTS; do
	play aia pci "$harts" --aia $mode
	if long; then
		play aia mmio "$harts" --aia $mode
		play plic mmio "$harts"
		play plic pci "$harts"
	fi
done
long || play plic mmio 4
