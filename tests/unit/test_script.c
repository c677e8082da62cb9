// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scripted boots: the search in a stream, steps as they are written, and a script at the
 * console of a VM on the scripted host.
 */
#include "lkvm/script.h"

#include "../../riscv/machine.h"
#include "prng.h"
#include "rig.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- the search ------------------------------------------------------------------ */

/* As one who has all the bytes would find it; 0: not there. */
static size_t end_of(const char *text, const char *hay, size_t len)
{
	size_t n = strlen(text), i;

	for (i = 0; i + n <= len; i++)
		if (!memcmp(hay + i, text, n))
			return i + n;
	return 0;
}

START_TEST(finds)
{
	static const char *const texts[] = {"a", "ab", "aab", "aaa", "abab", "abaabab", "bbbbbba"};
	struct prng prng = prng_start("finds");
	char hay[64];
	struct match m;
	size_t i, k, round;

	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		ck_assert_int_eq(match_init(&m, texts[i], strlen(texts[i])), 0);
		for (round = 0; round < 2000; round++) {
			size_t want, done = 0, got = 0;

			for (k = 0; k < sizeof(hay); k++)
				hay[k] = round % 2 && prng_below(&prng, 3)
						 ? 'x'
						 : (char)('a' + prng_below(&prng, 2));
			want = end_of(texts[i], hay, sizeof(hay));
			/* In pieces of any size. */
			while (done < sizeof(hay) && !got) {
				size_t n = min_u64(prng_below(&prng, round % 4 < 2 ? 9 : 40),
						   sizeof(hay) - done);

				got = match_feed(&m, hay + done, n);
				done += got ? got : n;
			}
			ck_assert_uint_eq(got ? done : 0, want);
			match_forget(&m);
		}
		match_free(&m);
	}
}
END_TEST

/* --- steps as they are written ---------------------------------------------------- */

static struct script script;
static struct error err;

static void script_setup(void)
{
	script = (struct script)SCRIPT_INIT;
}

static void script_teardown(void)
{
	script_free(&script);
}

static void add(enum script_kind kind, const char *text)
{
	ck_assert_msg(!script_add(&script, kind, text, &err), "%s: %s", text, err.msg);
}

static void step_is(size_t nr, enum script_kind kind, const char *text, size_t len)
{
	ck_assert_uint_lt(nr, script.nr);
	ck_assert_int_eq(script.steps[nr].kind, kind);
	ck_assert_uint_eq(script.steps[nr].len, len);
	ck_assert_msg(!memcmp(script.steps[nr].text, text, len), "%.*s", (int)len,
		      (char *)script.steps[nr].text);
}

START_TEST(texts)
{
	static const struct {
		enum script_kind kind;
		const char *text, *why;
	} bad[] = {
		{SCRIPT_EXPECT, "", "an empty text is always there"},
		{SCRIPT_SEND, "\\c", "there is nothing to send"},
		{SCRIPT_EXPECT, "x\\c",
		 "\\c is not known: there are \\n \\r \\t \\e \\\\ \\\" "
		 "\\xHH"},
		{SCRIPT_SEND, "a\\cb",
		 "\\c is not known: there are \\n \\r \\t \\e \\\\ \\\" \\xHH, "
		 "and \\c at the end"},
		{SCRIPT_EXPECT, "\\x1",
		 "\\x is not known: there are \\n \\r \\t \\e \\\\ \\\" "
		 "\\xHH"},
		{SCRIPT_EXPECT, "\\xg0",
		 "\\x is not known: there are \\n \\r \\t \\e \\\\ \\\" "
		 "\\xHH"},
		{SCRIPT_EXPECT, "\\", "\\ is not known: there are \\n \\r \\t \\e \\\\ \\\" \\xHH"},
	};
	static char longest[SCRIPT_TEXT_MAX + 1];
	char words[SCRIPT_WORDS_MAX];
	size_t i;

	add(SCRIPT_EXPECT, "login: ");
	step_is(0, SCRIPT_EXPECT, "login: ", 7);
	add(SCRIPT_SEND, "root");
	step_is(1, SCRIPT_SEND, "root\r", 5);
	add(SCRIPT_SEND, "x\\c");
	step_is(2, SCRIPT_SEND, "x", 1);
	add(SCRIPT_SEND, "");
	step_is(3, SCRIPT_SEND, "\r", 1);
	add(SCRIPT_EXPECT, "\\n\\r\\t\\e\\\\\\\"\\x00\\xfF\xc3\xa4");
	step_is(4, SCRIPT_EXPECT, "\n\r\t\033\\\"\0\xff\xc3\xa4", 10);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(script_add(&script, bad[i].kind, bad[i].text, &err), -1);
		ck_assert_str_eq(err.msg, bad[i].why);
	}
	memset(longest, 'x', sizeof(longest) - 1);
	ck_assert_int_eq(script_add(&script, SCRIPT_SEND, longest, &err), -1);
	longest[SCRIPT_TEXT_MAX - 1] = '\0';
	add(SCRIPT_SEND, longest);
	ck_assert_uint_eq(script.nr, 6);
	ck_assert_str_eq(script_step_words(&script, 1, words), "--send \"root\", step 2 of 6");
	ck_assert_str_eq(script_step_words(&script, 0, words), "--expect \"login: \", step 1 of 6");
	ck_assert_uint_lt(strlen(script_step_words(&script, 5, words)), SCRIPT_WORDS_MAX - 1);
	for (; script.nr < SCRIPT_STEPS_MAX;)
		add(SCRIPT_SEND, "y");
	ck_assert_int_eq(script_add(&script, SCRIPT_SEND, "y", &err), -1);
}
END_TEST

