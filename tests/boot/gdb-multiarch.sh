#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hosts: sv57
# files: own modules gdb
# time: 300
#
# GDB itself at a Linux guest, with the symbols that the kernel tells by /proc/kallsyms (Debian's has no
# other): it stops the boot at start_kernel, prints a backtrace, looks at another hart, steps and lets
# the boot go on; comes again when the guest runs, catches a system call, and leaves. Then it opens a
# core file. What gdb.sh shows packet by packet, and on other kernels too.

# shellcheck source=tests/boot/lib.sh disable=SC2016	# the guest expands
. "$FILES/lib.sh"

mkdir -p /lib/modules && tar -xf "$FILES/modules.tar" -C /lib/modules
tar -xf "$FILES/gdb-multiarch.tar"

# gdb SECONDS COMMAND...: what it says is in gdb.out
gdb() {
	limit=$1
	shift
	for command in "$@"; do
		set -- "$@" -ex "$command"
		shift
	done
	note "gdb-multiarch $*"
	status=0
	timeout -s KILL "$limit" ./gdb-multiarch -nx -batch -ex 'set remotetimeout 60' -ex 'set width 0' \
		kernel.elf "$@" </dev/null >gdb.out 2>gdb.err || status=$?
	cat gdb.out
	[ $status = 0 ] || fail "gdb: status $status: $(tail -n 3 gdb.err)"
}

note "the kernel's symbols"
"$LKVM" run -k "$KERNEL" -m 160 -p nokaslr -- cat /proc/kallsyms >kallsyms ||
	fail "no /proc/kallsyms"
"$FILES/kallsyms-elf" <kallsyms >kernel.elf
START=$(sed -n 's/^\([0-9a-f]*\) T start_kernel$/\1/p' kallsyms)
note "$(wc -l <kallsyms) symbols, start_kernel at $START"

note "from the first instruction on"
start -k "$KERNEL" -i "$INITRD" -c 2 -m 128 --name stub -p "nokaslr $QUIET" \
	--gdb "unix:$PWD/gdb.sock,wait"
until_true 20 "there is no gdb.sock" test -S gdb.sock
gdb 100 "target remote $PWD/gdb.sock" 'info threads' 'break *start_kernel' continue backtrace \
	'printf "<pc %lx>\n", $pc' 'x/s linux_banner' 'x/3i $pc' 'thread 2' 'info registers pc satp' \
	'thread 1' stepi stepi 'info symbol $pc' delete detach
said 'Thread 1 \(hart 0, started\)' gdb.out
said 'Thread 2 \(hart 1, stopped\)' gdb.out
said '^Thread 1 hit Breakpoint 1, 0x[0-9a-f]+ in start_kernel \(\)$' gdb.out
said '^#0  0x[0-9a-f]+ in start_kernel \(\)$' gdb.out
said '^#1  0x[0-9a-f]+ in [_a-z.]+' gdb.out
said "^<pc $START>\$" gdb.out
said '<linux_banner>:.*"Linux version ' gdb.out
said '=> 0x[0-9a-f]+ <start_kernel>:' gdb.out
said '^pc +0x0' gdb.out
said '^start_kernel \+ [0-9]+ in section' gdb.out
said '^\[Inferior 1 .* detached\]$' gdb.out
await 90 '^Hello from the guest: '

note "while it runs"
say 'while :; do echo; done >/dev/null & echo =loo""ping='
await 30 '^=looping='
gdb 100 "target remote $PWD/gdb.sock" 'info threads' 'break vfs_write' continue backtrace \
	'thread apply all backtrace 3' delete detach
said 'hit Breakpoint 1, 0x[0-9a-f]+ in vfs_write \(\)$' gdb.out
said '^#0  0x[0-9a-f]+ in vfs_write \(\)$' gdb.out
said '^#1  0x[0-9a-f]+ in ksys_write \(\)$' gdb.out
said '^Thread 2 \(' gdb.out
ask 60 'kill %1; nproc; dmesg | grep -ciE "bug|oops" || :'
echo "$ANSWER" >answer
said '^2$' answer
said '^0$' answer

note "a core file"
"$LKVM" dump stub core || fail "it can't be dumped"
gdb 100 'core-file core' 'info threads' 'thread apply all backtrace' 'x/s linux_banner' \
	'thread 2' 'info registers pc sp gp'
said 'LWP 1' gdb.out
said 'LWP 2' gdb.out
said '<linux_banner>:.*"Linux version ' gdb.out
[ "$(grep -cE '^#1  0x[0-9a-f]+ in [_a-z.]+' gdb.out)" = 2 ] || fail "not each hart has a backtrace"
said '^gp +0xffffffff[0-9a-f]+' gdb.out
say 'poweroff -f'
finish 30
status_is 0
silent
