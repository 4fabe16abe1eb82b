// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Cameras: what was asked of their pictures and what they are called reach source and target with each EXPORT and IMPORT,
 * whichever way the attachment came about; and a camera, its microphone and the USB device of which both are parts.
 */
#include "broker/core/labels.h"
#include "broker/core/test-fixture.h"

#define CAMERA "webcam-01234567"
#define CAMERA_SLOT 41

static const struct core_picture asked = {1280, 720, 30, {51, 0, 101, 0, 2}}, smaller = {640, 480, 0, {0, 1, 0, 0, 0}},
				 nothing;

static struct core_event camera_event(struct core_qube_ref qube, uint32_t generation)
{
	struct core_event event = part_event(qube, CAMERA_SLOT, generation, CAMERA, "1-2");

	event.device.class_id = WIRE_CLASS_WEBCAM;
	memcpy(event.device.interfaces[0], "\x0e\x01\x00", 3);
	return event;
}

/* Beside the USB device that it is a part of, and that one's microphone. */
static struct core_device_ref add_camera(struct fixture *f)
{
	struct core_device_ref whole = f->device;

	add_part(f);
	assert_int_equal(handle(f, camera_event(f->source, 1)), 0);
	f->device.slot = CAMERA_SLOT;
	f->device.generation = 1;
	f->actions[0] = '\0';
	return whole;
}

static void set_up_camera(struct fixture *f)
{
	setup(f);
	(void)add_camera(f);
}

static void ask_for(struct fixture *f, enum core_event_type type, struct core_qube_ref from,
		    struct core_qube_ref target, struct core_picture picture)
{
	struct core_event event = request(type, 100, f->device, target);

	event.request.from = from;
	event.request.picture = picture;
	assert_int_equal(handle(f, event), 0);
}

static void assert_asked(const struct fixture *f, struct core_picture picture)
{
	assert_int_equal(f->picture.width, picture.width);
	assert_int_equal(f->picture.height, picture.height);
	assert_int_equal(f->picture.fps, picture.fps);
	assert_memory_equal(f->controls, picture.controls, sizeof(f->controls));
}

/* Forgets the last EXPORT and IMPORT, and lets the next one come. */
static void let_attach_anew(struct fixture *f, struct core_qube_ref target)
{
	f->picture = (struct core_picture){1, 1, 1, {0}};
	memset(f->controls, 1, sizeof(f->controls));
	let_attach(f, target);
}

static void test_attach(void **unused _unused_)
{
	static const struct core_picture *const rows[] = {&asked, &smaller, &nothing};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f;

		set_up_camera(&f);
		ask_for(&f, CORE_ATTACH, f.source, f.target, *rows[i]);
		assert_int_equal(f.terms.picture.width, rows[i]->width); /* it is on disk before */
		let_attach_anew(&f, f.target);
		assert_asked(&f, *rows[i]);
		f.core = core_free(f.core);
	}
}

