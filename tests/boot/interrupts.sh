#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Timers, IPIs and device interrupts on bare harts: guest/irq plays, with lines of the serial port
# and of disks, and a number of harts each. Where the host has an AIA, with that, in each of its
# modes that the host can give, and once with the PLIC too.
#
# hosts: sv57 aia-guests
# files: guests
# time: 150
# long: 1200
# long-hosts: sv57 nosstc aia aia-guests stable-aia stable-aia-guests

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

KERNEL=$FILES/irq

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
	printf 'abcdefgh' | timeout -s KILL "$LIMIT" "$LKVM" run -k "$KERNEL" -c "$harts" -m 64 \
		--irqchip "$chip" --virtio-transport "$bus" -d disk.img,ro -d disk.img,ro "$@" \
		-p "irq.chip=$chip irq.bus=$bus irq.harts=$harts irq.input=8 irq.flood=$FLOOD $WORDS" \
		>out 2>err || STATUS=$?
	grep -a '^# .* beside\|^not ok\|for nothing\|slept' out || :
	[ "$STATUS" != 137 ] || fail "no end within $LIMIT s"
	# A failed check ends in a shutdown because of a failure: 126.
	status_is 0
	said '^irq: all [0-9]+ checks passed$'
	! grep -aq '^not ok' out || fail "see above"
	silent
	! grep -aq slept out || in_hardware "$@" || fail "a hart slept with an interrupt pending"
}

# in_hardware OPTIONS...: may interrupt files be in hardware? QEMU, as that, forgets now and then
# to tell its CPU that the file of a vCPU that sleeps has something: HGEIP and HGEIE have a bit in
# common, but SGEIP is not set (two CPUs write HGEIE and the file at the same moment). And Linux
# 6.12 looks at the wrong CPU's file where a vCPU was moved before it slept: mode auto has none
# there. The interrupt has arrived where it belongs, which is all that lkvm has to do with it.
in_hardware() {
	case " $* " in
	*" --aia hwaccel "*) ;;
	*" --aia auto "*) case $(uname -r) in 6.12.*) false ;; esac ;;
	*) false ;;
	esac
}

# no_room: more vCPUs on one CPU than it has guest interrupt files. KVM can't run the last of them,
# and lkvm says why and what to do; in mode auto KVM goes on with files in software.
no_room() {
	note "4 harts on CPU 0, which has 3 interrupt files"
	set -- -k "$KERNEL" -c 4 -m 64 --irqchip aia --virtio-transport pci -d disk.img,ro \
		-d disk.img,ro -p "irq.chip=aia irq.bus=pci irq.harts=4 irq.only=harts"
	STATUS=0
	timeout -s KILL "$LIMIT" taskset 1 "$LKVM" run "$@" --aia hwaccel </dev/null >out 2>err || STATUS=$?
	cat err
	status_is 126
	said 'hart [0-3]: host CPU 0 has no interrupt file left: --aia hwaccel needs .* --aia auto does not' err
	STATUS=0
	timeout -s KILL "$LIMIT" taskset 1 "$LKVM" run "$@" </dev/null >out 2>err || STATUS=$?
	status_is 0
	silent
}

truncate -s 1M disk.img
WORDS=''
FLOOD=30
LIMIT=100
COUNTS=4
if long; then
	FLOOD=100
	LIMIT=200
	COUNTS='1 2 4 8'
fi

if ! have --irqchip aia; then
	play plic mmio 2
	for harts in $COUNTS; do
		play plic pci "$harts"
		! long || play plic mmio "$harts"
	done
	exit 0
fi
MODES=emul
if have --irqchip aia --aia hwaccel; then
	MODES='auto emul'
	# A guest interrupt file for each hart wherever it runs, or KVM does not enter the guest.
	WORDS=irq.ids=all
	play aia pci 2 --aia hwaccel
	! long || play aia mmio 1 --aia hwaccel
	WORDS=''
	no_room
fi
for harts in $COUNTS; do
	play aia pci "$harts" --aia "${MODES%% *}"
	long || exit 0
	play aia mmio "$harts" --aia "${MODES%% *}"
	[ "$MODES" = emul ] || play aia pci "$harts" --aia emul
done
play plic mmio 4
play plic pci 4
