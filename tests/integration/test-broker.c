// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The real broker, with agents that behave, die, lie and hang. The words are in broker-vocabulary.h; BIN names the
 * folder of the programs; QDB_TEST_LOG shows the broker's log.
 */
#include "tests/integration/broker-vocabulary.h"

static void test_plug_to_use(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_text_has(call("admin.vm.List", "", "dom0"), "sys-usb class=");
	assert_done(attached("work"));
	assert_done(attach("work"));
	assert_int_equal(t.usb->n_exports, 1);
	assert_int_equal(t.work->n_imports, 1);
	assert_int_equal(t.usb->sessions[0].number, t.work->sessions[0].number);
	assert_text_has(attached("work"), "sys-usb+1-2");
	assert_int_equal(count_audit("\"event\":\"attach-request\""), 1);
	assert_int_equal(count_audit("\"event\":\"attached\""), 1);

	assert_text_has(attach("personal"), "2");
	assert_text_has(attach("work"), "2");
	assert_int_equal(count_audit("\"event\":\"refused\""), 2);
	assert_int_equal(t.usb->n_exports, 1);
	assert_text_has(detach("personal"), "2");

	assert_done(detach("work"));
	assert_int_equal(n_sessions(t.usb) + n_sessions(t.work), 0);
	assert_done(attached("work"));
	assert_int_equal(count_audit("\"event\":\"detached\""), 1);
	assert_done(attach("personal"));
	assert_done(detach("personal"));
}

static void test_failing_steps(void **unused _unused_)
{
	struct trio t = add_trio(REFUSES_EXPORT);

	assert_text_has(attach("work"), "could not open");
	assert_int_equal(t.work->n_imports, 0);
	t.usb->manners = 0;
	t.work->manners = REFUSES_IMPORT;
	assert_text_has(attach("work"), "2");
	assert_int_equal(n_sessions(t.usb), 0); /* the export was undone */
	assert_int_equal(t.usb->n_stops, 1);
	assert_int_equal(count_audit("\"event\":\"attach-failed\""), 2);
	assert_done(attach("personal"));
	assert_done(detach("personal"));
}

/* PD01, PD06: an agent dies in mid-use. */
static void test_agent_killed(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(attach("work"));
	kill_agent(t.usb);
	SERVE_UNTIL(n_sessions(t.work) == 0);
	assert_text_has(attach("personal"), "2"); /* nobody answers for the device */
	listen_at_new_port(t.usb);
	SERVE_UNTIL(t.usb->state == WIRE_IN_READY && strstr(available("sys-usb"), "1-2:"));
	assert_done(attach("personal")); /* it is back without the stream: that is proof */

	kill_agent(t.personal);
	SERVE_UNTIL(n_sessions(t.usb) == 0);
	SERVE_UNTIL(count_audit("\"event\":\"detached\"") == 2);
	assert_done(attach("work"));
	assert_done(detach("work"));
}

/* TO07, PD10: a source that does not confirm, and one that is unreachable but may go on. */
static void test_locked(void **unused _unused_)
{
	struct trio t = add_trio(NO_ANSWER_TO_STOP);

	assert_done(attach("work"));
	assert_text_has(detach("work"), "2");
	assert_int_equal(count_audit("\"event\":\"locked\""), 1);
	assert_text_has(attach("personal"), "2");
	assert_int_equal(t.usb->n_exports, 1);
	t.usb->manners = 0;

	/* a paused qube: the connection is lost, its stream is not; it reports it and is told to stop it */
	listen_at_new_port(t.usb);
	SERVE_UNTIL(t.usb->state == WIRE_IN_READY && n_sessions(t.usb) == 0);
	SERVE_UNTIL(count_audit("\"event\":\"detached\"") == 1);
	SERVE_UNTIL(strcmp(attach("personal"), "0") == 0);
	assert_done(detach("personal"));
}

/*
 * Promise 11: neither a port that the kernel does not free nor devices that hang cost their qube anything else, nor do they
 * keep it waiting.
 */
