/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lying exporter: an honest session over each kind of reply, in which one header or packet field, then each pair of
 * fields, holds something else. The judge is the client of test-model.h, which aborts at the first byte that is not
 * legal USB/IP for what it asked. Then truths that come too often, too late, too early or not at all.
 */
#include "tests/unit.h"

#include "proxies/usb/import_check.h"
#include "proxies/usb/test-model.h"

static struct model *model, *twin;

static int set_up(void **state)
{
	(void)state;
	model = calloc(1, sizeof(*model));
	twin = calloc(1, sizeof(*twin));
	return model && twin ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	model_free(model);
	model_free(twin);
	return 0;
}

enum kind {
	KIND_CONTROL,
	KIND_BULK_IN,
	KIND_BULK_OUT,
	KIND_INTERRUPT,
	KIND_ISO_IN,
	KIND_ISO_OUT,
	KIND_UNLINKED,
	KIND_UNLINK_LATE,
	KIND_COUNT
};

#define WORD_COMMAND 0u
#define WORD_SEQNUM 1u
#define WORD_DEVID 2u
#define WORD_EP 4u
#define WORD_STATUS 5u
#define WORD_ACTUAL 6u
#define WORD_START_FRAME 7u
#define WORD_N_PACKETS 8u
#define WORD_ERROR_COUNT 9u
#define WORD_PADDING 10u
#define HEADER_WORDS 12u
#define PACKET_WORDS 4u /* of the first packet descriptor */
#define LIE_WORDS (HEADER_WORDS + PACKET_WORDS)

struct lie {
	unsigned int word;
	uint32_t value;
	bool relative; /* added to the truth */
};

static const struct lie values[] = {
	{0, 0, false},          {0, 1, false},          {0, 3, false},          {0, 4, false},
	{0, 5, false},          {0, 0xffffffff, false}, {0, 0xfffffffb, false}, {0, 0x7fffffff, false},
	{0, 0x80000000, false}, {0, 0xfffffffc, false}, {0, 1000, false},       {0, 0xffffff98, false},
	{0, 0x01000000, false}, {0, 1, true},           {0, 0xffffffff, true},  {0, 512, true},
};
#define N_PAIR_VALUES 16u

/* One reply of the exporter, one message at a time; lies in the `at`th. */
static bool drain_one(struct model *m, const struct lie *lies, size_t n_lies, bool now)
{
	struct iovec iov[3];
	int n_iov = export_core_output(&m->core, iov, 3);
	size_t total = 0;

	if (n_iov == 0)
		return false;
	for (int i = 0; i < n_iov; i++) {
		uint8_t *copy = malloc(iov[i].iov_len);

		MODEL_CHECK(copy);
		memcpy(copy, iov[i].iov_base, iov[i].iov_len);
		for (size_t k = 0; now && k < n_lies; k++) {
			bool in_packet = lies[k].word >= HEADER_WORDS;
			uint8_t *word = copy + 4 * (in_packet ? lies[k].word - HEADER_WORDS : lies[k].word);

			if (in_packet ? (i == n_iov - 1 && i > 0) : i == 0)
				put_be32(word, lies[k].relative ? get_be32(word) + lies[k].value : lies[k].value);
		}
		stream_put(&m->to_importer, copy, iov[i].iov_len);
		total += iov[i].iov_len;
		free(copy);
	}
	export_core_sent(&m->core, total);
	return true;
}

static void ask(struct model *m, enum kind kind)
{
	switch (kind) {
	case KIND_CONTROL:
		client_submit_control(&m->client, 0xc0, 1, 0, 0, 40);
		break;
	case KIND_BULK_IN:
		client_submit(&m->client, 0x81, 100);
		break;
	case KIND_BULK_OUT:
		client_submit(&m->client, 0x02, 100);
		break;
	case KIND_INTERRUPT:
		client_submit(&m->client, 0x83, 0);
		break;
	case KIND_ISO_IN:
		client_submit(&m->client, 0x84, 0);
		break;
	case KIND_ISO_OUT:
		client_submit(&m->client, 0x05, 0);
		break;
	case KIND_UNLINKED:
	case KIND_UNLINK_LATE:
		client_submit(&m->client, 0x81, 30);
		break;
	case KIND_COUNT:
		break;
	}
}