static int read_text(const char *text, size_t len)
{
	static char path[64];
	int fd = memfd_create("script", 0), ret;

	ck_assert_int_eq(write_all(fd, text, len), (long)len);
	lseek(fd, 0, SEEK_SET);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = script_read(&script, path, &err);
	close(fd);
	return ret;
}

START_TEST(files)
{
	static const char good[] = "# a comment\n"
				   "\n"
				   "  expect  two words  \n"
				   "timeout 5\n"
				   "send \"  quoted \\\" \\\\\"\r\n"
				   "\texpect\t\"x\"\n"
				   "timeout 0\n"
				   "expect # is no comment here\n"
				   "send\n"
				   "send end";
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"expect a\nwait b\n",
		 ", line 2: wait is no step: there are expect, send and timeout"},
		{"expect\n", ", line 1: an empty text is always there"},
		{"\n\nsend \"a\n",
		 ", line 3: a text that begins with a quote ends with one (\\\" is a "
		 "quote within)"},
		{"send \"a\" b\n",
		 ", line 1: a text that begins with a quote ends with one (\\\" is a "
		 "quote within)"},
		{"send \"a\\\"\n",
		 ", line 1: a text that begins with a quote ends with one (\\\" is a "
		 "quote within)"},
		{"timeout\n", ", line 1: not a whole number"},
		{"timeout -1\n", ", line 1: below 0"},
		{"expect \\q\n",
		 ", line 1: \\q is not known: there are \\n \\r \\t \\e \\\\ \\\" \\xHH"},
	};
	char words[SCRIPT_WORDS_MAX];
	static char large[1100 * 1024];
	size_t i;

	script.timeout_s = 77;
	ck_assert_msg(!read_text(good, sizeof(good) - 1), "%s", err.msg);
	ck_assert_uint_eq(script.nr, 6);
	step_is(0, SCRIPT_EXPECT, "two words", 9);
	ck_assert_uint_eq(script.steps[0].timeout_s, 77);
	step_is(1, SCRIPT_SEND, "  quoted \" \\\r", 13);
	ck_assert_uint_eq(script.steps[1].timeout_s, 5);
	step_is(2, SCRIPT_EXPECT, "x", 1);
	step_is(3, SCRIPT_EXPECT, "# is no comment here", 20);
	ck_assert_uint_eq(script.steps[3].timeout_s, 0);
	step_is(4, SCRIPT_SEND, "\r", 1);
	step_is(5, SCRIPT_SEND, "end\r", 4);
	ck_assert_str_eq(script_step_words(&script, 1, words),
			 "send \"  quoted \" \\\" in line 5 of the script");
	ck_assert_uint_eq(script.timeout_s, 77);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(read_text(bad[i].text, strlen(bad[i].text)), -1);
		ck_assert_msg(strstr(err.msg, bad[i].why), "%s", err.msg);
	}
	ck_assert_int_eq(read_text("expect a\0b\n", 11), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "it has zero bytes"));
	memset(large, '\n', sizeof(large));
	ck_assert_int_eq(read_text(large, sizeof(large)), -1);
	ck_assert_ptr_nonnull(strstr(err.msg, "longer than a script may be"));
	ck_assert_int_eq(script_read(&script, "/nonexistent", &err), -1);
	ck_assert_str_eq(err.msg, "cannot open /nonexistent: No such file or directory");
	ck_assert_int_eq(script_read(&script, "/", &err), -1);
}
END_TEST

/* --- at a console ------------------------------------------------------------------ */

