/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking a device over, and changing its configuration, with a libusb that does as it is told here and writes down what was asked. */
#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <libusb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/usbip/test-samples.h"
#include "lib/wire/messages.h"
#include "proxies/usb/export_libusb.h"

static struct {
	char text[512]; /* "d0 c0 r" ...: what was asked, in order */
	int claim_result, configuration_result;
} asked;

static void note(const char *what, int number)
{
	size_t len = strlen(asked.text);

	(void)snprintf(asked.text + len, sizeof(asked.text) - len, "%s%s%d", len ? " " : "", what, number);
}

int libusb_set_option(_unused_ libusb_context *ctx, _unused_ enum libusb_option option, ...)
{
	return 0;
}

int libusb_init(libusb_context **ctx)
{
	*ctx = NULL;
	return 0;
}

int libusb_wrap_sys_device(_unused_ libusb_context *ctx, _unused_ intptr_t fd, libusb_device_handle **handle)
{
	*handle = NULL;
	return 0;
}

/* A device that lies. */
int libusb_get_configuration(_unused_ libusb_device_handle *handle, int *configuration)
{
	note("get", 0);
	*configuration = 2;
	return 0;
}

int libusb_detach_kernel_driver(_unused_ libusb_device_handle *handle, int interface)
{
	note("d", interface);
	return 0;
}

int libusb_claim_interface(_unused_ libusb_device_handle *handle, int interface)
{
	note("c", interface);
	return asked.claim_result;
}

int libusb_release_interface(_unused_ libusb_device_handle *handle, int interface)
{
	note("r", interface);
	return 0;
}

int libusb_set_configuration(_unused_ libusb_device_handle *handle, int configuration)
{
	note("set", configuration);
	return asked.configuration_result;
}

int libusb_reset_device(_unused_ libusb_device_handle *handle)
{
	note("reset", 0);
	return 0;
}

const struct libusb_pollfd **libusb_get_pollfds(_unused_ libusb_context *ctx)
{
	return calloc(1, sizeof(struct libusb_pollfd *));
}

void libusb_free_pollfds(const struct libusb_pollfd **pollfds)
{
	free(pollfds);
}

static struct usb_snapshot snapshot;

/* Opens the sample as a device that the kernel has in `configuration`. */
static int open_device(uint8_t configuration, struct export_libusb **ret_device)
{
	static uint8_t bytes[LIMIT_SNAPSHOT];
	uint8_t raw[SAMPLE_MAX];
	size_t raw_len = sample_build(&samples[SAMPLE_EVERYTHING], raw);
	size_t len = usb_snapshot_build(3, "", raw, raw_len, bytes);
	int fd = memfd_create("node", MFD_CLOEXEC), r;

	assert_int_equal(usb_snapshot_parse(bytes, len, &snapshot), 0);
	assert_int_equal(write(fd, raw, raw_len), raw_len);
	memset(&asked, 0, sizeof(asked));
	r = export_libusb_open(fd, &snapshot, configuration, ret_device);
	assert_return_code(close(fd), errno);
	return r;
}

/* What the device says of its configuration counts for nothing: an interface that is not claimed stays with a driver. */
static void test_take_over(void **state)
{
	static const struct {
		uint8_t configuration;
		int r;
		const char *asked;
	} rows[] = {
		{1, 0, "d0 d1 d1 c0 c1 reset0"},
		{2, 0, "d0 c0 reset0"},
		{0, 0, "reset0"},
		{3, OUTCOME_CHANGED, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct export_libusb *device = NULL;

		assert_int_equal(open_device(rows[i].configuration, &device), rows[i].r);
		assert_string_equal(asked.text, rows[i].asked);
		free(device);
	}
}

/* Any failure of it ends the session (export_core.h); there is no way back that could fail as well. */
static void test_set_configuration(void **state)
{
	static const struct {
		int configuration_result, claim_result, r;
		const char *asked;
	} rows[] = {
		{0, 0, 0, "r0 r1 set2 d0 c0"},
		{LIBUSB_ERROR_IO, 0, WIRE_STATUS_STALL, "r0 r1 set2"},
		{0, LIBUSB_ERROR_BUSY, WIRE_STATUS_STALL, "r0 r1 set2 d0 c0"},
		{LIBUSB_ERROR_NO_DEVICE, 0, EXPORT_GONE, "r0 r1 set2"},
		{0, LIBUSB_ERROR_NO_DEVICE, EXPORT_GONE, "r0 r1 set2 d0 c0"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct export_libusb *device = NULL;

		assert_int_equal(open_device(1, &device), 0);
		memset(&asked, 0, sizeof(asked));
		asked.configuration_result = rows[i].configuration_result;
		asked.claim_result = rows[i].claim_result;
		assert_int_equal(export_libusb_ops.set_configuration(device, 2), rows[i].r);
		assert_string_equal(asked.text, rows[i].asked);
		free(device);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take_over),
		cmocka_unit_test(test_set_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
