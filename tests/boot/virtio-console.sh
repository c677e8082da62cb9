#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio
# lab: --helpers
# time: 300
# long: 900
#
# --console virtio: a shell on hvc0, 256 KiB of any bytes through it both ways, the window's size as
# the terminal changes; what the kernel says before and after hvc0 is there, once each. Named ports
# to a file, a socket, a pty: found by name in the guest, and carrying bytes, over PCI. The long form
# carries 1 MiB, and has the ports over MMIO too.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

INITRD=$VIRTIO_INITRD
virtio="lkvm.modules=virtio lkvm.run=shell"

# The kernel's words: first by the serial port, then by hvc0, none twice.
shell 90 -m 256 --console virtio -p "$virtio"
said 'Linux version '
[ "$(grep -ac 'Linux version ' out)" = 1 ] || fail "the kernel's words come more than once"
ask 20 'readlink /proc/self/fd/0; sed "s/ .*//" /proc/consoles'
[ "$ANSWER" = "/dev/hvc0
hvc0" ] || fail "the console is: $ANSWER"

size=262144
! long || size=1048576
# Ctrl-o is a system request on a console of this kind, by the guest's kernel.
head -c $((size * 2)) /dev/urandom | tr -d '\017' | head -c $size >data
sum=$(sha256sum <data | cut -d ' ' -f 1)
ask 20 'old=$(stty -g)'
say "stty raw -echo; echo =rea''dy=; head -c $size >/tmp/data; stty \$old; echo =do''ne="
await 20 '^=ready='
begun=$(date +%s)
cat data >&8
await 200 '=done='
note "$size bytes into the guest: $(($(date +%s) - begun)) s"
ask 20 'sha256sum </tmp/data; wc -c </tmp/data'
[ "$ANSWER" = "$sum  -
$size" ] || fail "sent $size bytes with sum $sum, the guest has: $ANSWER"
say "stty raw -echo; echo =g''o=; read -r x; cat /tmp/data; stty \$old; echo =se''nt="
await 20 '^=go='
# Its line's end may come by itself.
until [ "$(tail -c 1 out | od -An -tx1)" = ' 0a' ]; do sleep 0.05; done
from_here
begun=$(date +%s)
say
tries=300
until [ "$(stat -c %s out)" -ge $((FROM + size)) ]; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || fail "only $(($(stat -c %s out) - FROM)) of $size bytes arrived"
	sleep 0.2
done
note "$size bytes out of the guest: $(($(date +%s) - begun)) s"
at=$FROM
FROM=$((at + size))
await 20 '=sent='
tail -c +$((at + 1)) out | head -c $size >back
[ "$(sha256sum <back | cut -d ' ' -f 1)" = "$sum" ] || fail "other bytes came back"

# A reader that stops reading holds up this guest and not lkvm; what was said is not lost.
written() { sed -n 's/^wchar: //p' "/proc/$PID/io"; }
kill -STOP "$READER"
before=$(written)
from_here
last=
say 'yes 0123456789abcde | head -n 10000; echo =flo''od='
tries=100
until [ "$(written)" = "$last" ] && [ $((last - before)) -ge 16384 ]; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || fail "the pipe does not fill: $before, $last, $(written)"
	last=$(written)
	sleep 0.2
done
"$LKVM" info "guest-$PID" | grep -q '^state: running$' || fail "lkvm does not answer"
kill -CONT "$READER"
await 60 '^=flood='
[ "$(heard | grep -ac '^0123456789abcde$')" = 10000 ] || fail "lines are missing"
say 'poweroff -f'
finish 20
status_is 0
silent

# Terminals: socat gives lkvm one and keeps its other end.
rm -f in.pipe out.pipe
mkfifo in.pipe out.pipe
cat out.pipe >screen &
cat >run.sh <<END
stty rows 41 cols 133
echo \$\$ >pid
exec "$LKVM" run -k "$KERNEL" -i "$INITRD" -m 256 --console virtio -p "quiet $virtio"
END
socat - 'EXEC:sh run.sh,pty,setsid,ctty,stderr' <in.pipe >out.pipe &
socat=$!
exec 7>in.pipe
on_screen() { # on_screen SECONDS REGEX
	tries=$(($1 * 5))
	until tr -d '\r' <screen | grep -aqE "$2"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || {
			show screen 20
			fail "not on the screen within $1 s: $2"
		}
		sleep 0.2
	done
}
on_screen 90 '^Hello from the guest: '
echo 'echo =size=$(stty size)=' >&7
on_screen 20 '=size=41 133='
# The guest hears of a change as any program does: by SIGWINCH.
echo "sh -c 'trap \"echo =now=\\\$(stty size)=\" WINCH; echo =wait\"\"ing=; while :; do sleep 1; done'" >&7
on_screen 20 '^=waiting='
stty -F "$(readlink "/proc/$(cat pid)/fd/0")" rows 50 cols 100
on_screen 20 '=now=50 100='
printf '\001x' >&7
tries=50
while kill -0 $socat 2>/dev/null; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || fail "Ctrl-a x does not end lkvm"
	sleep 0.2
done
exec 7>&-
rm -f pid

# Named ports beside the serial console.
transports=pci
! long || transports='mmio pci'
for transport in $transports; do
	shell 90 -m 256 --virtio-transport "$transport" --console-port org.example.log,path=log \
		--console-port agent,socket=agent.sock --console-port second,pty,console \
		-p "quiet $virtio"
	said '^console port second is /dev/pts/[0-9]+$' err
	pty=$(sed -n 's/^console port second is //p' err)
	ask 20 'cat /sys/class/virtio-ports/*/name'
	[ "$ANSWER" = "org.example.log
agent
second" ] || fail "$transport: the ports are: $ANSWER"
	ask 20 'for p in /sys/class/virtio-ports/*; do ln -sf ${p##*/} /dev/$(cat $p/name); done'
	ask 20 'seq 1000 >/dev/org.example.log'
	[ "$(cat log)" = "$(seq 1000)" ] || fail "$transport: the file has other lines"
	# 100 KiB to the guest's program, which sends them back.
	head -c 102400 data >part
	: >back
	say 'head -c 102400 </dev/agent >/tmp/part && cat /tmp/part >/dev/agent &'
	socat -t 60 - UNIX-CONNECT:agent.sock <part >back &
	tries=300
	until [ "$(stat -c %s back)" = 102400 ]; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "$transport: $(stat -c %s back) bytes came back"
		sleep 0.2
	done
	cmp part back || fail "$transport: other bytes came back"
	kill $!
	# A console on a pty: a shell there. The driver has a device for each number that a console
	# may get, and only a console's can be opened; nothing names the port's.
	ask 20 'for t in /dev/hvc*; do (: <>$t) 2>/dev/null && echo $t; done'
	case $ANSWER in
	/dev/hvc[0-7]) ;;
	*) fail "$transport: the consoles are: $ANSWER" ;;
	esac
	say "setsid sh -c 'exec sh <>$ANSWER >&0 2>&0' &"
	cat <"$pty" >second &
	cat=$!
	printf 'echo =from-$((6 * 7))=\n' >"$pty"
	tries=100
	until tr -d '\r' <second | grep -q '^=from-42=$'; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || {
			show second 20
			fail "$transport: no shell on the pty"
		}
		sleep 0.2
	done
	kill $cat
	say 'poweroff -f'
	finish 20
	status_is 0
	[ ! -e agent.sock ] || fail "the socket is still there"
done
