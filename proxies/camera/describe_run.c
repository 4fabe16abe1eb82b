/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a camera is, asked by a process without rights: a driver's answers come from a device that may lie. The lamp stays off: no
 * mode is set and nothing streams.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/proxy/camera.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/camera/capture.h"
#include "proxies/camera/run.h"

static_assert(PROXY_CAMERA_HELLO == CAMERA_HELLO, "the agent takes it as so many bytes");

static int tell(const struct camera_hello *hello)
{
	struct proxy_camera word = {.name = ""};

	(void)snprintf(word.name, sizeof(word.name), "%.*s", (int)sizeof(word.name) - 1, hello->name);
	camera_hello_write(hello, word.hello);
	return proxy_camera_send(PROXY_FD_REPORT, &word);
}

int camera_describe_run(const struct camera_options *options)
{
	struct capture *capture = NULL;
	struct camera_hello hello;
	int r = sandbox_enter(SANDBOX_CAMERA_EXPORT, options->session.user);

	if (r < 0) {
		log_error("cannot enter the sandbox: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	r = capture_new(PROXY_FD_DATA, &capture);
	if (r == 0)
		r = camera_hello_of(capture, options, &hello);
	if (r == 0)
		r = tell(&hello);
	(void)capture_free(capture);
	if (r < 0)
		log_error("cannot tell what the camera is: %s", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
