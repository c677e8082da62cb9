#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own tiny
# time: 90
#
# What lkvm takes as a kernel: an Image, the same packed with gzip, an ELF, and a raw program as
# firmware; and Debian's kernel packed with gzip. From a file name alone as well. And the line of a suite
# of bare-metal tests.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

gzip -c <"$FILES/tiny" >tiny.gz
for kernel in "$FILES/tiny" tiny.gz "$FILES/tiny.elf"; do
	guest 20 -k "$kernel" -m 16 -c 3
	status_is 0
	silent
	said '^tiny: 3 harts$'
done
guest 20 -f "$FILES/tiny" -m 16 -c 3
status_is 0
silent
said '^tiny: 3 harts$'

echo "+ lkvm tiny"
timeout 20 "$LKVM" "$FILES/tiny" -c 2 </dev/null >out 2>err
silent
said '^tiny: 2 harts$'

gzip -1 -c <"$KERNEL" >Image.gz
guest 60 -k Image.gz -i "$INITRD" -m 128 -p quiet
status_is 0
silent
said '^Hello from the guest: '

# As a suite of bare-metal tests starts its programs: its own words and no others, its variables in a
# text file.
echo 'NR_CPUS=2' >env.txt
guest 20 --nodefaults --network mode=none --loglevel=warning --kernel "$FILES/tiny" --params 'smp 2' \
	--initrd env.txt --cpus 2 --console serial --dump-dtb dtb
status_is 0
silent
said '^tiny: 2 harts$'
tr '\0' '\n' <dtb >words
said 'smp 2$' words
said 'linux,initrd-start' words
! grep -aq 'console=\|panic=' words || fail "words were added: $(grep -a 'console=\|panic=' words)"