static struct rig rig;
static struct script_run run;
static unsigned int dones;

static void on_done(void *opaque)
{
	ck_assert_ptr_eq(opaque, &run);
	dones++;
}

static void run_setup(void)
{
	script_setup();
	dones = 0;
	run = (struct script_run){
		.script = &script, .stop = true, .on_done = on_done, .opaque = &run};
	rig_init(&rig, FAKE_7_2);
	rig.cfg.console_in = -1;
	rig.cfg.console = CONSOLE_SBI;
}

static void run_teardown(void)
{
	rig_end(&rig);
	script_teardown();
}

static void begin(void)
{
	rig_create(&rig);
	script_run_start(&run, rig.vm);
	rig_start(&rig);
	ck_assert(fake_wait_idle(rig.host, 0));
}

/* End it, to the last byte. */
static enum vm_verdict end(void)
{
	enum vm_verdict verdict = rig_join(&rig);

	vm_destroy(rig.vm);
	rig.vm = NULL;
	return verdict;
}

/* The guest says it; @cut: in pieces of so many bytes. */
static void say(const char *text, size_t cut)
{
	size_t len = strlen(text), n;

	for (; len; text += n, len -= n) {
		n = min_u64(cut, len);
		ck_assert_uint_eq(guest_console_write(rig.vm->console, text, n), n);
	}
}

/* The guest hears exactly this, and for a while nothing more. */
static void hears(const char *text)
{
	uint64_t until = now_ns() + 10 * NSEC_PER_SEC;
	static char heard[2 * SCRIPT_TEXT_MAX];
	size_t len = 0, want = strlen(text);

	while (len < want && now_ns() < until) {
		len += machine_console_get(rig.vm->arch, (uint8_t *)heard + len, 100);
		usleep(1000);
	}
	usleep(20000);
	len += machine_console_get(rig.vm->arch, (uint8_t *)heard + len, 100);
	heard[len] = '\0';
	ck_assert_str_eq(heard, text);
}

START_TEST(talk)
{
	add(SCRIPT_EXPECT, "login: ");
	add(SCRIPT_SEND, "root");
	add(SCRIPT_EXPECT, "# ");
	add(SCRIPT_SEND, "uname -m");
	add(SCRIPT_SEND, "x\\c");
	add(SCRIPT_EXPECT, "riscv64");
	begin();
	/* Not before it is said, and found however it is cut. */
	say("lkvm login:", 1);
	hears("");
	say("log", 1);
	say("in: ", 1);
	hears("root\r");
	/* What comes behind a match counts for the next step. */
	say("root\r\n# ", 3);
	hears("uname -m\rx");
	ck_assert_uint_eq(dones, 0);
	say("riscv64\r\n", 4096);
	ck_assert_int_eq(end(), VM_QUIT);
	ck_assert(script_run_done(&run));
	ck_assert_uint_eq(dones, 1);
	ck_assert(!run.late && !run.died);
	ck_assert_uint_ge(run.tail_len, 9);
	ck_assert(!memcmp(run.tail + run.tail_len - 9, "riscv64\r\n", 9));
}
END_TEST

/* All the words come at once, in the middle of a step or before it. */
START_TEST(ahead)
{
	add(SCRIPT_SEND, "first");
	add(SCRIPT_EXPECT, "ab");
	add(SCRIPT_EXPECT, "ba");
	add(SCRIPT_SEND, "second");
	add(SCRIPT_EXPECT, "c");
	begin();
	hears("first\r");
	/* Matches don't overlap. */
	say("aba", 4096);
	hears("");
	say("ba..c", 4096);
	ck_assert_int_eq(end(), VM_QUIT);
	ck_assert(script_run_done(&run));
}
END_TEST

