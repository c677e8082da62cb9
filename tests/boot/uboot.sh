#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: uboot
# time: 120
#
# Debian's U-Boot for S-mode, as firmware and as ELF: up to its prompt, and it obeys.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

prompt() {
	start "$@" -m 256
	await 50 '^=> $'
	said '^U-Boot 20[0-9][0-9]\.'
	said '^DRAM: +256 MiB'
	# It has said its version once; asked, it says it again.
	say version
	await 20 '^U-Boot 20[0-9][0-9]\.' 2
	say 'setexpr n 0x6 * 0x7; printenv n'
	await 20 '^n=2a'
	say poweroff
	finish 20
	status_is 0
	silent
}

prompt -f "$FILES/u-boot.bin"
prompt -k "$FILES/uboot.elf"