static void run_device(struct model *m)
{
	bool moved = true;

	while (moved) {
		moved = model_move_commands(m);
		moved |= model_feed_exporter(m);
		MODEL_CHECK(export_core_process(&m->core, m->now_usec) == 0);
		moved |= export_core_again(&m->core);
	}
}

/*
 * A session: other transfers outstanding around the one of `kind`, whose reply holds the lies. Returns the filter's
 * fault. Without one the session goes on and must end well.
 */
static int run_lie(enum kind kind, const struct lie *lies, size_t n_lies)
{
	struct model *m = model;
	unsigned int nth = 0, target = 2;

	model_init(m, SAMPLE_EVERYTHING, 42);
	m->small_steps = false;
	m->device.calm = true;
	(void)usb_state_set_interface(&m->client.state, 1, 1);
	(void)usb_state_set_interface(&m->filter.state, 1, 1);
	(void)usb_state_set_interface(&m->core.state, 1, 1);
	m->device.alternates[1] = 1;
	client_submit(&m->client, 0x02, 64);
	client_submit(&m->client, 0x81, 64);
	ask(m, kind);
	client_submit(&m->client, 0x81, 64);
	run_device(m);
	if (kind == KIND_UNLINKED || kind == KIND_UNLINK_LATE) {
		struct model_urb *urb = client_find(&m->client, m->device.held[2].urb->seqnum);

		MODEL_CHECK(urb);
		if (kind == KIND_UNLINK_LATE) {
			export_core_complete(&m->core, m->device.held[2].urb, 0, 0);
			m->device.held[2] = m->device.held[--m->device.n_held];
			target = 1;
		}
		MODEL_CHECK(client_unlink(&m->client, urb));
		run_device(m);
		if (kind == KIND_UNLINKED) {
			export_core_complete(&m->core, m->device.held[2].urb, WIRE_STATUS_UNLINKED, 0);
			m->device.held[2] = m->device.held[--m->device.n_held];
			target = 0;
		}
	} else {
		export_core_complete(&m->core, m->device.held[0].urb, 0, 64);
		for (uint32_t i = 0; i < 64; i++)
			m->device.held[1].urb->buffer[i] = model_byte(m->device.held[1].urb->seqnum, i);
		export_core_complete(&m->core, m->device.held[1].urb, 0, 64);
		m->device.held[0] = m->device.held[2];
		m->device.held[1] = m->device.held[3];
		m->device.n_held = 2;
		device_end(&m->device, 0);
	}
	while (drain_one(m, lies, n_lies, nth == target))
		nth++;
	MODEL_CHECK(nth > target);
	while (model_move_replies(m, false))
		continue;
	if (m->fault == 0)
		model_settle(m, false);
	else
		model_let_go(m);
	return m->fault;
}

static bool honest(struct model *m)
{
	if (client_in_flight(&m->client) < 5) {
		client_submit(&m->client, 0x81, 64);
		client_submit(&m->client, 0x02, 64);
	}
	(void)model_move(m, true);
	if (m->device.n_held > 0)
		device_end(&m->device, 0);
	return m->fault == 0;
}

struct expected {
	enum kind kind;
	struct lie lie;
	int fault;
};

