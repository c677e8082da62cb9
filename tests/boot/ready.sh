#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio rootfs tiny
# lab: --helpers --modules=vhost_vsock
# time: 400
#
# What a service manager is told (NOTIFY_SOCKET): that the vCPUs run; that a script is done; that the
# guest says it is ready, over vsock: systemd in a Debian guest by itself through unix sockets, and a
# program by the host's kernel. And that the VM ends.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

[ -x /helpers/bin/socat ] || skip "no socat"
XDG_RUNTIME_DIR=$PWD/run
export XDG_RUNTIME_DIR
mkdir run

# The manager: all that it is told is in ./told.
NOTIFY_SOCKET=$PWD/notify
export NOTIFY_SOCKET
: >told
socat -u UNIX-RECV:notify STDOUT >>told &
until_true 20 "there is no manager" test -S notify
ready() { grep -q '^READY=1' told; }
ending() { grep -q 'STOPPING=1$' told; }
ended_well() {
	finish 30
	status_is 0
	silent
	until_true 10 "the end is not told: $(cat told)" ending
	[ "$(grep -c READY told)" = 1 ] || fail "told: $(cat told)"
	: >told
}

note "the vCPUs run"
start -k "$FILES/tiny-idle" -c 2 --name guest
until_true 20 "not told" ready
said '^STATUS=running, 2 vCPUs' told
"$LKVM" stop --kill guest >answer
ended_well

note "a script is done"
start -k "$FILES/tiny-idle" --name guest --expect '1 harts' --send more --expect 'no such' \
	--step-timeout 600 --after-script continue
await 20 '^tiny: 1 harts'
sleep 1
! ready || fail "told before the script's end"
"$LKVM" stop --kill guest >answer
finish 30
until_true 10 "the end is not told: $(cat told)" ending
: >told
start -k "$FILES/tiny-idle" --name guest --expect '1 harts' --after-script continue
until_true 20 "not told" ready
"$LKVM" stop --kill guest >answer
ended_well

note "a program in the guest says so, by the host's kernel"
start -k "$KERNEL" -i "$VIRTIO_INITRD" -m 256 --name guest --vsock 33,vhost=on,ready=9001 \
	-p "$QUIET lkvm.modules=virtio"
await 120 '^Hello from the guest: '
ask 30 :
"$LKVM" events guest >events.out 2>events.err &
EVENTS=$!
until_true 20 "no events" grep -q started events.out
told 30 'vsock say vsock:2:9001 READY=0 STATUS=not.yet'
sleep 1
! ready || fail "told: $(cat told)"
told 30 'vsock say vsock:2:9001 "STATUS=serving 3 pages" READY=1'
until_true 20 "not told" ready
said '^STATUS=serving 3 pages' told
# Once is enough for a manager.
told 30 'vsock say vsock:2:9001 READY=1'
STATUS=0
"$LKVM" run -k "$FILES/tiny" --vsock 34,vhost=on,ready=9001 </dev/null >second 2>&1 || STATUS=$?
status_is 125
said '^Fatal: .*ready=9001: port 9001 of AF_VSOCK is in use: a VM needs one of its own$' second
say 'poweroff -f'
ended_well
wait $EVENTS || fail "events: $(cat events.err)"
said '"event":"ready",.*"data":{"status":"serving 3 pages"}' events.out
[ "$(grep -c '"event":"ready"' events.out)" = 2 ] || fail "events: $(cat events.out)"

note "systemd in the guest says so, by unix sockets"
rootfs root.img
start -k "$KERNEL" -i "$VIRTIO_INITRD" -m 512 --name guest --vsock 33,vhost=off,ready=9002 \
	-d root.img -p "$ROOTFS_WORDS systemd.set_credential=vmm.notify_socket:vsock-stream:2:9002"
await 120 '^Hello from the guest: '
! ready || fail "told too early: $(cat told)"
until_true 200 "systemd did not tell" ready
cat told
"$LKVM" stop --kill guest >answer
ended_well
[ -z "$(ls -A run/lkvm)" ] || fail "left behind: $(ls run/lkvm)"
