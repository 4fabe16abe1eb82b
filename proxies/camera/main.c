/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * camera-proxy: one end of one camera session, or who tells what a camera is; started by the device agent with just the fds it needs
 * (lib/proxy/report.h). Exit status: 0 after a session, whatever its outcome; 1 when it could not begin; 2 for a bad command line.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/controls.h"
#include "lib/base/text.h"
#include "lib/proxy/arguments.h"
#include "proxies/camera/run.h"

enum mode { MODE_EXPORT, MODE_IMPORT, MODE_DESCRIBE };
#define EXPORT (1u << MODE_EXPORT)
#define IMPORT (1u << MODE_IMPORT)
#define DESCRIBE (1u << MODE_DESCRIBE)

static int take_number(const char *text, uint16_t *ret_value)
{
	uint64_t value = 0;
	int r = text_to_u64(text, UINT16_MAX, &value);

	*ret_value = (uint16_t)value;
	return r;
}

static int take_vendor(const char *text, void *options)
{
	return take_number(text, &((struct camera_options *)options)->vendor);
}

static int take_product(const char *text, void *options)
{
	return take_number(text, &((struct camera_options *)options)->product);
}

static int take_serial(const char *text, void *options)
{
	((struct camera_options *)options)->serial = text;
	return text_is_printable(text) && strlen(text) <= LIMIT_TEXT ? 0 : -EINVAL;
}

static int take_controls(const char *text, void *options)
{
	return controls_read(text, ((struct camera_options *)options)->controls);
}

static int take_width(const char *text, void *options)
{
	return take_number(text, &((struct camera_options *)options)->wish.width);
}

static int take_height(const char *text, void *options)
{
	return take_number(text, &((struct camera_options *)options)->wish.height);
}

static int take_fps(const char *text, void *options)
{
	return take_number(text, &((struct camera_options *)options)->wish.fps);
}

static int take_digest(const char *text, void *options)
{
	return digest_from_hex(text, ((struct camera_options *)options)->digest);
}

static const struct proxy_option options[] = {
	PROXY_SESSION_OPTIONS(EXPORT | IMPORT),
	PROXY_USER_OPTION(EXPORT | IMPORT | DESCRIBE),
	{"--vendor", "NUMBER", "of the camera's USB device; 0: none", EXPORT | DESCRIBE, EXPORT | DESCRIBE,
	 take_vendor},
	{"--product", "NUMBER", "the same", EXPORT | DESCRIBE, EXPORT | DESCRIBE, take_product},
	{"--serial", "TEXT", "the same", EXPORT | DESCRIBE, EXPORT | DESCRIBE, take_serial},
	{"--controls", "TEXT",
	 "export: what is asked of its controls, as in brightness=50,power-line=60; none: nothing", EXPORT, EXPORT,
	 take_controls},
	{"--width", "PIXELS", "import: of the mode; 0: the best there is", IMPORT, IMPORT, take_width},
	{"--height", "PIXELS", "the same", IMPORT, IMPORT, take_height},
	{"--fps", "NUMBER", "the same: pictures a second", IMPORT, IMPORT, take_fps},
	{"--digest", "HEX", "import: of what was approved, as the broker's IMPORT has it", IMPORT, IMPORT, take_digest},
};

int main(int argc _unused_, char **argv)
{
	static const char *const modes[] = {
		[MODE_EXPORT] = "export", [MODE_IMPORT] = "import", [MODE_DESCRIBE] = "describe", NULL};
	static const struct proxy_program program = {
		.name = "camera-proxy",
		.about = "One end of a camera session between two qubes; the device agent starts it.",
		.modes = modes,
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	static int (*const runs[])(const struct camera_options *options) = {[MODE_EXPORT] = camera_export_run,
									    [MODE_IMPORT] = camera_import_run,
									    [MODE_DESCRIBE] = camera_describe_run};
	static const int last_fds[] = {
		[MODE_EXPORT] = PROXY_FD_SNAPSHOT, [MODE_IMPORT] = PROXY_FD_DATA, [MODE_DESCRIBE] = PROXY_FD_DATA};
	struct camera_options o = {.session = {.user = "qdb-proxy"}};
	unsigned int mode = MODE_EXPORT;
	int r = proxy_arguments(&program, argv, &mode, &o);

	if (r != PROXY_ARGUMENTS_GOOD)
		return r;
	if (proxy_begin(program.name, last_fds[mode]) < 0)
		return EXIT_FAILURE;
	_exit(runs[mode](&o));
}
