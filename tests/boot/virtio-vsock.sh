#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# long-hosts: sv57 stable
# files: virtio
# time: 900
# long: 1800
# lab: --modules=vhost_vsock
#
# Sockets between host and guest. First by unix sockets, all of it as a user who may do nothing but
# open /dev/kvm; then by the host's kernel. In both: echoes of 1 MiB (4 in the long form) with their
# contents compared, opened by either side; 10 connections in a row (200); nobody there; and a reboot
# of the guest while connections are open, which ends them all and leaves nothing behind in lkvm (by
# the kernel: in the long form).

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

INITRD=$VIRTIO_INITRD
WORDS="$QUIET lkvm.modules=virtio"
MIBS=1 CONNECTIONS=10
! long || { MIBS=4 CONNECTIONS=200; }
BULK=$((MIBS * 1048576))

# The program that talks: the guest's own.
cpio -id bin/vsock <"$INITRD" 2>/dev/null
TALK=$PWD/bin/vsock

# nobody PROGRAM ARGS...
nobody() { su -s /bin/sh -c 'exec "$@"' -- nobody sh "$@"; }

SERVER=
serve() { # serve ADDRESS [nobody]: in the background
	: >serve.out
	${2-} "$TALK" serve "$1" >serve.out 2>&1 &
	SERVER=$!
	tries=300
	until grep -q serving serve.out; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "the host does not serve $1: $(cat serve.out)"
		sleep 0.1
	done
}

# The host's address of the guest's port 52; the guest's of the host's server.
HOST_TO_GUEST='' GUEST_TO_HOST='' AS=

host_echo() { # BYTES TIMES
	$AS "$TALK" echo "$HOST_TO_GUEST" "$1" "$2" >echo.out 2>&1 || fail "host: $(cat echo.out)"
	note "host to guest: $(cat echo.out)"
}

guest_echo() { # BYTES TIMES
	ask 600 "vsock echo $GUEST_TO_HOST $1 $2"
	[ "$RC" = 0 ] || fail "guest: $ANSWER"
	note "guest to host: $ANSWER"
}

small_echoes() {
	ask 120 'vsock serve vsock:52 >/tmp/serve & sleep 1; cat /tmp/serve'
	echo "$ANSWER" | grep -q serving || fail "the guest does not serve: $ANSWER"
	host_echo 1000 1
	guest_echo 1000 1
}

both_ways() {
	small_echoes
	host_echo $BULK 1
	guest_echo $BULK 1
	host_echo 100 $CONNECTIONS
	guest_echo 100 $CONNECTIONS
}

# What this run of lkvm has open, when all is quiet.
quiet_fds() {
	tries=300
	until [ "$(count_fds)" = "$1" ]; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "$(count_fds) descriptors are open, $1 were before"
		sleep 0.2
	done
}

reboot_with_connections() {
	before=$1
	quiet_fds "$before"
	$AS "$TALK" hold "$HOST_TO_GUEST" 20 >hold.out 2>&1 &
	holder=$!
	say "vsock hold $GUEST_TO_HOST 20 &"
	await 300 'vsock: held'
	tries=300
	until grep -q held hold.out; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "the host's connections: $(cat hold.out)"
		sleep 0.2
	done
	note "$(count_fds) descriptors with 40 connections, $before without"
	from_here
	say 'reboot -f'
	await 300 '^Hello from the guest: '
	wait $holder || fail "the host's connections: $(cat hold.out)"
	said '^vsock: 20 ended' hold.out
	quiet_fds "$before"
}

end_guest() {
	say poweroff -f
	finish 60
	status_is 0
	kill $SERVER
	wait $SERVER || :
}

# By unix sockets. A node of our own for /dev/kvm, for us alone, lets nobody in.
mknod kvm c 10 232
chmod 666 kvm
mkdir -m 700 run
chown nobody run
chmod 711 .. .
cat >unprivileged <<SH
#!/bin/sh
mount --bind kvm /dev/kvm
exec su -s /bin/sh -c 'exec "\$@"' -- nobody sh $LKVM "\$@"
SH
cat >lkvm-nobody <<SH
#!/bin/sh
exec unshare -m $PWD/unprivileged "\$@"
SH
chmod 755 unprivileged lkvm-nobody
export XDG_RUNTIME_DIR="$PWD/run"
LKVM_OWN=$LKVM
LKVM=$PWD/lkvm-nobody

shell 300 -m 320 --name vm --vsock 3 --loglevel info -p "$WORDS"
[ "$(stat -c %U "/proc/$PID")" = nobody ] || fail "lkvm runs as $(stat -c %U "/proc/$PID")"
said 'vsock0: by unix sockets, because' err
socket=$XDG_RUNTIME_DIR/lkvm/vm.vsock
[ "$(stat -c '%F %a %U' "$socket")" = 'socket 600 nobody' ] || fail "$(ls -l "$socket")"
AS=nobody
HOST_TO_GUEST=connect:$socket:52 GUEST_TO_HOST=vsock:2:22
fds=$(count_fds)
serve "unix:${socket}_22" nobody
both_ways
ask 120 'vsock refused vsock:2:23'
[ "$RC" = 0 ] || fail "port 23: $ANSWER"
nobody "$TALK" refused "connect:$socket:53" >refused.out || fail "port 53 of the guest answers"
reboot_with_connections "$fds"
small_echoes
end_guest
[ ! -e "$socket" ] || fail "the socket is still there"

# By the kernel.
[ -c /dev/vhost-vsock ] || fail "the host has no /dev/vhost-vsock"
LKVM=$LKVM_OWN AS=
mkdir -m 700 run2
export XDG_RUNTIME_DIR="$PWD/run2"
shell 300 -m 320 --name vm --vsock 42 --loglevel info -p "$WORDS"
said 'vsock0: by the kernel' err
HOST_TO_GUEST=vsock:42:52 GUEST_TO_HOST=vsock:2:22
fds=$(count_fds)
serve vsock:22
both_ways
ask 120 'vsock refused vsock:2:23'
[ "$RC" = 0 ] || fail "port 23: $ANSWER"
# The CID is taken; and a guest has one socket device.
STATUS=0
"$LKVM" run -k "$KERNEL" -i "$INITRD" --vsock 42,vhost=on </dev/null >out2 2>err2 || STATUS=$?
status_is 125
said 'CID 42 belongs to another VM' err2
STATUS=0
"$LKVM" run -k "$KERNEL" --vsock 43 --vsock 44 </dev/null >out2 2>err2 || STATUS=$?
status_is 125
said '^Fatal: --vsock 44: a VM has one of these at most$' err2
if long; then
	reboot_with_connections "$fds"
	small_echoes
fi
end_guest