/* The lies whose end is fixed by the contract. */
static const struct expected expectations[] = {
	{KIND_BULK_IN, {WORD_COMMAND, 0, false}, IMPORT_FAULT_COMMAND}, /* UR03 */
	{KIND_BULK_IN, {WORD_COMMAND, 1, false}, IMPORT_FAULT_COMMAND}, /* UR03 */
	{KIND_BULK_IN, {WORD_COMMAND, 2, false}, IMPORT_FAULT_COMMAND}, /* UR03 */
	{KIND_BULK_IN, {WORD_COMMAND, 5, false}, IMPORT_FAULT_COMMAND}, /* UR03 */
	{KIND_BULK_IN, {WORD_COMMAND, 4, false}, IMPORT_FAULT_UNLINK},
	{KIND_BULK_IN, {WORD_SEQNUM, 100, true}, IMPORT_FAULT_SEQNUM}, /* UR01 */
	{KIND_BULK_IN, {WORD_SEQNUM, 0, false}, IMPORT_FAULT_SEQNUM},  /* UR01 */
	{KIND_BULK_IN, {WORD_DEVID, 7, false}, 0},
	{KIND_BULK_IN, {3, 9, false}, 0},
	{KIND_BULK_IN, {WORD_EP, 9, false}, 0},
	{KIND_BULK_IN, {WORD_STATUS, 1, false}, IMPORT_FAULT_STATUS},
	{KIND_BULK_IN, {WORD_STATUS, 0x7fffffff, false}, IMPORT_FAULT_STATUS},
	{KIND_BULK_IN, {WORD_STATUS, 0xffffff98, false}, IMPORT_FAULT_STATUS}, /* -104 without an UNLINK */
	{KIND_BULK_IN, {WORD_STATUS, 0xffffff8d, false}, IMPORT_FAULT_STATUS}, /* -EINPROGRESS */
	{KIND_BULK_IN, {WORD_STATUS, 0xffffffe0, false}, 0},
	{KIND_BULK_IN, {WORD_ACTUAL, 1, true}, IMPORT_FAULT_LENGTH},           /* UR05 */
	{KIND_BULK_IN, {WORD_ACTUAL, 512, true}, IMPORT_FAULT_LENGTH},         /* UR05 */
	{KIND_BULK_IN, {WORD_ACTUAL, 0x7fffffff, false}, IMPORT_FAULT_LENGTH}, /* UR05 */
	{KIND_BULK_IN, {WORD_ACTUAL, 0xffffffff, false}, IMPORT_FAULT_LENGTH}, /* UR05 */
	{KIND_BULK_IN, {WORD_ACTUAL, 0xfffffffb, false}, IMPORT_FAULT_LENGTH}, /* UR05 */
	{KIND_BULK_IN, {WORD_ACTUAL, 0xfffffffc, false}, IMPORT_FAULT_LENGTH}, /* UR05 */
	{KIND_INTERRUPT, {WORD_ACTUAL, 1, false}, IMPORT_FAULT_LENGTH},        /* UR08 */
	{KIND_BULK_OUT, {WORD_ACTUAL, 1, true}, IMPORT_FAULT_LENGTH},
	{KIND_BULK_IN, {WORD_START_FRAME, 5, false}, 0},
	{KIND_BULK_IN, {WORD_N_PACKETS, 1000, false}, 0},
	{KIND_BULK_IN, {WORD_N_PACKETS, 0xffffffff, false}, 0},
	{KIND_BULK_IN, {WORD_ERROR_COUNT, 0xffffffff, false}, 0}, /* UR17 */
	{KIND_BULK_IN, {WORD_PADDING, 1, false}, 0},
	{KIND_CONTROL, {WORD_ACTUAL, 1, true}, IMPORT_FAULT_LENGTH},
	{KIND_CONTROL, {WORD_N_PACKETS, 1000, false}, 0},
	{KIND_ISO_IN, {WORD_N_PACKETS, 1, true}, IMPORT_FAULT_PACKETS},          /* UR10 */
	{KIND_ISO_IN, {WORD_N_PACKETS, 0xffffffff, true}, IMPORT_FAULT_PACKETS}, /* UR10 */
	{KIND_ISO_IN, {WORD_N_PACKETS, 0, false}, IMPORT_FAULT_PACKETS},         /* UR10 */
	{KIND_ISO_IN, {WORD_N_PACKETS, 1024, false}, IMPORT_FAULT_PACKETS},      /* UR10 */
	{KIND_ISO_IN, {WORD_N_PACKETS, 0x7fffffff, false}, IMPORT_FAULT_PACKETS},
	{KIND_ISO_IN, {WORD_N_PACKETS, 0xffffffff, false}, IMPORT_FAULT_PACKETS},
	{KIND_ISO_IN, {WORD_ERROR_COUNT, 1000, false}, 0},                         /* UR17 */
	{KIND_ISO_IN, {HEADER_WORDS, 0x70000000, false}, 0},                       /* offset */
	{KIND_ISO_IN, {HEADER_WORDS + 1, 0x70000000, false}, 0},                   /* length */
	{KIND_ISO_IN, {HEADER_WORDS + 2, 1, true}, IMPORT_FAULT_PACKETS},          /* UR12 */
	{KIND_ISO_IN, {HEADER_WORDS + 2, 0x80000000, true}, IMPORT_FAULT_PACKETS}, /* UR12 */
	{KIND_ISO_IN, {HEADER_WORDS + 2, 0, false}, IMPORT_FAULT_PACKETS},         /* UR14 */
	{KIND_ISO_IN, {HEADER_WORDS + 3, 1, false}, IMPORT_FAULT_PACKETS},
	{KIND_ISO_OUT, {WORD_ACTUAL, 0, false}, IMPORT_FAULT_PACKETS},     /* UR14 */
	{KIND_ISO_OUT, {HEADER_WORDS + 2, 1, true}, IMPORT_FAULT_PACKETS}, /* UR12 */
	{KIND_UNLINKED, {WORD_STATUS, 0, false}, IMPORT_FAULT_UNLINK},     /* UR02 */
	{KIND_UNLINKED, {WORD_STATUS, 1, false}, IMPORT_FAULT_UNLINK},
	{KIND_UNLINKED, {WORD_SEQNUM, 1, true}, IMPORT_FAULT_UNLINK},
	{KIND_UNLINKED, {WORD_COMMAND, 3, false}, IMPORT_FAULT_SEQNUM},
	{KIND_UNLINKED, {WORD_DEVID, 3, false}, 0},
	{KIND_UNLINKED, {WORD_PADDING, 3, false}, 0},
	{KIND_UNLINK_LATE, {WORD_STATUS, 0xffffff98, false}, IMPORT_FAULT_UNLINK}, /* UR02 */
};

