#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: installer
# time: 300
#
# A kernel and an initrd that nobody here made: Debian's network installer, up to its first screen
# (the choice of a language) on the serial console; an answer brings its second screen. `lkvm stop`
# ends it.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

start -k "$FILES/installer" -i "$FILES/installer.initrd" -m 1024 -c 2 --name installer \
	-p "quiet TERM=linux"
begun=$(date +%s)
await 180 'Select a language'
note "first screen after $(($(date +%s) - begun)) s"
await 30 'English'
# Enter: the language that is offered.
printf '\r' >&8
await 60 'Select your location'
"$LKVM" stop installer
finish 20
status_is 0
silent
