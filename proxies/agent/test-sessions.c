/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which device is exported already: numbers are of a class. The proxies here say nothing and are killed at the end. */
#include "tests/scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/base.h"
#include "lib/proxy/camera.h"
#include "lib/proxy/sources.h"
#include "proxies/agent/sessions.h"

static const char script[] = "#!/bin/sh\nexec sleep 60\n";

struct fixture {
	char path[64];
	sd_event *event;
	struct channel_backend *backend;
	struct launch_settings launch;
	struct sessions *sessions;
};

static void on_word(_unused_ void *userdata, const struct wire_message *message)
{
	fail_msg("the broker is told %s", wire_type_name(message->type));
}

static bool on_stream(_unused_ void *userdata, _unused_ const struct wire_message *message)
{
	return true;
}

static void make_proxy(const struct fixture *f, const char *name)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(script, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0755), 0);
}

static int set_up(void **state)
{
	static struct fixture fixture;
	struct fixture *f = &fixture;

	*f = (struct fixture){.sessions = NULL};
	scratch_make("sessions", f->path, sizeof(f->path));
	make_proxy(f, "audio-proxy");
	make_proxy(f, "camera-proxy");
	assert_true(sd_event_default(&f->event) >= 0);
	assert_int_equal(channel_backend_new_socket(f->path, &f->backend), 0);
	f->launch = (struct launch_settings){
		.proxy_dir = f->path, .user = "nobody", .channel = "socket:/nonexistent", .own = 1};
	assert_int_equal(sessions_new(&(struct sessions_settings){.event = f->event,
								  .backend = f->backend,
								  .launch = &f->launch,
								  .send = on_word,
								  .tell = on_stream},
				      &f->sessions),
			 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	f->sessions = sessions_free(f->sessions);
	f->backend = channel_backend_free(f->backend);
	sd_event_unref(f->event);
	scratch_remove(f->path);
	return 0;
}

static enum outcome may_export(const struct fixture *f, uint64_t session, uint8_t class_id, uint16_t bus, uint16_t dev)
{
	const struct identity identity = {.class_id = class_id, .bus = bus, .dev = dev};

	return sessions_may_begin(f->sessions, session, &identity);
}

static void test_exported_already(void **state)
{
	static const uint8_t hello[PROXY_CAMERA_HELLO] = {0};
	static const struct sound_server server = {.address = "unix:/nonexistent", .dir = "/nonexistent"};
	const struct identity camera = {.class_id = WIRE_CLASS_WEBCAM, .dev = 1};
	const struct sound_source mic = {
		.server = &server, .name = "a", .identity = {.class_id = WIRE_CLASS_MIC, .dev = 2}, .hello = hello};
	static const struct {
		uint8_t class_id;
		uint16_t bus, dev;
		enum outcome outcome;
	} rows[] = {
		{WIRE_CLASS_WEBCAM, 0, 1, OUTCOME_BUSY}, {WIRE_CLASS_WEBCAM, 0, 2, OUTCOME_OK},
		{WIRE_CLASS_MIC, 0, 1, OUTCOME_OK},      {WIRE_CLASS_MIC, 0, 2, OUTCOME_BUSY},
		{WIRE_CLASS_SPEAKER, 0, 2, OUTCOME_OK},  {WIRE_CLASS_USB, 1, 1, OUTCOME_OK},
	};
	struct fixture *f = *state;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_int_equal(may_export(f, 9, WIRE_CLASS_WEBCAM, 0, 1), OUTCOME_OK);
	sessions_export_camera(f->sessions, 1, &(struct wire_EXPORT){.session = 1, .target = 7}, &camera, hello, fd);
	sessions_export_sound(f->sessions, 2, &(struct wire_EXPORT){.session = 2, .target = 7}, &mic);
	(void)close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (may_export(f, 9, rows[i].class_id, rows[i].bus, rows[i].dev) != rows[i].outcome)
			fail_msg("row %zu", i);
	assert_int_equal(may_export(f, 1, WIRE_CLASS_USB, 1, 1), OUTCOME_BUSY); /* the session's number */
	assert_int_equal(sessions_may_begin(f->sessions, 2, NULL), OUTCOME_BUSY);
	assert_int_equal(sessions_may_begin(f->sessions, 3, NULL), OUTCOME_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_exported_already, set_up, tear_down),
	};
	sigset_t blocked;

	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGCHLD); /* for the loop's children */
	(void)sigprocmask(SIG_BLOCK, &blocked, NULL);
	return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