static void test_expected(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(expectations); i++) {
		int fault = run_lie(expectations[i].kind, &expectations[i].lie, 1);

		if (fault != expectations[i].fault)
			fail_msg("row %zu: %s", i, import_fault_text(fault));
		model_deinit(model);
	}
}

/* UR12, UR14: lies in two packets whose sum is right, in 64 bits and in 32. */
static void test_balanced_packets(void **state)
{
	static const struct lie balanced[][2] = {
		{{HEADER_WORDS + 2, 1, true}, {HEADER_WORDS + PACKET_WORDS + 2, 0xffffffff, true}},
		{{HEADER_WORDS + 2, 0x80000000, true}, {HEADER_WORDS + PACKET_WORDS + 2, 0x80000000, true}},
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(balanced); i++) {
		assert_int_equal(run_lie(i % 2 ? KIND_ISO_IN : KIND_ISO_OUT, balanced[i / 2], 2), IMPORT_FAULT_PACKETS);
		model_deinit(model);
	}
}

static void test_every_field(void **state)
{
	unsigned int n = 0, cut = 0;

	(void)state;
	for (unsigned int kind = 0; kind < KIND_COUNT; kind++)
		for (unsigned int word = 0; word < LIE_WORDS; word++)
			for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
				struct lie lie = values[v];

				lie.word = word;
				cut += run_lie((enum kind)kind, &lie, 1) != 0;
				n++;
				model_deinit(model);
			}
	print_message("%u lies, %u cut, the others rewritten or legal\n", n, cut);
	assert_true(cut > n / 4);
}

