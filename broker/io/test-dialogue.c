// SPDX-License-Identifier: GPL-2.0-or-later
/* The dialogue with one agent, without a channel: bytes in, events out; actions in, bytes out. */
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

#include "broker/io/agents-peer.h"
#include "lib/base/base.h"
#include "lib/base/text.h"

struct heard {
	unsigned int n;
	enum core_event_type types[512];
	struct core_event last;
	int verdict; /* what the core is to say */
};

static int on_event(void *userdata, const struct core_event *event)
{
	struct heard *heard = userdata;

	assert_true(heard->n < ARRAY_SIZE(heard->types));
	heard->types[heard->n++] = event->type;
	heard->last = *event;
	return heard->verdict;
}

static const struct agents_hooks hooks = {.event = on_event};

static struct peer *make_peer(struct heard *heard)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	assert_non_null(peer);
	*heard = (struct heard){0};
	peer->hooks = &hooks;
	peer->userdata = heard;
	peer->c.state = WIRE_IN_NEW;
	peer->c.credit_usec = PEER_CREDIT_MAX_USEC;
	return peer;
}

static void put(struct peer *peer, const struct wire_message *m)
{
	assert_true(sizeof(peer->c.in) - peer->c.in_len >= LIMIT_FRAME);
	peer->c.in_len += wire_encode(m, peer->c.in + peer->c.in_len);
}

static void greet(struct peer *peer)
{
	struct wire_message m = {.type = WIRE_HELLO};

	m.HELLO.version = WIRE_VERSION;
	m.HELLO.roles = WIRE_ROLE_EXPORT;
	put(peer, &m);
	m = (struct wire_message){.type = WIRE_LIST_BEGIN};
	put(peer, &m);
	m.type = WIRE_LIST_END;
	put(peer, &m);
	dialogue_take_in(peer, 0);
	assert_int_equal(peer->end, 0);
	assert_int_equal(peer->c.state, WIRE_IN_READY);
	peer->c.out_len = 0;
}

/* Takes the next message that the broker sent; WIRE_HELLO: there is none. */
static struct wire_message sent(struct peer *peer)
{
	struct wire_message m = {.type = WIRE_HELLO};
	size_t used = 0;

	if (wire_decode(peer->c.out, peer->c.out_len, WIRE_TO_AGENT, WIRE_IN_READY, &m, &used) != 0)
		return (struct wire_message){.type = WIRE_HELLO};
	peer->c.out_len -= used;
	memmove(peer->c.out, peer->c.out + used, peer->c.out_len);
	return m;
}

static void ask(struct peer *peer, enum core_action_type type, uint64_t session)
{
	static const struct core_device device = {.class_id = WIRE_CLASS_USB};

	dialogue_request(peer, &(struct core_action){.type = type, .session = session, .device = &device}, 4);
}

/* EXPORT and IMPORT leave a place; STOP overtakes them, and takes back what has not left. */
static void test_order_of_requests(void **unused _unused_)
{
	struct heard heard;
	struct peer *peer = make_peer(&heard);
	uint32_t ids[3];

	greet(peer);
	peer->c.ping_usec = UINT64_MAX;
	for (uint64_t session = 1; session <= 6; session++)
		ask(peer, CORE_DO_EXPORT, session);
	dialogue_send(peer, 1);
	for (unsigned int i = 0; i < 3; i++) {
		struct wire_message m = sent(peer);

		assert_int_equal(m.type, WIRE_EXPORT);
		assert_int_equal(m.EXPORT.session, i + 1);
		ids[i] = m.id;
	}
	assert_int_equal(sent(peer).type, WIRE_HELLO);
	ask(peer, CORE_DO_STOP_SOURCE, 5); /* not sent yet */
	ask(peer, CORE_DO_STOP_SOURCE, 1);
	ask(peer, CORE_DO_STOP_SOURCE, 5); /* again: once is enough */
	dialogue_send(peer, 2);
	assert_int_equal(sent(peer).STOP.session, 5);
	assert_int_equal(sent(peer).type, WIRE_HELLO); /* all places taken */

	for (unsigned int i = 0; i < 3; i++) {
		struct wire_message m = {.type = WIRE_EXPORTED, .id = ids[i]};

		m.EXPORTED.session = i + 1;
		put(peer, &m);
		dialogue_take_in(peer, 3);
		assert_int_equal(peer->end, 0);
		assert_int_equal(heard.last.type, CORE_EXPORTED);
		assert_int_equal(heard.last.session.session, i + 1);
	}
	dialogue_send(peer, 4);
	assert_int_equal(sent(peer).STOP.session, 1);
	assert_int_equal(sent(peer).EXPORT.session, 4); /* 5 is not sent any more */
	assert_int_equal(sent(peer).type, WIRE_HELLO);
	free(peer);
}

