/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of devices, as scripts: what is seen at which port, and what that must change.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit.h"
#include "lib/base/base.h"
#include "proxies/agent/track.h"

enum what { PUT, LEAVE, REMOVE, SWEEP, SCAN };

struct line {
	const char *name;
	enum what what;
	const char *port;
	uint16_t dev;
	uint8_t content; /* first byte of the digest */
	/* expected */
	bool result; /* of PUT, LEAVE, SWEEP */
	bool gone, added;
	uint32_t generation; /* of what was added */
	uint16_t n_left_out;
};

static struct identity make_identity(const char *port, uint16_t dev, uint8_t content)
{
	struct identity identity = {.bus = 1, .dev = dev, .speed = WIRE_SPEED_HIGH, .digest = {content}};

	(void)snprintf(identity.port, sizeof(identity.port), "%s", port);
	return identity;
}

static void run_line(struct track *track, const struct line *line)
{
	struct identity identity = make_identity(line->port == NULL ? "" : line->port, line->dev, line->content);
	struct track_change change = {0};
	bool result = line->result;

	switch (line->what) {
	case PUT:
		result = track_put(track, &identity, &change);
		break;
	case LEAVE:
		result = track_leave_out(track, line->port, line->dev, &change);
		break;
	case REMOVE:
		track_remove(track, line->port, line->dev, &change);
		break;
	case SWEEP:
		result = track_sweep(track, &change);
		break;
	case SCAN:
		track_scan_begin(track);
		break;
	}
	if (result != line->result || change.gone != line->gone || (change.added != NULL) != line->added ||
	    (change.added != NULL && change.added->generation != line->generation) ||
	    track_n_left_out(track) != line->n_left_out)
		fail_msg("%s", line->name);
	if (change.gone)
		assert_null(track_find(track, change.gone_slot, change.gone_generation));
	if (change.added != NULL)
		assert_ptr_equal(track_find(track, change.added->slot, change.added->generation), change.added);
}

static void test_script(_unused_ void **state)
{
	static const struct line lines[] = {
		{"a new device", PUT, "1-1", 5, 1, true, false, true, 1, 0},
		{"HP06 the event twice", PUT, "1-1", 5, 1, true, false, false, 0, 0},
		{"another port", PUT, "1-2", 6, 1, true, false, true, 2, 0},
		{"UD01 other content, same enumeration", PUT, "1-1", 5, 2, true, true, true, 3, 0},
		{"HP02 same content, new enumeration, remove lost", PUT, "1-1", 7, 2, true, true, true, 4, 0},
		{"HP06 late remove of the old enumeration", REMOVE, "1-1", 5, 0, false, false, false, 0, 0},
		{"remove of the present one", REMOVE, "1-1", 7, 0, false, true, false, 0, 0},
		{"remove again", REMOVE, "1-1", 7, 0, false, false, false, 0, 0},
		{"HP02 replug: new generation", PUT, "1-1", 8, 2, true, false, true, 5, 0},
		{"remove without a number", REMOVE, "1-1", 0, 0, false, true, false, 0, 0},
		{"a bad one", LEAVE, "1-3", 9, 0, true, false, false, 0, 1},
		{"the same bad one: no news", LEAVE, "1-3", 9, 0, false, false, false, 0, 1},
		{"bad again after replug", LEAVE, "1-3", 10, 0, true, false, false, 0, 1},
		{"it becomes good", PUT, "1-3", 11, 3, true, false, true, 6, 0},
		{"it becomes bad while listed", LEAVE, "1-3", 12, 0, true, true, false, 0, 1},
		{"the bad one goes", REMOVE, "1-3", 12, 0, false, false, false, 0, 0},
		{"unknown port", REMOVE, "7-7", 1, 0, false, false, false, 0, 0},
		{"bad one before a scan", LEAVE, "1-5", 13, 0, true, false, false, 0, 1},
		{"third device", PUT, "1-4", 14, 1, true, false, true, 7, 1},
		{"HP06 scan", SCAN, NULL, 0, 0, false, false, false, 0, 1},
		{"seen", PUT, "1-4", 14, 1, true, false, false, 0, 1},
		{"1-2 was not seen", SWEEP, NULL, 0, 0, true, true, false, 0, 0},
		{"the rest was", SWEEP, NULL, 0, 0, false, false, false, 0, 0},
	};
	static struct track track;

	track_init(&track);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		run_line(&track, &lines[i]);
}

/* RX03, CF21: the table is full; what is left out comes in when there is room. */
static void test_full(_unused_ void **state)
{
	static struct track track;
	struct track_change change;
	char port[LIMIT_PORT_TEXT];
	size_t cursor = 0, n = 0;

	track_init(&track);
	for (unsigned int i = 1; i <= LIMIT_DEVICES + TRACK_LEFT_OUT + 10; i++) {
		(void)snprintf(port, sizeof(port), "1-%u", i);
		struct identity identity = make_identity(port, (uint16_t)i, 1);

		assert_int_equal(track_put(&track, &identity, &change), i <= LIMIT_DEVICES);
		assert_false(change.gone);
	}
	assert_int_equal(track_n_left_out(&track), TRACK_LEFT_OUT + 10);
	assert_false(track_has_room_again(&track));
	while (track_next(&track, &cursor) != NULL)
		n++;
	assert_int_equal(n, LIMIT_DEVICES);
	track_remove(&track, "1-3", 0, &change);
	assert_true(change.gone && change.gone_slot == 2);
	assert_true(track_has_room_again(&track));
	struct identity identity = make_identity("1-70", 70, 1);

	assert_true(track_put(&track, &identity, &change));
	assert_true(change.added != NULL && change.added->slot == 2);
	assert_int_equal(track_n_left_out(&track), TRACK_LEFT_OUT + 10 - 1);
	/* A change of a listed device when all slots are taken stays listed. */
	identity = make_identity("1-4", 99, 7);
	assert_true(track_put(&track, &identity, &change));
	assert_true(change.gone && change.added != NULL && change.added->slot == change.gone_slot);
	assert_null(track_find(&track, LIMIT_DEVICES, 1));
	assert_null(track_find(&track, UINT16_MAX, 1));
}

/* Every field that the broker is shown makes another device. */
static void test_equality(_unused_ void **state)
{
	static struct track track;
	struct track_change change;
	struct identity base = make_identity("2-1", 3, 1);

	track_init(&track);
	assert_true(track_put(&track, &base, &change));
	for (unsigned int i = 0; i < 7; i++) {
		struct identity other = base;

		switch (i) {
		case 0:
			other.bus = 9;
			break;
		case 1:
			other.speed = WIRE_SPEED_SUPER;
			break;
		case 2:
			other.digest[WIRE_DIGEST - 1] = 1;
			break;
		case 3:
			other.serial[0] = 'x';
			break;
		case 4:
			other.manufacturer[0] = 'x';
			break;
		case 5:
			other.product_name[0] = 'x';
			break;
		case 6:
			other.path[0] = 'x';
			break;
		}
		assert_true(track_put(&track, &other, &change));
		assert_true(change.gone && change.added != NULL);
		assert_true(track_put(&track, &base, &change));
		assert_true(change.gone && change.added != NULL);
	}
	assert_int_equal(track.last_generation, 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_script),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_equality),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