static void test_every_pair(void **state)
{
	unsigned int n = 0, cut = 0;

	(void)state;
	model_init(twin, SAMPLE_EVERYTHING, 7);
	twin->small_steps = false;
	twin->device.calm = true;
	for (unsigned int kind = 0; kind < KIND_COUNT; kind++)
		for (unsigned int a = 0; a < LIE_WORDS; a++)
			for (unsigned int b = a + 1; b < LIE_WORDS; b++)
				for (size_t v = 0; v < N_PAIR_VALUES; v++) {
					struct lie lies[2] = {values[v], values[(v * 7 + a + b) % ARRAY_SIZE(values)]};

					lies[0].word = a;
					lies[1].word = b;
					cut += run_lie((enum kind)kind, lies, 2) != 0;
					n++;
					model_deinit(model);
					assert_true(honest(twin));
				}
	model_settle(twin, true);
	assert_int_equal(twin->fault, 0);
	assert_int_equal(client_in_flight(&twin->client), 0);
	print_message("%u pairs, %u cut; the honest twin had %u replies\n", n, cut, twin->client.n_completed);
	model_deinit(twin);
}

/* The filter alone, with one bulk IN request of 100 bytes passed (and UNLINKed). Returns its number. */
static uint32_t one_request(struct model *m, uint8_t address, bool unlink)
{
	model_init(m, SAMPLE_EVERYTHING, 9);
	m->small_steps = false;
	client_submit(&m->client, address, 100);
	if (unlink)
		MODEL_CHECK(client_unlink(&m->client, &m->client.urbs[0]));
	while (model_move_commands(m))
		continue;
	return m->client.urbs[0].seqnum;
}

static size_t put_reply(uint8_t *at, uint32_t command, uint32_t seqnum, int32_t status, int32_t actual)
{
	struct usbip_header h = {.command = command, .seqnum = seqnum};

	if (command == USBIP_RET_SUBMIT)
		h.ret_submit = (struct usbip_ret_submit){.status = status, .actual_length = actual};
	else
		h.unlink_status = status;
	usbip_encode(&h, at);
	return USBIP_HEADER;
}

/* UR02: every order of two answers to one request. */
static void test_orders(void **state)
{
	static const struct {
		uint32_t commands[2];
		int32_t statuses[2];
		int fault;
	} orders[] = {
		{{3, 3}, {0, 0}, IMPORT_FAULT_SEQNUM},
		{{3, 4}, {0, 0}, 0},
		{{3, 4}, {-104, 0}, 0},
		{{3, 4}, {0, -104}, IMPORT_FAULT_UNLINK},
		{{4, 3}, {-104, 0}, IMPORT_FAULT_SEQNUM},
		{{4, 3}, {0, 0}, IMPORT_FAULT_UNLINK},
		{{4, 4}, {-104, -104}, IMPORT_FAULT_UNLINK},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		uint32_t seqnum = one_request(model, 0x81, true);
		uint8_t bytes[2 * USBIP_HEADER];
		size_t pass = 0, n = 0;
		int fault;

		for (size_t k = 0; k < 2; k++)
			n += put_reply(bytes + n, orders[i].commands[k],
				       orders[i].commands[k] == 3 ? seqnum : model->client.unlinks[0].seqnum,
				       orders[i].statuses[k], 0);
		fault = import_filter_replies(&model->filter, bytes, n, 1, &pass);
		if (fault != orders[i].fault)
			fail_msg("order %zu: %s", i, import_fault_text(fault));
		model_deinit(model);
	}
}

