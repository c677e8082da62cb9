/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory whose pages are made when somebody touches them: Linux's userfaultfd
 * (Documentation/admin-guide/mm/userfaultfd.rst), as much of it as is wanted here.
 *
 * Any thread may call these.
 */
#ifndef LKVM_USERFAULT_H
#define LKVM_USERFAULT_H

#include "lkvm/util.h"

/**
 * userfault_open() - a descriptor to serve faults by, which does not block
 *
 * Faults of the kernel too, KVM's and those of system calls: that takes CAP_SYS_PTRACE, the sysctl
 * vm.unprivileged_userfaultfd, or the right to open /dev/userfaultfd.
 *
 * Return: it, or -errno (-EPERM: none of these).
 */
int userfault_open(void);

/**
 * userfault_register() - whoever touches a page of [@start, @start + @len) that is not there waits
 * @start, @len: whole pages of private anonymous memory
 *
 * Until the memory is unmapped, userfault_unregister(), or @fd is closed. Return: 0 or -errno.
 */
int userfault_register(int fd, void *start, size_t len);

/**
 * userfault_next() - the next page that is waited for
 * @page: out: its first byte
 *
 * Return: 1; 0: none just now; -errno.
 */
int userfault_next(int fd, void **page);

/**
 * userfault_fill() - make the pages at @to, copies of @from; who waits is woken by userfault_wake()
 * @from: NULL: of zeroes
 * @len: whole pages
 *
 * Pages that are there already, or are not registered any more, stay as they are.
 *
 * Return: 0 or -errno (-ENOMEM).
 */
int userfault_fill(int fd, void *to, const void *from, size_t len);

/**
 * userfault_wake() - let who waits for a page of these look again
 */
void userfault_wake(int fd, void *start, size_t len);

/**
 * userfault_unregister() - these pages are plain memory again, and who waits looks again
 *
 * Return: 0 or -errno.
 */
int userfault_unregister(int fd, void *start, size_t len);

#endif /* LKVM_USERFAULT_H */
