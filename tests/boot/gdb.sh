#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57 stable
# files: own
# lab: --helpers
# time: 240
#
# A debugger of a few lines of shell at the GDB stub of a Linux guest: stops it at start_kernel before
# paging is on, reads its memory by the page tables, its registers and another hart's, steps, lets it
# go, interrupts it and leaves. The guest goes on as if nothing had been. Then a core file of it.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

[ -x /helpers/bin/socat ] || skip "no socat"

KERNEL_WORDS="nokaslr $QUIET"

# --- the debugger: what it says goes into gdb.in, all that it hears is in gdb.out

connect() {
	rm -f gdb.in gdb.out
	mkfifo gdb.in
	: >gdb.out
	/helpers/bin/socat STDIO UNIX-CONNECT:gdb.sock <gdb.in >gdb.out &
	exec 7>gdb.in
	HEARD=0
	packet QStartNoAckMode OK
}

checksum() { # of $1, in two digits
	rest=$1
	sum=0
	while [ -n "$rest" ]; do
		tail=${rest#?}
		sum=$(((sum + $(printf %d "'${rest%"$tail"}")) % 256))
		rest=$tail
	done
	printf %02x $sum
}

# hear SECONDS: the next packet: REPLY.
hear() {
	tries=$(($1 * 10))
	until tail -c +$((HEARD + 1)) gdb.out | grep -q '#..'; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "the stub did not answer within $1 s"
		sleep 0.1
	done
	text=$(tail -c +$((HEARD + 1)) gdb.out)
	REPLY=${text%%#*}
	HEARD=$((HEARD + ${#REPLY} + 3))
	REPLY=${REPLY#*\$}
}

say_packet() { printf '$%s#%s' "$1" "$(checksum "$1")" >&7; }

# packet TEXT [ANSWER]: what the stub answers: REPLY.
packet() {
	say_packet "$1"
	hear 30
	[ -z "${2-}" ] || [ "$REPLY" = "$2" ] || fail "$1: $REPLY, not $2"
}

# The number in REPLY's 8 bytes, the least significant first.
number() { echo "$REPLY" | sed 's/\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)/\8\7\6\5\4\3\2\1/'; }

# --- where things are in this kernel

shell 90 -m 128 -p "$KERNEL_WORDS"
told 60 "grep -E ' (start_kernel|linux_banner)\$' /proc/kallsyms"
START=$(echo "$ANSWER" | sed -n 's/ . start_kernel$//p')
BANNER=$(echo "$ANSWER" | sed -n 's/ . linux_banner$//p')
note "start_kernel at $START, linux_banner at $BANNER"
[ "${#START} ${#BANNER}" = "16 16" ] || fail "no such symbols"
say poweroff -f
finish 30

# --- from the start

start -k "$KERNEL" -i "$INITRD" -c 2 -m 128 --name stub -p "$KERNEL_WORDS" \
	--gdb "unix:$PWD/gdb.sock,wait"
until [ -S gdb.sock ]; do
	[ ! -e status ] || fail "lkvm ended with $(cat status): $(cat err)"
	sleep 0.1
done
connect
packet qfThreadInfo m1,2
"$LKVM" info stub >info.out
said debugged info.out
packet "Z0,$START,2" OK
packet 'vCont;c' 'T05thread:1;'
packet p20
[ "$(number)" = "$START" ] || fail "it stopped at $(number)"
packet p1c1
note "satp $(number)"
packet "m$BANNER,8" 4c696e7578207665 # "Linux ve"
packet "m$START,2"
[ "$REPLY" != 0290 ] || fail "the breakpoint shows"
packet "z0,$START,2" OK
packet 'vCont;s:1' 'T05thread:1;'
packet p20
[ "$(number)" != "$START" ] || fail "the step went nowhere"
i=0
while [ $i -lt 50 ]; do
	packet 'vCont;s:1' 'T05thread:1;'
	i=$((i + 1))
done
packet p20
note "51 steps on: pc $(number)"
packet Hg2 OK
packet p20 0000000000000000 # not started

say_packet 'vCont;c'
await 90 '^Hello from the guest: '
ask 60 :
printf '\003' >&7
hear 30
case $REPLY in
T02*) ;;
*) fail "an interrupt brought $REPLY" ;;
esac
packet Hg2 OK
packet p20
note "hart 1 is at $(number)"
packet D OK
told 60 'nproc; dmesg | grep -ciE "bug|oops" || :'
[ "$ANSWER" = "2
0" ] || fail "the guest says: $ANSWER"
exec 7>&-

# --- a core file

"$LKVM" dump stub core || fail "it can't be dumped"
[ "$(head -c 18 core | od -An -tx1 | tr -d ' \n')" = 7f454c460201010000000000000000000400 ] ||
	fail "that is no core file"
[ "$(stat -c %s core)" -gt $((128 << 20)) ] || fail "it is shorter than RAM"
grep -aq 'Linux version' core || fail "the kernel is not in it"
told 60 'echo still here'
say poweroff -f
finish 30
status_is 0
silent
