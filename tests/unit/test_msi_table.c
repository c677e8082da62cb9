// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of messages in a VM on the fake host: eventfds that KVM turns into messages,
 * what changes of a route cost, what becomes of them when there is no room or KVM refuses,
 * and two threads at once. "KVM takes it" is fake_aia_deliver(); what it does not take is
 * still in the eventfd, where lkvm's loop would find it.
 */
#include "rig.h"
#include "unit.h"

#include "../../riscv/machine.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define IMSIC UINT64_C(0x28000000)
#define FDS 40

static struct rig rig;
static int fds[FDS];

static void setup(void)
{
	unsigned int i;

	rig_init(&rig, FAKE_7_2);
	rig.host->host_aia = true;
	rig.host->host_isa[ISA_EXT_SSAIA] = true;
	rig.arch.irqchip = IRQCHIP_AIA;
	rig.cfg.cpus = 2;
	for (i = 0; i < FDS; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ck_assert_int_ge(fds[i], 0);
	}
}

static void teardown(void)
{
	unsigned int i;

	for (i = 0; i < FDS; i++)
		close(fds[i]);
	rig_end(&rig);
}

static struct fake_aia *aia(void)
{
	return &fake_vm(rig.host)->aia;
}

static struct msi_sink *sink(void)
{
	return rig.vm->arch->msi;
}

static uint32_t route(uint64_t address, uint32_t data)
{
	uint32_t handle = MSI_NONE;

	ck_assert_int_eq(sink()->ops->update(sink(), &handle, address, data), 0);
	return handle;
}

static void attach(uint32_t handle, unsigned int i)
{
	sink()->ops->attach(sink(), handle, fds[i]);
	sink()->ops->commit(sink());
}

static void detach(uint32_t handle, unsigned int i)
{
	sink()->ops->detach(sink(), handle, fds[i]);
}

/* Somebody writes: which message comes of it? 0: none, it stays in the eventfd. */
static uint32_t ring(unsigned int i)
{
	uint64_t one = 1, count;
	uint32_t data;

	ck_assert_int_eq(write(fds[i], &one, sizeof(one)), sizeof(one));
	aia()->nr_msis = 0;
	fake_aia_deliver(aia());
	data = aia()->nr_msis ? aia()->msis[0].data : 0;
	ck_assert_uint_le(aia()->nr_msis, 1);
	ck_assert_int_eq(read(fds[i], &count, sizeof(count)), data ? -1 : (int)sizeof(count));
	return data;
}

static unsigned long tables(void)
{
	return fake_calls(rig.host, KVM_SET_GSI_ROUTING);
}

static void count(uint32_t *routes, uint32_t *gsis)
{
	struct msi_table_count n = msi_table_count(&rig.vm->arch->irq.messages);

	*routes = n.routes;
	*gsis = n.gsis;
}

START_TEST(straight_to_the_guest)
{
	uint32_t a, b, routes, gsis;

	rig_create(&rig);
	a = route(IMSIC, 5);
	b = route(IMSIC + 4096, 6);
	/* A route costs nothing of KVM's before somebody is attached. */
	ck_assert_uint_eq(tables(), 0);
	ck_assert_uint_eq(ring(0), 0);
	attach(a, 0);
	attach(b, 1);
	ck_assert_uint_eq(ring(0), 5);
	ck_assert_uint_eq(ring(1), 6);
	ck_assert_uint_eq(aia()->msis[0].address, IMSIC + 4096);
	/* A changed message. */
	ck_assert_int_eq(sink()->ops->update(sink(), &a, IMSIC + 4096, 7), 0);
	sink()->ops->commit(sink());
	ck_assert_uint_eq(ring(0), 7);
	ck_assert_uint_eq(aia()->msis[0].address, IMSIC + 4096);
	/* Two for one route. */
	attach(a, 2);
	ck_assert_uint_eq(ring(2), 7);
	count(&routes, &gsis);
	ck_assert_uint_eq(routes, 2);
	ck_assert_uint_eq(gsis, 2);
	detach(a, 0);
	ck_assert_uint_eq(ring(0), 0);
	ck_assert_uint_eq(ring(2), 7);
	detach(a, 2);
	sink()->ops->release(sink(), a);
	detach(b, 1);
	sink()->ops->release(sink(), b);
	count(&routes, &gsis);
	ck_assert_uint_eq(routes, 0);
	ck_assert_uint_eq(gsis, 0);
	ck_assert_uint_eq(fake_aia_irqfds(aia()), 0);
	/* One that is not attached. */
	detach(a, 0);
	detach(100000, 0);
}
END_TEST

