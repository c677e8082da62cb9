#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 sv48 sv39 stable
# files: tiny
# time: 100
#
# Every --hgatp on every kind of host: what the host has is what the VM gets and a guest runs in
# it; what it does not have is refused, before anything runs.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

# The widest mode of this host, and whether it can be chosen, by what kvm.ko said when it started.
widest=$(dmesg | sed -n 's/.*G-stage.*\(Sv[0-9]*\)x4.*/\1/p; s/.*using \(Sv[0-9]*\)x4 G-stage.*/\1/p' |
	head -n 1 | tr S s)
case $(uname -r) in
6.*) choice= ;;
*) choice=yes ;;
esac
[ -n "$widest" ] || fail "the host's kernel does not say which mode it has"
note "widest mode $widest, choice: ${choice:-no}"

bits() {
	case $1 in
	sv39) echo 41 ;;
	sv48) echo 50 ;;
	sv57) echo 59 ;;
	esac
}

# has MODE OPTIONS...: the VM gets this mode, and runs.
has() {
	mode=$1
	shift
	guest 10 --dry-run -k "$FILES/tiny" "$@"
	status_is 0
	silent
	said "^G-stage: Sv${mode#sv}x4, $(bits "$mode") bits of guest physical address"
	guest 20 -k "$FILES/tiny" -c 2 "$@"
	status_is 0
	silent
	said '^tiny: 2 harts$'
}

refused() {
	regex=$1
	shift
	for dry in --dry-run ''; do
		guest 10 ${dry:+"$dry"} -k "$FILES/tiny" "$@"
		status_is 125
		[ ! -s out ] || fail "lkvm printed: $(cat out)"
		[ "$(wc -l <err)" -eq 1 ] || fail "not one line: $(cat err)"
		said "$regex" err
	done
	cat err
}

host=Sv${widest#sv}x4
if [ -n "$choice" ]; then has sv39; else has "$widest"; fi
if [ -n "$choice" ]; then has sv39 --hgatp auto; else has "$widest" --hgatp auto; fi
has "$widest" --hgatp host
for mode in sv39 sv48 sv57; do
	if [ "$(bits $mode)" -gt "$(bits "$widest")" ]; then
		refused "^Fatal: .*--hgatp $mode: this host has .*$host" --hgatp $mode
	elif [ -z "$choice" ] && [ $mode != "$widest" ]; then
		refused "^Fatal: .*--hgatp $mode: this host.s KVM gives every VM $host and offers no choice" \
			--hgatp $mode
	else
		has $mode --hgatp $mode
	fi
done

# A region that only a wider mode reaches: taken where there is one, and named where not.
far="-m 64 -m 64@0x30000000000"
if [ "$widest" = sv39 ]; then
	# shellcheck disable=SC2086	# words
	refused '^Fatal: .*0x30000000000' $far
else
	# shellcheck disable=SC2086
	if [ -n "$choice" ]; then has sv48 $far; else has "$widest" $far; fi
fi
if [ -n "$choice" ] || [ "$widest" = sv39 ]; then
	# shellcheck disable=SC2086
	refused '^Fatal: .*--hgatp sv39' --hgatp sv39 $far
fi
