// SPDX-License-Identifier: GPL-2.0-or-later
/* Assignments and deny lists as texts in the store: there and back, and every single fault. */
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/store-records.h"
#include "lib/base/base.h"

#define KEY "work usb sys-usb 1-2 0781:5581:A/\"B:u080650"
#define VALUE                                                                                        \
	"{\"target\":\"work\",\"class\":\"usb\",\"source\":\"sys-usb\",\"port\":\"1-2\",\"device\":" \
	"\"0781:5581:A/\\\"B:u080650\",\"mode\":\"ask-to-attach\",\"follow-port\":true,\"max-time-usec\":5}"

static const struct core_assignment full = {
	.class_id = 1,
	.target = "work",
	.source = "sys-usb",
	.port = "1-2",
	.device_id = "0781:5581:A/\"B:u080650",
	.mode = CORE_ASSIGN_ASK,
	.follow_port = true,
	.max_time_usec = 5,
};

struct fixture {
	char path[64];
	int dir;
	struct store *store;
	struct assignments *assignments;
	struct denied *denied;
};

static void start(struct fixture *f)
{
	f->store = store_free(f->store);
	f->assignments = assignments_free(f->assignments);
	f->denied = denied_free(f->denied);
	assert_int_equal(store_new(f->dir, records_check, &f->store), 0);
	f->assignments = assignments_new();
	f->denied = denied_new();
	assert_non_null(f->assignments);
	assert_non_null(f->denied);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	scratch_make("records", f->path, sizeof(f->path));
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	start(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->store = store_free(f->store);
	f->assignments = assignments_free(f->assignments);
	f->denied = denied_free(f->denied);
	(void)close(f->dir);
	scratch_remove(f->path);
	free(f);
	return 0;
}

static void load(struct fixture *f)
{
	start(f);
	assert_null(store_fault(f->store));
	assert_int_equal(records_load(f->store, f->assignments, f->denied), 0);
}

static void test_assignments(void **state)
{
	struct fixture *f = *state;
	struct core_assignment longest = full, simple = {.class_id = 1, .target = "work", .source = "sys-usb"};
	const struct core_assignment *const all[] = {&simple, &full, &longest};
	const char *key, *value;
	unsigned int cursor = 0;

	memset(longest.target, 'z', sizeof(longest.target) - 1);
	memset(longest.source, 'y', sizeof(longest.source) - 1);
	memset(longest.port, '1', sizeof(longest.port) - 1);
	memset(longest.device_id, '"', sizeof(longest.device_id) - 1);
	longest.device_id[0] = '0';
	longest.max_time_usec = INT64_MAX;
	memset(longest.path, 'p', sizeof(longest.path) - 1);
	longest.mode = CORE_ASSIGN_REQUIRED;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(records_put_assignment(f->store, all[i]), 0);
	load(f);
	cursor = 0;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const struct core_assignment *is = assignments_next(f->assignments, &cursor);

		assert_non_null(is);
		assert_int_equal(assignment_compare(is, all[i]), 0);
		assert_string_equal(is->port, all[i]->port);
		assert_string_equal(is->path, all[i]->path);
		assert_int_equal(is->mode, all[i]->mode);
		assert_int_equal(is->follow_port, all[i]->follow_port);
		assert_true(is->max_time_usec == all[i]->max_time_usec);
	}
	assert_null(assignments_next(f->assignments, &cursor));
	assert_int_equal(records_remove_assignment(f->store, &simple), 0);
	assert_int_equal(records_remove_assignment(f->store, &simple), STORE_UNKNOWN);
	assert_int_equal(records_remove_assignment(f->store, &longest), 0);
	cursor = 0;
	assert_true(store_next(f->store, STORE_ASSIGNMENT, &cursor, &key, &value));
	assert_string_equal(key, KEY);
	assert_string_equal(value, VALUE);
	assert_false(store_next(f->store, STORE_ASSIGNMENT, &cursor, &key, &value));
	simple.class_id = 77;
	assert_int_equal(records_put_assignment(f->store, &simple), STORE_UNFIT);
	simple.class_id = 1;
	simple.target[0] = '\0';
	assert_int_equal(records_put_assignment(f->store, &simple), STORE_UNFIT);
	assert_int_equal(records_remove_assignment(f->store, &simple), STORE_UNFIT);
}