/* All that changed goes by one call; and a message that KVM still has is not written again. */
START_TEST(batches)
{
	uint32_t handles[FDS];
	unsigned int i, round;

	rig_create(&rig);
	for (i = 0; i < FDS; i++) {
		handles[i] = route(IMSIC, 1 + i);
		sink()->ops->attach(sink(), handles[i], fds[i]);
	}
	ck_assert_uint_eq(fake_aia_irqfds(aia()), 0);
	sink()->ops->commit(sink());
	ck_assert_uint_eq(tables(), 1);
	ck_assert_uint_eq(fake_aia_irqfds(aia()), FDS);
	/* A storm of masks (A13, A17): no table is written for it, in whatever order. */
	for (round = 0; round < 1000; round++) {
		unsigned int a = round * 7 % FDS, b = round * 11 % FDS;

		detach(handles[a], a);
		sink()->ops->release(sink(), handles[a]);
		if (b != a) {
			detach(handles[b], b);
			sink()->ops->release(sink(), handles[b]);
			handles[b] = route(IMSIC, 1 + b);
			sink()->ops->attach(sink(), handles[b], fds[b]);
		}
		handles[a] = route(IMSIC, 1 + a);
		attach(handles[a], a);
	}
	ck_assert_uint_eq(tables(), 1);
	for (i = 0; i < FDS; i++)
		ck_assert_uint_eq(ring(i), 1 + i);
	/* New messages take the places of old ones. */
	for (round = 0; round < 200; round++) {
		i = round % FDS;
		detach(handles[i], i);
		sink()->ops->release(sink(), handles[i]);
		handles[i] = route(IMSIC + 4096, 50 + round);
		attach(handles[i], i);
		ck_assert_uint_eq(ring(i), 50 + round);
	}
	ck_assert_uint_le(aia()->nr_routes, 2 * FDS);
}
END_TEST

/* No room: what is too much goes the long way, and gets its turn when there is room. */
START_TEST(exhaustion)
{
	uint32_t handles[FDS];
	unsigned int i, got = 0;

	rig.host->irq_routes = 8;
	rig_create(&rig);
	for (i = 0; i < FDS; i++) {
		handles[i] = route(IMSIC, 1 + i);
		attach(handles[i], i);
	}
	ck_assert_uint_eq(fake_aia_irqfds(aia()), 8);
	for (i = 0; i < FDS; i++) {
		uint32_t data = ring(i);

		ck_assert(data == 1 + i || !data);
		got += data != 0;
		/* lkvm itself can send all of them. */
		aia()->nr_msis = 0;
		ck_assert_int_eq(sink()->ops->send(sink(), IMSIC, 1 + i), 0);
		ck_assert_uint_eq(aia()->msis[0].data, 1 + i);
	}
	ck_assert_uint_eq(got, 8);
	/* One goes, and another has its place. */
	detach(handles[0], 0);
	ck_assert_uint_eq(fake_aia_irqfds(aia()), 7);
	sink()->ops->commit(sink());
	ck_assert_uint_eq(fake_aia_irqfds(aia()), 8);
	for (i = 1; i < FDS; i++)
		detach(handles[i], i);
	ck_assert_uint_eq(fake_aia_irqfds(aia()), 0);
}
END_TEST

/* A host without the capability at all. */
START_TEST(no_routing)
{
	uint32_t a;

	rig.host->irq_routes = 0;
	rig_create(&rig);
	a = route(IMSIC, 5);
	attach(a, 0);
	ck_assert_uint_eq(ring(0), 0);
	ck_assert_uint_eq(tables(), 0);
	detach(a, 0);
}
END_TEST

