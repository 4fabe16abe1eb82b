/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watchers of sound servers that say what they like. The watcher here is a script that sends the datagrams of a file, then waits
 * or ends; the real one is in tests/integration/test-mic.py.
 */
#include "tests/scratch.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "lib/base/log.h"
#include "lib/digest/digest.h"
#include "lib/proxy/sources.h"
#include "proxies/agent/sound.h"

#define PATIENCE_USEC (10 * USEC_PER_SEC)

static const char script[] = "#!/usr/bin/python3\n"
			     "import os, signal, socket, sys\n"
			     "words = open(os.path.dirname(sys.argv[0]) + '/words', 'rb').read()\n"
			     "size, wait, words = int.from_bytes(words[:4], 'little'), words[4], words[5:]\n"
			     "agent = socket.socket(fileno=3)\n"
			     "for at in range(0, len(words), size):\n"
			     "    agent.send(words[at:at + size])\n"
			     "if wait:\n"
			     "    signal.pause()\n";

struct fixture {
	char path[64], users[80], proxies[80];
	sd_event *event;
	struct launch_settings launch;
	struct sound *sound;
	int server;
	unsigned int n_changes;
};

static void write_file(const struct fixture *f, const char *name, const void *bytes, size_t len)
{
	char path[160], new_path[168];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", f->proxies, name);
	(void)snprintf(new_path, sizeof(new_path), "%s.new", path);
	file = fopen(new_path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(new_path, 0755), 0);
	assert_int_equal(rename(new_path, path), 0);
}

/* What the next watcher says. */
static void say(const struct fixture *f, const void *words, size_t size, size_t n, bool wait)
{
	static uint8_t bytes[5 + 80 * sizeof(struct proxy_source)];

	assert_true(5 + n * size <= sizeof(bytes));
	put_le32(bytes, (uint32_t)size);
	bytes[4] = wait;
	memcpy(bytes + 5, words, n * size);
	write_file(f, "words", bytes, 5 + n * size);
}

static void on_changed(void *userdata)
{
	((struct fixture *)userdata)->n_changes++;
}

