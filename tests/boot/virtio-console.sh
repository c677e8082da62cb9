#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio
# lab: --helpers
# time: 300
# long: 900
#
# --console virtio: a shell on hvc0; what the kernel says before and after hvc0 is there, once each;
# any bytes through it both ways; a reader that stops reading. Beside it named ports to a file, a
# socket, a pty: found by name in the guest, and carrying bytes. At the end the driver is taken off
# hvc0's device, and a byte written to its configuration space still is heard (emergency write). Then
# a terminal: the window's size as it is and as it changes, the keys that end lkvm.
#
# The ports' guest is on MMIO and the terminal's on PCI; the long form has each on both, and 1 MiB
# instead of 128 KiB through hvc0.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

INITRD=$VIRTIO_INITRD
virtio="lkvm.modules=virtio lkvm.run=shell"
size=131072 ports_on=mmio terminal_on=pci
! long || size=1048576 ports_on='mmio pci' terminal_on='pci mmio'

has_bytes() { [ "$(stat -c %s "$1")" -ge "$2" ]; }
has_line() { tr -d '\r' <"$1" | grep -aqE "$2"; }

# --- hvc0 by pipes --------------------------------------------------------------------------------

# The kernel's words: first by the serial port, then by hvc0, none twice.
greeting() {
	said 'Linux version '
	[ "$(grep -ac 'Linux version ' out)" = 1 ] || fail "the kernel's words come more than once"
	ask 20 'readlink /proc/self/fd/0; sed "s/ .*//" /proc/consoles'
	[ "$ANSWER" = "/dev/hvc0
hvc0" ] || fail "the console is: $ANSWER"
}

bytes_in() {
	told 20 'old=$(stty -g)'
	say "stty raw -echo; echo =rea''dy=; head -c $size >/tmp/data; stty \$old; echo =do''ne="
	await 20 '^=ready='
	cat data >&8
	await 200 '=done='
	ask 20 'sha256sum </tmp/data; wc -c </tmp/data'
	[ "$ANSWER" = "$sum  -
$size" ] || fail "sent $size bytes with sum $sum, the guest has: $ANSWER"
}

bytes_out() {
	say "stty raw -echo; echo =g''o=; read -r x; cat /tmp/data; stty \$old; echo =se''nt="
	await 20 '^=go='
	# Its line's end may come by itself.
	until [ "$(tail -c 1 out | od -An -tx1)" = ' 0a' ]; do sleep 0.05; done
	from_here
	at=$FROM
	say
	until_true 60 "not all of $size bytes arrived" has_bytes out $((at + size))
	FROM=$((at + size))
	await 20 '=sent='
	tail -c +$((at + 1)) out | head -c $size >back
	[ "$(sha256sum <back | cut -d ' ' -f 1)" = "$sum" ] || fail "other bytes came back"
}

# A reader that stops reading holds up this guest and not lkvm; what was said is not lost.
slow_reader() {
	written() { sed -n 's/^wchar: //p' "/proc/$PID/io"; }
	full() {
		now=$(written) was=${now_was-}
		now_was=$now
		[ "$now" = "$was" ] && [ $((now - before)) -ge 16384 ]
	}
	kill -STOP "$READER"
	before=$(written) now_was=
	from_here
	say 'yes 0123456789abcde | head -n 10000; echo =flo''od='
	until_true 60 "the pipe does not fill" full
	"$LKVM" info "guest-$PID" | grep -q '^state: running$' || fail "lkvm does not answer"
	kill -CONT "$READER"
	await 60 '^=flood='
	[ "$(heard | grep -ac '^0123456789abcde$')" = 10000 ] || fail "lines are missing"
}

# --- named ports ----------------------------------------------------------------------------------

names() {
	ask 20 'cat /sys/class/virtio-ports/*/name 2>/dev/null'
	[ "$ANSWER" = "org.example.log
agent
second" ] || fail "the ports are: $ANSWER"
	told 20 'for p in /sys/class/virtio-ports/*; do name=$(cat $p/name 2>/dev/null); \
[ -z "$name" ] || ln -sf ${p##*/} /dev/$name; done'
}

ports() {
	names
	told 20 'seq 1000 >/dev/org.example.log'
	[ "$(cat log)" = "$(seq 1000)" ] || fail "the file has other lines"
	# 100 KiB to the guest's program, which sends them back. Until the driver has heard of the
	# host's end there is none: then a read says end of file.
	head -c 102400 data >part
	: >back
	say 'until [ -s /tmp/part ]; do head -c 102400 </dev/agent >/tmp/part; done; \
cat /tmp/part >/dev/agent'
	socat -t 60 - UNIX-CONNECT:agent.sock <part >back &
	until_true 60 "not all bytes came back" has_bytes back 102400
	cmp part back || fail "other bytes came back"
	kill $!
	wait $! 2>/dev/null || :
}

# A console on a pty: a shell there. The driver has a device for each number that a console may get,
# and only a console's can be opened; nothing names the port's.
second_console() {
	said '^console port second is /dev/pts/[0-9]+$' err
	pty=$(sed -n 's/^console port second is //p' err)
	ask 20 'for t in /dev/hvc[1-7]; do (: <>$t) 2>/dev/null && echo $t; done'
	case $ANSWER in
	/dev/hvc[1-7]) ;;
	*) fail "the other consoles are: $ANSWER" ;;
	esac
	say "setsid sh -c 'exec sh <>$ANSWER >&0 2>&0' &"
	cat <"$pty" >second &
	cat=$!
	printf 'echo =from-$((6 * 7))=\n' >"$pty"
	until_true 20 "no shell on the pty" has_line second '^=from-42=$'
	kill $cat
	wait $cat 2>/dev/null || :
}

# The driver leaves hvc0's device, which is reset; its configuration space takes bytes for ever.
emergency_write() {
	# The one of the two that has no MULTIPORT.
	ask 20 'for d in /sys/bus/virtio/devices/*; do [ $(cat $d/device) = 0x0003 ] && \
[ $(cut -c 2 $d/features) = 0 ] && readlink -f $d/..; done'
	node=${ANSWER##*/}
	at=0x${node%%.*}
	case $node in
	1*.virtio_mmio) ;;
	*) fail "hvc0's device is: $ANSWER" ;;
	esac
	from_here
	# The shell must not end before, or the guest does.
	say "trap '' HUP; (cd /sys/bus/platform/drivers/virtio-mmio; echo $node >unbind; \
for c in 10 115 111 115 10; do devmem \$(($at + 264)) 8 \$c; done; poweroff -f) >/dev/null 2>&1"
	finish 20
	heard | grep -q '^sos$' || fail "nothing of an emergency was heard"
}