static void answer(struct peer *peer, enum wire_type type, uint32_t id, uint64_t session, uint64_t now)
{
	struct wire_message m = {.type = type, .id = id};

	m.STOPPED.session = session;
	if (type == WIRE_FAILED) {
		m.FAILED.session = session;
		m.FAILED.outcome = OUTCOME_TIMED_OUT;
	}
	put(peer, &m);
	dialogue_take_in(peer, now);
}

/* Promise 11: requests that hang keep others waiting for TIMEOUT_PLACE_USEC, whatever they are; their answers may be late. */
static void test_hung_requests(void **unused _unused_)
{
	static const struct {
		enum core_action_type action, next;
		enum wire_type sent, answer;
		unsigned int n_places;
		bool told; /* a late answer reaches the core */
	} cases[] = {
		{CORE_DO_EXPORT, CORE_DO_EXPORT, WIRE_EXPORT, WIRE_EXPORTED, LIMIT_PEER_REQUESTS - 1, true},
		{CORE_DO_EXPORT, CORE_DO_IMPORT, WIRE_EXPORT, WIRE_FAILED, LIMIT_PEER_REQUESTS - 1, true},
		{CORE_DO_IMPORT, CORE_DO_EXPORT, WIRE_IMPORT, WIRE_IMPORTED, LIMIT_PEER_REQUESTS - 1, true},
		{CORE_DO_STOP_SOURCE, CORE_DO_EXPORT, WIRE_STOP, WIRE_STOPPED, LIMIT_PEER_REQUESTS, true},
		{CORE_DO_STOP_TARGET, CORE_DO_STOP_STRAY, WIRE_STOP, WIRE_STOPPED, LIMIT_PEER_REQUESTS, true},
		{CORE_DO_STOP_STRAY, CORE_DO_STOP_TARGET, WIRE_STOP, WIRE_FAILED, LIMIT_PEER_REQUESTS, false},
	};
	const uint64_t freed = 1 + TIMEOUT_PLACE_USEC;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct heard heard;
		struct peer *peer = make_peer(&heard);
		uint32_t first = 0;
		unsigned int before;

		greet(peer);
		peer->c.ping_usec = UINT64_MAX;
		for (unsigned int j = 0; j < cases[i].n_places; j++)
			ask(peer, cases[i].action, 1 + j);
		dialogue_send(peer, 1);
		assert_int_equal(peer->c.place_usec, 0); /* nothing waits */
		for (unsigned int j = 0; j < cases[i].n_places; j++) {
			struct wire_message m = sent(peer);

			assert_int_equal(m.type, cases[i].sent);
			first = j == 0 ? m.id : first;
		}
		ask(peer, cases[i].next, 50);
		dialogue_send(peer, 2);
		assert_int_equal(sent(peer).type, WIRE_HELLO);
		assert_int_equal(peer->c.place_usec, freed);
		dialogue_send(peer, freed - 1);
		assert_int_equal(sent(peer).type, WIRE_HELLO);
		dialogue_send(peer, freed);
		assert_int_not_equal(sent(peer).type, WIRE_HELLO);
		assert_int_equal(peer->c.place_usec, 0);

		before = heard.n;
		answer(peer, cases[i].answer, first, 1, freed + 3600 * USEC_PER_SEC);
		assert_int_equal(peer->end, 0);
		assert_int_equal(heard.n - before, cases[i].told);
		answer(peer, cases[i].answer, first, 1, freed + 3600 * USEC_PER_SEC);
		assert_int_equal(peer->end, END_NO_REQUEST); /* late, but once */
		free(peer);
	}
}