static int set_up(void **state)
{
	static struct fixture fixture;
	struct fixture *f = &fixture;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[128];

	*f = (struct fixture){.server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	scratch_make("sound", f->path, sizeof(f->path));
	(void)snprintf(f->users, sizeof(f->users), "%.63s/users", f->path);
	(void)snprintf(f->proxies, sizeof(f->proxies), "%.63s/proxies", f->path);
	(void)mkdir(f->users, 0700);
	(void)mkdir(f->proxies, 0700);
	write_file(f, "audio-proxy", script, strlen(script));
	(void)snprintf(path, sizeof(path), "%.79s/%u", f->users, getuid());
	(void)mkdir(path, 0700);
	(void)strcat(path, "/pulse");
	(void)mkdir(path, 0700);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/native", path);
	assert_int_equal(bind(f->server, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_true(sd_event_default(&f->event) >= 0);
	f->launch = (struct launch_settings){
		.proxy_dir = f->proxies, .user = "nobody", .channel = "socket:/nonexistent", .own = 1};
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	f->sound = sound_free(f->sound);
	(void)close(f->server);
	sd_event_unref(f->event);
	scratch_remove(f->path);
	return 0;
}

static void start_with(struct fixture *f, bool dom0)
{
	const struct sound_settings settings = {.event = f->event,
						.launch = &f->launch,
						.dir = f->users,
						.dom0 = dom0,
						.changed = on_changed,
						.userdata = f};

	assert_int_equal(sound_new(&settings, &f->sound), 0);
}

static void start(struct fixture *f)
{
	start_with(f, false);
}

static size_t count(const struct fixture *f)
{
	struct sound_source source;
	size_t cursor = 0, n = 0;

	while (sound_next(f->sound, &cursor, &source))
		n++;
	return n;
}

/* Turns of the loop until so many changes were told. */
static void await_changes(struct fixture *f, unsigned int n)
{
	uint64_t begun = 0, now = 0;

	(void)sd_event_now(f->event, CLOCK_MONOTONIC, &begun);
	while (f->n_changes < n && now < begun + PATIENCE_USEC) {
		assert_true(sd_event_run(f->event, 100 * USEC_PER_MSEC) >= 0);
		(void)sd_event_now(f->event, CLOCK_MONOTONIC, &now);
	}
	assert_int_equal(f->n_changes, n);
}

static void run_for(struct fixture *f, uint64_t usec)
{
	uint64_t begun = 0, now = 0;

	(void)sd_event_now(f->event, CLOCK_MONOTONIC, &begun);
	do {
		assert_true(sd_event_run(f->event, 50 * USEC_PER_MSEC) >= 0);
		(void)sd_event_now(f->event, CLOCK_MONOTONIC, &now);
	} while (now < begun + usec);
}

static struct proxy_source source_named(const char *source, const char *name)
{
	struct proxy_source made = {
		.type = PROXY_SOURCE, .kind = PROXY_SOURCE_MIC, .vendor = 0x46d, .product = 0xa4d, .serial = "S1"};

	(void)snprintf(made.source, sizeof(made.source), "%s", source);
	(void)snprintf(made.name, sizeof(made.name), "%s", name);
	made.hello[0] = (uint8_t)source[0];
	return made;
}

static struct proxy_source sink_named(const char *sink, const char *name, const char *parent)
{
	struct proxy_source made = source_named(sink, name);

	made.kind = PROXY_SOURCE_SPEAKER;
	(void)snprintf(made.parent, sizeof(made.parent), "%s", parent);
	return made;
}

/* A source and a sink of one name and one device are two devices, each of its class and with a port of its own. */
static void test_kinds(void **state)
{
	struct fixture *f = *state;
	struct proxy_source words[] = {{.type = PROXY_SOURCES_BEGIN},
				       source_named("a", "Headset"),
				       sink_named("a", "Headset", "2-1"),
				       sink_named("b", "Built-in", ""),
				       {.type = PROXY_SOURCES_END}};
	static const struct {
		uint8_t class_id;
		const char *start, *parent;
	} rows[] = {
		{WIRE_CLASS_MIC, "mic-", "2-1"},
		{WIRE_CLASS_SPEAKER, "speaker-", "2-1"},
		{WIRE_CLASS_SPEAKER, "speaker-", ""},
	};
	struct sound_source found, again;
	size_t cursor = 0;

	(void)strcpy(words[1].parent, "2-1");
	say(f, words, sizeof(words[0]), ARRAY_SIZE(words), true);
	start(f);
	await_changes(f, 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(sound_next(f->sound, &cursor, &found));
		assert_int_equal(found.identity.class_id, rows[i].class_id);
		assert_true(wire_is_port(rows[i].class_id, found.identity.port));
		assert_int_equal(strncmp(found.identity.port, rows[i].start, strlen(rows[i].start)), 0);
		assert_string_equal(found.identity.parent, rows[i].parent);
		assert_true(sound_find(f->sound, found.identity.port, &again));
		assert_int_equal(again.identity.dev, found.identity.dev);
	}
	assert_false(sound_next(f->sound, &cursor, &found));
}

static void test_list(void **state)
{
	struct fixture *f = *state;
	const struct proxy_source words[] = {{.type = PROXY_SOURCES_BEGIN},
					     source_named("a", "Headset"),
					     source_named("b", "Webcam"),
					     {.type = PROXY_SOURCES_END}};
	struct sound_source first, second, again;
	uint8_t digest[DIGEST_SIZE];
	char port[LIMIT_PORT_TEXT];
	size_t cursor = 0;
	uint16_t dev;

	say(f, words, sizeof(words[0]), ARRAY_SIZE(words), true);
	start(f);
	assert_null(sound_target(f->sound));
	await_changes(f, 1);
	assert_non_null(sound_target(f->sound));
	assert_int_equal(sound_target(f->sound)->owner, getuid());
	assert_true(sound_next(f->sound, &cursor, &first) && sound_next(f->sound, &cursor, &second));
	assert_false(sound_next(f->sound, &cursor, &again));
	assert_true(wire_is_port(WIRE_CLASS_MIC, first.identity.port));
	assert_string_not_equal(first.identity.port, second.identity.port);
	assert_int_not_equal(first.identity.dev, second.identity.dev);
	assert_string_equal(first.identity.product_name, "Headset");
	assert_int_equal(first.identity.class_id, WIRE_CLASS_MIC);
	assert_int_equal(first.identity.n_interfaces, 1);
	digest_sha256(words[1].hello, sizeof(words[1].hello), digest);
	assert_memory_equal(first.identity.digest, digest, sizeof(digest));
	assert_memory_equal(first.hello, words[1].hello, sizeof(words[1].hello));
	assert_string_equal(first.name, "a");
	assert_true(sound_find(f->sound, second.identity.port, &again));
	assert_string_equal(again.name, "b");
	assert_false(sound_find(f->sound, "mic-00000000", &again));

	/* it is started anew, and what is there is the same port, but another enumeration */
	(void)strcpy(port, second.identity.port);
	dev = second.identity.dev;
	(void)close(f->server);
	f->sound = sound_free(f->sound);
	f->n_changes = 0;
	start(f);
	await_changes(f, 1);
	assert_true(sound_find(f->sound, port, &again));
	assert_int_equal(again.identity.dev, dev); /* of another life of the agent */
}

/* What it said is forgotten with it; it is started again, and again not at once. */
static void test_ends(void **state)
{
	struct fixture *f = *state;
	const struct proxy_source words[] = {
		{.type = PROXY_SOURCES_BEGIN}, source_named("a", "Headset"), {.type = PROXY_SOURCES_END}};
	struct sound_source before, after;
	size_t cursor = 0;

	say(f, words, sizeof(words[0]), ARRAY_SIZE(words), false);
	start(f);
	await_changes(f, 1);
	assert_true(sound_next(f->sound, &cursor, &before));
	await_changes(f, 2);
	assert_int_equal(count(f), 0);
	assert_null(sound_target(f->sound));
	say(f, words, sizeof(words[0]), ARRAY_SIZE(words), true);
	await_changes(f, 3);
	assert_int_equal(count(f), 1);
	cursor = 0;
	assert_true(sound_next(f->sound, &cursor, &after));
	assert_string_equal(after.identity.port, before.identity.port);
	assert_int_not_equal(after.identity.dev, before.identity.dev); /* who listens to the old one is cut off */
}

static struct proxy_source with_place(uint8_t kind, const char *parent)
{
	struct proxy_source made = sink_named("a", "Headset", parent);

	made.kind = kind;
	return made;
}

static void test_nonsense(void **state)
{
	struct fixture *f = *state;
	struct proxy_source many[LIMIT_DEVICES + 3] = {{.type = PROXY_SOURCES_BEGIN}};
	const struct proxy_source begin = {.type = PROXY_SOURCES_BEGIN}, end = {.type = PROXY_SOURCES_END};
	const struct proxy_source one = source_named("a", "Headset");
	const struct proxy_source bad[] = {
		with_place(0, ""),     with_place(3, ""), /* no such kinds */
		with_place(255, ""),   with_place(PROXY_SOURCE_SPEAKER, "2-1:1.0"),
		with_place(1, "usb1"), with_place(1, "../2-1"),
	};
	const struct proxy_source sink = sink_named("a", "Headset", "2-1");
	char name[24];
	const struct {
		const struct proxy_source *words;
		size_t size, n;
	} rows[] = {
		{(const struct proxy_source[]){one, end}, sizeof(one), 2},
		{(const struct proxy_source[]){end}, sizeof(one), 1},
		{(const struct proxy_source[]){begin, begin, one, end}, sizeof(one), 4},
		{(const struct proxy_source[]){begin, one, end}, sizeof(one) - 4, 3},
		{(const struct proxy_source[]){begin, one, one, end}, sizeof(one), 4},
		{(const struct proxy_source[]){begin, sink, one, sink, end}, sizeof(one), 5},
		{many, sizeof(one), ARRAY_SIZE(many)},
		{(const struct proxy_source[]){begin, bad[0], end}, sizeof(one), 3},
		{(const struct proxy_source[]){begin, bad[1], end}, sizeof(one), 3},
		{(const struct proxy_source[]){begin, bad[2], end}, sizeof(one), 3},
		{(const struct proxy_source[]){begin, bad[3], end}, sizeof(one), 3},
		{(const struct proxy_source[]){begin, bad[4], end}, sizeof(one), 3},
		{(const struct proxy_source[]){begin, bad[5], end}, sizeof(one), 3},
	};

	for (size_t i = 1; i < ARRAY_SIZE(many) - 1; i++) {
		(void)snprintf(name, sizeof(name), "source-%zu", i);
		many[i] = source_named(name, "Headset");
	}
	many[ARRAY_SIZE(many) - 1] = end;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		say(f, rows[i].words, rows[i].size, rows[i].n, true);
		start(f);
		run_for(f, 600 * USEC_PER_MSEC); /* the script's start takes some of it */
		if (f->n_changes != 0 || count(f) != 0 || sound_target(f->sound))
			fail_msg("row %zu is taken", i);
		f->sound = sound_free(f->sound);
	}
	many[ARRAY_SIZE(many) - 2] = end; /* as many as there may be */
	say(f, many, sizeof(one), ARRAY_SIZE(many) - 1, true);
	start(f);
	await_changes(f, 1);
	assert_int_equal(count(f), LIMIT_DEVICES);
}

/* One microphone, always by the name that Qubes has for it. */
static void test_dom0(void **state)
{
	struct fixture *f = *state;
	const struct proxy_source words[] = {{.type = PROXY_SOURCES_BEGIN},
					     source_named(PROXY_SOURCE_CHOSEN, "Microphone"),
					     {.type = PROXY_SOURCES_END}};
	const struct proxy_source two[] = {words[0], words[1], source_named("b", "Webcam"), words[2]};
	const struct proxy_source other[] = {words[0], sink_named(PROXY_SOURCE_CHOSEN, "Speaker", ""), words[2]};
	const struct {
		const struct proxy_source *words;
		size_t n;
	} bad[] = {{two, ARRAY_SIZE(two)}, {other, ARRAY_SIZE(other)}};
	struct sound_source source;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		say(f, bad[i].words, sizeof(words[0]), bad[i].n, true);
		start_with(f, true);
		run_for(f, 600 * USEC_PER_MSEC);
		assert_int_equal(f->n_changes, 0);
		f->sound = sound_free(f->sound);
	}
	say(f, words, sizeof(words[0]), ARRAY_SIZE(words), true);
	start_with(f, true);
	await_changes(f, 1);
	assert_int_equal(count(f), 1);
	assert_true(sound_find(f->sound, TEXT_DOM0_MIC, &source));
	assert_string_equal(source.name, PROXY_SOURCE_CHOSEN);
}

/* What is no server of that user is not looked at. */
static void test_no_server(void **state)
{
	struct fixture *f = *state;
	const struct proxy_source words[] = {{.type = PROXY_SOURCES_BEGIN}, {.type = PROXY_SOURCES_END}};
	char path[160], other[160], moved[80];

	(void)snprintf(moved, sizeof(moved), "%.63s/later", f->path);
	assert_int_equal(rename(f->users, moved), 0);
	start(f); /* nobody has logged in yet */
	run_for(f, 100 * USEC_PER_MSEC);
	assert_null(sound_target(f->sound));
	assert_int_equal(rename(moved, f->users), 0);
	f->sound = sound_free(f->sound);
	say(f, words, sizeof(words[0]), ARRAY_SIZE(words), true);
	(void)snprintf(path, sizeof(path), "%s/%u/pulse/native", f->users, getuid());
	(void)snprintf(other, sizeof(other), "%s/socket", f->path);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink(other, path), 0);
	start(f);
	run_for(f, 600 * USEC_PER_MSEC);
	assert_null(sound_target(f->sound));
	assert_int_equal(rename(other, path), 0);
	await_changes(f, 1); /* a server that comes later is seen */
	assert_non_null(sound_target(f->sound));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kinds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nonsense, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dom0, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_server, set_up, tear_down),
	};
	sigset_t blocked;

	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &blocked, NULL);
	return cmocka_run_group_tests_name("sound", tests, NULL, NULL);
}
