#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own modules
# time: 500
#
# "lkvm run -- CMD": the command's status, three streams that stay apart and keep every byte, the
# host's files beneath a layer of memory, shares of the user's where they are on the host, the
# working directory, environment and user; ends without a verdict; what is said where the kernel lacks
# something; and nothing left behind.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands; BusyBox sh knows
. "$FILES/lib.sh"

mkdir -p /lib/modules && tar -xf "$FILES/modules.tar" -C /lib/modules

# runs STATUS OPTIONS... -- CMD...: its output in files out and err
runs() {
	wanted=$1
	shift
	note "lkvm run -k own $*"
	status=0
	"$FILES/lkvm" run -k "$FILES/own" -m 160 "$@" >out 2>err || status=$?
	[ "$status" = "$wanted" ] || fail "status $status, and not $wanted: $(cat out err)"
}

is() { # is FILE TEXT: it has that text, and nothing else
	[ "$(cat "$1")" = "$2" ] || fail "$1 has '$(cat "$1")', and not '$2'"
}

mkdir work && cd work || exit 1
head -c 300000 /dev/urandom >random
mkdir shared && echo host >shared/file && echo below >lower

# Many things in one guest. 1000:1000 may not write what is root's.
cat >script <<'S'
uname -m
pwd
cat
echo "$LKVM_TEST $OTHER ${HIDDEN-unset}"
echo changed >lower
echo guest >shared/file
echo more >>/dev/stderr
cp random /dev/shm/copy && cmp random /dev/shm/copy || echo differs
echo done >/proc/self/fd/2
exit 7
S
echo input | HIDDEN=1 OTHER=two runs 7 --9p "$PWD/shared,mine" --env LKVM_TEST=one --env OTHER -- sh script
is out "riscv64
$PWD
input
one two unset"
is err "more
done"
is lower below
is shared/file guest

# Every byte of both streams, at once, to a reader that is slow at first.
"$FILES/lkvm" run -k "$FILES/own" -m 160 -- sh -c 'cat random & cat random >&2; wait' 2>err |
	{ sleep 20; cat >out; }
cmp -s out random || fail "standard output differs"
cmp err random || fail "standard error differs"
"$FILES/lkvm" run -k "$FILES/own" -m 160 -- sha256sum <random >out || fail "sha256sum"
is out "$(sha256sum <random)"

runs 127 -- no-such-command
grep -q 'no-such-command: no such command' err || fail "it does not say what is missing"
runs 137 -- sh -c 'kill -9 $$'
runs 124 --timeout 8 -- sleep 1000
runs 126 -- sh -c 'echo c >/proc/sysrq-trigger; sleep 100'
grep -q 'Kernel panic' err || fail "a panic's words are not shown"
runs 125 --modules "$PWD" -- true
runs 125 --env NOT_THERE -- true

# A kernel that lacks something, as one does whose module is nowhere.
lacks() { # lacks MODULE MESSAGE
	rm -rf fewer
	cp -r /lib/modules/* fewer
	sed -i "/^[^:]*\/$1\.ko/d" fewer/modules.dep
	runs 125 --modules fewer -- true
	is err "Error: the guest could not run the command: the kernel lacks $2: error 19"
}
lacks overlay 'CONFIG_OVERLAY_FS, or its module was not found'
lacks 9p 'CONFIG_9P_FS and CONFIG_NET_9P_VIRTIO, or its module was not found'

[ -z "$(ls "$HOME/.lkvm" 2>/dev/null)" ] || fail "left behind: $(ls "$HOME/.lkvm")"
