#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: virtio rootfs
# lab: --helpers --modules=tun,veth,vhost_net
# time: 300
# long: 3000
# long-hosts: sv57 stable
#
# Network devices of a VM that a user without any privilege runs: passt, a tap device served by
# lkvm, another one served by the kernel's vhost. Addresses by DHCP, names by DNS, files both ways,
# the cable out and in, many small packets, passt killed. In the long form a million small packets,
# passt as a vhost-user back end, then a Debian guest, and iperf3 both ways on each.
#
# Small packets are counted at each place they come through, so that one that lkvm lost can't be
# taken for one that a kernel dropped. What the guest's driver got back as sent (its tx_packets) is
# what came out of the tap (the host's rx_packets), and what was read from the tap (the host's
# tx_packets) is what the driver received: where that holds, lkvm lost nothing. What was lost
# elsewhere is somebody's by his own figures: the host's stack answered fewer requests than it had,
# or dropped answers as the tap's queue was full. Debian's queueing discipline (fq_codel) drops what
# waits for more than 5 ms, which on an emulated machine happens: the guest has pfifo_fast. Nobody
# sends but for those who are asked to: no IPv6 there.
#
# All of it in a network of its own: the scenario's namespace is the host, joined by a veth pair to
# another namespace, "the net", where servers are.

# shellcheck disable=SC2016	# the guest expands
if [ -z "${OWN_NET-}" ]; then
	export OWN_NET=yes
	exec unshare -n -m sh "$0" "$@"
fi
# shellcheck source=tests/boot/lib.sh
. "$FILES/lib.sh"

INITRD=$VIRTIO_INITRD
SERVERS=

is() { # is WORD: that was the answer
	[ "$ANSWER" = "$1" ] || fail "not $1, but: $ANSWER"
}

net() { nsenter -t "$NET" -n "$@"; }

# serve COMMAND...: in the background, to the scenario's end
serve() {
	"$@" >/dev/null 2>&1 </dev/null &
	SERVERS="$SERVERS $!"
}

end_servers() {
	status=$?
	# shellcheck disable=SC2086	# one word each
	kill $SERVERS 2>/dev/null || :
	return $status
}

sum() { sha256sum "$1" | cut -d ' ' -f 1; }

# --- the world -----------------------------------------------------------------------------------