/* What an agent may owe is bounded by what it can have; while a STOP is unanswered its session's next is not sent. */
static void test_owed_answers(void **unused _unused_)
{
	struct heard heard;
	struct peer *peer = make_peer(&heard);
	uint64_t now = 0;
	unsigned int n_sent = 0;

	greet(peer);
	peer->c.ping_usec = UINT64_MAX;
	for (uint64_t session = 1; session <= LIMIT_SESSIONS; session++) {
		uint32_t id = 0;

		ask(peer, session % 2 ? CORE_DO_EXPORT : CORE_DO_IMPORT, session);
		dialogue_send(peer, now += TIMEOUT_PLACE_USEC);
		n_sent += sent(peer).type != WIRE_HELLO;
		for (unsigned int i = 0; i < 3; i++) {
			ask(peer, CORE_DO_STOP_SOURCE, session);
			dialogue_send(peer, now += TIMEOUT_PLACE_USEC);
			id = i == 0 ? sent(peer).id : id;
			assert_int_equal(sent(peer).type, WIRE_HELLO);
		}
		n_sent += id != 0;
	}
	assert_int_equal(n_sent, 2 * LIMIT_SESSIONS);
	assert_int_equal(peer->end, 0); /* an honest agent whose every device hangs */
	for (uint64_t session = 1000; !peer->end; session++) {
		assert_true(session <= 1000 + LIMIT_PEER_REQUESTS + LIMIT_SESSIONS); /* it can owe as many MUTED */
		ask(peer, CORE_DO_EXPORT, session);
		dialogue_send(peer, now += TIMEOUT_PLACE_USEC);
		peer->c.out_len = 0;
	}
	assert_int_equal(peer->end, END_OWES_TOO_MUCH);
	free(peer);
}

/* Before all that waits, and without a place; what the agent says to it is told as it is. */
static void test_mute(void **unused _unused_)
{
	struct core_device mic = {.class_id = WIRE_CLASS_MIC};
	struct heard heard;
	struct peer *peer = make_peer(&heard);
	struct wire_message m;

	greet(peer);
	peer->c.ping_usec = UINT64_MAX;
	for (uint64_t session = 1; session <= 6; session++)
		ask(peer, CORE_DO_EXPORT, session);
	for (uint64_t session = 1; session <= LIMIT_PEER_REQUESTS; session++)
		ask(peer, CORE_DO_STOP_SOURCE, 10 + session);
	dialogue_send(peer, 1);
	while (sent(peer).type != WIRE_HELLO)
		continue;
	ask(peer, CORE_DO_STOP_SOURCE, 9); /* no place */
	for (unsigned int muted = 0; muted < 2; muted++) {
		mic.terms.muted = muted;
		dialogue_request(peer, &(struct core_action){.type = CORE_DO_MUTE, .session = 7, .device = &mic}, 0);
		dialogue_send(peer, 2);
		m = sent(peer);
		assert_true(m.type == WIRE_MUTE && m.MUTE.session == 7 && m.MUTE.muted == muted);
		assert_int_equal(sent(peer).type, WIRE_HELLO);
		m = (struct wire_message){.type = WIRE_MUTED, .id = m.id, .MUTED = {.session = 7, .muted = !muted}};
		put(peer, &m);
		dialogue_take_in(peer, 3);
		assert_int_equal(peer->end, 0);
		assert_int_equal(heard.last.type, CORE_MUTED);
		assert_true(heard.last.muted.session == 7 && heard.last.muted.muted == !muted);
	}
	put(peer, &m); /* twice */
	dialogue_take_in(peer, 4);
	assert_int_equal(peer->end, END_NO_REQUEST);
	free(peer);

	/* one that has not left is taken back by a STOP of its session */
	peer = make_peer(&heard);
	greet(peer);
	peer->c.ping_usec = UINT64_MAX;
	dialogue_request(peer, &(struct core_action){.type = CORE_DO_MUTE, .session = 7, .device = &mic}, 0);
	ask(peer, CORE_DO_STOP_SOURCE, 7);
	dialogue_send(peer, 1);
	assert_int_equal(sent(peer).type, WIRE_STOP);
	assert_int_equal(sent(peer).type, WIRE_HELLO);
	free(peer);

	/* a restored one begins so */
	peer = make_peer(&heard);
	greet(peer);
	peer->c.ping_usec = UINT64_MAX;
	dialogue_request(peer, &(struct core_action){.type = CORE_DO_EXPORT, .session = 7, .device = &mic}, 4);
	dialogue_send(peer, 1);
	assert_true(sent(peer).EXPORT.muted);
	free(peer);
}