# Any bytes but Ctrl-o, which the guest's kernel takes for a system request.
head -c $((size * 2)) /dev/urandom | tr -d '\017' | head -c $size >data
sum=$(sha256sum <data | cut -d ' ' -f 1)

for transport in $ports_on; do
	shell 90 -m 320 --virtio-transport "$transport" --console virtio \
		--console-port org.example.log,path=log --console-port agent,socket=agent.sock \
		--console-port second,pty,console -p "$virtio"
	note "a shell on hvc0 ($transport)"
	greeting
	bytes_in
	bytes_out
	slow_reader
	note "bytes went through hvc0"
	ports
	second_console
	note "bytes went through ports"
	if [ "$transport" = mmio ]; then
		emergency_write
	else
		say 'poweroff -f'
		finish 20
	fi
	status_is 0
	[ ! -e agent.sock ] || fail "the socket is still there"
	! grep -v '^console port second is ' err | grep -vxE 'Terminated *' ||
		fail "lkvm said: $(cat err)"
done

# --- a terminal -----------------------------------------------------------------------------------

# socat gives lkvm one and keeps its other end.
terminal() { # terminal TRANSPORT
	rm -f in.pipe out.pipe pid
	mkfifo in.pipe out.pipe
	cat out.pipe >screen &
	cat >run.sh <<END
stty rows 41 cols 133
echo \$\$ >pid
exec "$LKVM" run -k "$KERNEL" -i "$INITRD" -m 320 --virtio-transport $1 --console virtio -p "quiet $virtio"
END
	socat - 'EXEC:sh run.sh,pty,setsid,ctty,stderr' <in.pipe >out.pipe &
	socat=$!
	exec 7>in.pipe
	on_screen 90 '^Hello from the guest: '
	echo 'echo =size=$(stty size)=' >&7
	on_screen 20 '=size=41 133='
	# The guest hears of a change as any program does: by SIGWINCH.
	echo "sh -c 'trap \"echo =now=\\\$(stty size)=\" WINCH; echo =wait\"\"ing=; while :; do sleep 1; done'" >&7
	on_screen 20 '^=waiting='
	stty -F "$(readlink "/proc/$(cat pid)/fd/0")" rows 50 cols 100
	on_screen 20 '=now=50 100='
	printf '\001x' >&7
	until_true 10 "Ctrl-a x does not end lkvm" ended $socat
	exec 7>&-
}
ended() { ! kill -0 "$1" 2>/dev/null; }
on_screen() { # on_screen SECONDS REGEX
	tries=$(($1 * 5))
	until has_line screen "$2"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || {
			show screen 20
			fail "not on the screen within $1 s: $2"
		}
		sleep 0.2
	done
}

for transport in $terminal_on; do
	terminal "$transport"
	note "a window's size was told ($transport)"
done
