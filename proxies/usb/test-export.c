/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hostile client: single requests with one field that lies, and what must become of each: a fault that ends the
 * session, a refusal that the device sees nothing of, or a transfer; then UNLINKs of everything that can be named.
 */
#include "tests/unit.h"

#include "proxies/usb/test-model.h"

static struct model *model;

static int set_up(void **state)
{
	(void)state;
	model = calloc(1, sizeof(*model));
	return model ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	model_free(model);
	return 0;
}

static void begin(void)
{
	model_init(model, SAMPLE_EVERYTHING, 11);
	model->small_steps = false;
	model->device.calm = true;
	(void)usb_state_set_interface(&model->core.state, 1, 1);
	model->device.alternates[1] = 1;
}

static int feed(const void *bytes, size_t len)
{
	const uint8_t *from = bytes;
	int fault = 0;

	while (len > 0 && fault == 0) {
		uint8_t *at = NULL;
		size_t want = export_core_want(&model->core, &at);

		if (want == 0)
			break;
		if (want > len)
			want = len;
		memcpy(at, from, want);
		from += want;
		len -= want;
		fault = export_core_got(&model->core, want, model->now_usec);
		while (fault == 0 && export_core_again(&model->core))
			fault = export_core_process(&model->core, model->now_usec);
	}
	return fault;
}

static int feed_zeros(size_t len)
{
	static const uint8_t zeros[65536];
	int fault = 0;

	while (len > 0 && fault == 0) {
		size_t n = len < sizeof(zeros) ? len : sizeof(zeros);

		fault = feed(zeros, n);
		len -= n;
	}
	return fault;
}

#define OTHER 4000u /* a request that is in flight beside the one that is looked at; it alone returns data */

/* The next reply's header. Its data are dropped. */
static bool next_reply(struct usbip_header *ret_header)
{
	uint8_t bytes[USBIP_HEADER];

	while (model_drain_exporter(model))
		continue;
	if (stream_len(&model->to_importer) < USBIP_HEADER)
		return false;
	memcpy(bytes, model->to_importer.bytes + model->to_importer.at, USBIP_HEADER);
	assert_int_equal(usbip_decode(bytes, ret_header), 0);
	model->to_importer.at += USBIP_HEADER;
	if (ret_header->command == USBIP_RET_SUBMIT && ret_header->seqnum == OTHER)
		model->to_importer.at += (size_t)ret_header->ret_submit.actual_length;
	return true;
}

static void unlink_of(uint32_t seqnum, uint32_t target)
{
	struct usbip_header h = {
		.command = USBIP_CMD_UNLINK, .seqnum = seqnum, .devid = MODEL_DEVID, .unlink_seqnum = target};
	uint8_t bytes[USBIP_HEADER];

	usbip_encode(&h, bytes);
	assert_int_equal(feed(bytes, sizeof(bytes)), 0);
}

static void expect(uint32_t command, uint32_t seqnum, int32_t status)
{
	struct usbip_header h;

	assert_true(next_reply(&h));
	assert_int_equal(h.command, command);
	assert_int_equal(h.seqnum, seqnum);
	assert_int_equal(command == USBIP_RET_SUBMIT ? h.ret_submit.status : h.unlink_status, status);
}

#define SUBMITTED 1 /* instead of a status: the device has it */
#define FAULT(f) (1000 + EXPORT_FAULT_##f)

struct request {
	const char *what;
	uint32_t command, seqnum, devid, direction, ep;
	int32_t length, n_packets;
	uint8_t setup[8];
	size_t data_len; /* zeros that follow */
	int result;      /* SUBMITTED, a status, or FAULT() */
};

