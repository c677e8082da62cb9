#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: own tiny
# time: 100
#
# What can't be started is refused with status 125 and exactly one line that says why.

# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

# refused REGEX OPTIONS...
refused() {
	regex=$1
	shift
	guest 10 "$@"
	check_refused "$regex"
}

check_refused() {
	status_is 125
	[ ! -s out ] || fail "a guest said: $(cat out)"
	[ "$(wc -l <err)" -eq 1 ] || fail "not one line: $(cat err)"
	said "$1" err
	cat err
}

refused '^Fatal: no kernel: name one with -k, or a firmware with -f$' -m 64
refused '^Fatal: Unable to open kernel nowhere/Image' -k nowhere/Image
refused '^Fatal: Unable to open (initrd|initial RAM disk) nowhere/rd' -k "$FILES/tiny" -i nowhere/rd
refused '^Fatal: kernel \. is a directory: -k wants a regular file$' -k .
refused '^Fatal: kernel /dev/null is a character device: ' -k /dev/null

: >empty
refused '^Fatal: kernel empty is empty \(-k\)$' -k empty
echo "this is no kernel" >text
refused '^Fatal: kernel text is a text file: ' -k text
head -c 4096 /dev/urandom >noise
refused '^Fatal: kernel noise is in no format lkvm knows: ' -k noise

size=$(wc -c <"$KERNEL")
head -c 1000000 "$KERNEL" >short
refused "^Fatal: kernel short is truncated: it has 1000000 of $size bytes\$" -k short
head -c 32 "$FILES/tiny" >short
refused '^Fatal: kernel short is ' -k short
# Images packed and then cut off.
gzip -c <"$FILES/tiny" >tiny.gz
head -c 150 tiny.gz >short.gz
refused '^Fatal: kernel short.gz is truncated: its gzip data ends early' -k short.gz

# Flags, bit 0: a big-endian Image.
cp "$FILES/tiny" big
printf '\001' | dd of=big bs=1 seek=24 conv=notrunc 2>/dev/null
refused '^Fatal: kernel big is a big-endian Image: only little-endian guests run$' -k big
cp "$FILES/tiny" big
printf '\377\377\377\377' | dd of=big bs=1 seek=18 conv=notrunc 2>/dev/null
refused '^Fatal: kernel big needs .* but RAM ends at 0xa0000000 \(512M\)' -k big

# Too little RAM: for the kernel, for the initrd, for anything.
refused '^Fatal: kernel .* needs [0-9.]+M at 0x80200000 but RAM ends at 0x81400000 \(20M\): give at least -m [0-9]+$' \
	-k "$KERNEL" -m 20
truncate -s 64M rd
refused '^Fatal: .*initrd rd \(-i, 64M\) .* in 32M of RAM: give at least -m [0-9]+$' \
	-k "$FILES/tiny" -i rd -m 32
enough=$(sed 's/.* //' err)
guest 10 -k "$FILES/tiny" -i rd -m "$enough"
status_is 0
silent
refused '^Fatal: .*-m: at least 16 MiB of RAM must lie at 0x80000000' -k "$FILES/tiny" -m 8
refused '^Fatal: .*overlap$' -k "$FILES/tiny" -m 64 -m 64@0x82000000

# Options.
refused '^Fatal: .*--hgtp.*--hgatp' -k "$FILES/tiny" --hgtp sv39
refused '^Fatal: .*--timeout.*' -k "$FILES/tiny" --timeout never
refused '^Fatal: .*-c.*' -k "$FILES/tiny" -c 0
refused '^Fatal: --mem 99999999T: more bytes than 64 bits can count$' -k "$FILES/tiny" -m 99999999T
refused '^Fatal: -m 9000000T: .*, the last address that ' -k "$FILES/tiny" -m 9000000T
refused '^Fatal: .*only one kernel' -k "$FILES/tiny" "$FILES/tiny"
refused '^Fatal: .*-f .*-k ' -k "$FILES/tiny" -f "$FILES/tiny"
refused '^Fatal: .*--name' -k "$FILES/tiny" --name 'a/b'

# Two VMs of one name.
start -k "$FILES/tiny-idle" --name twice
await 10 '^tiny: '
mv err err.first
STATUS=0
"$LKVM" run -k "$FILES/tiny" --name twice </dev/null >out.second 2>err || STATUS=$?
mv out out.first
mv out.second out
check_refused '^Fatal: --name twice: a VM of this name runs already$'
kill -TERM "$PID"
finish 10

# /dev/kvm missing, and forbidden (in a /dev of its own: others may have opened the real one to
# everybody); as root only.
if [ "$(id -u)" -ne 0 ]; then
	note "not root: /dev/kvm is not hidden and not forbidden"
	exit 0
fi
# shellcheck disable=SC2016	# for the inner shell
hidden='mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"'
STATUS=0
unshare -m sh -c "$hidden" sh "$LKVM" run -k "$FILES/tiny" </dev/null >out 2>err || STATUS=$?
check_refused '^Fatal: /dev/kvm is missing: .*H extension.*module'
: >out
: >err
chmod 666 out err
# shellcheck disable=SC2016	# for the inner shell
forbidden='mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 600 /dev/kvm c 10 232 &&
	exec su -s /bin/sh nobody -c "$1 run -k $2"'
STATUS=0
unshare -m sh -c "$forbidden" sh "$LKVM" "$FILES/tiny" </dev/null >out 2>err || STATUS=$?
check_refused '^Fatal: /dev/kvm is forbidden .*kvm'
