// SPDX-License-Identifier: GPL-2.0-only
/*
 * Readiness of a VM (service.h). A VM is ready when its vCPUs run and commands reach it; with
 * a script behind which it goes on, when the script's last step is done: then "ready" may
 * mean what the guest itself says about it; and where the guest is to say so over vsock
 * ("--vsock CID,ready=PORT"), when it does.
 *
 * Thread: the loop's. A manager that can't be told is a warning: the VM runs.
 */
#include "service.h"

#include <stdio.h>
#include <string.h>

static void tell(struct service *s, const char *state)
{
	int ret = notify_tell(&s->notify, state);

	if (ret)
		log_warning(s->vm->log, "the service manager (NOTIFY_SOCKET) can't be told: %s",
			    strerror(-ret));
}

void service_ready(void *opaque)
{
	struct service *s = opaque;
	char state[128];

	snprintf(state, sizeof(state), "READY=1\nSTATUS=%s, %u vCPUs",
		 s->vm->paused ? "paused" : "running", s->vm->nr_vcpus);
	tell(s, state);
}

void service_guest_ready(void *opaque, const char *status)
{
	struct service *s = opaque;
	char state[192];

	/* It is a stranger, who may say it a million times. */
	if (s->told)
		return;
	s->told = true;
	if (!*status) {
		service_ready(s);
		return;
	}
	snprintf(state, sizeof(state), "READY=1\nSTATUS=%s", status);
	tell(s, state);
}

int service_begin(struct service *s, struct vm *vm, bool later, struct error *err)
{
	s->vm = vm;
	loop_work_init(&s->ready, service_ready, s);
	if (notify_open(&s->notify, err))
		return -1;
	/* The loop's first turn comes when the vCPUs have been started. */
	if (!later)
		loop_post(vm->loop, &s->ready);
	return 0;
}

void service_end(struct service *s)
{
	tell(s, "STOPPING=1");
	loop_unpost(s->vm->loop, &s->ready);
	notify_close(&s->notify);
}