static void test_hung_requests(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct pollfd hung[4];
	uint64_t since = clock_monotonic_usec();

	t.personal->manners = NO_ANSWER_TO_STOP;
	assert_done(attach("personal"));
	(void)detach("personal");
	assert_int_equal(n_sessions(t.usb), 0);
	assert_int_equal(n_sessions(t.personal), 1);

	t.usb->manners = NO_ANSWER_TO_EXPORT | NO_ANSWER_TO_STOP;
	for (uint16_t i = 0; i < ARRAY_SIZE(hung); i++) {
		char port[8], id[64];

		(void)snprintf(port, sizeof(port), "1-%u", 3u + i);
		(void)snprintf(id, sizeof(id), "sys-usb+%s+0781+5581+AB12+u080650", port);
		say_device(t.usb, port, (uint16_t)(1 + i), 1);
		SERVE_UNTIL(strstr(available("sys-usb"), port));
		hung[i].fd = call_begin("admin.vm.device.usb.Attach", id, "work");
		hung[i].events = POLLIN;
	}
	SERVE_UNTIL(t.usb->n_exports == 5);
	assert_int_equal(poll(hung, ARRAY_SIZE(hung), 0), 0); /* before the first of them has failed */
	t.usb->manners = NO_ANSWER_TO_STOP;
	assert_done(attach("work"));
	assert_int_equal(poll(hung, ARRAY_SIZE(hung), 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(hung); i++)
		assert_text_has(call_end(hung[i].fd), "2");

	while (clock_monotonic_usec() < since + 22 * USEC_PER_SEC)
		(void)serve(-1, 100);
	assert_false(t.usb->ended || t.personal->ended || t.work->ended); /* they answer each PING */
	assert_int_equal(n_sessions(t.usb), 1);
	assert_int_equal(n_sessions(t.work), 1);
	t.usb->manners = 0;
	assert_done(detach("work"));
	t.personal->manners = 0;
	assert_done(attach("personal"));
	assert_int_equal(count_audit("\"agent-lost\""), 0);
}

/* HP01, HP02: the stick is pulled, and plugged in again. */
static void test_unplug(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(attach("work"));
	say_gone(t.usb, 0, 1);
	SERVE_UNTIL(n_sessions(t.usb) + n_sessions(t.work) == 0);
	assert_done(available("sys-usb"));
	say_device(t.usb, "3-4", 0, 2); /* at another port it is another matter */
	SERVE_UNTIL(strstr(available("sys-usb"), "3-4:"));
	assert_done(attached("work"));
	assert_done(call("admin.vm.device.usb.Attach", "sys-usb+3-4+_", "personal"));
	assert_done(call("admin.vm.device.usb.Detach", "sys-usb+3-4+_", "personal"));
}

/* DI01: qubes go, and their domain ids come back. */
static void test_qubes_gone(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(attach("work"));
	end_qube(4);
	SERVE_UNTIL(n_sessions(t.usb) == 0);
	assert_null(strstr(call("admin.vm.List", "", "dom0"), "work "));
	kill_agent(t.work);

	assert_done(attach("personal"));
	start_qube(5, "impostor"); /* the same id, at once another qube */
	SERVE_UNTIL(n_sessions(t.usb) == 0);
	SERVE_UNTIL(strstr(call("admin.vm.List", "", "dom0"), "impostor "));
	assert_text_has(attach("personal"), "2");
	assert_done(attached("impostor"));

	end_qube(3);
	SERVE_UNTIL(!strstr(call("admin.vm.List", "", "dom0"), "sys-usb"));
	assert_int_equal(count_audit("\"event\":\"detached\""), 2);
}

/* CL18: two tools at once; exactly one wins, each time. */
static void test_races(void **unused _unused_)
{
	struct trio t = add_trio(0);

	for (unsigned int i = 0; i < 500; i++) {
		int a = attach_begin(i % 2 ? "work" : "personal");
		int b = attach_begin(i % 2 ? "personal" : "work");
		bool first = strcmp(call_end(a), "0") == 0, second = strcmp(call_end(b), "0") == 0;
		bool work = i % 2 ? first : second;

		assert_int_equal(first + second, 1);
		assert_int_equal(n_sessions(t.work), work);
		assert_int_equal(n_sessions(t.personal), !work);
		assert_done(detach(work ? "work" : "personal"));
	}
	assert_int_equal(t.usb->n_exports, 500);
	assert_int_equal(count_audit("\"event\":\"attached\""), 500);
	assert_int_equal(count_audit("\"event\":\"detached\""), 500);
}

/* The broker is killed and starts again: a stream that it knows nothing of is stopped before anything is granted. */
static void test_restart_with_strays(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(attach("work"));
	plug(t.usb, 1, "7-1", false);
	SERVE_UNTIL(strstr(available("sys-usb"), "7-1:"));
	t.usb->manners = NO_ANSWER_TO_STOP;
	t.usb->to_report[0] = 0xdead;
	restart_broker(SIGKILL);
	SERVE_UNTIL(t.personal->state == WIRE_IN_READY && t.usb->n_stops == 1);
	assert_int_equal(t.usb->last_session, 0xdead);
	assert_text_has(call("admin.vm.device.usb.Attach", "sys-usb+7-1+_", "personal"), "not confirmed");
	assert_int_equal(t.usb->n_exports, 1);
	assert_int_equal(n_sessions(t.work), 1); /* its own is none of that */
	t.usb->manners = 0;
	listen_at_new_port(t.usb); /* says it again, and now obeys */
	SERVE_UNTIL(t.usb->to_report[0] == 0);
	SERVE_UNTIL(strcmp(call("admin.vm.device.usb.Attach", "sys-usb+7-1+_", "personal"), "0") == 0);
	assert_int_equal(count_audit("\"seq\":1,"), 1); /* the log went on */
}

/* ST11 */
static void test_one_instance(void **unused _unused_)
{
	int status = 0;
	pid_t second = spawn_broker();

	assert_int_equal(waitpid(second, &status, 0), second);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_text_has(call("admin.vm.List", "", "dom0"), "dom0 class=AdminVM");
}

/* ST07, ST13: no record, no attach; it recovers from a full disk, not from a log that was taken away. */
static void test_audit_fails(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct rlimit before, tight = {.rlim_cur = 100, .rlim_max = RLIM_INFINITY};
	struct stat st;

	scene.log_spoiled = true;
	assert_done(attach("work"));
	assert_done(detach("work"));
	assert_int_equal(stat(path_of("state/audit.log"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	tight.rlim_cur = (rlim_t)st.st_size + 10;
	assert_int_equal(prlimit(scene.broker, RLIMIT_FSIZE, NULL, &before), 0);
	tight.rlim_max = before.rlim_max;
	assert_int_equal(prlimit(scene.broker, RLIMIT_FSIZE, &tight, NULL), 0);
	assert_text_has(attach("work"), "audit record could not be written");
	assert_int_equal(t.usb->n_exports, 1);
	assert_int_equal(prlimit(scene.broker, RLIMIT_FSIZE, &before, NULL), 0);
	assert_done(attach("work"));
	assert_int_equal(count_audit("{\"ts\":"), count_audit("}\n")); /* no half line */

	assert_int_equal(unlink(path_of("state/audit.log")), 0);
	assert_done(detach("work")); /* giving back needs no record */
	assert_text_has(attach("work"), "audit record could not be written");
	assert_int_equal(t.usb->n_exports, 2);
}

/* A last line that was torn is kept aside; the numbers go on. A log that ends in nonsense grants nothing. */
static void test_torn_audit(void **unused _unused_)
{
	struct trio t = add_trio(0);
	FILE *file;

	scene.log_spoiled = true;
	assert_done(attach("work"));
	assert_done(detach("work"));
	(void)stop_broker(SIGTERM);
	file = fopen(path_of("state/audit.log"), "ae");
	assert_true(file && fputs("{\"ts\":\"2026", file) >= 0 && fclose(file) == 0);
	start_broker();
	listen_at_new_port(t.usb);
	listen_at_new_port(t.work);
	SERVE_UNTIL(strcmp(attach("work"), "0") == 0);
	assert_int_equal(count_audit("{\"ts\":"), count_audit("}\n"));
	file = fopen(path_of("state/audit.torn"), "re");
	assert_non_null(file);
	(void)fclose(file);
	(void)stop_broker(SIGTERM);

	file = fopen(path_of("state/audit.log"), "ae");
	assert_true(file && fputs("nonsense\n", file) >= 0 && fclose(file) == 0);
	memset(t.usb->sessions, 0, sizeof(t.usb->sessions));
	start_broker();
	listen_at_new_port(t.usb);
	listen_at_new_port(t.work);
	SERVE_UNTIL(strstr(attach("work"), "audit record could not be written"));
}

/* ---- hostile agents ---------------------------------------------------------------------------------------------- */

/* Raw bytes instead of, or after, an honest beginning. */
struct garbage {
	const char *name;
	bool after_list; /* else as the first bytes */
	uint16_t type, length;
	uint32_t id;
	uint8_t fill;
};

#define GARBAGE_OF(message, number, direction, kind, states)                 \
	{#message " too short", true, number, WIRE_HEADER - 1, 0, 0},        \
		{#message " empty", true, number, WIRE_HEADER, 0, 0},        \
		{#message " too long", true, number, LIMIT_FRAME + 1, 0, 0}, \
		{#message " first", false, number, WIRE_HEADER, 0, 0},

/* CF01, CF06, CF07, CF08, CF13 over a real connection: every type, and types that do not exist. */
static const struct garbage garbages[] = {
	WIRE_MESSAGES(GARBAGE_OF){"type 0", true, 0, WIRE_HEADER, 0, 0},
	{"type 0xffff", true, 0xffff, WIRE_HEADER, 0, 0xff},
	{"second HELLO", true, WIRE_HELLO, WIRE_HEADER + 12, 0, 0},
	{"session after the list", true, WIRE_SESSION, WIRE_HEADER + 43, 0, 1},
	{"an answer to nothing", true, WIRE_STOPPED, WIRE_HEADER + 8, 77, 0},
	{"an answer with id 0", true, WIRE_STOPPED, WIRE_HEADER + 8, 0, 0},
	{"pong to nothing", true, WIRE_PONG, WIRE_HEADER + 8, 1, 0},
	{"our own welcome", true, WIRE_WELCOME, WIRE_HEADER + 12, 0, 0},
	{"nothing but ff", false, 0xffff, 0xffff, UINT32_MAX, 0xff},
};

static void send_garbage(struct agent *agent, const struct garbage *garbage)
{
	uint8_t frame[LIMIT_FRAME + 8];
	size_t len = garbage->length < sizeof(frame) ? garbage->length : sizeof(frame);

	memset(frame, garbage->fill, sizeof(frame));
	put_le16(frame, garbage->type);
	put_le16(frame + 2, garbage->length);
	put_le32(frame + 4, garbage->id);
	(void)channel_write(agent->channel, frame, len < WIRE_HEADER ? WIRE_HEADER : len);
}

/* A busy machine may hold up one answer; a busy broker holds up each. */
static void assert_prompt(void)
{
	for (unsigned int i = 0; i < 5; i++) {
		uint64_t since = clock_monotonic_usec();

		assert_text_has(available("sys-usb"), "1-2:");
		if (clock_monotonic_usec() - since < USEC_PER_SEC)
			return;
	}
	fail_msg("each of 5 answers took more than a second");
}

static void test_garbage(void **unused _unused_)
{
	struct trio t = add_trio(0);
	size_t done = 0;

	assert_done(attach("work"));
	while (done < ARRAY_SIZE(garbages)) {
		struct agent *bad[MAX_AGENTS - 8];
		size_t n = 0;

		while (n < 40 && done + n < ARRAY_SIZE(garbages)) {
			char name[16];

			(void)snprintf(name, sizeof(name), "bad%zu", done + n);
			bad[n] = add_agent((uint16_t)(100 + done + n), name, NULL,
					   garbages[done + n].after_list ? 0 : DOES_NOT_GREET);
			n++;
		}
		for (size_t i = 0; i < n; i++) {
			const struct garbage *garbage = &garbages[done + i];

			SERVE_UNTIL(garbage->after_list ? bad[i]->state == WIRE_IN_READY : bad[i]->greeted);
			send_garbage(bad[i], garbage);
		}
		for (size_t i = 0; i < n; i++) {
			uint64_t deadline = clock_monotonic_usec() + PATIENCE_USEC;

			while (!bad[i]->ended && clock_monotonic_usec() < deadline)
				(void)serve(-1, 10);
			if (!bad[i]->ended)
				fail_msg("%s: the broker did not cut it", garbages[done + i].name);
			end_qube(bad[i]->domid);
			kill_agent(bad[i]);
		}
		assert_prompt();
		scene.n_agents = 3;
		done += n;
	}
	SERVE_UNTIL(!strstr(call("admin.vm.List", "", "dom0"), "bad"));
	assert_int_equal(count_audit("\"event\":\"agent-lost\""), ARRAY_SIZE(garbages)); /* one each */
	assert_int_equal(n_sessions(t.usb) + n_sessions(t.work), 2); /* the honest ones did not notice */
	assert_done(detach("work"));
}

#define SILENCE_LATE_USEC (3 * USEC_PER_SEC) /* until it counts, and what a loaded machine may add */

/* An agent, how long the broker bears with it from a moment that comes after `since`, and when it did no more. */
struct silence {
	struct agent *agent;
	uint64_t patience, since, ended;
};

static struct silence silent_agent(const char *name, unsigned int manners, uint64_t patience)
{
	uint64_t since = clock_monotonic_usec();

	return (struct silence){
		add_agent((uint16_t)(7 + scene.n_agents), name, NULL, manners),
		patience,
		since,
		0,
	};
}

/* TO01, TO03: each kind of silence ends at its time, in the order of these times, and only that peer. */
static void test_silences(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct silence cases[] = {
		silent_agent("half", 0, TIMEOUT_HEADER_USEC),
		silent_agent("no-hello", DOES_NOT_GREET, TIMEOUT_CONNECT_USEC),
		silent_agent("no-list", NO_LIST, TIMEOUT_CONNECT_USEC),
		silent_agent("mute", NO_ANSWER_TO_PING, HEARTBEAT_LOST_USEC),
		silent_agent("chatty", NO_ANSWER_TO_PING, HEARTBEAT_USEC + HEARTBEAT_PONG_USEC),
	};
	struct agent *half = cases[0].agent, *chatty = cases[4].agent;
	const uint8_t start[3] = {WIRE_LIST_BEGIN, 0, 12};
	size_t n_ended = 0;
	uint64_t until;

	SERVE_UNTIL(half->state == WIRE_IN_READY);
	half->manners = NO_ANSWER_TO_PING; /* its answer would complete the message */
	cases[0].since = clock_monotonic_usec();
	(void)channel_write(half->channel, start, sizeof(start));
	assert_done(attach("work"));
	until = clock_monotonic_usec() + HEARTBEAT_USEC + HEARTBEAT_PONG_USEC + PATIENCE_USEC;
	while (n_ended < ARRAY_SIZE(cases) && clock_monotonic_usec() < until) {
		(void)serve(-1, 50);
		say_gone(chatty, 0, 1); /* not silent, but it does not answer */
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
			if (cases[i].agent->ended && cases[i].ended == 0) {
				cases[i].ended = clock_monotonic_usec();
				n_ended++;
			}
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (cases[i].ended < cases[i].since + cases[i].patience ||
		    cases[i].ended > cases[i].since + cases[i].patience + SILENCE_LATE_USEC)
			fail_msg("%zu ended after %lld us", i, (long long)(cases[i].ended - cases[i].since));
	for (size_t i = 0; i < 3; i++)
		assert_true(cases[i].ended <= cases[3].ended);
	assert_true(cases[3].ended <= cases[4].ended);
	assert_true(t.usb->n_pings >= 2 && !t.usb->ended && !t.work->ended);
	assert_int_equal(n_sessions(t.usb), 1);
	assert_done(detach("work"));
}

/* The memory of a channel is the server's choice, but the broker's as well. */
static void test_large_rings(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct agent *large = add_agent(15, "large", NULL, LARGE_RINGS);

	SERVE_UNTIL(large->ended);
	assert_false(large->greeted);
	large->manners = 0;
	listen_at_new_port(large);
	SERVE_UNTIL(large->state == WIRE_IN_READY);
	assert_false(t.usb->ended || t.work->ended);
}

static long broker_rss_kib(void)
{
	char path[64], line[256];
	long kib = -1;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", scene.broker);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		(void)sscanf(line, "VmRSS: %ld", &kib);
	if (file)
		(void)fclose(file);
	return kib;
}

/* RX01, RX03, HP14: a flood is taken at its pace; the others do not feel it, and nothing grows. */
static void test_flood(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct agent *flood = add_agent(20, "flood", "3-1", 0);
	uint64_t since, took = 0;
	uint32_t generation = 2;
	long before;

	SERVE_UNTIL(flood->state == WIRE_IN_READY && strstr(available("flood"), "3-1:"));
	assert_prompt();
	before = broker_rss_kib();
	since = clock_monotonic_usec();
	while (took < 3 * USEC_PER_SEC || generation <= LIMIT_PEER_EVENTS_BURST) {
		assert_true(took < PATIENCE_USEC);
		while (channel_space(flood->channel) > 3 * LIMIT_FRAME)
			say_device(flood, "3-1", 0, generation++);
		assert_prompt();
		assert_done(attach("work"));
		assert_done(detach("work"));
		(void)serve(-1, 20);
		took = clock_monotonic_usec() - since;
	}
	assert_false(flood->ended || t.usb->ended);
	assert_true(generation <
		    2 + (took / USEC_PER_SEC + 1) * LIMIT_PEER_EVENTS_PER_SEC + LIMIT_PEER_EVENTS_BURST + 100);
	if (SANITIZED)
		print_message("# not judged: whether the broker has grown; a sanitizer keeps what was freed\n");
	else
		assert_true(broker_rss_kib() < before + 4096);
}

/* An agent that connects anew all the time, with new ports and wrong words, fills neither log nor audit. */
static void test_reconnecting_liar(void **unused _unused_)
{
	struct agent *liar;
	unsigned int n = 0;
	uint64_t since;

	(void)add_trio(0);
	since = clock_monotonic_usec();
	liar = add_agent(21, "liar", NULL, DOES_NOT_GREET);
	while (n < 8) {
		assert_true(clock_monotonic_usec() - since < 3 * PATIENCE_USEC);
		(void)serve(-1, 5);
		if (liar->greeted && !liar->ended) {
			send_garbage(liar, &garbages[0]);
			n++;
			SERVE_UNTIL(liar->ended);
		}
		if (liar->ended)
			listen_at_new_port(liar);
	}
	assert_true(clock_monotonic_usec() - since >= 6 * USEC_PER_SEC); /* once a second, although it asks for more */
	assert_int_equal(count_audit("\"event\":\"agent-lost\""), 5);
	assert_prompt();
}

/* With a word: only the tests of that name. */
int main(int argc, char **argv)
{
#define SCENE(test) cmocka_unit_test_setup_teardown(test, scene_begin, scene_end)
	const struct CMUnitTest tests[] = {
		SCENE(test_plug_to_use),   SCENE(test_failing_steps), SCENE(test_agent_killed),
		SCENE(test_locked),        SCENE(test_unplug),        SCENE(test_qubes_gone),
		SCENE(test_races),         SCENE(test_one_instance),  SCENE(test_restart_with_strays),
		SCENE(test_audit_fails),   SCENE(test_torn_audit),    SCENE(test_garbage),
		SCENE(test_silences),      SCENE(test_flood),         SCENE(test_reconnecting_liar),
		SCENE(test_hung_requests), SCENE(test_large_rings),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