/* What is asked for with a move holds where it goes to, and on the way back what held before. */
static void test_move(void **unused _unused_)
{
	struct fixture f;

	set_up_camera(&f);
	ask_for(&f, CORE_ATTACH, f.source, f.target, asked);
	let_attach_anew(&f, f.target);
	ask_for(&f, CORE_MOVE, f.target, f.other, smaller);
	let_stop(&f, f.target);
	(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
	(void)handle(&f, of_session(CORE_EXPORTED, f.source, f.session));
	assert_asked(&f, smaller);
	(void)handle(&f, of_session(CORE_FAILED, f.other, f.session));
	(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
	let_attach_anew(&f, f.target);
	assert_int_equal(f.answer, CORE_ANSWER_MOVED_BACK);
	assert_asked(&f, asked);
	ask_for(&f, CORE_MOVE, f.target, f.other, nothing);
	let_stop(&f, f.target);
	let_attach_anew(&f, f.other);
	assert_asked(&f, nothing);
	f.core = core_free(f.core);
}

static int assign(struct fixture *f, enum core_assign_mode mode, uint8_t class_id, struct core_picture picture)
{
	struct core_assignment assignment = {.class_id = class_id,
					     .target = "work",
					     .source = "sys-usb",
					     .port = CAMERA,
					     .mode = mode,
					     .picture = picture};

	return handle(f, (struct core_event){.type = CORE_ASSIGNED, .assignment = &assignment});
}

static void test_assignment(void **unused _unused_)
{
	struct fixture f;

	set_up_camera(&f);
	assert_int_equal(assign(&f, CORE_ASSIGN_AUTO, WIRE_CLASS_MIC, asked), CORE_EVENT_IGNORED);
	assert_int_equal(assign(&f, CORE_ASSIGN_AUTO, WIRE_CLASS_WEBCAM, (struct core_picture){15, 16, 0, {0}}),
			 CORE_EVENT_IGNORED);
	assert_int_equal(assign(&f, CORE_ASSIGN_AUTO, WIRE_CLASS_WEBCAM, asked), 0);
	let_attach_anew(&f, f.target);
	assert_asked(&f, asked);
	f.core = core_free(f.core);

	set_up_camera(&f);
	set_answerers(&f, 1);
	assert_int_equal(assign(&f, CORE_ASSIGN_ASK, WIRE_CLASS_WEBCAM, smaller), 0);
	assert_int_equal(answer_question(&f, true, "work"), 0);
	let_attach_anew(&f, f.target);
	assert_asked(&f, smaller);
	f.core = core_free(f.core);
}

/* After a question it is the same that was asked for before it. */
static void test_question(void **unused _unused_)
{
	struct fixture f;

	set_up_camera(&f);
	set_answerers(&f, 1);
	f.verdict = CORE_VERDICT_ASK;
	ask_for(&f, CORE_ATTACH, f.source, f.target, asked);
	assert_int_equal(answer_question(&f, true, "work"), 0);
	let_attach_anew(&f, f.target);
	assert_asked(&f, asked);
	f.core = core_free(f.core);
}

static void sleep_and_wake(struct fixture *f)
{
	struct core_event event = {.type = CORE_SUSPEND};

	event.request.token = 500;
	assert_int_equal(handle(f, event), 0);
	let_stop(f, f->target);
	assert_int_equal(handle(f, (struct core_event){.type = CORE_RESUMED}), 0);
}

static void test_comes_back(void **unused _unused_)
{
	struct core_event gone = {.type = CORE_DEVICE_GONE};
	struct fixture f;

	set_up_camera(&f);
	ask_for(&f, CORE_ATTACH, f.source, f.target, asked);
	let_attach_anew(&f, f.target);
	gone.qube = f.source;
	gone.gone.slot = CAMERA_SLOT;
	gone.gone.generation = 1;
	assert_int_equal(handle(&f, gone), 0);
	let_stop(&f, f.target);
	assert_int_equal(handle(&f, camera_event(f.source, 2)), 0);
	f.device.generation = 2;
	let_attach_anew(&f, f.target);
	assert_asked(&f, asked);
	sleep_and_wake(&f);
	let_attach_anew(&f, f.target);
	assert_asked(&f, asked);
	f.core = core_free(f.core);
}

/* The memory of a former broker has it too. */
static void test_restart(void **unused _unused_)
{
	struct core_event memory = memory_event(0x777);
	const struct core_terms terms = memory.memory.device.terms;
	struct fixture f;

	new_core(&f);
	memory.memory.device = camera_event((struct core_qube_ref){0}, 1).device;
	memory.memory.device.terms = terms;
	memory.memory.device.terms.picture = asked;
	assert_int_equal(handle(&f, memory), 0);
	vouch(&f, 0x777);
	assert_int_equal(handle(&f, camera_event(f.source, 1)), 0);
	(void)handle(&f, (struct core_event){.type = CORE_LIST_END, .qube = f.source});
	look_up_device(&f);
	agent_ready(&f, f.target, 7);
	assert_int_equal(handle(&f, report_event(f.target, WIRE_SIDE_IMPORT, 0x777)), 0);
	(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.target});
	(void)handle(&f, (struct core_event){.type = CORE_LIST_END, .qube = f.target});
	assert_int_equal(state_of(&f), CORE_ATTACHED);
	f.session = 0x777;
	sleep_and_wake(&f);
	let_attach_anew(&f, f.target);
	assert_asked(&f, asked);
	f.core = core_free(f.core);
}

static void test_picture_is_fit(void **unused _unused_)
{
	static const struct {
		struct core_picture picture;
		bool of_camera;
	} rows[] = {
		{{0, 0, 0, {0}}, true},
		{{1280, 720, 30, {0}}, true},
		{{1280, 720, 0, {0}}, true},
		{{0, 0, 1, {0}}, true},
		{{0, 0, 120, {0}}, true},
		{{16, 16, 0, {0}}, true},
		{{4096, 4096, 120, {0}}, true},
		{{0, 0, 121, {0}}, false},
		{{0, 0, 65535, {0}}, false},
		{{1280, 0, 0, {0}}, false},
		{{0, 720, 0, {0}}, false},
		{{14, 16, 0, {0}}, false},
		{{16, 14, 0, {0}}, false},
		{{17, 16, 0, {0}}, false},
		{{16, 17, 0, {0}}, false},
		{{4098, 16, 0, {0}}, false},
		{{16, 4098, 0, {0}}, false},
		{{65534, 2, 0, {0}}, false},
		{{1280, 720, 121, {0}}, false},
		{{0, 0, 0, {1, 0, 0, 0, 0}}, true},
		{{0, 0, 0, {101, 101, 101, 101, 3}}, true},
		{{1280, 720, 30, {0, 0, 0, 0, 3}}, true},
		{{0, 0, 0, {102, 0, 0, 0, 0}}, false},
		{{0, 0, 0, {0, 0, 0, 0, 4}}, false},
		{{0, 0, 121, {1, 0, 0, 0, 0}}, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (uint8_t class_id = 0; class_id <= WIRE_CLASS_LAST + 1; class_id++) {
			bool fits = class_id == WIRE_CLASS_WEBCAM ? rows[i].of_camera : i == 0;

			if (core_picture_is_fit(&rows[i].picture, class_id) != fits)
				fail_msg("row %zu, class %u", i, class_id);
		}
}

/* What programs in the target see. */
static void test_label(void **unused _unused_)
{
	static const struct {
		const char *label, *product, *expected;
	} rows[] = {
		{"", "HD Webcam C310", "HD Webcam C310"},
		{"desk", "HD Webcam C310", "desk"},
		{"", "", "Camera"},
		{"desk", "", "desk"},
		{"", "    ", "Camera"},
		{"", "  C310 ", "C310"},
		{"", "0123456789012345678901234567890", "0123456789012345678901234567890"},
		{"", "01234567890123456789012345678901", "0123456789012345678901234567890"},
		{"", "012345678901234567890123456789 1", "012345678901234567890123456789"},
		{"a label of its user that is rather long", "C310", "a label of its user that is rat"},
		{"a label of its user, a very nic e one", "C310", "a label of its user, a very nic"},
		{"\"%s\" 'n'", "", "\"%s\" 'n'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct core_event camera, label = {.type = CORE_LABELED};
		struct fixture f;

		set_up_camera(&f);
		camera = camera_event(f.source, 2);
		(void)snprintf(camera.device.product_name, sizeof(camera.device.product_name), "%s", rows[i].product);
		assert_int_equal(handle(&f, camera), 0);
		f.device.generation = 2;
		labels_key("sys-usb", &camera.device, label.label.key);
		(void)strcpy(label.label.text, rows[i].label);
		if (rows[i].label[0])
			assert_int_equal(handle(&f, label), 0);
		ask_for(&f, CORE_ATTACH, f.source, f.target, nothing);
		let_attach_anew(&f, f.target);
		assert_string_equal(f.label, rows[i].expected);
		f.core = core_free(f.core);
	}
}

static void attach_to(struct fixture *f, struct core_device_ref device, struct core_qube_ref target)
{
	f->device = device;
	(void)handle(f, request(CORE_ATTACH, 300, device, target));
	let_attach(f, target);
	assert_int_equal(f->answer, CORE_ANSWER_DONE);
}

static void let_detach(struct fixture *f, struct core_device_ref device, struct core_qube_ref target, uint64_t session)
{
	(void)handle(f, request(CORE_DETACH, 301, device, target));
	f->session = session;
	let_stop(f, target);
	assert_int_equal(state_of_device(f, device), CORE_FREE);
}

/* A camera and a microphone do not exclude each other, at one qube or at two; the whole excludes both. */
static void test_parts(void **unused _unused_)
{
	for (int apart = 0; apart < 2; apart++) {
		struct core_device_ref whole, camera;
		struct core_qube_ref theirs;
		uint64_t of_camera, of_mic;
		struct fixture f;

		setup(&f);
		whole = add_camera(&f);
		camera = f.device;
		theirs = apart ? f.other : f.target;
		attach_to(&f, camera, f.target);
		of_camera = f.session;
		attach_to(&f, f.part, theirs);
		of_mic = f.session;
		(void)handle(&f, request(CORE_ATTACH, 200, whole, f.target));
		assert_int_equal(f.answer, CORE_ANSWER_PART_IN_USE);
		let_detach(&f, f.part, theirs, of_mic);
		(void)handle(&f, request(CORE_ATTACH, 201, whole, f.target));
		assert_int_equal(f.answer, CORE_ANSWER_PART_IN_USE); /* the camera alone is enough */
		assert_true(same_device(f.in_the_way, camera));
		let_detach(&f, camera, f.target, of_camera);
		attach_to(&f, whole, f.other);
		(void)handle(&f, request(CORE_ATTACH, 202, camera, f.target));
		assert_int_equal(f.answer, CORE_ANSWER_WHOLE_IN_USE);
		assert_true(same_device(f.in_the_way, whole));
		(void)handle(&f, request(CORE_ATTACH, 203, f.part, f.target));
		assert_int_equal(f.answer, CORE_ANSWER_WHOLE_IN_USE);
		f.core = core_free(f.core);
	}
}

/* With parts=end the camera is taken from its qube, and the whole goes when its source has let go of it. */
static void test_parts_end(void **unused _unused_)
{
	struct core_device_ref whole, camera;
	uint64_t of_camera, of_mic, of_whole;
	struct fixture f;

	setup(&f);
	whole = add_camera(&f);
	camera = f.device;
	attach_to(&f, camera, f.target);
	of_camera = f.session;
	attach_to(&f, f.part, f.other);
	of_mic = f.session;
	f.end_parts = true;
	(void)handle(&f, request(CORE_ATTACH, 200, whole, f.other));
	of_whole = f.session;
	(void)handle(&f, of_session(CORE_AUDITED, f.source, of_whole));
	assert_int_equal(state_of_device(&f, whole), CORE_CLEARING);
	assert_int_equal(state_of_device(&f, camera), CORE_DETACHING);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, of_mic));
	assert_int_equal(state_of_device(&f, whole), CORE_CLEARING);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, of_camera));
	assert_int_equal(state_of_device(&f, whole), CORE_EXPORTING);
	f.core = core_free(f.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attach),         cmocka_unit_test(test_move),
		cmocka_unit_test(test_assignment),     cmocka_unit_test(test_question),
		cmocka_unit_test(test_comes_back),     cmocka_unit_test(test_restart),
		cmocka_unit_test(test_picture_is_fit), cmocka_unit_test(test_label),
		cmocka_unit_test(test_parts),          cmocka_unit_test(test_parts_end),
	};

	return cmocka_run_group_tests_name("camera", tests, NULL, NULL);
}
