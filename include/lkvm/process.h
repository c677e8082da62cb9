/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a process has only once by nature: signal dispositions, the saved
 * terminal, and the thread-local pointer to the vCPU that a thread runs. This
 * header and vmm/process.c are the only place with such state; everything else
 * hangs off a struct vm.
 */
#ifndef LKVM_PROCESS_H
#define LKVM_PROCESS_H

#include "lkvm/log.h"
#include "lkvm/util.h"

/**
 * process_kick_signal() - the signal that gets a vCPU thread out of KVM_RUN
 *
 * Its handler does one thing: it stores 1 to the byte that the thread named by
 * process_set_kick_flag() (kvm_run's immediate_exit), so a kick that arrives
 * just before the ioctl is not lost.
 */
int process_kick_signal(void);

/**
 * process_set_kick_flag() - for this thread; NULL for a thread that runs no vCPU
 */
void process_set_kick_flag(volatile uint8_t *flag);

/**
 * process_init() - install the handlers lkvm needs; idempotent, main thread
 *
 * SIGPIPE and SIGXFSZ are ignored (write(2) says EPIPE and EFBIG), the kick signal
 * gets its handler, and the signals that end a process by a bug (SIGSEGV, SIGBUS,
 * SIGILL, SIGFPE, SIGABRT, …) or by default first restore the terminal and then
 * take the course they had before; those of process_signal_fd() excepted. SIGTTIN
 * and SIGTTOU are ignored: a VM started in a shell's background runs on.
 * Descriptors 0 to 2 that are closed are opened on /dev/null, so that no file that
 * is opened later gets one of these numbers.
 *
 * A program that is started from here inherits what is ignored and what
 * process_signal_fd() blocks: whoever starts it resets both.
 *
 * Return: 0, or -1 with @err set.
 */
int process_init(struct error *err);

/**
 * process_ending() - does a signal wait that ends lkvm (process_signal_fd(), process_end_fd())?
 *
 * For who waits outside the loop. Any thread.
 */
bool process_ending(void);

/**
 * process_keep_faults() - take out of @set the signals that a bug raises
 *
 * A thread that blocked them would die at once, the terminal still raw.
 *
 * @set: a sigset_t
 */
void process_keep_faults(void *set);

/**
 * process_signal_fd() - SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGWINCH as a descriptor
 *
 * Blocks them for the calling thread and all it creates later. Call before any
 * thread is created. A signal that was ignored when lkvm was started (nohup, a
 * background job of a script) is left out. The descriptor is close-on-exec and
 * non-blocking.
 *
 * Return: the descriptor, or -1 with @err set.
 */
int process_signal_fd(struct error *err);

/**
 * process_end_fd() - hold back SIGINT, SIGTERM, SIGHUP and SIGQUIT, for who has to clean up
 *
 * The descriptor can be read from when one has come; nobody reads it, so that process_ending()
 * stays true. As process_signal_fd() else.
 *
 * Return: the descriptor, or -1 with @err set.
 */
int process_end_fd(struct error *err);

/**
 * process_end_fd_close() - close @fd and let signals through: one that waits ends the process
 */
void process_end_fd_close(int fd);

/**
 * process_die_by() - end this process by signal @sig with its default action
 *
 * The terminal is restored first; exit handlers do not run. The parent sees death
 * by @sig, so that a shell reports 128 + n; where the kernel does not let @sig end
 * us (a container's first process), that is the exit status.
 */
_Noreturn void process_die_by(int sig);

/**
 * process_leave() - end this process with @status, here and now (any thread)
 *
 * For where no thread can go on. The terminal is restored; exit handlers do not run.
 */
_Noreturn void process_leave(int status);

/**
 * process_tty_background() - does the terminal @fd belong to another job now?
 *
 * Reading it would stop this process or fail with EIO, and changing its modes
 * would disturb the shell. False for what is not our controlling terminal. Any
 * thread.
 */
bool process_tty_background(int fd);

/**
 * process_tty_raw() - save the terminal @fd and make it raw
 *
 * Remembered until process_tty_restore(), which also runs at exit(3) and on the
 * signals named above. Only one terminal at a time; a second call is an error, and
 * so is a terminal that another job uses. Main thread. @fd may be closed while the
 * terminal is raw.
 *
 * Return: 0, or -1 with @err set.
 */
int process_tty_raw(int fd, struct error *err);

/**
 * process_tty_restore() - the terminal as process_tty_raw() found it; nothing
 * where there is none, or in a forked child
 */
void process_tty_restore(void);

#endif /* LKVM_PROCESS_H */
