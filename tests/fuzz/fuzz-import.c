/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The import filter with its state: the input is a script of what the kernel asks and what the exporter answers, true,
 * nearly true or not at all. The judge is the client of test-model.h: it aborts at the first byte that vhci_hcd should
 * not have been given.
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

/* The truth about an outstanding request, in which the script changes up to three words. */
static void answer(struct model *m, struct script *s)
{
	const struct model_urb *urb = &m->client.urbs[next(s, 1) % 16];
	const struct model_unlink *unlink = &m->client.unlinks[next(s, 1) % 16];
	bool of_unlink = next(s, 1) & 1;
	struct usbip_header h = {.command = of_unlink ? USBIP_RET_UNLINK : USBIP_RET_SUBMIT,
				 .seqnum = of_unlink ? unlink->seqnum : urb->seqnum};
	uint8_t bytes[USBIP_HEADER + 1024 + 16 * USBIP_ISO_PACKET] = {0};
	size_t len = USBIP_HEADER, data_len;
	uint8_t n_lies;

	if (of_unlink)
		h.unlink_status = next(s, 1) & 1 ? WIRE_STATUS_UNLINKED : 0;
	else
		h.ret_submit = (struct usbip_ret_submit){.actual_length = (int32_t)(urb->in ? urb->length % 1024 : 0),
							 .n_packets = (int32_t)urb->n_packets};
	data_len = of_unlink ? 0 : (size_t)h.ret_submit.actual_length;
	usbip_encode(&h, bytes);
	len += data_len;
	for (uint32_t p = 0; !of_unlink && p < urb->n_packets; p++) {
		struct usbip_iso_packet packet = urb->packets[p];
		uint32_t most = data_len < packet.length ? (uint32_t)data_len : packet.length;

		packet.actual_length = most;
		packet.status = 0;
		data_len -= most;
		usbip_iso_encode(&packet, bytes + len);
		len += USBIP_ISO_PACKET;
	}
	n_lies = (uint8_t)(next(s, 1) % 4);
	for (; n_lies > 0; n_lies--) {
		size_t word = next(s, 1) % (len / 4);

		put_be32(bytes + 4 * word, next(s, 4));
	}
	stream_put(&m->to_importer, bytes, len - (next(s, 1) == 0 ? next(s, 2) % len : 0));
}

static void ask(struct model *m, struct script *s)
{
	static const uint8_t addresses[] = {0x81, 0x02, 0x83, 0x84, 0x05};
	uint8_t what = (uint8_t)next(s, 1);

	if (client_in_flight(&m->client) > 14)
		return;
	if (what % 8 < 5)
		client_submit(&m->client, addresses[what % 8], next(s, 2) % 1024);
	else if (what % 8 == 5)
		client_submit_control(&m->client, 0x80, 6, (uint16_t)(next(s, 2) & 0x3ff), 0,
				      (uint16_t)(next(s, 2) % 1024));
	else if (what % 8 == 6)
		client_submit_control(&m->client, 0x01, 11, (uint16_t)(next(s, 1) & 1), 1, 0);
	else
		for (size_t i = 0; i < 16; i++)
			if (m->client.urbs[i].in_flight && !m->client.urbs[i].unlinking) {
				(void)client_unlink(&m->client, &m->client.urbs[i]);
				break;
			}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model *m;
	struct script s = {data, size};

	if (!m)
		m = calloc(1, sizeof(*m));
	MODEL_CHECK(m);
	model_init(m, SAMPLE_EVERYTHING, 1);
	m->small_steps = next(&s, 1) & 1;
	(void)usb_state_set_interface(&m->client.state, 1, 1);
	(void)usb_state_set_interface(&m->filter.state, 1, 1);
	while (s.left > 0 && m->fault == 0) {
		uint8_t raw[64];
		size_t n = 0;

		switch (next(&s, 1) % 4) {
		case 0:
			ask(m, &s);
			break;
		case 1:
			answer(m, &s);
			break;
		case 2:
			for (n = 0; n < sizeof(raw) && s.left > 0; n++)
				raw[n] = (uint8_t)next(&s, 1);
			stream_put(&m->to_importer, raw, n);
			break;
		case 3:
			m->now_usec += next(&s, 2) * 100;
			m->fault = import_filter_expire(&m->filter, m->now_usec);
			break;
		}
		while (model_move_commands(m))
			continue;
		m->to_exporter.at = m->to_exporter.end;
		while (model_move_replies(m, false))
			continue;
	}
	m->small_steps = false;
	while (model_move_commands(m))
		continue;
	model_let_go(m);
	model_deinit(m);
	return 0;
}
