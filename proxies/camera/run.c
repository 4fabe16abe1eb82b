/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the modes of the program share; see run.h. */
#include "proxies/camera/run.h"

#include <stdio.h>

const struct channel_rings camera_rings = {.read = RING_CONTROL, .write = RING_CAMERA};
const uint8_t camera_interface[3] = {0x0e, 0x01, 0x00};

int camera_hello_of(struct capture *capture, const struct camera_options *options, struct camera_hello *ret_hello)
{
	*ret_hello = (struct camera_hello){.vendor = options->vendor, .product = options->product};
	(void)snprintf(ret_hello->serial, sizeof(ret_hello->serial), "%s", options->serial ? options->serial : "");
	return capture_describe(capture, ret_hello);
}