make_world() {
	serve unshare -n sleep 5000
	NET=$!
	until [ "$(readlink /proc/$NET/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
	ip link set lo up
	ip link add up0 type veth peer name up1 netns $NET
	ip addr add 10.8.8.1/24 dev up0
	ip link set up0 up
	net /helpers/bin/ip link set lo up
	net /helpers/bin/ip addr add 10.8.8.2/24 dev up1
	net /helpers/bin/ip link set up1 up
	ip route add default via 10.8.8.2
	echo 'nameserver 10.8.8.2' >resolv.conf
	touch /etc/resolv.conf
	mount --bind resolv.conf /etc/resolv.conf
	mkdir www
	dd if=/dev/urandom of=www/file bs=64k count=16 2>/dev/null
	echo "the host's own" >own
	serve net busybox httpd -f -p 8000 -h www
	serve net dnsmasq --keep-in-foreground --user=root --no-hosts --no-resolv \
		--pid-file="$PWD/dnsmasq.pid" --address=/files.lab/10.8.8.2
	serve busybox httpd -f -p 127.0.0.1:8001 -h .
	serve busybox httpd -f -p 8000 -h www
	for i in 0 1; do
		ip tuntap add "tap$i" mode tap user nobody
		ip addr add "10.7.$i.1/24" dev "tap$i"
		echo 1 >"/proc/sys/net/ipv6/conf/tap$i/disable_ipv6"
		ip link set "tap$i" up
	done
	chmod 666 /dev/kvm /dev/net/tun /dev/vhost-net
}

# Whoever runs the VM: nobody.
make_nobody() {
	mkdir home
	chown nobody home
	chmod 711 .. .
	export HOME="$PWD/home"
	unset XDG_RUNTIME_DIR
	# BusyBox's su takes options wherever they stand; no word has a quote in it.
	cat >as-nobody <<'END'
#!/bin/sh
words=
for word; do words="$words '$word'"; done
exec su nobody -s /bin/sh -c "exec $FILES/lkvm $words"
END
	chmod 755 as-nobody
	export FILES
	LKVM=$PWD/as-nobody
}

# --- a small guest ---------------------------------------------------------------------------------

user_mode() {
	told 30 'udhcpc -i eth0 -s /bin/dhcp-event -n -q -t 10 >/dev/null 2>&1 && cat /etc/resolv.conf'
	is 'nameserver 10.8.8.2'
	told 20 "ip -4 addr show eth0 | awk '/inet/ { print \$2 }'"
	is 10.8.8.1/24
	told 30 'nslookup files.lab >/tmp/n; awk "/^Address: 10/ { print \$2 }" /tmp/n'
	is 10.8.8.2
	told 60 'wget -q -O /tmp/file http://files.lab:8000/file; sha256sum </tmp/file | cut -c 1-64'
	is "$(sum www/file)"
	# A published port leads into the guest.
	told 10 'mkdir -p /tmp/www; mv /tmp/file /tmp/www; httpd -p 80 -h /tmp/www'
	timeout 60 wget -q -O back http://127.0.0.1:8080/file || fail "nothing behind the published port"
	[ "$(sum back)" = "$(sum www/file)" ] || fail "another file came back through passt"
	# What listens on the host's loopback only is not the guest's to reach.
	ask 20 'wget -T 5 -O - http://10.8.8.2:8001/own'
	[ "$RC" != 0 ] || fail "the guest reads from the host's loopback: $ANSWER"
}

tap() { # tap N: the Nth device (1: by lkvm, 2: by vhost)
	i=$(($1 - 1))
	told 20 "ip link set eth$1 up; ip addr add 10.7.$i.2/24 dev eth$1; ping -c 1 -W 5 10.7.$i.1 >/dev/null"
	ping -c 1 -W 5 "10.7.$i.2" >/dev/null || fail "the host can't reach eth$1"
	told 60 "wget -q -O - http://10.7.$i.1:8000/file | sha256sum | cut -c 1-64"
	is "$(sum www/file)"
	timeout 60 wget -q -O back "http://10.7.$i.2/file" || fail "nothing from eth$1"
	[ "$(sum back)" = "$(sum www/file)" ] || fail "another file came back from eth$1"
}

carrier() { # carrier N STATE: the guest sees it within 5 s
	told 10 "i=0; while [ \$(cat /sys/class/net/eth$1/carrier) != $2 ] && [ \$i -lt 50 ]; do \
usleep 100000; i=\$((i + 1)); done; cat /sys/class/net/eth$1/carrier"
	is "$2"
}

cable() { # cable N: out and in
	i=$(($1 - 1))
	[ "$("$LKVM" link net "net$1")" = up ] || fail "net$1 is not up"
	[ "$("$LKVM" link net "net$1" down)" = down ] || fail "net$1 does not go down"
	carrier "$1" 0
	ask 20 "ping -c 1 -W 1 10.7.$i.1"
	[ "$RC" != 0 ] || fail "pings pass though the cable is out: $ANSWER"
	ip -o link show "tap$i" | grep -q NO-CARRIER || fail "tap$i has a carrier"
	[ "$("$LKVM" link net "net$1" up)" = up ] || fail "net$1 does not come up"
	carrier "$1" 1
	told 20 "ping -c 1 -W 5 10.7.$i.1 >/dev/null"
}

# The figures of a side, a name and a number a line: of device d, and of ICMP as the kernel has them.
FIGURES='$1 == d { print "received", $3; print "sent", $11; print "dropped", $13 }
$1 == "Icmp:" && n { for (i = 2; i <= NF; i++) print name[i], $i }
$1 == "Icmp:" { n = split($0, name) }'

# A driver may hear late that the last ones were sent; a single one settles it.
figures() { # figures N WHEN
	told 20 "ping -c 1 -W 5 10.7.$(($1 - 1)).1 >/dev/null"
	told 20 "awk -v d=eth$1: '$(echo "$FIGURES" | tr '\n' ' ')' /proc/net/dev /proc/net/snmp"
	echo "$ANSWER" >"guest.$2"
	awk -v d="tap$(($1 - 1)):" "$FIGURES" /proc/net/dev /proc/net/snmp >"host.$2"
}

grew() { # grew SIDE NAME
	awk -v name="$2" '$1 == name { n = $2 - n } END { print n }' "$1.before" "$1.after"
}

# Small packets, there and back, 200 of them on their way at a time.
packets() { # packets N COUNT
	for try in 1 2 3; do
		figures "$1" before
		told 2000 "flood 10.7.$(($1 - 1)).1 $2 200 || :"
		note "eth$1: $ANSWER"
		answered=${ANSWER#*sent, }
		answered=${answered%% *}
		figures "$1" after
		sent=$(grew guest sent) arrived=$(grew host received)
		left=$(grew host sent) received=$(grew guest received)
		# The single one's own end may be heard of late as well, before or after: then once more.
		[ $((sent - arrived)) = 1 ] || [ $((arrived - sent)) = 1 ] || break
		note "eth$1: sent $sent, arrived $arrived in try $try"
	done
	note "eth$1: sent $sent, arrived $arrived; left $left, received $received"
	[ "$sent" -ge "$2" ] || fail "eth$1: $sent frames of $2 came back from the device as sent"
	[ "$sent" = "$arrived" ] || fail "eth$1: of $sent frames sent $arrived came out of the tap"
	[ "$left" = "$received" ] || fail "eth$1: of $left frames read from the tap $received arrived"
	# What lkvm has not lost: what the host did not answer, what it dropped, what the guest's
	# kernel had and flood has not.
	others=$(($(grew host InEchos) - $(grew host OutEchoReps) + $(grew host dropped) + \
		$(grew guest InEchoReps) - 1 - answered))
	note "eth$1: $(($2 - answered)) not answered; the kernels lost $others"
	[ $((answered + others)) = "$2" ] || fail "eth$1: of $2 packets $answered were answered"
}

passt_dies() {
	pkill_child passt
	carrier 0 0
	told 20 'ping -c 1 -W 5 10.7.0.1 >/dev/null'
	grep -q '^Warning: net0: passt was ended by signal 9 .*; its link is down, the VM goes on$' err ||
		fail "lkvm did not say what became of passt: $(cat err)"
	[ "$("$LKVM" link net net0)" = 'down: the other side is gone' ] || fail "net0 is still up"
}

pkill_child() { # pkill_child NAME: the VM's child of this name
	for stat in /proc/[0-9]*/stat; do
		# shellcheck disable=SC2046	# words are wanted
		set -- "$1" $(cat "$stat" 2>/dev/null)
		if [ "${3-}" = "($1)" ] && [ "${5-}" = "$PID" ]; then
			kill -KILL "$2"
			return
		fi
	done
	fail "the VM has no child called $1"
}

# The one that lkvm started is dead; another one serves over vhost-user.
vhost_user() {
	told 10 'ip addr flush dev eth0; ip link set eth0 down; rm /etc/resolv.conf'
	told 30 'udhcpc -i eth3 -s /bin/dhcp-event -n -q -t 10 >/dev/null 2>&1 && cat /etc/resolv.conf'
	is 'nameserver 10.8.8.2'
	told 60 'wget -q -O - http://files.lab:8000/file | sha256sum | cut -c 1-64'
	is "$(sum www/file)"
}

small_guest() {
	set --
	if long; then
		serve su nobody -s /bin/sh -c "exec passt --vhost-user -f -s $HOME/passt.sock"
		# It is bound a while before it listens (flag __SO_ACCEPTCON).
		until grep -q "00010000 .*$HOME/passt.sock" /proc/net/unix; do sleep 0.1; done
		set -- -n "vhost-user,socket=$HOME/passt.sock"
	fi
	shell 90 --name net -c 2 -m 320 -p "$QUIET lkvm.modules=virtio" \
		-n user,guest_mac=02:00:00:00:00:08 --publish 127.0.0.1:8080:80 \
		-n tap,tapif=tap0,vhost=off -n tap,tapif=tap1,vhost=on "$@"
	told 10 'echo pfifo_fast >/proc/sys/net/core/default_qdisc; for n in 1 2; do \
echo 1 >/proc/sys/net/ipv6/conf/eth$n/disable_ipv6; done; cat /sys/class/net/eth0/address'
	is 02:00:00:00:00:08
	note "a guest is there"
	user_mode
	note "passt: an address, a name, files both ways"
	tap 1
	tap 2
	note "tap, tap with vhost: files both ways"
	cable 1
	cable 2
	note "the cable was out and in"
	if long; then
		# A million, there and back.
		packets 1 500000
		packets 2 100000
	else
		packets 1 5000
		packets 2 2000
	fi
	passt_dies
	! long || vhost_user
	say poweroff -f
	finish 20
	status_is 0
}

# --- a Debian guest ----------------------------------------------------------------------------------

speed() { # speed SERVER: both ways
	for way in '' -R; do
		told 60 "iperf3 -c $1 -t 3 $way -J >/tmp/j; grep -c 'error' /tmp/j; \
awk '/bits_per_second/ { b = \$2 } END { printf \"%d Mbit/s\\n\", b / 1e6 }' /tmp/j"
		echo "$ANSWER" | grep -qx 0 || fail "iperf3 $way with $1: $(ask 10 'cat /tmp/j' && echo "$ANSWER")"
		note "iperf3 $way with $1: $(echo "$ANSWER" | tail -n 1)"
	done
}

debian_guest() {
	rootfs root.img
	chown nobody root.img
	serve net iperf3 -s
	serve iperf3 -s -B 10.7.0.1
	serve iperf3 -s -B 10.7.1.1
	start -k "$KERNEL" -i "$INITRD" --name net -c 2 -m 512 -d root.img -p "$ROOTFS_WORDS" \
		-n user -n tap,tapif=tap0,vhost=off -n tap,tapif=tap1,vhost=on
	login 120
	told 20 'ls /sys/class/net | xargs'
	note "interfaces: $ANSWER"
	told 30 'for n in 1 2; do ip link set eth$n up; ip addr add 10.7.$((n - 1)).2/24 dev eth$n; done'
	told 30 'ip link set eth0 up; ip addr add 10.8.8.1/24 dev eth0; ip route add default via 10.8.8.2'
	speed 10.8.8.2
	speed 10.7.0.1
	speed 10.7.1.1
	say poweroff
	finish 60
	status_is 0
}

trap 'end_servers; at_end' EXIT
make_world
make_nobody
small_guest
! long || debian_guest
