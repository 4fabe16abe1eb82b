/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a camera is, asked by a process without rights: a driver's answers come from a device that may lie. The lamp stays off: no
 * mode is set and nothing streams.
 */
#include <string.h>

#include "lib/base/log.h"
#include "lib/proxy/datagram.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/camera/capture.h"
#include "proxies/camera/run.h"

int camera_describe_run(const struct camera_options *options)
{
	struct capture *capture = NULL;
	struct camera_hello hello;
	uint8_t bytes[CAMERA_HELLO];
	int r = sandbox_enter(SANDBOX_CAMERA_EXPORT, options->session.user);

	if (r < 0) {
		log_error("cannot enter the sandbox: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	r = capture_new(PROXY_FD_DATA, &capture);
	if (r == 0)
		r = camera_hello_of(capture, options, &hello);
	if (r == 0) {
		camera_hello_write(&hello, bytes);
		r = datagram_send(PROXY_FD_REPORT, bytes, sizeof(bytes), 0);
	}
	(void)capture_free(capture);
	if (r < 0)
		log_error("cannot tell what the camera is: %s", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