static void test_no_request_before_the_list(void **unused _unused_)
{
	struct heard heard;
	struct peer *peer = make_peer(&heard);
	struct wire_message m = {.type = WIRE_HELLO};

	m.HELLO.version = WIRE_VERSION;
	put(peer, &m);
	dialogue_take_in(peer, 0);
	peer->c.out_len = 0;
	ask(peer, CORE_DO_STOP_STRAY, 9);
	dialogue_send(peer, HEARTBEAT_USEC);
	assert_int_equal(peer->c.out_len, 0);
	m = (struct wire_message){.type = WIRE_LIST_BEGIN};
	put(peer, &m);
	dialogue_take_in(peer, HEARTBEAT_USEC);
	dialogue_send(peer, HEARTBEAT_USEC);
	assert_int_equal(sent(peer).type, WIRE_PING);
	assert_int_equal(sent(peer).STOP.session, 9);
	free(peer);
}

static void test_stream(void **unused _unused_)
{
	struct wire_message m = {.type = WIRE_STREAM,
				 .STREAM = {.session = 7,
					    .side = WIRE_SIDE_IMPORT,
					    .in_use = 1,
					    .bytes_to_target = 1ull << 40,
					    .bytes_from_target = 3}};
	struct heard heard;
	struct peer *peer = make_peer(&heard);
	unsigned int before, n = 0;

	greet(peer);
	before = heard.n;
	put(peer, &m);
	dialogue_take_in(peer, 0);
	assert_int_equal(peer->end, 0);
	assert_int_equal(heard.n, before + 1);
	assert_int_equal(heard.last.type, CORE_STREAM);
	assert_int_equal(heard.last.stream.session, 7);
	assert_int_equal(heard.last.stream.side, WIRE_SIDE_IMPORT);
	assert_true(heard.last.stream.in_use);
	assert_int_equal(heard.last.stream.bytes_to_target, 1ull << 40);
	assert_int_equal(heard.last.stream.bytes_from_target, 3);
	/* it costs of the peer's share: no qube keeps us busy with it */
	while (peer->c.throttled_until_usec == 0 && n++ < 2 * LIMIT_PEER_EVENTS_BURST) {
		put(peer, &m);
		dialogue_take_in(peer, 0);
	}
	assert_true(n <= LIMIT_PEER_EVENTS_BURST);
	free(peer);
}

