// SPDX-License-Identifier: GPL-2.0-only
/*
 * A back end's descriptor in the loop, which comes and goes on the loop's thread while
 * another one (a vCPU's) says what to wait for.
 */
#include "../../virtio/net_internal.h"
#include "net_rig.h"
#include "unit.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ROUNDS 3000

struct play {
	struct net_rig rig;
	struct loop *loop;
	struct virtio_device *vdev;
	struct net_watch watch;
	int fd;
	unsigned int calls;
	pthread_barrier_t start, over;
};

static void ready(void *opaque, uint32_t events)
{
	struct play *play = opaque;
	uint64_t count;

	if (events & EPOLLIN)
		ck_assert_int_eq(read(play->fd, &count, sizeof(count)), sizeof(count));
	play->calls++;
}

static void want(struct play *play, bool on)
{
	virtio_enter_device(play->vdev);
	net_watch_set(&play->watch, EPOLLIN, on);
	virtio_leave(play->vdev);
}

static void *vcpu(void *opaque)
{
	struct play *play = opaque;
	unsigned int round, i;

	for (round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&play->start);
		for (i = 0; i < 8; i++)
			want(play, (round + i) % 2);
		pthread_barrier_wait(&play->over);
	}
	return NULL;
}

/* What is waited for in the end is what was said last. */
START_TEST(said_while_it_starts)
{
	static const uint64_t one = 1;
	struct play play = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	struct error err;
	pthread_t thread;
	unsigned int round;
	uint64_t count;

	net_rig_create(&play.rig, &net_rig_config, 1, false);
	play.vdev = virtio_net_device(play.rig.net);
	play.loop = loop_create(&err);
	ck_assert_ptr_nonnull(play.loop);
	pthread_barrier_init(&play.start, NULL, 2);
	pthread_barrier_init(&play.over, NULL, 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, vcpu, &play), 0);
	for (round = 0; round < ROUNDS; round++) {
		bool on = (round + 7) % 2;

		pthread_barrier_wait(&play.start);
		ck_assert_int_eq(
			net_watch_start(&play.watch, play.loop, play.vdev, play.fd, ready, &play),
			0);
		pthread_barrier_wait(&play.over);
		while (loop_run_once(play.loop, 0) > 0)
			;
		play.calls = 0;
		ck_assert_int_eq(write(play.fd, &one, sizeof(one)), sizeof(one));
		loop_run_once(play.loop, 0);
		ck_assert_uint_eq(play.calls, on);
		(void)!read(play.fd, &count, sizeof(count));
		net_watch_stop(&play.watch);
	}
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&play.start);
	pthread_barrier_destroy(&play.over);
	net_rig_stop(&play.rig);
	loop_destroy(play.loop);
	close(play.fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio-net-watch");
	TCase *t = tcase_create("watch");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, said_while_it_starts);
	suite_add_tcase(s, t);
	return unit_main(s);
}