/* UR01: an answer while the request's own data are still on their way. */
static void test_too_early(void **state)
{
	uint8_t bytes[USBIP_HEADER];
	struct import_step step;
	size_t pass = 0;

	(void)state;
	model_init(model, SAMPLE_EVERYTHING, 9);
	client_submit(&model->client, 0x02, 100);
	assert_int_equal(import_filter_commands(&model->filter, model->client.sends.bytes, USBIP_HEADER + 99, 1, &step),
			 0);
	assert_int_equal(step.pass, USBIP_HEADER + 99);
	put_reply(bytes, USBIP_RET_SUBMIT, model->client.urbs[0].seqnum, 0, 100);
	assert_int_equal(import_filter_replies(&model->filter, bytes, sizeof(bytes), 1, &pass), IMPORT_FAULT_SEQNUM);
	model_deinit(model);
}

/*
 * UR02: an UNLINK names a number that was answered already; while its answer is awaited the number is used again (the
 * counter wraps) and that request's data are still on their way: "I unlinked it" would complete it too early.
 */
static void test_unlinked_too_early(void **state)
{
	struct usbip_header unlink = {.command = USBIP_CMD_UNLINK, .seqnum = 0x7000};
	uint32_t seqnum = one_request(model, 0x02, false);
	uint8_t submit[USBIP_HEADER + 100], bytes[USBIP_HEADER], command[USBIP_HEADER];
	struct import_step step;
	size_t pass = 0;

	(void)state;
	memcpy(submit, model->client.sends.bytes, USBIP_HEADER);
	memset(submit + USBIP_HEADER, 0, 100);
	unlink.unlink_seqnum = seqnum;
	usbip_encode(&unlink, command);
	put_reply(bytes, USBIP_RET_SUBMIT, seqnum, 0, 100);
	assert_int_equal(import_filter_replies(&model->filter, bytes, sizeof(bytes), 1, &pass), 0);
	assert_int_equal(import_filter_commands(&model->filter, command, sizeof(command), 1, &step), 0);
	assert_int_equal(step.pass, sizeof(command));
	assert_int_equal(import_filter_commands(&model->filter, submit, sizeof(submit) - 1, 1, &step), 0);
	assert_int_equal(step.pass, sizeof(submit) - 1);
	put_reply(bytes, USBIP_RET_UNLINK, unlink.seqnum, WIRE_STATUS_UNLINKED, 0);
	assert_int_equal(import_filter_replies(&model->filter, bytes, sizeof(bytes), 1, &pass), IMPORT_FAULT_UNLINK);
	model_deinit(model);
}

/* UR06, UR19: any number of bytes of a reply, then silence; and one byte at a time. */
static void test_silence(void **state)
{
	(void)state;
	for (size_t n = 0; n <= USBIP_HEADER + 100; n++) {
		uint32_t seqnum = one_request(model, 0x81, false);
		uint8_t bytes[USBIP_HEADER + 100] = {0};
		uint64_t now = 1000;
		size_t passed = 0, pass = 0;
		int r;

		put_reply(bytes, USBIP_RET_SUBMIT, seqnum, 0, 100);
		for (size_t i = 1; i <= n; i++) {
			assert_int_equal(import_filter_replies(&model->filter, bytes + passed, i - passed, now, &pass),
					 0);
			passed += pass;
			now += 10;
		}
		assert_int_equal(passed, n < sizeof(bytes) ? 0 : n);
		r = import_filter_expire(&model->filter, now + TIMEOUT_HEADER_USEC);
		assert_int_equal(r, n == 0 || n == sizeof(bytes) ? 0 : IMPORT_FAULT_STALLED);
		assert_int_equal(import_filter_expire(&model->filter, 1000 + TIMEOUT_HEADER_USEC - 1), 0);
		model_deinit(model);
	}
}