/* Beside one without, as it was stored before there were paths, which must be read for ever. */
static void test_paths(void **unused _unused_)
{
#define RECORD(path)                                                                                              \
	"{\"target\":\"work\",\"class\":\"usb\",\"source\":\"sys-usb\",\"port\":\"1-2\"," path "\"device\":\"\"," \
	"\"mode\":\"auto-attach\",\"follow-port\":false,\"max-time-usec\":0}"
	static const struct {
		const char *key, *value;
		bool good;
	} rows[] = {
		{"work usb sys-usb 1-2 *", RECORD(""), true},
		{"work usb sys-usb @pci-0000:00:04.0-usb-0:2 *", RECORD("\"path\":\"pci-0000:00:04.0-usb-0:2\","),
		 true},
		{"work usb sys-usb 1-2 *", RECORD("\"path\":\"pci-0000:00:04.0-usb-0:2\","), false},
		{"work usb sys-usb @1-2 *", RECORD(""), false},
		{"work usb sys-usb @P *", RECORD("\"path\":\"Q\","), false},
		{"work usb sys-usb 1-2 *", RECORD("\"path\":\"\","), false},
		{"work usb sys-usb @ *", RECORD("\"path\":\"\","), false},
		{"work usb sys-usb @P *", RECORD("\"path\":\"P\",\"path\":\"P\","), false},
		{"work usb sys-usb 1-2 *", RECORD("\"path\":null,"), false},
		{"work usb sys-usb @P Q *", RECORD("\"path\":\"P Q\","), false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (records_check(STORE_ASSIGNMENT, rows[i].key, rows[i].value) != (rows[i].good ? 0 : STORE_UNFIT))
			fail_msg("row %zu", i);
}

/* Beside one without, as it was stored before there were cameras, which must be read for ever. */
static void test_pictures(void **unused _unused_)
{
#define CAMERA(class, picture)                                                                                      \
	"{\"target\":\"work\",\"class\":\"" class "\",\"source\":\"sys-usb\",\"port\":\"webcam-01234567\","         \
						  "\"device\":\"\",\"mode\":\"auto-attach\",\"follow-port\":false," \
						  "\"max-time-usec\":0" picture "}"
	static const struct {
		const char *class, *value;
		bool good;
	} rows[] = {
		{"webcam", CAMERA("webcam", ""), true},
		{"webcam", CAMERA("webcam", ",\"width\":1280,\"height\":720,\"fps\":30"), true},
		{"webcam", CAMERA("webcam", ",\"width\":1280,\"height\":720"), true},
		{"webcam", CAMERA("webcam", ",\"fps\":120"), true},
		{"webcam", CAMERA("webcam", ",\"fps\":121"), false},
		{"webcam", CAMERA("webcam", ",\"fps\":0"), false},
		{"webcam", CAMERA("webcam", ",\"fps\":65566"), false},
		{"webcam", CAMERA("webcam", ",\"fps\":\"30\""), false},
		{"webcam", CAMERA("webcam", ",\"fps\":30,\"fps\":30"), false},
		{"webcam", CAMERA("webcam", ",\"fps\":30,\"width\":1280,\"height\":720"), false},
		{"webcam", CAMERA("webcam", ",\"width\":1280"), false},
		{"webcam", CAMERA("webcam", ",\"height\":720"), false},
		{"webcam", CAMERA("webcam", ",\"width\":1281,\"height\":720"), false},
		{"webcam", CAMERA("webcam", ",\"width\":0,\"height\":0"), false},
		{"mic", CAMERA("mic", ",\"fps\":30"), false},
		{"webcam", CAMERA("webcam", ",\"brightness\":1,\"power-line\":3"), true},
		{"webcam", CAMERA("webcam", ",\"fps\":30,\"contrast\":101,\"saturation\":51,\"sharpness\":2"), true},
		{"webcam", CAMERA("webcam", ",\"brightness\":0"), false},
		{"webcam", CAMERA("webcam", ",\"brightness\":102"), false},
		{"webcam", CAMERA("webcam", ",\"brightness\":257"), false},
		{"webcam", CAMERA("webcam", ",\"brightness\":\"50\""), false},
		{"webcam", CAMERA("webcam", ",\"power-line\":4"), false},
		{"webcam", CAMERA("webcam", ",\"power-line\":1,\"brightness\":1"), false},
		{"webcam", CAMERA("webcam", ",\"hue\":1"), false},
		{"mic", CAMERA("mic", ",\"brightness\":51"), false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char key[64];

		(void)snprintf(key, sizeof(key), "work %s sys-usb webcam-01234567 *", rows[i].class);
		if (records_check(STORE_ASSIGNMENT, key, rows[i].value) != (rows[i].good ? 0 : STORE_UNFIT))
			fail_msg("row %zu: %s", i, rows[i].value);
	}
}

/* There and back. */
static void test_assignment_of_camera(void **state)
{
	struct fixture *f = *state;
	struct core_assignment camera = full;
	const struct core_assignment *is;
	unsigned int cursor = 0;

	camera.class_id = WIRE_CLASS_WEBCAM;
	(void)strcpy(camera.port, "webcam-01234567");
	camera.picture = (struct core_picture){4096, 16, 120, {101, 1, 0, 101, 3}};
	assert_int_equal(records_put_assignment(f->store, &camera), 0);
	load(f);
	is = assignments_next(f->assignments, &cursor);
	assert_non_null(is);
	assert_memory_equal(&is->picture, &camera.picture, sizeof(camera.picture));
	camera.picture.fps = 121;
	assert_int_equal(records_put_assignment(f->store, &camera), STORE_UNFIT);
}

static void test_modes(void **unused _unused_)
{
	enum core_assign_mode mode;

	for (unsigned int i = 0; i < CORE_ASSIGN_MODE_COUNT; i++) {
		assert_int_equal(records_mode_from_name(records_mode_name((enum core_assign_mode)i), &mode), 0);
		assert_int_equal(mode, i);
	}
	assert_null(records_mode_name(CORE_ASSIGN_MODE_COUNT));
	assert_int_equal(records_mode_from_name("manual", &mode), -EINVAL);
	assert_int_equal(records_mode_from_name("", &mode), -EINVAL);
}

static void test_denied(void **state)
{
	struct fixture *f = *state;
	unsigned int cursor = 0;
	char pattern[DENIED_PATTERN + 1];

	assert_int_equal(records_put_denied(f->store, f->denied, "work"), 0);
	assert_int_equal(denied_add(f->denied, "work", "u03**01"), 0);
	assert_int_equal(denied_add(f->denied, "work", "u01****"), 0);
	assert_int_equal(records_put_denied(f->store, f->denied, "work"), 0);
	assert_string_equal(store_get(f->store, STORE_DENIED, "work"), "[\"u03**01\",\"u01****\"]");
	for (unsigned int i = 0; i < LIMIT_DENIED_PATTERNS; i++) {
		(void)snprintf(pattern, sizeof(pattern), "u%06x", i);
		assert_int_equal(denied_add(f->denied, "vault", pattern), 0);
	}
	assert_int_equal(records_put_denied(f->store, f->denied, "vault"), 0);
	load(f);
	assert_string_equal(denied_next(f->denied, "work", &cursor), "u03**01");
	assert_string_equal(denied_next(f->denied, "work", &cursor), "u01****");
	assert_null(denied_next(f->denied, "work", &cursor));
	for (cursor = 0; denied_next(f->denied, "vault", &cursor);)
		;
	assert_int_equal(cursor, LIMIT_DENIED_PATTERNS);
	assert_int_equal(denied_remove_all(f->denied, "work"), 0);
	assert_int_equal(records_put_denied(f->store, f->denied, "work"), 0);
	assert_null(store_get(f->store, STORE_DENIED, "work"));
}

/* The record with one place changed; `from` NULL: the whole value is `to`. */
static void test_single_faults(void **state)
{
	static const struct {
		const char *from, *to;
	} faults[] = {
		{"\"target\":\"work\",", ""},
		{"\"class\":\"usb\",", ""},
		{"\"source\":\"sys-usb\",", ""},
		{"\"port\":\"1-2\",", ""},
		{"\"mode\":\"ask-to-attach\",", ""},
		{"\"follow-port\":true,", ""},
		{",\"max-time-usec\":5", ""},
		{"\"work\"", "7"},
		{"\"work\"", "[\"work\"]"},
		{"\"work\"", "\"work2\""},
		{"\"work\"", "\"\""},
		{"\"work\"", "\"sys-usb\""},
		{"\"work\"", "\"work\\u0000\""},
		{"\"work\"", "\"w\\u006frk\""},
		{"\"work\"", "\"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww\""},
		{"\"usb\"", "\"mic\""},
		{"\"usb\"", "1"},
		{"\"usb\"", "\"a-very-long-class-name\""},
		{"\"sys-usb\"", "\"../sys\""},
		{"\"1-2\"", "null"},
		{"\"1-2\"", "\"1-3\""},
		{"\"1-2\"", "\"*\""},
		{"\"1-2\"", "\"1-2222222222222222222222222222222222222222222\""},
		{"u080650", "u080651"},
		{"ask-to-attach", "manual"},
		{"ask-to-attach", "ask"},
		{"\"ask-to-attach\"", "1"},
		{"true", "1"},
		{"true", "\"true\""},
		{"true", "null"},
		{":5}", ":-5}"},
		{":5}", ":5.0}"},
		{":5}", ":05}"},
		{":5}", ":\"5\"}"},
		{":5}", ":9223372036854775808}"},
		{":5}", ":5,\"extra\":1}"},
		{":5}", ":5,\"target\":\"work\"}"},
		{":5}", ":5}x"},
		{":5}", ":5} "},
		{":5}", ":5"},
		{"{\"target\":\"work\",\"class\":\"usb\"", "{\"class\":\"usb\",\"target\":\"work\""},
		{"{", " {"},
		{",", ", "},
		{NULL, ""},
		{NULL, "{}"},
		{NULL, "[]"},
		{NULL, "null"},
		{NULL, "\"work\""},
		{NULL, "{\"target\":{\"target\":{\"target\":{}}}}"},
	};
	struct fixture *f = *state;

	assert_int_equal(records_check(STORE_ASSIGNMENT, KEY, VALUE), 0);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		const char *at = faults[i].from ? strstr(VALUE, faults[i].from) : NULL;
		char value[1024];

		assert_true(at || !faults[i].from);
		(void)snprintf(value, sizeof(value), "%.*s%s%s", at ? (int)(at - VALUE) : 0, VALUE, faults[i].to,
			       at ? at + strlen(faults[i].from) : "");
		if (records_check(STORE_ASSIGNMENT, KEY, value) == 0)
			fail_msg("taken: %s", value);
		assert_int_equal(store_put(f->store, STORE_ASSIGNMENT, KEY, value), STORE_UNFIT);
	}
	for (size_t cut = 0; cut < strlen(VALUE); cut++) {
		char value[1024];

		(void)snprintf(value, sizeof(value), "%.*s", (int)cut, VALUE);
		assert_int_equal(records_check(STORE_ASSIGNMENT, KEY, value), STORE_UNFIT);
	}
	assert_int_equal(records_check(STORE_ASSIGNMENT, "work", VALUE), STORE_UNFIT);
	assert_int_equal(records_check(STORE_ASSIGNMENT, KEY "0", VALUE), STORE_UNFIT);
	assert_int_equal(records_check(STORE_ASSIGNMENT, "", VALUE), STORE_UNFIT);
}

static void test_faults_of_labels(void **unused _unused_)
{
	char key[LIMIT_STORE_KEY + 1];

	memset(key, 'x', sizeof(key));
	key[CORE_LABEL_KEY_MAX - 1] = '\0';
	assert_int_equal(records_check(STORE_LABEL, key, "x"), 0);
	key[CORE_LABEL_KEY_MAX - 1] = 'x';
	key[CORE_LABEL_KEY_MAX] = '\0';
	assert_int_equal(records_check(STORE_LABEL, key, "x"), STORE_UNFIT);
	assert_int_equal(records_check(STORE_LABEL, "sys-usb 1", "My 'bank' stick"), 0);
	assert_int_equal(records_check(STORE_LABEL, "sys-usb \xc3\xa4", "x"), STORE_UNFIT);
	assert_int_equal(records_check(STORE_LABEL, "sys-usb 1", ""), STORE_UNFIT);
	assert_int_equal(records_check(STORE_LABEL, "sys-usb 1", "\xc3\xa4"), STORE_UNFIT);
	assert_int_equal(records_check(STORE_LABEL, "sys-usb 1", "x "), STORE_UNFIT);
}

static void test_faults_of_denied(void **unused _unused_)
{
	static const struct {
		const char *qube, *value;
		bool good;
	} cases[] = {
		{"work", "[\"u03**01\"]", true},
		{"work", "[\"u03**01\",\"u08****\"]", true},
		{"work", "[]", false},
		{"work", "{}", false},
		{"work", "", false},
		{"work", "null", false},
		{"work", "[\"u03**01\"", false},
		{"work", "[\"u03**01\",]", false},
		{"work", "[\"u03**01\"]]", false},
		{"work", "[ \"u03**01\"]", false},
		{"work", "[\"u03**01\",\"u03**01\"]", false},
		{"work", "[\"u03**1\"]", false},
		{"work", "[\"u03**01\",7]", false},
		{"work", "[null]", false},
		{"work", "[[\"u03**01\"]]", false},
		{"work", "[[[\"u03**01\"]]]", false},
		{"work", "[\"u03**01\\u0000\"]", false},
		{"work", "[\"\\u007503**01\"]", false},
		{"", "[\"u03**01\"]", false},
		{"../work", "[\"u03**01\"]", false},
		{"work work", "[\"u03**01\"]", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (records_check(STORE_DENIED, cases[i].qube, cases[i].value) != (cases[i].good ? 0 : STORE_UNFIT))
			fail_msg("%s: %s", cases[i].qube, cases[i].value);
}

/* What the check would not take stops the start (fail closed), and a load that is made in spite of it. */
static void test_bad_record_in_the_store(void **state)
{
	struct fixture *f = *state;

	f->store = store_free(f->store);
	assert_int_equal(store_new(f->dir, NULL, &f->store), 0);
	assert_int_equal(store_put(f->store, STORE_ASSIGNMENT, "work", "{}"), 0);
	assert_int_equal(records_load(f->store, f->assignments, f->denied), -EBADMSG);
	assert_int_equal(store_remove(f->store, STORE_ASSIGNMENT, "work"), 0);
	assert_int_equal(store_put(f->store, STORE_DENIED, "work", "[]"), 0);
	assert_int_equal(records_load(f->store, f->assignments, f->denied), -EBADMSG);
	start(f);
	assert_non_null(store_fault(f->store));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_assignments),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_pictures),
		TEST(test_assignment_of_camera),
		cmocka_unit_test(test_modes),
		TEST(test_denied),
		TEST(test_single_faults),
		cmocka_unit_test(test_faults_of_denied),
		cmocka_unit_test(test_faults_of_labels),
		TEST(test_bad_record_in_the_store),
	};

	return cmocka_run_group_tests_name("store-records", tests, NULL, NULL);
}