#define D MODEL_DEVID
static const struct request requests[] = {
	{"bulk in", 1, 5, D, 1, 1, 512, 0, {0}, 0, SUBMITTED},
	{"UC01 command 0", 0, 5, D, 1, 1, 512, 0, {0}, 0, FAULT(COMMAND)},
	{"UC01 command 3", 3, 5, D, 1, 1, 512, 0, {0}, 0, FAULT(COMMAND)},
	{"UC01 command 4", 4, 5, D, 1, 1, 512, 0, {0}, 0, FAULT(COMMAND)},
	{"UC01 command 5", 5, 5, D, 1, 1, 512, 0, {0}, 0, FAULT(COMMAND)},
	{"UC01 command 0x80000001", 0x80000001, 5, D, 1, 1, 512, 0, {0}, 0, FAULT(COMMAND)},
	{"UC01 command swapped", 0x01000000, 5, D, 1, 1, 512, 0, {0}, 0, FAULT(COMMAND)},
	{"UC02 seqnum 0", 1, 0, D, 1, 1, 512, 0, {0}, 0, SUBMITTED},
	{"UC02 seqnum -1", 1, 0xffffffff, D, 1, 1, 512, 0, {0}, 0, SUBMITTED},
	{"UC02 seqnum in flight", 1, OTHER, D, 1, 1, 512, 0, {0}, 0, FAULT(SEQNUM)},
	{"UC03 devid 0", 1, 5, 0, 1, 1, 512, 0, {0}, 0, FAULT(DEVID)},
	{"UC03 devid + 1", 1, 5, D + 1, 1, 1, 512, 0, {0}, 0, FAULT(DEVID)},
	{"UC03 devid -1", 1, 5, 0xffffffff, 1, 1, 512, 0, {0}, 0, FAULT(DEVID)},
	{"UC03 unlink with another devid", 2, 5, 0, 0, 0, 0, 0, {0}, 0, FAULT(DEVID)},
	{"direction 2", 1, 5, D, 2, 1, 512, 0, {0}, 0, FAULT(DIRECTION)},
	{"direction -1", 1, 5, D, 0xffffffff, 1, 512, 0, {0}, 0, FAULT(DIRECTION)},
	{"UC05 endpoint 16", 1, 5, D, 1, 16, 512, 0, {0}, 0, FAULT(ENDPOINT)},
	{"UC05 endpoint 127", 1, 5, D, 1, 127, 512, 0, {0}, 0, FAULT(ENDPOINT)},
	{"UC05 endpoint 128", 1, 5, D, 1, 128, 512, 0, {0}, 0, FAULT(ENDPOINT)},
	{"UC05 endpoint 0x80000001", 1, 5, D, 1, 0x80000001, 512, 0, {0}, 0, FAULT(ENDPOINT)},
	{"UC05 endpoint not of the device", 1, 5, D, 1, 9, 512, 0, {0}, 0, FAULT(ENDPOINT)},
	{"UC05 right number, wrong direction", 1, 5, D, 0, 1, 4, 0, {0}, 4, FAULT(ENDPOINT)},
	{"UC07 length 0", 1, 5, D, 1, 1, 0, 0, {0}, 0, SUBMITTED},
	{"UC07 length 1", 1, 5, D, 1, 1, 1, 0, {0}, 0, SUBMITTED},
	{"UC07 at the limit", 1, 5, D, 1, 1, 1048576, 0, {0}, 0, SUBMITTED},
	{"UC07 over the limit", 1, 5, D, 1, 1, 1048577, 0, {0}, 0, WIRE_STATUS_TOO_LARGE},
	{"UC07 over the limit, out", 1, 5, D, 0, 2, 1048577, 0, {0}, 1048577, WIRE_STATUS_TOO_LARGE},
	{"UC07 INT_MAX", 1, 5, D, 1, 1, INT32_MAX, 0, {0}, 0, WIRE_STATUS_TOO_LARGE},
	{"UC07 INT_MIN", 1, 5, D, 1, 1, INT32_MIN, 0, {0}, 0, FAULT(LENGTH)},
	{"UC07 -1", 1, 5, D, 1, 1, -1, 0, {0}, 0, FAULT(LENGTH)},
	{"packets on bulk are ignored", 1, 5, D, 1, 1, 512, -1, {0}, 0, SUBMITTED},
	{"UC10 no packet", 1, 5, D, 1, 4, 0, 0, {0}, 0, WIRE_STATUS_INVALID},
	{"UC10 one packet", 1, 5, D, 1, 4, 0, 1, {0}, 16, SUBMITTED},
	{"UC10 1024 packets", 1, 5, D, 1, 4, 0, 1024, {0}, 16 * 1024, SUBMITTED},
	{"UC10 1025 packets", 1, 5, D, 1, 4, 0, 1025, {0}, 16 * 1025, WIRE_STATUS_INVALID},
	{"UC10 -1 packets", 1, 5, D, 1, 4, 0, -1, {0}, 0, FAULT(PACKETS)},
	{"control in", 1, 5, D, 1, 0, 18, 0, {0x80, 6, 0, 1, 0, 0, 18, 0}, 0, SUBMITTED},
	{"control without data, direction in", 1, 5, D, 1, 0, 0, 0, {0x21, 10, 0, 0, 0, 0, 0, 0}, 0, SUBMITTED},
	{"control, direction against setup", 1, 5, D, 0, 0, 18, 0, {0x80, 6, 0, 1, 0, 0, 18, 0}, 18, WIRE_STATUS_STALL},
	{"control, length against setup", 1, 5, D, 1, 0, 19, 0, {0x80, 6, 0, 1, 0, 0, 18, 0}, 0, WIRE_STATUS_STALL},
	{"control of 4096", 1, 5, D, 1, 0, 4096, 0, {0xc0, 6, 0, 0, 0, 0, 0, 16}, 0, SUBMITTED},
	{"control of 4097", 1, 5, D, 1, 0, 4097, 0, {0xc0, 6, 0, 0, 0, 0, 1, 16}, 0, WIRE_STATUS_STALL},
	{"control out of 65535", 1, 5, D, 0, 0, 65535, 0, {0x40, 6, 0, 0, 0, 0, 255, 255}, 65535, WIRE_STATUS_STALL},
	{"UC14 SET_ADDRESS", 1, 5, D, 0, 0, 0, 0, {0, 5, 7, 0, 0, 0, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC14 SET_DESCRIPTOR", 1, 5, D, 0, 0, 4, 0, {0, 7, 0, 1, 0, 0, 4, 0}, 4, WIRE_STATUS_STALL},
	{"UC13 HP13 no configuration at all", 1, 5, D, 0, 0, 0, 0, {0, 9, 0, 0, 0, 0, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC13 unknown configuration", 1, 5, D, 0, 0, 0, 0, {0, 9, 3, 0, 0, 0, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC13 configuration 0x101", 1, 5, D, 0, 0, 0, 0, {0, 9, 1, 1, 0, 0, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC13 configuration in disguise", 1, 5, D, 0, 0, 0, 0, {0x01, 9, 2, 0, 0, 0, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC13 unknown alternate setting", 1, 5, D, 0, 0, 0, 0, {1, 11, 2, 0, 1, 0, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC13 unknown interface", 1, 5, D, 0, 0, 0, 0, {1, 11, 0, 0, 2, 0, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC13 interface 0x101", 1, 5, D, 0, 0, 0, 0, {1, 11, 0, 0, 1, 1, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC13 halt of an unknown endpoint", 1, 5, D, 0, 0, 0, 0, {2, 1, 0, 0, 0x87, 0, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC13 halt of endpoint 0x181", 1, 5, D, 0, 0, 0, 0, {2, 1, 0, 0, 0x81, 1, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC13 clear halt", 1, 5, D, 0, 0, 0, 0, {2, 1, 0, 0, 0x81, 0, 0, 0}, 0, WIRE_STATUS_OK},
	{"UC13 same configuration", 1, 5, D, 0, 0, 0, 0, {0, 9, 1, 0, 0, 0, 0, 0}, 0, WIRE_STATUS_OK},
	{"UC13 other configuration", 1, 5, D, 0, 0, 0, 0, {0, 9, 2, 0, 0, 0, 0, 0}, 0, WIRE_STATUS_OK},
	{"UC13 alternate setting", 1, 5, D, 0, 0, 0, 0, {1, 11, 0, 0, 1, 0, 0, 0}, 0, WIRE_STATUS_OK},
	/* usbfs has a line for the kernel's log, each time, of a request to what is not there or not claimed */
	{"interface that is not there, class",
	 1,
	 5,
	 D,
	 0,
	 0,
	 0,
	 0,
	 {0x21, 10, 0, 0, 63, 0, 0, 0},
	 0,
	 WIRE_STATUS_STALL},
	{"interface that is not there, standard",
	 1,
	 5,
	 D,
	 1,
	 0,
	 2,
	 0,
	 {0x81, 0, 0, 0, 2, 0, 2, 0},
	 0,
	 WIRE_STATUS_STALL},
	{"interface that is not there, reserved",
	 1,
	 5,
	 D,
	 0,
	 0,
	 0,
	 0,
	 {0x61, 0, 0, 0, 2, 0, 0, 0},
	 0,
	 WIRE_STATUS_STALL},
	{"interface that is not there, vendor", 1, 5, D, 0, 0, 0, 0, {0x41, 0, 0, 0, 63, 0, 0, 0}, 0, SUBMITTED},
	{"interface, with more in the index", 1, 5, D, 0, 0, 0, 0, {0x21, 1, 0, 0, 1, 63, 0, 0}, 0, SUBMITTED},
	{"interface of no printer, turned round",
	 1,
	 5,
	 D,
	 1,
	 0,
	 2,
	 0,
	 {0xa1, 0, 0, 0, 2, 0, 2, 0},
	 0,
	 WIRE_STATUS_STALL},
	{"endpoint of the other direction", 1, 5, D, 1, 0, 2, 0, {0xa2, 0x81, 0, 1, 1, 0, 2, 0}, 0, WIRE_STATUS_STALL},
	{"endpoint with reserved bits", 1, 5, D, 1, 0, 2, 0, {0xa2, 0x81, 0, 1, 0x91, 0, 2, 0}, 0, WIRE_STATUS_STALL},
	{"endpoint that is not there, standard",
	 1,
	 5,
	 D,
	 1,
	 0,
	 2,
	 0,
	 {0x82, 0, 0, 0, 0x89, 0, 2, 0},
	 0,
	 WIRE_STATUS_STALL},
	{"endpoint that is not there, vendor", 1, 5, D, 0, 0, 0, 0, {0x42, 0, 0, 0, 0x89, 0, 0, 0}, 0, SUBMITTED},
	{"endpoint 0", 1, 5, D, 1, 0, 2, 0, {0x82, 0, 0, 0, 0x80, 0, 2, 0}, 0, SUBMITTED},
	{"endpoint of the active setting", 1, 5, D, 1, 0, 2, 0, {0xa2, 0x81, 0, 1, 0x84, 0, 2, 0}, 0, SUBMITTED},
	{"UC13 port reset", 1, 5, D, 0, 0, 0, 0, {0x23, 3, 4, 0, 1, 0, 0, 0}, 0, WIRE_STATUS_OK},
	{"other port feature", 1, 5, D, 0, 0, 0, 0, {0x23, 3, 8, 0, 1, 0, 0, 0}, 0, WIRE_STATUS_STALL},
	{"UC19 extremes that mean nothing",
	 1,
	 5,
	 D,
	 1,
	 3,
	 8,
	 0x7fffffff,
	 {255, 255, 255, 255, 255, 255, 255, 255},
	 0,
	 SUBMITTED},
};
#undef D

static size_t put_request(uint8_t *bytes, const struct request *q)
{
	struct usbip_header h = {
		.command = q->command, .seqnum = q->seqnum, .devid = q->devid, .direction = q->direction, .ep = q->ep};

	if (q->command == USBIP_CMD_SUBMIT) {
		h.cmd_submit = (struct usbip_cmd_submit){.flags = 0xffffffff,
							 .length = q->length,
							 .start_frame = INT32_MIN,
							 .n_packets = q->n_packets,
							 .interval = INT32_MAX};
		memcpy(h.cmd_submit.setup, q->setup, 8);
	}
	if (q->command >= 1 && q->command <= 4) {
		usbip_encode(&h, bytes);
	} else {
		memset(bytes, 0, USBIP_HEADER);
		put_be32(bytes, q->command);
	}
	return USBIP_HEADER;
}

static void test_requests(void **state)
{
	static const struct request other = {"", 1, OTHER, MODEL_DEVID, 1, 3, 8, 0, {0}, 0, SUBMITTED};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		const struct request *q = &requests[i];
		uint8_t bytes[USBIP_HEADER];
		struct usbip_header h;
		unsigned int before;
		int fault;

		begin();
		assert_int_equal(feed(bytes, put_request(bytes, &other)), 0);
		before = model->device.n_submits;
		fault = feed(bytes, put_request(bytes, q));
		if (fault == 0)
			fault = feed_zeros(q->data_len);
		if (q->result >= 1000) {
			if (fault + 1000 != q->result)
				fail_msg("%s: %s", q->what, export_fault_text(fault));
			model_deinit(model);
			continue;
		}
		if (fault)
			fail_msg("%s: %s", q->what, export_fault_text(fault));
		while (model->core.barrier != EXPORT_NO_BARRIER &&
		       (model->device.n_held > 0 || export_core_again(&model->core))) {
			if (model->device.n_held > 0)
				device_end(&model->device, 0);
			assert_int_equal(export_core_process(&model->core, 0), 0);
		}
		if (model->device.n_submits - before != (q->result == SUBMITTED))
			fail_msg("%s: the device saw %u", q->what, model->device.n_submits - before);
		if (q->result == SUBMITTED) {
			model_deinit(model);
			continue;
		}
		do {
			if (!next_reply(&h))
				fail_msg("%s: no reply", q->what);
		} while (h.seqnum != q->seqnum);
		if (h.command != USBIP_RET_SUBMIT || h.ret_submit.status != q->result)
			fail_msg("%s: status %d", q->what, h.ret_submit.status);
		model_deinit(model);
	}
}

/* A halt is cleared when nothing is in flight there; what is in flight elsewhere stays. */
static void test_halt_in_flight(void **state)
{
	static const struct request asks[] = {
		{"", 1, 1, MODEL_DEVID, 1, 1, 512, 0, {0}, 0, 0},
		{"", 1, 2, MODEL_DEVID, 1, 1, 512, 0, {0}, 0, 0},
		{"", 1, 3, MODEL_DEVID, 1, 3, 8, 0, {0}, 0, 0},
		{"", 1, 4, MODEL_DEVID, 0, 0, 0, 0, {2, 1, 0, 0, 0x81, 0, 0, 0}, 0, 0},
		{"", 1, 5, MODEL_DEVID, 1, 1, 512, 0, {0}, 0, 0},
	};
	uint8_t bytes[USBIP_HEADER];
	struct usbip_header h;

	(void)state;
	begin();
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(feed(bytes, put_request(bytes, &asks[i])), 0);
	assert_int_equal(model->device.n_halts, 0);
	assert_true(model->device.held[0].cancelled && model->device.held[1].cancelled);
	assert_false(model->device.held[2].cancelled);
	while (model->device.n_held > 1) {
		struct export_urb *urb = model->device.held[0].urb;

		assert_int_equal(model->device.n_halts, 0);
		model->device.held[0] = model->device.held[1];
		model->device.held[1] = model->device.held[2];
		model->device.n_held--;
		export_core_complete(&model->core, urb, WIRE_STATUS_UNLINKED, 0);
		assert_int_equal(export_core_process(&model->core, 0), 0);
	}
	assert_int_equal(model->device.n_halts, 1);
	for (uint32_t seqnum = 1; seqnum <= 2; seqnum++) {
		assert_true(next_reply(&h));
		assert_int_equal(h.seqnum, seqnum);
		assert_int_equal(h.ret_submit.status, WIRE_STATUS_PROTOCOL);
	}
	assert_true(next_reply(&h));
	assert_int_equal(h.seqnum, 4);
	assert_int_equal(h.ret_submit.status, 0);
	assert_int_equal(feed(bytes, put_request(bytes, &asks[4])), 0);
	assert_int_equal(model->device.n_held, 2);
	model_deinit(model);
}

static int submit_later(void *device, struct export_urb *urb)
{
	(void)device;
	(void)urb;
	return EXPORT_LATER;
}

static int submit_one(void *device, struct export_urb *urb)
{
	struct model_device *d = device;

	return d->n_held == 0 ? device_submit_model(device, urb) : EXPORT_LATER;
}

static const struct request bulk_in = {"", 1, 2, MODEL_DEVID, 1, 1, 512, 0, {0}, 0, 0};

/* One request that waits for memory. */
static void begin_without_memory(bool with_idle)
{
	static const struct request idle = {"", 1, 1, MODEL_DEVID, 1, 3, 8, 0, {0}, 0, 0};
	static struct export_device_ops empty_pot;
	uint8_t bytes[USBIP_HEADER];

	begin();
	if (with_idle)
		assert_int_equal(feed(bytes, put_request(bytes, &idle)), 0);
	empty_pot = model_device_ops;
	empty_pot.submit = submit_later;
	model->core.ops = &empty_pot;
	assert_int_equal(feed(bytes, put_request(bytes, &bulk_in)), 0);
	assert_non_null(model->core.first_waiting);
}

/* usbfs' memory is one pot for all sessions of a qube: when another gives it back nothing happens here, so a clock must ask. */
static void test_memory_of_others(void **state)
{
	uint64_t delay = RETRY_MEMORY_MIN_USEC;

	(void)state;
	begin_without_memory(true);
	for (unsigned int i = 0; i < 200; i++) {
		assert_true(export_core_deadline(&model->core) == model->now_usec + delay);
		assert_int_equal(export_core_process(&model->core, model->now_usec + delay - 1), 0);
		assert_true(export_core_deadline(&model->core) == model->now_usec + delay);
		model->now_usec += delay;
		assert_int_equal(export_core_expire(&model->core, model->now_usec), 0);
		assert_int_equal(export_core_process(&model->core, model->now_usec), 0);
		delay = delay * 2 < RETRY_MEMORY_MAX_USEC ? delay * 2 : RETRY_MEMORY_MAX_USEC;
	}
	model->core.ops = &model_device_ops;
	assert_int_equal(export_core_process(&model->core, export_core_deadline(&model->core)), 0);
	assert_int_equal(model->device.n_held, 2);
	assert_true(export_core_deadline(&model->core) == UINT64_MAX);
	model_deinit(model);
}

/* A request that waited for memory, while another configuration came in which there is nobody whom it is to. */
static void test_waiting_for_nobody(void **state)
{
	static const struct request class = {"", 1, 3, MODEL_DEVID, 0, 0, 0, 0, {0x21, 10, 0, 0, 1, 0, 0, 0}, 0, 0};
	uint8_t bytes[USBIP_HEADER];
	struct usbip_header h;

	(void)state;
	begin_without_memory(true);
	assert_int_equal(feed(bytes, put_request(bytes, &class)), 0);
	assert_false(next_reply(&h));
	(void)usb_state_set_configuration(&model->core.state, 2);
	assert_false(usb_state_has_interface(&model->core.state, 1));
	model->core.ops = &model_device_ops;
	model->device.configuration = 2;
	(void)export_core_process(&model->core, export_core_deadline(&model->core));
	assert_true(next_reply(&h));
	assert_int_equal(h.seqnum, 3);
	assert_int_equal(h.ret_submit.status, WIRE_STATUS_STALL);
	model_deinit(model);
}

/* With nothing of ours in flight it ends all the same: in the end the driver is told. */
static void test_no_memory_at_all(void **state)
{
	uint8_t bytes[USBIP_HEADER];
	uint64_t until;
	struct usbip_header h;
	struct request second = bulk_in;
	struct export_device_ops some;

	(void)state;
	second.seqnum = 3;
	begin_without_memory(false);
	until = model->now_usec + TIMEOUT_REFUSE_USEC;
	assert_int_equal(feed(bytes, put_request(bytes, &second)), 0);
	while (model->now_usec < until) {
		assert_false(next_reply(&h));
		model->now_usec = export_core_deadline(&model->core);
		assert_int_equal(export_core_process(&model->core, model->now_usec), 0);
	}
	assert_true(model->now_usec < until + RETRY_MEMORY_MAX_USEC);
	for (uint32_t seqnum = 2; seqnum <= 3; seqnum++)
		expect(USBIP_RET_SUBMIT, seqnum, WIRE_STATUS_NO_MEMORY);
	assert_true(export_core_deadline(&model->core) == UINT64_MAX);
	model_deinit(model);
	/* there is memory for the first in the last moment: the second has something to wait for again */
	begin_without_memory(false);
	assert_int_equal(feed(bytes, put_request(bytes, &second)), 0);
	some = model_device_ops;
	some.submit = submit_one;
	model->core.ops = &some;
	assert_int_equal(export_core_process(&model->core, until), 0);
	assert_int_equal(model->device.n_held, 1);
	assert_int_equal(export_core_process(&model->core, until + 10 * TIMEOUT_REFUSE_USEC), 0);
	assert_false(next_reply(&h));
	assert_non_null(model->core.first_waiting);
	model_deinit(model);
	begin_without_memory(false);
	unlink_of(60, 2);
	expect(USBIP_RET_UNLINK, 60, WIRE_STATUS_UNLINKED);
	assert_true(export_core_deadline(&model->core) == UINT64_MAX);
	model_deinit(model);
}

static int operation_result; /* of the two below, whose device has done half of it by then */

static int set_configuration_half(void *device, uint8_t value)
{
	((struct model_device *)device)->configuration = value;
	return operation_result;
}

static int reset_half(void *device)
{
	((struct model_device *)device)->configuration = 0;
	return operation_result;
}

/* The engine must not go on with what it knew when the device may be in something else. */
static void test_half_way(void **state)
{
	static const struct request asks[] = {
		{"", 1, 1, MODEL_DEVID, 0, 0, 0, 0, {0, 9, 2, 0, 0, 0, 0, 0}, 0, 0},
		{"", 1, 1, MODEL_DEVID, 0, 0, 0, 0, {0x23, 3, 4, 0, 1, 0, 0, 0}, 0, 0},
	};
	static const struct {
		int result;
		enum export_outcome ended;
	} results[] = {
		{WIRE_STATUS_STALL, EXPORT_CHANGED},
		{WIRE_STATUS_PROTOCOL, EXPORT_CHANGED},
		{EXPORT_CHANGED, EXPORT_CHANGED},
		{EXPORT_GONE, EXPORT_GONE},
	};
	struct export_device_ops half = model_device_ops;

	(void)state;
	half.set_configuration = set_configuration_half;
	half.reset = reset_half;
	for (size_t i = 0; i < ARRAY_SIZE(asks) * ARRAY_SIZE(results); i++) {
		uint8_t bytes[USBIP_HEADER], *at;

		begin();
		model->core.ops = &half;
		operation_result = results[i / 2].result;
		assert_int_equal(feed(bytes, put_request(bytes, &asks[i % 2])), 0);
		assert_int_equal(model->core.ended, results[i / 2].ended);
		assert_int_equal(export_core_want(&model->core, &at), 0);
		model_deinit(model);
	}
}

/* UC21: whatever lies in the buffer, the caller gets a word in between two operations that block. */
static void test_one_operation_each(void **state)
{
	static const struct request asks[] = {
		{"", 1, 1, MODEL_DEVID, 0, 0, 0, 0, {2, 1, 0, 0, 0x81, 0, 0, 0}, 0, 0},
		{"", 1, 2, MODEL_DEVID, 0, 0, 0, 0, {1, 11, 1, 0, 1, 0, 0, 0}, 0, 0},
		{"", 1, 3, MODEL_DEVID, 0, 0, 0, 0, {0, 9, 1, 0, 0, 0, 0, 0}, 0, 0}, /* two: both interfaces */
		{"", 1, 4, MODEL_DEVID, 0, 0, 0, 0, {0x23, 3, 4, 0, 1, 0, 0, 0}, 0, 0},
		{"", 1, 5, MODEL_DEVID, 0, 0, 0, 0, {0, 9, 2, 0, 0, 0, 0, 0}, 0, 0},
	};
	uint8_t bytes[ARRAY_SIZE(asks) * USBIP_HEADER], *at;
	unsigned int n = 0;

	(void)state;
	begin();
	/* interface 0 gets a second setting */
	model->snapshot.descriptors.altsettings[0].alternate = 1;
	model->core.state.alternates[0] = 1;
	model->device.alternates[0] = 1;
	model->snapshot.descriptors.altsettings[3] = model->snapshot.descriptors.altsettings[0];
	model->snapshot.descriptors.altsettings[3].alternate = 0;
	model->snapshot.descriptors.configurations[0].n_altsettings = 4;
	for (size_t i = 0; i < ARRAY_SIZE(asks); i++)
		(void)put_request(bytes + i * USBIP_HEADER, &asks[i]);
	assert_true(export_core_want(&model->core, &at) >= sizeof(bytes));
	memcpy(at, bytes, sizeof(bytes));
	assert_int_equal(export_core_got(&model->core, sizeof(bytes), 0), 0);
	while (export_core_again(&model->core)) {
		assert_int_equal(device_n_operations(&model->device), ++n);
		assert_int_equal(export_core_process(&model->core, 0), 0);
	}
	assert_int_equal(n, 6);
	assert_int_equal(device_n_operations(&model->device), 6);
	model_deinit(model);
}

/* Recipients that only a printer has, that only another setting has, and none without a configuration. */
static void test_recipients(void **state)
{
	static const struct request printer = {"", 1, 1, MODEL_DEVID, 1, 0, 2, 0, {0xa1, 0, 0, 0, 9, 1, 2, 0}, 0, 0};
	static const struct request rate = {"", 1, 2, MODEL_DEVID, 1, 0, 2, 0, {0xa2, 0x81, 0, 1, 0x84, 0, 2, 0}, 0, 0};
	static const struct request class = {"", 1, 3, MODEL_DEVID, 0, 0, 0, 0, {0x21, 10, 0, 0, 0, 0, 0, 0}, 0, 0};
	uint8_t bytes[USBIP_HEADER];
	struct usbip_header h;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		begin();
		model->snapshot.descriptors.altsettings[2].alternate = 9; /* of interface 1 */
		model->snapshot.descriptors.altsettings[2].class_code = i == 0 ? 7 : 8;
		assert_int_equal(feed(bytes, put_request(bytes, &printer)), 0);
		assert_int_equal(model->device.n_submits, i == 0);
		assert_int_equal(next_reply(&h), i == 1);
		model_deinit(model);
	}
	begin();
	(void)usb_state_set_interface(&model->core.state, 1, 0);
	assert_int_equal(feed(bytes, put_request(bytes, &rate)), 0);
	assert_int_equal(model->device.n_submits, 1);
	(void)usb_state_set_configuration(&model->core.state, 0);
	assert_int_equal(feed(bytes, put_request(bytes, &class)), 0);
	assert_int_equal(model->device.n_submits, 1);
	assert_true(next_reply(&h));
	assert_int_equal(h.ret_submit.status, WIRE_STATUS_STALL);
	model_deinit(model);
}

/* UC13: executed exactly once */
static void test_once(void **state)
{
	static const struct request asks[] = {
		{"", 1, 1, MODEL_DEVID, 0, 0, 0, 0, {2, 1, 0, 0, 0x81, 0, 0, 0}, 0, 0},
		{"", 1, 2, MODEL_DEVID, 0, 0, 0, 0, {1, 11, 0, 0, 1, 0, 0, 0}, 0, 0},
		{"", 1, 3, MODEL_DEVID, 0, 0, 0, 0, {0, 9, 2, 0, 0, 0, 0, 0}, 0, 0},
		{"", 1, 4, MODEL_DEVID, 0, 0, 0, 0, {0x23, 3, 4, 0, 1, 0, 0, 0}, 0, 0},
	};
	uint8_t bytes[USBIP_HEADER];

	(void)state;
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(asks); i++)
		assert_int_equal(feed(bytes, put_request(bytes, &asks[i])), 0);
	assert_int_equal(model->device.n_halts, 1);
	assert_int_equal(model->device.n_interfaces, 1);
	assert_int_equal(model->device.n_configurations, 1);
	assert_int_equal(model->device.n_resets, 1);
	assert_int_equal(model->device.n_submits, 0);
	assert_int_equal(model->core.state.configuration->value, 2);
	model_deinit(model);
}

/* UC11 */
static void test_packets(void **state)
{
	static const struct {
		uint32_t length;
		struct usbip_iso_packet packets[3];
		bool good;
	} cases[] = {
		{30, {{0, 10, 0, 0}, {10, 10, 0, 0}, {20, 10, 0, 0}}, true},
		{30, {{0, 10, 0, -18}, {10, 10, 0, -18}, {20, 10, 0, -18}}, true}, /* as Linux sends them */
		{30, {{0, 0, 0, 0}, {5, 0, 0, 0}, {30, 0, 0, 0}}, true},
		{30, {{0, 10, 0, 0}, {10, 10, 0, 0}, {20, 11, 0, 0}}, false},
		{30, {{0, 10, 0, 0}, {9, 10, 0, 0}, {20, 10, 0, 0}}, false},
		{30, {{10, 10, 0, 0}, {0, 10, 0, 0}, {20, 10, 0, 0}}, false},
		{30, {{0, 10, 0, 0}, {10, 0xfffffff8, 0, 0}, {20, 10, 0, 0}}, false},
		{30, {{0xfffffff0, 0x20, 0, 0}, {10, 1, 0, 0}, {20, 10, 0, 0}}, false},
		{30, {{0x70000000, 1, 0, 0}, {10, 1, 0, 0}, {20, 10, 0, 0}}, false},
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool in = i % 2;
		struct request q = {"", 1, 5, MODEL_DEVID, in, in ? 4 : 5, (int32_t)cases[i / 2].length, 3, {0}, 0, 0};
		uint8_t bytes[USBIP_HEADER], packet[USBIP_ISO_PACKET];
		uint8_t data[64] = {0};
		struct usbip_header h;

		begin();
		for (uint32_t p = 0; p < 3 && cases[i / 2].good; p++)
			for (uint32_t k = 0; k < cases[i / 2].packets[p].length; k++)
				data[cases[i / 2].packets[p].offset + k] = model_byte(5 + p, k);
		assert_int_equal(feed(bytes, put_request(bytes, &q)), 0);
		if (!in)
			assert_int_equal(feed(data, cases[i / 2].length), 0);
		for (size_t p = 0; p < 3; p++) {
			usbip_iso_encode(&cases[i / 2].packets[p], packet);
			assert_int_equal(feed(packet, sizeof(packet)), 0);
		}
		if (model->device.n_submits != cases[i / 2].good)
			fail_msg("case %zu", i / 2);
		if (!cases[i / 2].good) {
			assert_true(next_reply(&h));
			assert_int_equal(h.ret_submit.status, WIRE_STATUS_INVALID);
			assert_int_equal(h.ret_submit.n_packets, 3);
		}
		model_deinit(model);
	}
}

/* UC08, CF02: data that do not come, and requests byte by byte */
static void test_silence(void **state)
{
	struct request q = {"", 1, 5, MODEL_DEVID, 0, 2, 100, 0, {0}, 0, 0};
	uint8_t bytes[USBIP_HEADER + 100];

	(void)state;
	put_request(bytes, &q);
	for (uint32_t i = 0; i < 100; i++)
		bytes[USBIP_HEADER + i] = model_byte(5, i);
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		begin();
		for (size_t i = 0; i < n; i++)
			assert_int_equal(feed(bytes + i, 1), 0);
		assert_int_equal(export_core_expire(&model->core, model->now_usec + TIMEOUT_HEADER_USEC),
				 n == 0 || n == sizeof(bytes) ? 0 : EXPORT_FAULT_STALLED);
		assert_int_equal(export_core_expire(&model->core, model->now_usec + TIMEOUT_HEADER_USEC - 1), 0);
		assert_int_equal(model->device.n_submits, n == sizeof(bytes));
		model_deinit(model);
	}
}

/* UC16 */
static void test_unlinks(void **state)
{
	const struct request q = {"", 1, 50, MODEL_DEVID, 1, 3, 8, 0, {0}, 0, 0};
	uint8_t bytes[USBIP_HEADER];
	struct usbip_header h;

	(void)state;
	begin();
	unlink_of(60, 12345);
	expect(USBIP_RET_UNLINK, 60, 0); /* unknown */
	unlink_of(61, 61);
	expect(USBIP_RET_UNLINK, 61, 0); /* itself */
	unlink_of(62, 61);
	expect(USBIP_RET_UNLINK, 62, 0); /* an UNLINK */
	unlink_of(63, 50);
	expect(USBIP_RET_UNLINK, 63, 0); /* before the SUBMIT */
	assert_int_equal(feed(bytes, put_request(bytes, &q)), 0);
	unlink_of(64, 50);
	unlink_of(65, 50);
	expect(USBIP_RET_UNLINK, 65, 0); /* a second time */
	export_core_complete(&model->core, model->device.held[0].urb, WIRE_STATUS_UNLINKED, 0);
	model->device.n_held = 0;
	expect(USBIP_RET_UNLINK, 64, WIRE_STATUS_UNLINKED);
	unlink_of(66, 50);
	expect(USBIP_RET_UNLINK, 66, 0); /* ended already */
	assert_false(next_reply(&h));
	model_deinit(model);
}

/* UC16: 10,000 in a row, nobody reads the answers: bounded, and one answer each in the end */
static void test_unlink_storm(void **state)
{
	struct usbip_header h = {.command = USBIP_CMD_UNLINK, .devid = MODEL_DEVID};
	uint32_t sent = 0, answered = 0;

	(void)state;
	begin();
	while (answered < 10000) {
		uint8_t bytes[USBIP_HEADER], *at = NULL;

		while (sent < 10000 && export_core_want(&model->core, &at) >= USBIP_HEADER) {
			h.seqnum = ++sent;
			usbip_encode(&h, bytes);
			memcpy(at, bytes, sizeof(bytes));
			assert_int_equal(export_core_got(&model->core, sizeof(bytes), 0), 0);
		}
		assert_true(model->core.n_unlinks <= EXPORT_UNLINKS);
		assert_true(next_reply(&h));
		assert_int_equal(h.seqnum, ++answered);
		assert_int_equal(h.unlink_status, 0);
		h = (struct usbip_header){.command = USBIP_CMD_UNLINK, .devid = MODEL_DEVID};
		assert_int_equal(export_core_process(&model->core, 0), 0);
	}
	model_deinit(model);
}

/* UC17, RX14: a client that does not heed its limits and reads nothing */
static void test_limits(void **state)
{
	static const struct {
		int32_t length;
		unsigned int most;
	} cases[] = {{8, LIMIT_URBS}, {LIMIT_TRANSFER, LIMIT_IN_FLIGHT / LIMIT_TRANSFER}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[USBIP_HEADER], *at;
		uint32_t seqnum = 0;

		begin();
		while (export_core_want(&model->core, &at) > 0) {
			struct request q = {"", 1, ++seqnum, MODEL_DEVID, 1, 1, cases[i].length, 0, {0}, 0, 0};

			assert_true(seqnum < 2000);
			assert_int_equal(feed(bytes, put_request(bytes, &q)), 0);
		}
		assert_int_equal(model->device.n_held, cases[i].most);
		assert_true(model->core.in_flight <= LIMIT_IN_FLIGHT);
		assert_true(export_core_deadline(&model->core) == UINT64_MAX);
		/* ended but not read: still no room */
		device_end(&model->device, 0);
		assert_int_equal(export_core_process(&model->core, 0), 0);
		assert_int_equal(export_core_want(&model->core, &at), 0);
		while (model_drain_exporter(model))
			continue;
		assert_int_equal(export_core_process(&model->core, 0), 0);
		assert_int_equal(model->device.n_held, cases[i].most);
		model_deinit(model);
	}
}

/* An unplugged device: no request goes there any more. */
static void test_gone(void **state)
{
	const struct request q = {"", 1, 50, MODEL_DEVID, 1, 3, 8, 0, {0}, 0, 0};
	uint8_t bytes[USBIP_HEADER], *at;

	(void)state;
	begin();
	assert_int_equal(feed(bytes, put_request(bytes, &q)), 0);
	export_core_complete(&model->core, model->device.held[0].urb, WIRE_STATUS_NO_DEVICE, 0);
	model->device.n_held = 0;
	assert_int_equal(model->core.ended, EXPORT_GONE);
	assert_int_equal(export_core_want(&model->core, &at), 0);
	expect(USBIP_RET_SUBMIT, 50, WIRE_STATUS_NO_DEVICE);
	model_deinit(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_unlinks),
		cmocka_unit_test(test_unlink_storm),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_half_way),
		cmocka_unit_test(test_one_operation_each),
		cmocka_unit_test(test_memory_of_others),
		cmocka_unit_test(test_no_memory_at_all),
		cmocka_unit_test(test_waiting_for_nobody),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_halt_in_flight),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
