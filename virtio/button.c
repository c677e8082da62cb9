// SPDX-License-Identifier: GPL-2.0-only
/*
 * The power button: an input device (virtio 1.2 and 1.3, section 5.8) with one key,
 * KEY_POWER. Machines with ACPI have such a button; this is how a RISC-V guest without it
 * is asked to power off. Linux takes it by virtio_input, and systemd-logind or acpid acts.
 *
 * A press is four events: key down, report, key up, report. Each takes a buffer of the
 * event queue; what finds none waits in @todo until the driver brings more. The driver
 * chooses by select and subsel what the rest of the configuration space shows. What comes
 * on the status queue (lamps, which there are none of) is given back.
 *
 * Thread and lock: the virtio device's. What is saved: select, subsel, and how many events
 * of a press are still to go.
 */
#include "lkvm/virtio/button.h"

#include "lkvm/virtio/kind.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_ID 18
#define QUEUE_EVENTS 0
#define QUEUE_MAX 64

/* struct virtio_input_config: select, subsel, size, 5 reserved bytes, up to 128 of data. */
#define CONFIG_DATA 8
#define CONFIG_SIZE (CONFIG_DATA + 128)

/* What select says. */
#define SELECT_NAME 0x01
#define SELECT_DEVIDS 0x03
#define SELECT_EV_BITS 0x11

/* Linux's numbers (<linux/input-event-codes.h>), which the specification takes over. */
#define TYPE_SYN 0
#define TYPE_KEY 1
#define CODE_POWER 116
#define BUS_VIRTUAL 6

#define PRESS_EVENTS 4

/* struct virtio_input_event */
struct input_event {
	uint16_t type, code;
	uint32_t value;
};

static const struct input_event press[PRESS_EVENTS] = {
	{TYPE_KEY, CODE_POWER, 1},
	{TYPE_SYN, 0, 0},
	{TYPE_KEY, CODE_POWER, 0},
	{TYPE_SYN, 0, 0},
};

struct button_state {
	uint8_t select, subsel;
	uint8_t todo; /* of the PRESS_EVENTS, how many are still to go */
};

struct virtio_button {
	struct virtio_device vdev;
	struct button_state state;
};

static struct virtio_button *to_button(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_button, vdev);
}

/* Fill in @data. Return: how many bytes that is, 0: there is no such thing. */
static uint8_t show(const struct button_state *s, uint8_t *data)
{
	static const char name[] = "lkvm power button";
	const uint16_t ids[4] = {htole16(BUS_VIRTUAL), 0, 0, htole16(1)};

	switch (s->select << 8 | s->subsel) {
	case SELECT_NAME << 8:
		memcpy(data, name, sizeof(name) - 1);
		return sizeof(name) - 1;
	case SELECT_DEVIDS << 8:
		memcpy(data, ids, sizeof(ids));
		return sizeof(ids);
	case SELECT_EV_BITS << 8 | TYPE_KEY:
		data[CODE_POWER / 8] = 1 << CODE_POWER % 8;
		return CODE_POWER / 8 + 1;
	default:
		return 0;
	}
}

static void button_config_get(struct virtio_device *vdev, uint8_t *config)
{
	const struct button_state *s = &to_button(vdev)->state;

	config[0] = s->select;
	config[1] = s->subsel;
	config[2] = show(s, config + CONFIG_DATA);
}

static void button_config_set(struct virtio_device *vdev, uint32_t offset, const uint8_t *bytes,
			      uint32_t len)
{
	struct button_state *s = &to_button(vdev)->state;

	for (; len; len--, offset++, bytes++) {
		if (offset == 0)
			s->select = *bytes;
		else if (offset == 1)
			s->subsel = *bytes;
	}
}

/* Events, as far as there are buffers. */
static void send_events(struct virtio_button *b)
{
	struct virtq *q = virtio_queue(&b->vdev, QUEUE_EVENTS);
	struct virtq_request *req;

	while (b->state.todo && (req = virtq_pop(q))) {
		const struct input_event *e = &press[PRESS_EVENTS - b->state.todo];
		const struct input_event raw = {htole16(e->type), htole16(e->code),
						htole32(e->value)};
		struct virtq_cursor c = virtq_writer(req);

		if (virtq_write(&c, &raw, sizeof(raw)) < sizeof(raw))
			virtio_complain(&b->vdev, "a buffer is too small for an event");
		b->state.todo--;
		virtio_complete(&b->vdev, req);
	}
}

static void button_notify(struct virtio_device *vdev, unsigned int index)
{
	struct virtq_request *req;

	if (index == QUEUE_EVENTS) {
		send_events(to_button(vdev));
		return;
	}
	while ((req = virtq_pop(virtio_queue(vdev, index))))
		virtio_complete(vdev, req);
}

static void button_reset(struct virtio_device *vdev)
{
	to_button(vdev)->state = (struct button_state){0};
}

static void button_transfer(struct virtio_device *vdev, struct xfer *x, void *state)
{
	struct button_state *s = state;

	(void)vdev;
	xfer_u8(x, &s->select);
	xfer_u8(x, &s->subsel);
	xfer_u8(x, &s->todo);
	xfer_check(x, s->todo <= PRESS_EVENTS, "button: more events than a press has");
}

static int button_command(struct virtio_device *vdev, const char *words, char *reply, size_t len,
			  struct error *err)
{
	struct virtio_button *b = to_button(vdev);
	bool ready;

	(void)reply;
	(void)len;
	if (strcmp(words, "press"))
		return fail(err, "a power button understands \"press\"");
	virtio_enter(vdev);
	ready = vdev->status & VIRTIO_STATUS_DRIVER_OK;
	/* Pressed again while it is being pressed: it is down already. */
	if (ready && !b->state.todo) {
		b->state.todo = PRESS_EVENTS;
		virtio_queue_notify(vdev, QUEUE_EVENTS);
	}
	virtio_leave(vdev);
	return ready ? 0
		     : fail(err, "the guest has no driver for its power button "
				 "(Linux: virtio_input)");
}

static void button_destroy(struct virtio_device *vdev)
{
	virtio_device_fini(vdev);
	free(to_button(vdev));
}

static const struct virtio_device_ops button_ops = {
	.kind = "input",
	.id = INPUT_ID,
	.config_size = CONFIG_SIZE,
	.state_size = sizeof(struct button_state),
	.config_get = button_config_get,
	.config_set = button_config_set,
	.config_early = true,
	.notify = button_notify,
	.reset = button_reset,
	.transfer = button_transfer,
	.command = button_command,
	.destroy = button_destroy,
};

struct virtio_device *virtio_button_create(const char *name, struct guest_memory *mem,
					   struct log *log)
{
	struct virtio_button *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	if (virtio_device_init(&b->vdev, &button_ops, name, mem, log, 0, 2, QUEUE_MAX, 0,
			       &b->state)) {
		free(b);
		return NULL;
	}
	return &b->vdev;
}

static int build_button(const struct virtio_world *world, const char *text,
			struct virtio_device **vdev, struct error *err)
{
	(void)text;
	*vdev = virtio_button_create(world->name, world->mem, world->log);
	return *vdev ? 0 : fail(err, "no memory");
}

const struct virtio_kind virtio_button_kind = {
	.option = "power-button",
	.help = "a power button (virtio-input), by which \"lkvm stop\" asks the guest",
	.prefix = "button",
	.single = true,
	.build = build_button,
};
