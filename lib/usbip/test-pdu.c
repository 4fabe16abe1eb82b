/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB/IP headers against vectors laid out by hand from usbip_protocol.rst, and decode-encode over random bytes. */
#include "tests/unit.h"

#include <string.h>

#include "lib/base/base.h"
#include "lib/usbip/pdu.h"

static const struct {
	struct usbip_header header;
	uint8_t bytes[USBIP_HEADER];
} vectors[] = {
	{{.command = 1,
	  .seqnum = 0xd05,
	  .devid = 0x1000f,
	  .direction = 1,
	  .ep = 1,
	  .cmd_submit = {.flags = 0x200,
			 .length = 0x40,
			 .start_frame = -1,
			 .n_packets = 0,
			 .interval = 4,
			 .setup = {0x80, 6, 0, 1, 0, 0, 18, 0}}},
	 {0, 0, 0, 1,    0,    0,    0x0d, 0x05, 0, 1, 0, 0x0f, 0, 0, 0, 1, 0,    0, 0, 1, 0, 0, 2,  0,
	  0, 0, 0, 0x40, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,    0, 0, 0, 4, 0x80, 6, 0, 1, 0, 0, 18, 0}},
	{{.command = 2, .seqnum = 7, .devid = 0x1000f, .unlink_seqnum = 0x01020304},
	 {0, 0, 0, 2, 0, 0, 0, 7, 0, 1, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}},
	{{.command = 3,
	  .seqnum = 0xd05,
	  .ret_submit = {.status = -32, .actual_length = 0x40, .start_frame = 2, .n_packets = 3, .error_count = 4}},
	 {0,    0,    0,    3,    0, 0, 0x0d, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	  0xff, 0xff, 0xff, 0xe0, 0, 0, 0,    0x40, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4}},
	{{.command = 4, .seqnum = 7, .unlink_status = -104},
	 {0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x98}},
};

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		uint8_t bytes[USBIP_HEADER], again[USBIP_HEADER];
		struct usbip_header h;

		usbip_encode(&vectors[i].header, bytes);
		assert_memory_equal(bytes, vectors[i].bytes, USBIP_HEADER);
		assert_int_equal(usbip_decode(bytes, &h), 0);
		usbip_encode(&h, again);
		assert_memory_equal(again, bytes, USBIP_HEADER);
	}
}

/* UC01, UR03 */
static void test_commands(void **state)
{
	static const uint32_t others[] = {0, 5, 0x80000001, 0x01000000, 0xffffffff};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		uint8_t bytes[USBIP_HEADER] = {0};
		struct usbip_header h;

		put_be32(bytes, others[i]);
		assert_int_equal(usbip_decode(bytes, &h), 1);
		assert_int_equal(h.command, others[i]);
	}
}

static void test_iso(void **state)
{
	const struct usbip_iso_packet p = {0x01020304, 0x05060708, 0x090a0b0c, -18};
	const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff, 0xff, 0xff, 0xee};
	struct usbip_iso_packet q;
	uint8_t out[USBIP_ISO_PACKET];

	(void)state;
	usbip_iso_encode(&p, out);
	assert_memory_equal(out, bytes, sizeof(bytes));
	usbip_iso_decode(out, &q);
	assert_memory_equal(&p, &q, sizeof(p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_iso),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