/* usb_kill_urb() waits for this answer without limit. */
static void test_unlink_watchdog(void **state)
{
	uint64_t now;

	(void)state;
	(void)one_request(model, 0x81, true);
	now = model->now_usec;
	assert_true(import_filter_deadline(&model->filter) == now + TIMEOUT_UNLINK_USEC);
	assert_int_equal(import_filter_expire(&model->filter, now + TIMEOUT_UNLINK_USEC - 1), 0);
	assert_int_equal(import_filter_expire(&model->filter, now + TIMEOUT_UNLINK_USEC), IMPORT_FAULT_UNLINK_LATE);
	model_deinit(model);
}

/*
 * UR06 and then the end of the session, by time or by the other side's end: whatever was there of a reply, what the kernel
 * waits for beside it (and it, too) is answered all the same.
 */
static void test_cut_then_let_go(void **state)
{
	static const struct {
		uint8_t address;
		uint32_t length;
	} asks[] = {{0x81, 100}, {0x02, 100}, {0x83, 64}, {0x84, 0}, {0x05, 0}, {0, 40}};
	size_t whole = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(asks); i++, whole = 1) {
		for (size_t k = 0; k < whole; k++) {
			struct model *m = model;

			model_init(m, SAMPLE_EVERYTHING, 3);
			m->small_steps = false;
			m->device.calm = true;
			(void)usb_state_set_interface(&m->client.state, 1, 1);
			(void)usb_state_set_interface(&m->filter.state, 1, 1);
			(void)usb_state_set_interface(&m->core.state, 1, 1);
			m->device.alternates[1] = 1;
			client_submit(&m->client, 0x81, 64);
			if (asks[i].address)
				client_submit(&m->client, asks[i].address, asks[i].length);
			else
				client_submit_control(&m->client, 0xc0, 1, 0, 0, (uint16_t)asks[i].length);
			client_submit(&m->client, 0x83, 64);
			run_device(m);
			device_end(&m->device, 1);
			while (drain_one(m, NULL, 0, false))
				continue;
			whole = stream_len(&m->to_importer);
			m->to_importer.end = m->to_importer.at + k;
			while (model_move_replies(m, false))
				continue;
			assert_int_equal(m->fault, 0);
			assert_int_equal(import_filter_expire(&m->filter, m->now_usec + TIMEOUT_HEADER_USEC),
					 k ? IMPORT_FAULT_STALLED : 0);
			assert_int_equal(m->client.n_completed, 0);
			model_let_go(m);
			assert_int_equal(m->client.n_completed, 3);
			model_deinit(m);
		}
		assert_true(whole >= USBIP_HEADER);
	}
}

