#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 sv48
# files: own guests
# time: 180
#
# KVM_CAP_RISCV_SET_HGATP_MODE as it was posted: by number 247, and by 248 with the later mask. An
# interposer (tests/lab/posted) makes the host's KVM look so, and tells what the kernel was asked:
# the same lkvm gets every mode that is there, and is not fooled where 247 is something else.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

widest=$(dmesg | sed -n 's/.*G-stage.*Sv\([0-9]*\)x4.*/\1/p' | head -n 1)
case $widest in
57) max=59 mask=7 ;;
48) max=50 mask=3 ;;
*) fail "what this host has is not known: $widest" ;;
esac

# shellcheck disable=SC2016	# for the script
printf '#!/bin/sh\nexec "$FILES/posted" "$POSTED" "$FILES/lkvm" "$@"\n' >lkvm
chmod +x lkvm
LKVM=$PWD/lkvm
export POSTED

# What the interposer told, and nothing else.
told() { grep -qxF "posted: $1" err || fail "the interposer did not say: $1"; }
not_told() { ! grep -qE "^posted: $1" err || fail "the interposer said: $(grep "$1" err)"; }
# lkvm itself had nothing to say.
quiet() { ! grep -v '^posted: ' err || fail "lkvm said that"; }

# had BITS HGATP-MODE OPTIONS...: the VM has this width, and KVM says so itself.
had() {
	bits=$1 mode=$2
	shift 2
	guest 40 "$@"
	status_is 0
	quiet
	not_told 'FATAL'
	[ -z "$mode" ] || told "ENABLE_CAP($POSTED, $mode) = 0; the kernel: ENABLE_CAP(207, $bits) = 0"
	line=$(grep '^posted: CHECK_EXTENSION(207)' err | tail -n 1)
	[ "$line" = "posted: CHECK_EXTENSION(207) = $bits; the kernel: CHECK_EXTENSION(207) = $bits" ] ||
		fail "the last word on the width: $line"
}

# refused REGEX OPTIONS...
refused() {
	regex=$1
	shift
	guest 20 "$@"
	status_is 125
	said "$regex" err
	not_told 'ENABLE_CAP\((247|248)'
}

fill="-k $FILES/fill --console hv -m 64"
far="-m 64@0x30000000000"
for POSTED in 247 248; do
	case $POSTED in
	247) answer=$mask ;;
	248) answer=$((mask << 8)) ;;
	esac
	# shellcheck disable=SC2086	# words
	{
		had 41 8 $fill
		said '^fill: good$'
		told "ENABLE_CAP(207, $max) = -22"
		told "CHECK_EXTENSION($POSTED) = $answer"
		had 41 8 $fill --hgatp sv39
		refused '^Fatal: --hgatp sv39: RAM of 64M at 0x30000000000' $fill $far --hgatp sv39
		# What is wider than sv39 shows by what fits in.
		if [ $max = 50 ]; then
			had 50 '' $fill $far --hgatp sv48
			refused '^Fatal: --hgatp sv57: this host has modes up to Sv48x4$' $fill --hgatp sv57
			had 50 '' $fill $far
		else
			had 50 9 $fill $far --hgatp sv48
			said '^fill: 0x30000000000 64 MiB: [0-9]* words good$'
			had 50 9 $fill $far
			had 59 '' $fill -m 64@0x8000000000000 --hgatp sv57
			said '^fill: 0x8000000000000 64 MiB: [0-9]* words good$'
		fi
		had $max '' $fill --hgatp host
	}
	guest 20 --dry-run -k "$FILES/fill"
	said "^G-stage: Sv39x4, 41 bits .*KVM_CAP_RISCV_SET_HGATP_MODE \\($POSTED\\)"
done
POSTED=247 had 41 8 -k "$KERNEL" -i "$INITRD" -m 256 --hgatp sv39
said '^Hello from the guest: '
POSTED=248 had 41 8 -k "$KERNEL" -i "$INITRD" -m 256 --hgatp sv39
said '^Hello from the guest: '

# Something else: a boolean, masks of other shapes, large numbers.
for number in 1 0x300 0x700 0x10007 65536; do
	POSTED=other=$number
	# shellcheck disable=SC2086	# words
	{
		had $max '' $fill
		said '^fill: good$'
		not_told 'ENABLE_CAP\((247|248)'
		refused "^Fatal: --hgatp sv39: this host's KVM gives every VM Sv${widest}x4 and offers no choice\$" \
			$fill --hgatp sv39
	}
done