/* CF13, and answers that belong to nothing. */
static void test_answers(void **unused _unused_)
{
	static const struct {
		enum wire_type type;
		bool right_id, right_session;
		int end;
		bool event;
	} cases[] = {
		{WIRE_EXPORTED, true, true, 0, true},
		{WIRE_FAILED, true, true, 0, true},
		{WIRE_EXPORTED, false, true, END_NO_REQUEST, false},
		{WIRE_EXPORTED, true, false, END_NO_REQUEST, false},
		{WIRE_FAILED, true, false, END_NO_REQUEST, false},
		{WIRE_IMPORTED, true, true, END_NO_REQUEST, false},
		{WIRE_STOPPED, true, true, END_NO_REQUEST, false},
		{WIRE_PONG, true, true, END_NO_REQUEST, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct heard heard;
		struct peer *peer = make_peer(&heard);
		struct wire_message m = {.type = cases[i].type};
		uint64_t session = cases[i].right_session ? 7 : 8;
		unsigned int before;

		greet(peer);
		peer->c.ping_usec = UINT64_MAX;
		peer->c.last_id = UINT32_MAX; /* wraps, past 0 */
		ask(peer, CORE_DO_EXPORT, 7);
		dialogue_send(peer, 0);
		m.id = sent(peer).id;
		assert_int_equal(m.id, 1);
		m.id += !cases[i].right_id;
		m.EXPORTED.session = session;
		if (m.type == WIRE_FAILED) {
			m.FAILED.session = session;
			m.FAILED.outcome = OUTCOME_BUSY;
		}
		before = heard.n;
		put(peer, &m);
		put(peer, &m); /* answered twice */
		dialogue_take_in(peer, 0);
		assert_int_equal(peer->end, END_NO_REQUEST);
		assert_int_equal(heard.n - before, cases[i].event);
		free(peer);
	}
}

/* A STOP that failed is no proof. */
static void test_failed_stop(void **unused _unused_)
{
	struct heard heard;
	struct peer *peer = make_peer(&heard);
	struct wire_message m = {.type = WIRE_FAILED};
	unsigned int before;

	greet(peer);
	peer->c.ping_usec = UINT64_MAX;
	ask(peer, CORE_DO_STOP_SOURCE, 7);
	dialogue_send(peer, 0);
	m.id = sent(peer).id;
	m.FAILED.session = 7;
	m.FAILED.outcome = OUTCOME_INTERNAL;
	before = heard.n;
	put(peer, &m);
	dialogue_take_in(peer, 0);
	assert_int_equal(peer->end, 0);
	assert_int_equal(heard.n, before);
	free(peer);
}

static size_t make_device(uint8_t *bytes)
{
	struct wire_message m = {.type = WIRE_DEVICE};
	size_t len;

	m.DEVICE.slot = 3;
	m.DEVICE.generation = 4;
	m.DEVICE.class = WIRE_CLASS_USB;
	m.DEVICE.speed = WIRE_SPEED_HIGH;
	(void)snprintf(m.DEVICE.port, sizeof(m.DEVICE.port), "1-2");
	len = wire_encode(&m, bytes);
	m = (struct wire_message){.type = WIRE_DEVICE_TEXT};
	m.DEVICE_TEXT.slot = 3;
	m.DEVICE_TEXT.generation = 4;
	m.DEVICE_TEXT.which = WIRE_TEXT_PRODUCT;
	(void)snprintf(m.DEVICE_TEXT.text, sizeof(m.DEVICE_TEXT.text), "Stick");
	len += wire_encode(&m, bytes + len);
	m = (struct wire_message){.type = WIRE_DEVICE_COMMIT};
	m.DEVICE_COMMIT.slot = 3;
	m.DEVICE_COMMIT.generation = 4;
	return len + wire_encode(&m, bytes + len);
}

/* The beginning of a device of that class. */
static size_t make_begun(uint8_t class_id, uint8_t *bytes)
{
	static const char *const ports[] = {
		[WIRE_CLASS_USB] = "1-2",
		[WIRE_CLASS_MIC] = "mic-01234567",
		[WIRE_CLASS_SPEAKER] = "speaker-01234567",
		[WIRE_CLASS_WEBCAM] = "webcam-01234567",
	};
	struct wire_message m = {.type = WIRE_DEVICE};
	bool is_usb = class_id == WIRE_CLASS_USB;

	m.DEVICE.slot = 3;
	m.DEVICE.generation = 4;
	m.DEVICE.class = class_id;
	m.DEVICE.speed = is_usb ? WIRE_SPEED_HIGH : WIRE_SPEED_NONE;
	m.DEVICE.n_interfaces = 1;
	(void)snprintf(m.DEVICE.port, sizeof(m.DEVICE.port), "%s", ports[class_id]);
	return wire_encode(&m, bytes);
}

/* Only dom0 has the microphone that Qubes calls dom0:mic. */
static void test_dom0_mic(void **unused _unused_)
{
	for (uint16_t domid = 0; domid < 2; domid++) {
		struct heard heard;
		struct peer *peer = make_peer(&heard);
		struct wire_message m = {.type = WIRE_DEVICE};

		greet(peer);
		peer->domid = domid;
		m.DEVICE.class = WIRE_CLASS_MIC;
		m.DEVICE.n_interfaces = 1;
		(void)strcpy(m.DEVICE.port, TEXT_DOM0_MIC);
		put(peer, &m);
		dialogue_take_in(peer, 0);
		assert_int_equal(peer->end, domid == 0 ? 0 : END_PORT);
		free(peer);
	}
}

/* A path is bounded, and is a path; a part is no USB device, and only of what is at a USB port; none is fine. */
static void test_places(void **unused _unused_)
{
	static const struct {
		uint8_t class_id;
		enum wire_text which;
		const char *text; /* NULL: not sent */
		int end;
	} cases[] = {
		{WIRE_CLASS_USB, WIRE_TEXT_PATH, NULL, 0},
		{WIRE_CLASS_USB, WIRE_TEXT_PATH, "pci-0000:00:04.0-usb-0:1.2", 0},
		{WIRE_CLASS_USB, WIRE_TEXT_PATH,
		 "1234567890123456789012345678901234567890123456789012345678901234567890123456789", 0},
		{WIRE_CLASS_USB, WIRE_TEXT_PATH,
		 "12345678901234567890123456789012345678901234567890123456789012345678901234567890", END_PATH},
		{WIRE_CLASS_USB, WIRE_TEXT_PATH, "", END_PATH},
		{WIRE_CLASS_USB, WIRE_TEXT_PATH, "a b", END_PATH},
		{WIRE_CLASS_USB, WIRE_TEXT_PATH, "-x", END_PATH},
		{WIRE_CLASS_MIC, WIRE_TEXT_PARENT, NULL, 0},
		{WIRE_CLASS_MIC, WIRE_TEXT_PARENT, "2-1", 0},
		{WIRE_CLASS_SPEAKER, WIRE_TEXT_PARENT, "2-1.4", 0},
		{WIRE_CLASS_SPEAKER, WIRE_TEXT_PARENT, "1-1.1.1.1.1.1.1.1.1.1.1.1.1.1.1", 0},
		{WIRE_CLASS_SPEAKER, WIRE_TEXT_PARENT, "1-1.1.1.1.1.1.1.1.1.1.1.1.1.1.12", END_PARENT},
		{WIRE_CLASS_WEBCAM, WIRE_TEXT_PARENT, NULL, 0},
		{WIRE_CLASS_WEBCAM, WIRE_TEXT_PARENT, "2-1.4", 0},
		{WIRE_CLASS_WEBCAM, WIRE_TEXT_PARENT, "video0", END_PARENT},
		{WIRE_CLASS_MIC, WIRE_TEXT_PARENT, "", END_PARENT},
		{WIRE_CLASS_MIC, WIRE_TEXT_PARENT, "2-1:1.0", END_PARENT},
		{WIRE_CLASS_MIC, WIRE_TEXT_PARENT, "mic-01234567", END_PARENT},
		{WIRE_CLASS_USB, WIRE_TEXT_PARENT, "2-1", END_PARENT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct heard heard;
		struct peer *peer = make_peer(&heard);
		struct wire_message m = {.type = WIRE_DEVICE_TEXT};
		const char *text = cases[i].text ? cases[i].text : "";

		greet(peer);
		heard.n = 0;
		peer->c.in_len = make_begun(cases[i].class_id, peer->c.in);
		m.DEVICE_TEXT.slot = 3;
		m.DEVICE_TEXT.generation = 4;
		m.DEVICE_TEXT.which = (uint8_t)cases[i].which;
		(void)snprintf(m.DEVICE_TEXT.text, sizeof(m.DEVICE_TEXT.text), "%s", text);
		if (cases[i].text)
			put(peer, &m);
		m = (struct wire_message){.type = WIRE_DEVICE_COMMIT};
		m.DEVICE_COMMIT.slot = 3;
		m.DEVICE_COMMIT.generation = 4;
		if (cases[i].end == 0)
			put(peer, &m);
		dialogue_take_in(peer, 0);
		assert_int_equal(peer->end, cases[i].end);
		assert_int_equal(heard.n, cases[i].end == 0);
		if (cases[i].end == 0) {
			assert_string_equal(heard.last.device.path, cases[i].which == WIRE_TEXT_PATH ? text : "");
			assert_string_equal(heard.last.device.parent, cases[i].which == WIRE_TEXT_PARENT ? text : "");
		}
		free(peer);
	}
}

/* CF02: byte by byte, and at each split point, the same as at once. */
static void test_split_points(void **unused _unused_)
{
	uint8_t bytes[3 * LIMIT_FRAME];
	size_t len = make_device(bytes);

	for (size_t split = 0; split <= len; split++) {
		struct heard heard;
		struct peer *peer = make_peer(&heard);
		size_t parts[] = {split, len};

		greet(peer);
		heard.n = 0;
		for (size_t at = 0, i = 0; i < 2; i++)
			for (; at < parts[i];) {
				size_t n = split == 0 ? 1 : parts[i] - at;

				memcpy(peer->c.in + peer->c.in_len, bytes + at, n);
				peer->c.in_len += n;
				at += n;
				dialogue_take_in(peer, 0);
			}
		assert_int_equal(peer->end, 0);
		assert_int_equal(heard.n, 1);
		assert_int_equal(heard.last.type, CORE_DEVICE);
		assert_int_equal(heard.last.device.ref.slot, 3);
		assert_string_equal(heard.last.device.product_name, "Stick");
		assert_int_equal(peer->c.in_len, 0);
		free(peer);
	}
}

/* The parts of a device must belong together. */
static void test_device_parts(void **unused _unused_)
{
	static const struct {
		enum wire_type type;
		uint16_t slot;
		uint32_t generation;
		uint8_t which;
		int end;
	} cases[] = {
		{WIRE_DEVICE_TEXT, 3, 4, WIRE_TEXT_SERIAL, 0},
		{WIRE_DEVICE_TEXT, 3, 4, WIRE_TEXT_PRODUCT, END_DEVICE}, /* twice */
		{WIRE_DEVICE_TEXT, 2, 4, WIRE_TEXT_SERIAL, END_DEVICE},
		{WIRE_DEVICE_TEXT, 3, 5, WIRE_TEXT_SERIAL, END_DEVICE},
		{WIRE_DEVICE_COMMIT, 3, 4, 0, 0},
		{WIRE_DEVICE_COMMIT, 3, 5, 0, END_DEVICE},
		{WIRE_DEVICE_COMMIT, 2, 4, 0, END_DEVICE},
		{WIRE_LIST_BEGIN, 0, 0, 0, WIRE_BAD_STATE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct heard heard;
		struct peer *peer = make_peer(&heard);
		struct wire_message m = {.type = cases[i].type};
		uint8_t commit[LIMIT_FRAME];
		struct wire_message c = {.type = WIRE_DEVICE_COMMIT};

		greet(peer);
		peer->c.in_len = make_device(peer->c.in) - wire_encode(&c, commit);
		if (m.type == WIRE_DEVICE_TEXT) {
			m.DEVICE_TEXT.slot = cases[i].slot;
			m.DEVICE_TEXT.generation = cases[i].generation;
			m.DEVICE_TEXT.which = cases[i].which;
		} else if (m.type == WIRE_DEVICE_COMMIT) {
			m.DEVICE_COMMIT.slot = cases[i].slot;
			m.DEVICE_COMMIT.generation = cases[i].generation;
		}
		put(peer, &m);
		dialogue_take_in(peer, 0);
		assert_int_equal(peer->end, cases[i].end);
		free(peer);
	}
}

/* The share of events: a burst, then so many a second, whatever the order of bytes and time. */
static void test_share(void **unused _unused_)
{
	struct heard heard;
	struct peer *peer = make_peer(&heard);
	struct wire_message m = {.type = WIRE_DEVICE_GONE};
	uint64_t now = 0;
	unsigned int n_in_ten_seconds;

	greet(peer);
	heard.n = 0;
	while (peer->c.throttled_until_usec == 0) {
		put(peer, &m);
		dialogue_take_in(peer, now);
	}
	assert_int_equal(heard.n, LIMIT_PEER_EVENTS_BURST - 2); /* HELLO and LIST_BEGIN cost too */
	assert_int_equal(peer->c.throttled_until_usec, PEER_EVENT_USEC);
	assert_true(peer->c.in_len > 0); /* nothing is lost */
	n_in_ten_seconds = heard.n;
	while (now < 10 * USEC_PER_SEC && heard.n < 510) {
		now = peer->c.throttled_until_usec;
		peer->c.throttled_until_usec = 0;
		while (peer->c.throttled_until_usec == 0) {
			if (peer->c.in_len == 0)
				put(peer, &m);
			dialogue_take_in(peer, now);
		}
	}
	n_in_ten_seconds = heard.n - n_in_ten_seconds;
	assert_true(n_in_ten_seconds <= now / PEER_EVENT_USEC + 1 && n_in_ten_seconds > 400);
	assert_int_equal(peer->end, 0);
	free(peer);
}

/* After a sleep no wait is over that was not over before it: whatever the agent was in the middle of. */
static void test_woke(void **unused _unused_)
{
	static const uint64_t slept = 3600 * USEC_PER_SEC;
	static const int ends[] = {END_NO_LIST, END_HALF_MESSAGE, END_NO_PONG, END_NO_PONG};
	struct heard heard;

	for (unsigned int i = 0; i < ARRAY_SIZE(ends); i++) {
		struct peer *peer = make_peer(&heard);

		if (i > 0)
			greet(peer);
		if (i == 1)
			peer->c.in[peer->c.in_len++] = 1; /* half a message */
		if (i >= 2)
			dialogue_send(peer, HEARTBEAT_USEC); /* a PING is under way */
		if (i == 3)
			ask(peer, CORE_DO_STOP_STRAY, 7);
		assert_int_equal(peer->c.ping_id != 0, i >= 2);
		peer->c.heard_usec = HEARTBEAT_USEC;
		assert_int_equal(dialogue_overdue(peer, HEARTBEAT_USEC), 0);
		assert_int_not_equal(dialogue_overdue(peer, slept), 0);
		dialogue_woke(peer, slept);
		assert_int_equal(dialogue_overdue(peer, slept), 0);
		assert_int_equal(dialogue_overdue(peer, slept + TIMEOUT_HEADER_USEC - 1), 0);
		peer->c.heard_usec = slept + HEARTBEAT_PONG_USEC; /* it says something, but never PONG */
		assert_int_equal(dialogue_overdue(peer, slept + HEARTBEAT_PONG_USEC), ends[i]);
		free(peer);
	}
}

/* CF08, and what the core calls a contradiction. */
static void test_ends(void **unused _unused_)
{
	struct heard heard;
	struct peer *peer = make_peer(&heard);
	struct wire_message m = {.type = WIRE_HELLO};
	static const uint16_t versions[] = {0, WIRE_VERSION + 1, UINT16_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		m.HELLO.version = versions[i];
		put(peer, &m);
		dialogue_take_in(peer, 0);
		assert_int_equal(peer->end, END_VERSION);
		assert_int_equal(peer->c.out_len, 0);
		free(peer);
		peer = make_peer(&heard);
	}
	m.HELLO.version = WIRE_VERSION;
	m.HELLO.roles = WIRE_ROLES + 1;
	put(peer, &m);
	dialogue_take_in(peer, 0);
	assert_int_equal(peer->end, END_ROLES);
	free(peer);

	peer = make_peer(&heard);
	greet(peer);
	heard.verdict = CORE_EVENT_CHEATED;
	peer->c.in_len = make_device(peer->c.in);
	dialogue_take_in(peer, 0);
	assert_int_equal(peer->end, END_CONTRADICTION);
	free(peer);

	/* RX01: who never takes its requests is cut at the limit */
	peer = make_peer(&heard);
	greet(peer);
	for (unsigned int i = 0; i <= PEER_WAITING && !peer->end; i++)
		ask(peer, CORE_DO_EXPORT, i + 1);
	assert_int_equal(peer->end, END_DOES_NOT_READ);
	free(peer);
}

/* What is asked of a camera and what it is called goes with its EXPORT and IMPORT, and with no other one's. */
static void test_camera(void **unused _unused_)
{
	static const struct core_device devices[] = {
		{.class_id = WIRE_CLASS_WEBCAM, .terms.picture = {1280, 720, 30, {101, 0, 0, 1, 3}}},
		{.class_id = WIRE_CLASS_WEBCAM},
		{.class_id = WIRE_CLASS_MIC},
	};
	struct heard heard;

	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		bool is_camera = devices[i].class_id == WIRE_CLASS_WEBCAM;
		struct peer *peer = make_peer(&heard);
		struct wire_message m;

		greet(peer);
		peer->c.ping_usec = UINT64_MAX;
		dialogue_request(peer,
				 &(struct core_action){.type = CORE_DO_IMPORT,
						       .session = i + 1,
						       .device = &devices[i],
						       .label = "HD Webcam C310 of the long name"},
				 4);
		dialogue_send(peer, 1);
		m = sent(peer);
		assert_int_equal(m.type, WIRE_IMPORT);
		assert_int_equal(m.IMPORT.class, devices[i].class_id);
		assert_int_equal(m.IMPORT.width, devices[i].terms.picture.width);
		assert_int_equal(m.IMPORT.height, devices[i].terms.picture.height);
		assert_int_equal(m.IMPORT.fps, devices[i].terms.picture.fps);
		assert_string_equal(m.IMPORT.label, is_camera ? "HD Webcam C310 of the long name" : "");
		dialogue_request(
			peer, &(struct core_action){.type = CORE_DO_EXPORT, .session = i + 10, .device = &devices[i]},
			4);
		dialogue_send(peer, 1);
		m = sent(peer);
		assert_int_equal(m.type, WIRE_EXPORT);
		assert_memory_equal(m.EXPORT.controls, devices[i].terms.picture.controls, CONTROL_COUNT);
		free(peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_requests),
		cmocka_unit_test(test_hung_requests),
		cmocka_unit_test(test_owed_answers),
		cmocka_unit_test(test_no_request_before_the_list),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_failed_stop),
		cmocka_unit_test(test_split_points),
		cmocka_unit_test(test_device_parts),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_woke),
		cmocka_unit_test(test_mute),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_dom0_mic),
		cmocka_unit_test(test_camera),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