START_TEST(refusals)
{
	char text[4096];
	uint32_t a, b;

	rig_create(&rig);
	a = route(IMSIC, 5);
	b = route(IMSIC, 6);
	/* The eventfd. */
	fake_arm(rig.host, KVM_IRQFD, 1, EBUSY);
	attach(a, 0);
	ck_assert_uint_eq(ring(0), 0);
	attach(b, 1);
	ck_assert_uint_eq(ring(1), 6);
	ck_assert_uint_eq(ring(0), 5);
	/* The table: nothing goes to where the message went before. */
	ck_assert_int_eq(sink()->ops->update(sink(), &b, IMSIC + 4096, 9), 0);
	fake_arm(rig.host, KVM_SET_GSI_ROUTING, 1, ENOMEM);
	sink()->ops->commit(sink());
	ck_assert_uint_eq(ring(1), 0);
	ck_assert_uint_eq(ring(0), 5);
	ck_assert_ptr_nonnull(strstr(rig_log(&rig, text, sizeof(text)), "interrupt routes"));
	/* Until the next change. */
	sink()->ops->commit(sink());
	ck_assert_uint_eq(ring(1), 9);
	detach(a, 0);
	detach(b, 1);
}
END_TEST

/* The VM goes and another comes: routes stay, and are attached in the new one. */
START_TEST(another_vm)
{
	struct msi_table *t;
	uint32_t a;

	rig_create(&rig);
	t = &rig.vm->arch->irq.messages;
	a = route(IMSIC, 5);
	attach(a, 0);
	msi_table_close(t);
	attach(a, 1);
	detach(a, 1);
	ck_assert(!fake_aia_has_irqfd(aia(), fds[1]));
	memset(aia()->irqfds, 0, sizeof(aia()->irqfds));
	aia()->nr_routes = 0;
	msi_table_open(t, &rig.vm->kvm);
	ck_assert_uint_eq(ring(0), 0);
	msi_table_commit(t);
	ck_assert_uint_eq(ring(0), 5);
	detach(a, 0);
}
END_TEST

/* While one thread waits in KVM for a new table, others send: they would wait here for ever. */
START_TEST(senders_do_not_wait)
{
	struct msi_table *t;

	rig_create(&rig);
	t = &rig.vm->arch->irq.messages;
	pthread_mutex_lock(&t->lock);
	ck_assert_int_eq(sink()->ops->send(sink(), IMSIC, 5), 0);
	pthread_mutex_unlock(&t->lock);
	ck_assert_uint_eq(aia()->nr_msis, 1);
}
END_TEST

static void *masks(void *opaque)
{
	unsigned int i, n = *(unsigned int *)opaque;

	for (i = 0; i < 2000; i++) {
		uint32_t handle = route(IMSIC, 1 + n), routes, gsis;

		sink()->ops->attach(sink(), handle, fds[n]);
		sink()->ops->commit(sink());
		sink()->ops->send(sink(), IMSIC, 1 + n);
		count(&routes, &gsis);
		sink()->ops->detach(sink(), handle, fds[n]);
		sink()->ops->release(sink(), handle);
	}
	return NULL;
}

START_TEST(threads)
{
	static unsigned int n[4] = {0, 1, 2, 3};
	uint32_t routes, gsis;
	pthread_t t[4];
	unsigned int i;

	rig_create(&rig);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, masks, &n[i]), 0);
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	count(&routes, &gsis);
	ck_assert_uint_eq(routes, 0);
	ck_assert_uint_eq(gsis, 0);
	ck_assert_uint_eq(fake_aia_irqfds(aia()), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("msi_table");
	TCase *tc = tcase_create("msi_table");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, straight_to_the_guest);
	tcase_add_test(tc, batches);
	tcase_add_test(tc, exhaustion);
	tcase_add_test(tc, no_routing);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, another_vm);
	tcase_add_test(tc, senders_do_not_wait);
	tcase_add_test(tc, threads);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
