#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: aia
# long-hosts: sv57 aia aia-guests stable-aia stable-aia-guests
# files: virtio rootfs
# lab: --helpers --modules=tun,vhost_net,vhost_vsock
# time: 600
# long: 5400
#
# Interrupts on the move: a guest with a disk, a network card that the kernel's vhost serves, a disk
# of another process, sockets by vhost and a console has its interrupts moved among its CPUs, and CPUs
# taken away and brought back, while fio verifies what it writes and files come over the network
# with their sums compared, beside iperf3 both ways. Nothing is lost and nothing gets stuck; then the
# guest reboots in the middle of all that, and it works once more. /proc/interrupts names the chip that
# was meant.
#
# The short form is one guest of 4 vCPUs behind PCI. The long one makes 1,000 moves there and takes a
# CPU away 100 times (where the host's kernel is 7.x and has no guest files: elsewhere a tenth), a
# fifth of that behind MMIO; and has 1, 2 and 8 vCPUs behind each transport under the same load, where
# nothing moves and nobody reboots.

# shellcheck disable=SC2016	# the guest expands
if [ -z "${OWN_NET-}" ]; then
	export OWN_NET=yes
	exec unshare -n sh "$0" "$@"
fi
# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

INITRD=$VIRTIO_INITRD
SERVERS=''

sum() { md5sum "$1" | cut -d ' ' -f 1; }

serve() { # serve COMMAND...: in the background, to the scenario's end
	"$@" >/dev/null 2>&1 </dev/null &
	SERVERS="$SERVERS $!"
}

qsd() { # the other disk's back end: one life for each guest
	rm -f user.sock
	qemu-storage-daemon --blockdev driver=file,node-name=f,filename=user.img \
		--blockdev driver=raw,node-name=r,file=f \
		--export type=vhost-user-blk,id=e,node-name=r,addr.type=unix,addr.path=user.sock,num-queues=2,writable=on \
		</dev/null >qsd.err 2>&1 &
	QSD=$!
	tries=100
	until [ -S user.sock ]; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "qemu-storage-daemon does not serve: $(cat qsd.err)"
		sleep 0.1
	done
}

# chip_is PATTERN: every interrupt of a virtio device is that chip's, and each device has one.
chip_is() {
	told 120 'grep virtio /proc/interrupts'
	note "$(echo "$ANSWER" | sed 's/  */ /g' | tr '\n' ';')"
	! echo "$ANSWER" | grep -qvE "$1" || fail "not all by $1: $ANSWER"
}

# load: what runs until /tmp/stop is there; what goes wrong is told in /tmp/bad.
load() {
	told 120 'rm -f /tmp/stop /tmp/bad; : >/tmp/ended; [ -d /r ] || { mkdir /r && mount -o ro /dev/vda /r && mount --bind /dev /r/dev &&
mount --bind /proc /r/proc && mount --bind /sys /r/sys && mount -t tmpfs tmp /r/tmp && ip link set eth0 up &&
ip addr add 10.7.0.2/24 dev eth0; }'
	# A round of fio verifies what it wrote. None of them is a job that the shell tells of.
	told 120 '( (while [ ! -e /tmp/stop ]; do chroot /r fio --name=v --filename=/dev/vdb --direct=1 --ioengine=libaio \
--iodepth=4 --rw=randwrite --bs=4k --size=1M --verify=crc32c --verify_fatal=1 --minimal >/tmp/fio 2>&1 ||
echo "fio: $(tail -n 1 /tmp/fio)" >>/tmp/bad; echo >>/tmp/fio.rounds; done; echo >>/tmp/ended) &)'
	told 120 "( (while [ ! -e /tmp/stop ]; do s=\$(wget -q -O - http://10.7.0.1:8000/file | md5sum | cut -d ' ' -f 1);
[ \$s = $FILE_SUM ] || echo \"net: \$s\" >>/tmp/bad; echo >>/tmp/net.rounds; done; echo >>/tmp/ended) &)"
	# And the root, of which nothing is read any more once all of it is in the guest's memory.
	told 120 "( (while [ ! -e /tmp/stop ]; do dd if=/dev/vda of=/dev/null bs=16k count=64 iflag=direct 2>/dev/null ||
echo root >>/tmp/bad; s=\$(dd if=/dev/vdc bs=16k count=64 iflag=direct 2>/dev/null | md5sum | cut -d ' ' -f 1);
[ \$s = $USER_SUM ] || echo \"vhost-user: \$s\" >>/tmp/bad; echo >>/tmp/user.rounds; done; echo >>/tmp/ended) &)"
	told 120 '( (while [ ! -e /tmp/stop ]; do vsock echo vsock:2:22 65536 1 >/tmp/vsock 2>&1 ||
echo "vsock: $(tail -n 1 /tmp/vsock)" >>/tmp/bad; echo >>/tmp/vsock.rounds; done; echo >>/tmp/ended) &)'
	# Its server may still be busy with who rebooted.
	told 120 '( (way=; while [ ! -e /tmp/stop ]; do chroot /r iperf3 -c 10.7.0.1 -t 2 $way >/tmp/iperf 2>&1 || {
grep -q busy /tmp/iperf && sleep 1 || echo "iperf3: $(tail -n 1 /tmp/iperf)" >>/tmp/bad; }; [ "$way" ] && way= || way=-R;
echo >>/tmp/iperf.rounds; done; echo >>/tmp/ended) &)'
	LOADS=5
}

