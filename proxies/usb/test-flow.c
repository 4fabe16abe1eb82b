/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random reading, passing, inserting, dropping and sending against a plain model of the stream: no byte is lost, added
 * or out of order, and none lies beyond the buffer (which ends at a page that the sanitizers watch: it is from the
 * heap, of the exact size).
 */
#include "tests/unit.h"

#include <string.h>

#include "lib/base/base.h"
#include "proxies/usb/flow.h"

#define SIZE 4096u
#define STEPS 200000u

struct world {
	struct flow flow;
	uint8_t expected[SIZE + FLOW_INSERT_ROOM]; /* from `at` to `end` */
	size_t n_passed, n_end;
	uint32_t random;
	uint8_t next;
};

static uint32_t pick(struct world *w, uint32_t below)
{
	w->random = w->random * 1664525u + 1013904223u;
	return below ? (w->random >> 8) % below : 0;
}

static void read_some(struct world *w)
{
	size_t room = flow_room(&w->flow);
	size_t n = pick(w, (uint32_t)room + 1);

	assert_true(room <= SIZE);
	for (size_t i = 0; i < n; i++) {
		w->flow.bytes[w->flow.end++] = w->next;
		w->expected[w->n_end++] = w->next++;
	}
}

static void pass_some(struct world *w)
{
	size_t n = pick(w, (uint32_t)(w->n_end - w->n_passed) + 1);

	w->flow.passed += n;
	w->n_passed += n;
}

static void insert_one(struct world *w)
{
	uint8_t pdu[USBIP_HEADER];

	if (!flow_has_insert_room(&w->flow))
		return;
	memset(pdu, 0xee, sizeof(pdu));
	flow_insert(&w->flow, pdu);
	memmove(w->expected + w->n_passed + sizeof(pdu), w->expected + w->n_passed, w->n_end - w->n_passed);
	memcpy(w->expected + w->n_passed, pdu, sizeof(pdu));
	w->n_passed += sizeof(pdu);
	w->n_end += sizeof(pdu);
}

static void drop_some(struct world *w)
{
	size_t n = pick(w, (uint32_t)(w->n_end - w->n_passed) + 1);

	flow_drop(&w->flow, n);
	memmove(w->expected + w->n_passed, w->expected + w->n_passed + n, w->n_end - w->n_passed - n);
	w->n_end -= n;
}

static void send_some(struct world *w)
{
	size_t n = pick(w, (uint32_t)w->n_passed + 1);

	w->flow.at += n;
	memmove(w->expected, w->expected + n, w->n_end - n);
	w->n_passed -= n;
	w->n_end -= n;
}

static void test_random(void **state)
{
	static void (*const steps[])(struct world *) = {read_some,  pass_some, insert_one,
							insert_one, drop_some, send_some};
	static struct world w;
	unsigned int n_full = 0, n_over = 0;

	(void)state;
	w = (struct world){.flow = {.size = SIZE}, .random = 20261125};
	w.flow.bytes = malloc(SIZE + FLOW_INSERT_ROOM);
	assert_non_null(w.flow.bytes);
	for (size_t i = 0; i < STEPS; i++) {
		/* in turns, so that the buffer fills up with what was put in: PDUs only, then everything */
		steps[i / 2000 % 2 ? 2 : pick(&w, ARRAY_SIZE(steps))](&w);
		n_full += !flow_has_insert_room(&w.flow);
		n_over += w.flow.end > SIZE;
		assert_true(w.flow.at <= w.flow.passed && w.flow.passed <= w.flow.end);
		assert_true(w.flow.end <= SIZE + FLOW_INSERT_ROOM);
		assert_int_equal(w.flow.end - w.flow.at, w.n_end);
		assert_int_equal(w.flow.passed - w.flow.at, w.n_passed);
		assert_memory_equal(w.flow.bytes + w.flow.at, w.expected, w.n_end);
	}
	assert_true(n_full > 0 && n_over > 0); /* the edges were reached */
	free(w.flow.bytes);
}

/* What is read never goes where only inserted PDUs may: not even when those have filled it. */
static void test_no_room_behind_inserted(void **state)
{
	static const uint8_t pdu[USBIP_HEADER];
	struct flow flow = {.size = SIZE};

	(void)state;
	flow.bytes = malloc(SIZE + FLOW_INSERT_ROOM);
	assert_non_null(flow.bytes);
	memset(flow.bytes, 0, SIZE);
	flow.end = flow.passed = SIZE;
	assert_int_equal(flow_room(&flow), 0);
	for (unsigned int n = 0; n < FLOW_INSERT_ROOM / USBIP_HEADER; n++) {
		assert_true(flow_has_insert_room(&flow));
		flow_insert(&flow, pdu);
		assert_int_equal(flow_room(&flow), 0);
	}
	assert_false(flow_has_insert_room(&flow));
	flow.at = 1;
	assert_int_equal(flow_room(&flow), 0); /* moved to the front, and still more than `size` */
	assert_int_equal(flow.at, 0);
	free(flow.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_no_room_behind_inserted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
