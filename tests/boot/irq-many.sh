#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# More devices than a hart's interrupt file in software has good identities for: 20 disks and one
# vCPU. Each disk answers: those that got no vectors of their own by the pin.
#
# hosts: aia
# files: virtio
# time: 180

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

INITRD=$VIRTIO_INITRD
dd if=/dev/urandom of=disk.img bs=64k count=4 2>/dev/null
set --
while [ $# -lt 40 ]; do set -- "$@" -d disk.img,ro; done
shell 120 -m 384 "$@" -p "$QUIET lkvm.modules=virtio"
told 60 'for d in /dev/vd?; do timeout 10 dd if=$d bs=64k count=4 iflag=direct 2>/dev/null | sha256sum; done | sort | uniq -c'
note "$ANSWER"
[ "$(echo "$ANSWER" | awk '{ print $1, $2 }')" = "20 $(sha256sum disk.img | cut -d ' ' -f 1)" ] ||
	fail "not 20 times the image"
told 20 'grep -c PCI-MSIX /proc/interrupts; grep -c "APLIC.*virtio" /proc/interrupts'
note "$ANSWER"
say poweroff -f
finish 20
status_is 0
silent