/* A guest that takes little at a time gets it all; the clock runs for sends too. */
START_TEST(slow_guest)
{
	static char text[3001], want[3002], heard[3002];
	size_t i, len = 0;

	for (i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('a' + i % 26);
	snprintf(want, sizeof(want), "%s\r", text);
	add(SCRIPT_SEND, text);
	script.timeout_s = 1;
	add(SCRIPT_SEND, text);
	add(SCRIPT_EXPECT, "never");
	begin();
	for (; len < sizeof(want) - 1; usleep(1000))
		len += machine_console_get(rig.vm->arch, (uint8_t *)heard + len,
					   min_u64(100, sizeof(want) - 1 - len));
	ck_assert_str_eq(heard, want);
	ck_assert_int_eq(end(), VM_TIMEOUT);
	ck_assert(run.late);
	ck_assert(!script_run_done(&run));
	ck_assert_uint_eq(script_run_step(&run), 1);
}
END_TEST

START_TEST(too_late)
{
	uint64_t start;

	script.timeout_s = 1;
	add(SCRIPT_EXPECT, "a");
	add(SCRIPT_EXPECT, "b");
	begin();
	start = now_ns();
	usleep(700000);
	say("a", 1);
	/* Each step has its own second. */
	ck_assert_int_eq(end(), VM_TIMEOUT);
	ck_assert_uint_ge(now_ns() - start, 1600 * NSEC_PER_MSEC);
	ck_assert(run.late);
	ck_assert_uint_eq(script_run_step(&run), 1);
	ck_assert_uint_eq(dones, 0);
}
END_TEST

/* What a guest says just before it powers off is heard. */
START_TEST(said_at_the_end)
{
	static const struct fake_op program[] = {
		{.kind = FAKE_WAIT},
		{.kind = FAKE_PRINT, .addr = 0x10000000, .text = "PASS\n"},
		{.kind = FAKE_EVENT, .value = KVM_SYSTEM_EVENT_SHUTDOWN},
		{.kind = FAKE_END},
	};

	rig.host->programs[0] = program;
	add(SCRIPT_EXPECT, "PASS");
	/* The same with a step more is not done. */
	if (_i) {
		add(SCRIPT_SEND, "more");
		add(SCRIPT_EXPECT, "never");
	}
	begin();
	fake_poke(rig.host, 0);
	end();
	ck_assert_int_eq(script_run_done(&run), !_i);
	if (_i)
		ck_assert_uint_ge(script_run_step(&run), 1);
}
END_TEST

static void dies_of(const char *words, const char *what)
{
	add(SCRIPT_EXPECT, "login: ");
	begin();
	say(words, 5);
	say("and why\r\n", 4096);
	ck_assert_int_eq(end(), VM_DIED);
	ck_assert(run.died);
	ck_assert_str_eq(run.trouble, what);
	ck_assert_ptr_nonnull(memmem(run.tail, run.tail_len, "and why\r\n", 9));
}

START_TEST(panic)
{
	dies_of("[ 1.0] Kernel panic - not syncing: x\r\n", "the guest's kernel panicked");
}
END_TEST

START_TEST(watchdog)
{
	dies_of("[ 9.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [x:1]\r\n",
		"the guest's watchdog found a CPU that does not schedule");
}
END_TEST

/* Whoever waits for a panic gets it. */
START_TEST(wanted_panic)
{
	add(SCRIPT_EXPECT, "Kernel panic - not syncing: ");
	add(SCRIPT_EXPECT, "end Kernel panic");
	begin();
	say("[ 1.0] Kernel panic - not syncing: x\r\n", 7);
	usleep(100000);
	say("[ 1.0] ---[ end Kernel panic - not syncing: x ]---\r\n", 7);
	ck_assert_int_eq(end(), VM_QUIT);
	ck_assert(script_run_done(&run));
	ck_assert(!run.died);
}
END_TEST

static void ask_done(struct rig *unused, void *arg)
{
	(void)unused;
	*(bool *)arg = dones;
}

/* The VM goes on behind the script. */
START_TEST(goes_on)
{
	bool done = false;

	run.stop = false;
	add(SCRIPT_EXPECT, "ready");
	begin();
	say("ready", 1);
	while (!done) {
		usleep(1000);
		rig_call(&rig, ask_done, &done);
	}
	ck_assert_uint_eq(dones, 1);
	/* It is the guest's own business now. */
	say("ready Kernel panic - not syncing: quoted", 1);
	usleep(50000);
	ck_assert_int_eq(rig.vm->verdict, VM_ALIVE);
	vm_end(rig.vm, VM_POWEROFF);
	ck_assert_int_eq(end(), VM_POWEROFF);
	ck_assert_uint_eq(dones, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("script");
	TCase *tc = tcase_create("steps");

	tcase_add_checked_fixture(tc, script_setup, script_teardown);
	tcase_add_test(tc, finds);
	tcase_add_test(tc, texts);
	tcase_add_test(tc, files);
	suite_add_tcase(suite, tc);
	tc = tcase_create("console");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, run_setup, run_teardown);
	tcase_add_test(tc, talk);
	tcase_add_test(tc, ahead);
	tcase_add_test(tc, slow_guest);
	tcase_add_test(tc, too_late);
	tcase_add_loop_test(tc, said_at_the_end, 0, 2);
	tcase_add_test(tc, panic);
	tcase_add_test(tc, watchdog);
	tcase_add_test(tc, wanted_panic);
	tcase_add_test(tc, goes_on);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
