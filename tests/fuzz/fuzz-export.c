/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The export engine with its state: the input is a script of requests, near truths and raw bytes, between which the
 * device ends transfers. The judge is the device of test-model.h: it aborts when asked for what the snapshot does not
 * have. What the engine answers must at least be framed as USB/IP.
 */
#include "proxies/usb/test-model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct script {
	const uint8_t *at;
	size_t left;
};

static uint32_t next(struct script *s, size_t n)
{
	uint32_t value = 0;

	for (; n > 0 && s->left > 0; n--, s->left--)
		value = value << 8 | *s->at++;
	return value;
}

/* Takes a request as it is, whatever its data: they are nobody's here. */
static int submit_any(void *device, struct export_urb *urb)
{
	struct model_device *d = device;
	int interface;

	MODEL_CHECK(urb->length <= LIMIT_TRANSFER && urb->n_packets <= LIMIT_ISO_PACKETS && !d->core->stopped);
	if (urb->type != USB_CONTROL)
		MODEL_CHECK(device_has_endpoint(d, urb->address, &interface));
	else
		MODEL_CHECK(device_has_recipient(d, urb->buffer));
	if (model_chance(d->random, 5))
		return EXPORT_LATER;
	MODEL_CHECK(d->n_held < MODEL_URBS);
	d->held[d->n_held].urb = urb;
	d->held[d->n_held++].cancelled = false;
	return 0;
}

static void request(struct model *m, struct script *s)
{
	static const uint8_t setups[][8] = {
		{0x80, 6, 0, 1, 0, 0, 64, 0}, {0, 9, 1},          {0, 9, 2}, {1, 11, 1, 0, 1},   {1, 11, 0, 0, 1},
		{2, 1, 0, 0, 0x81},           {0x23, 3, 4, 0, 1}, {0, 5, 1}, {0x21, 1, 0, 0, 1},
	};
	uint8_t what = (uint8_t)next(s, 1);
	uint8_t bytes[USBIP_HEADER], zeros[64] = {0};
	struct usbip_header h = {
		.command = what & 1 ? USBIP_CMD_SUBMIT : USBIP_CMD_UNLINK, .seqnum = next(s, 1), .devid = MODEL_DEVID};

	if (h.command == USBIP_CMD_UNLINK) {
		h.unlink_seqnum = next(s, 1);
	} else {
		h.ep = what >> 4 & 7;
		h.direction = what >> 1 & 1;
		h.cmd_submit.length = (int32_t)(next(s, 1) & 63);
		h.cmd_submit.n_packets = h.ep > 3 ? (int32_t)(next(s, 1) & 3) : 0;
		if (h.ep == 0) {
			memcpy(h.cmd_submit.setup, setups[next(s, 1) % ARRAY_SIZE(setups)], 8);
			if (what & 8) {
				h.cmd_submit.setup[0] = (uint8_t)next(s, 1);
				h.cmd_submit.setup[4] = (uint8_t)next(s, 1);
			}
			h.direction = h.cmd_submit.setup[0] >> 7;
			h.cmd_submit.length = h.cmd_submit.setup[6];
		}
	}
	usbip_encode(&h, bytes);
	if (next(s, 1) == 0)
		put_be32(bytes + 4 * (next(s, 1) % 12), next(s, 4));
	stream_put(&m->to_exporter, bytes, sizeof(bytes));
	if (what & 4)
		stream_put(&m->to_exporter, zeros, (size_t)h.cmd_submit.length & 63);
}

static int run_exporter(struct model *m)
{
	int fault = export_core_process(&m->core, m->now_usec);

	while (fault == 0) {
		unsigned int before = device_n_operations(&m->device);
		uint8_t *at = NULL;
		size_t want = export_core_want(&m->core, &at);
		size_t n = model_portion(m, stream_len(&m->to_exporter));

		n = want < n ? want : n;
		if (n == 0 && !export_core_again(&m->core))
			break;
		if (n > 0)
			memcpy(at, m->to_exporter.bytes + m->to_exporter.at, n);
		m->to_exporter.at += n;
		fault = n > 0 ? export_core_got(&m->core, n, m->now_usec) : export_core_process(&m->core, m->now_usec);
		MODEL_CHECK(device_n_operations(&m->device) <= before + 1);
	}
	return fault;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct export_device_ops ops;
	static struct model *m;
	struct script s = {data, size};
	int fault = 0;

	if (!m)
		m = calloc(1, sizeof(*m));
	MODEL_CHECK(m);
	model_init(m, SAMPLE_EVERYTHING, 1 + next(&s, 1));
	m->small_steps = true;
	ops = model_device_ops;
	ops.submit = submit_any;
	m->core.ops = &ops;
	while (s.left > 0 && fault == 0) {
		uint8_t raw[64];
		size_t n = 0;

		switch (next(&s, 1) % 8) {
		case 0:
			for (n = 0; n < sizeof(raw) && s.left > 0; n++)
				raw[n] = (uint8_t)next(&s, 1);
			stream_put(&m->to_exporter, raw, n);
			break;
		case 1:
		case 2:
			if (m->device.n_held > 0)
				device_end(&m->device, next(&s, 1) % m->device.n_held);
			break;
		case 3:
			while (model_drain_exporter(m))
				continue;
			m->to_importer.at = m->to_importer.end;
			break;
		case 4:
			m->now_usec += next(&s, 2) * 100;
			fault = export_core_expire(&m->core, m->now_usec);
			break;
		default:
			request(m, &s);
			break;
		}
		if (fault == 0)
			fault = run_exporter(m);
		MODEL_CHECK(m->core.in_flight <= LIMIT_IN_FLIGHT && m->core.n_unlinks <= EXPORT_UNLINKS);
	}
	export_core_stop(&m->core);
	while (m->device.n_held > 0)
		device_end(&m->device, 0);
	model_deinit(m);
	return 0;
}