/* UR21: each byte of each descriptor that makes up the device's identity. */
static void test_identity(void **state)
{
	static const uint8_t setups[][8] = {
		{0x80, 6, 0, 1, 0, 0, 18, 0},  {0x80, 6, 0, 1, 0, 0, 64, 0},  {0x80, 6, 0, 2, 0, 0, 9, 0},
		{0x80, 6, 0, 2, 0, 0, 255, 0}, {0x80, 6, 1, 2, 0, 0, 255, 0}, {0x80, 6, 3, 3, 9, 4, 255, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(setups); i++) {
		uint8_t buffer[8 + 512];
		struct export_urb urb = {.type = USB_CONTROL, .in = true, .buffer = buffer};
		uint32_t len;

		model_init(model, SAMPLE_EVERYTHING, 1);
		memcpy(buffer, setups[i], 8);
		urb.length = setups[i][6];
		len = device_control_data(&model->device, &urb);
		assert_true(len >= 9);
		for (uint32_t n = 0; n <= len; n++) {
			uint8_t setup[8];

			memcpy(setup, setups[i], 8);
			put_le16(setup + 6, (uint16_t)n);
			assert_true(import_check_control(&model->snapshot, setup, true, buffer + 8, n));
		}
		if (setups[i][3] == 3)
			assert_false(import_check_control(&model->snapshot, setups[i], true, buffer + 8, len - 2));
		else /* a short answer would be taken for the whole: fewer interfaces than were approved */
			for (uint32_t n = 1; n < len; n++) {
				assert_false(import_check_control(&model->snapshot, setups[i], true, buffer + 8, n));
				assert_true(import_check_control(&model->snapshot, setups[i], false, buffer + 8, n));
			}
		for (uint32_t at = setups[i][3] == 3; at < len; at++) {
			buffer[8 + at] ^= 0x01;
			assert_false(import_check_control(&model->snapshot, setups[i], true, buffer + 8, len));
			buffer[8 + at] ^= 0x01;
		}
		buffer[8 + len] = 0;
		if (setups[i][3] != 3)
			assert_false(import_check_control(&model->snapshot, setups[i], true, buffer + 8, len + 1));
		model_deinit(model);
	}
}

/* UD05, and what has no place in the snapshot: bounded only. */
static void test_other_descriptors(void **state)
{
	static const uint8_t third[8] = {0x80, 6, 2, 2, 0, 0, 255, 0}, bos[8] = {0x80, 6, 0, 15, 0, 0, 255, 0},
			     hid[8] = {0x81, 6, 0, 0x22, 0, 0, 255, 0}, product[8] = {0x80, 6, 2, 3, 9, 4, 255, 0};
	uint8_t data[64] = {64, 2};

	(void)state;
	model_init(model, SAMPLE_EVERYTHING, 1);
	assert_false(import_check_control(&model->snapshot, third, true, data, sizeof(data)));
	assert_true(import_check_control(&model->snapshot, third, true, data, 0));
	assert_true(import_check_control(&model->snapshot, bos, true, data, sizeof(data)));
	assert_true(import_check_control(&model->snapshot, hid, true, data, sizeof(data)));
	assert_true(import_check_control(&model->snapshot, product, true, data, sizeof(data)));
	model_deinit(model);
}

/* A serial number as Linux and the agent make it readable: UTF-16 with pairs, halves, controls, spaces around. */
static void test_serials(void **state)
{
	static const struct {
		const char *serial;
		uint8_t string[32];
	} serials[] = {
		{"AB", {6, 3, 'A', 0, 'B', 0}},
		{"A_B", {8, 3, 'A', 0, 0xe9, 0, 'B', 0}},
		{"A_B", {10, 3, 'A', 0, 0x3d, 0xd8, 0x00, 0xde, 'B', 0}},
		{"AB", {8, 3, 'A', 0, 0x3d, 0xd8, 'B', 0}},
		{"A", {8, 3, 'A', 0, 0, 0, 'B', 0}},
		{"A_", {6, 3, 'A', 0, 27, 0}},
		{"A", {8, 3, ' ', 0, 'A', 0, ' ', 0}},
		{"", {2, 3}},
	};

	(void)state;
	model_init(model, SAMPLE_EVERYTHING, 1);
	for (size_t i = 0; i < ARRAY_SIZE(serials); i++) {
		memcpy(model->snapshot.serial, serials[i].serial, strlen(serials[i].serial) + 1);
		for (uint8_t n = 0; n <= serials[i].string[0]; n++) {
			const uint8_t setup[8] = {0x80, 6, 3, 3, 9, 4, n, 0};

			if (!import_check_control(&model->snapshot, setup, true, serials[i].string, n))
				fail_msg("serial %zu, %u bytes", i, n);
		}
	}
	model_deinit(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expected),           cmocka_unit_test(test_orders),
		cmocka_unit_test(test_balanced_packets),   cmocka_unit_test(test_too_early),
		cmocka_unit_test(test_unlinked_too_early), cmocka_unit_test(test_silence),
		cmocka_unit_test(test_unlink_watchdog),    cmocka_unit_test(test_identity),
		cmocka_unit_test(test_other_descriptors),  cmocka_unit_test(test_serials),
		cmocka_unit_test(test_every_field),        cmocka_unit_test(test_every_pair),
		cmocka_unit_test(test_cut_then_let_go),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
