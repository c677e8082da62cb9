/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM as a service: readiness and the end are told to the service manager, where one
 * started lkvm and wants to know (NOTIFY_SOCKET).
 */
#ifndef CMD_SERVICE_H
#define CMD_SERVICE_H

#include "lkvm/notify.h"
#include "lkvm/vm.h"

/**
 * struct service - start with SERVICE_INIT
 * @told: the guest has said that it is ready
 */
struct service {
	struct notify notify;
	struct vm *vm;
	struct loop_work ready;
	bool told;
};

#define SERVICE_INIT                                                                               \
	{                                                                                          \
		.notify = {.fd = -1 }                                                              \
	}

/**
 * service_begin() - before vm_run()
 * @later: readiness is told by service_ready(), else when the vCPUs run
 *
 * Return: 0, or -1 with @err set.
 */
int service_begin(struct service *s, struct vm *vm, bool later, struct error *err);

/**
 * service_ready() - tell that the VM is ready (loop thread); @opaque: a struct service
 */
void service_ready(void *opaque);

/**
 * service_guest_ready() - the same, in the guest's own words (@status, "" for none); told once
 */
void service_guest_ready(void *opaque, const char *status);

/**
 * service_end() - after vm_run(), before vm_destroy(): tell that it is ending
 */
void service_end(struct service *s);

#endif /* CMD_SERVICE_H */