# unload: all of them come to their end, and nothing was wrong.
unload() {
	# 8 vCPUs on two emulated CPUs take their time.
	told 300 "touch /tmp/stop; n=0; until [ \$(wc -l </tmp/ended) = $LOADS ] || [ \$n = 200 ]; do n=\$((n + 1)); sleep 1; done; rm -f /tmp/r; for i in fio net user vsock iperf; do echo \$i \$(wc -l </tmp/\$i.rounds) >>/tmp/r; done; cat /tmp/r; wc -l </tmp/ended; [ ! -e /tmp/bad ] || cat /tmp/bad; rm -f /tmp/*.rounds /tmp/ended"
	note "rounds: $(echo "$ANSWER" | tr '\n' ' ')"
	[ "$(echo "$ANSWER" | sed -n 6p)" = $LOADS ] || fail "a load is stuck: $ANSWER"
	! echo "$ANSWER" | sed '1,6d' | grep -q . || fail "wrong: $ANSWER"
}

# Who waits for what?
stuck() {
	echo "$ANSWER"
	for again in 1 2; do
		ask 60 'cat /proc/interrupts; wc -l /tmp/*.rounds; cat /tmp/bad /sys/devices/system/cpu/online'
		echo "$ANSWER"
		sleep 2
	done
	fail "irqmove: status $RC"
}

moves() { # moves MOVES REPLUGS
	ask $((60 + $1 + 5 * $2)) "irqmove $1 $2"
	[ "$RC" = 0 ] || stuck
	echo "$ANSWER" | sed 's/^/# /'
}

reboot_under_load() {
	load
	sleep 2
	from_here
	# At once: Linux' own way (reboot -f) breaks virtio's queues first, and its network driver then
	# goes round for ever where it is just looking for what was sent (virtnet_poll_tx, seen on 7.2).
	say 'echo b >/proc/sysrq-trigger'
	await 180 'Hello from the guest: '
	ask 30 :
	load
	sleep 4
	chip_is "$pattern"
	unload
}

# play CPUS CHIP PATTERN TRANSPORT MOVES REPLUGS OPTIONS...
play() {
	cpus=$1 chip=$2 pattern=$3 transport=$4 nr=$5 replugs=$6
	shift 6
	begun=$(date +%s)
	note "== $cpus vCPUs, $chip, virtio-$transport $*"
	qsd
	shell 180 -m 384 -c "$cpus" --irqchip "$chip" --virtio-transport "$transport" "$@" \
		-d "$ROOT,ro" -d disk.img --vhost-user blk,socket=user.sock \
		-n mode=tap,tapif=tap0,vhost=on --vsock 42,vhost=on --rng --console-port port,socket=port.sock \
		-p "$QUIET lkvm.modules=virtio,ext4"
	chip_is "$pattern"
	load
	if [ "$nr" -gt 0 ]; then
		moves "$nr" "$replugs"
	else
		sleep 6
	fi
	unload
	[ "$nr" -eq 0 ] || reboot_under_load
	say 'poweroff -nf'
	finish 30
	status_is 0
	silent
	kill $QSD
	wait $QSD || :
	note "$(($(date +%s) - begun)) s"
}

# What the host's kernel said is its own affair, unless it is about KVM.
log_clean() {
	dmesg | grep -E 'WARNING|BUG|Oops|kvm' | grep -vE 'kvm \[1\]|kvm: Nested|loading out-of-tree' >dmesg.bad || :
	[ "$(wc -l <dmesg.bad)" = "$1" ] || fail "the host's log: $(cat dmesg.bad)"
}

ROOT=/dev/vda
[ ! -e "$FILES/rootfs.img" ] || ROOT=$FILES/rootfs.img
mkdir www
dd if=/dev/urandom of=www/file bs=64k count=16 2>/dev/null
dd if=/dev/urandom of=user.img bs=64k count=32 2>/dev/null
truncate -s 16M disk.img
dd if=user.img of=user.head bs=64k count=16 2>/dev/null
FILE_SUM=$(sum www/file)
USER_SUM=$(sum user.head)
ip link set lo up
ip tuntap add tap0 mode tap
ip addr add 10.7.0.1/24 dev tap0
ip link set tap0 up
serve iperf3 -s -B 10.7.0.1
serve busybox httpd -f -p 8000 -h www
cpio -id bin/vsock <"$INITRD" 2>/dev/null
serve bin/vsock serve vsock:22
dmesg | grep -cE 'WARNING|BUG|Oops|kvm' >dmesg.before || :

case $LKVM_HOST in
sv57 | aia) MOVES=1000 ;;
*) MOVES=100 ;;
esac
if ! long; then
	play 4 aia MSIX pci 100 10
elif ! have --irqchip aia; then
	play 4 plic PLIC pci "$MOVES" $((MOVES / 10))
	play 4 plic PLIC mmio $((MOVES / 5)) $((MOVES / 50))
	for cpus in 1 2 8; do
		play "$cpus" plic PLIC mmio 0 0
		play "$cpus" plic PLIC pci 0 0
	done
else
	play 4 aia MSIX pci "$MOVES" $((MOVES / 10))
	play 4 aia APLIC mmio $((MOVES / 5)) $((MOVES / 50))
	for cpus in 1 2 8; do
		play "$cpus" aia APLIC mmio 0 0
		play "$cpus" aia MSIX pci 0 0
	done
	if have --irqchip aia --aia hwaccel; then
		play 2 aia MSIX pci 100 0 --aia hwaccel
		play 2 aia APLIC mmio 100 0 --aia hwaccel
		play 4 aia MSIX pci 0 0 --aia emul
	fi
	play 4 plic PLIC pci 0 0
fi
# shellcheck disable=SC2086	# one word each
kill $SERVERS
