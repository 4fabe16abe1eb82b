/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usb-proxy: one end of one USB session, started by the device agent with just the fds it needs (lib/proxy/report.h).
 * Exit status: 0 after a session, whatever its outcome; 1 when it could not begin; 2 for a bad command line.
 */
#include <malloc.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "lib/proxy/arguments.h"
#include "proxies/usb/run.h"

#define HEAP_KEEP (64 * 1024 * 1024)

enum mode { MODE_EXPORT, MODE_IMPORT };
#define EXPORT (1u << MODE_EXPORT)
#define IMPORT (1u << MODE_IMPORT)

static int take_devid(const char *text, void *options)
{
	uint64_t value = 0;
	int r = text_to_u64(text, UINT32_MAX, &value);

	((struct usb_options *)options)->devid = (uint32_t)value;
	return r;
}

static int take_configuration(const char *text, void *options)
{
	uint64_t value = 0;
	int r = text_to_u64(text, UINT8_MAX, &value);

	((struct usb_options *)options)->configuration = (uint8_t)value;
	return r;
}

static int take_digest(const char *text, void *options)
{
	return digest_from_hex(text, ((struct usb_options *)options)->digest);
}

static const struct proxy_option options[] = {
	PROXY_SESSION_OPTIONS(EXPORT | IMPORT),
	PROXY_USER_OPTION(EXPORT | IMPORT),
	{"--devid", "N", "export: the device's number in USB/IP", EXPORT, EXPORT, take_devid},
	{"--configuration", "N", "export: the one that the kernel has the device in, 0 for none", EXPORT, EXPORT,
	 take_configuration},
	{"--digest", "HEX", "import: what was approved, as the broker's IMPORT has it", IMPORT, IMPORT, take_digest},
};

int main(int argc _unused_, char **argv)
{
	static const char *const modes[] = {[MODE_EXPORT] = "export", [MODE_IMPORT] = "import", NULL};
	static const struct proxy_program program = {
		.name = "usb-proxy",
		.about = "One end of a USB session between two qubes; the device agent starts it.",
		.modes = modes,
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	struct usb_options o = {.session = {.user = "qdb-proxy"}};
	unsigned int mode = MODE_EXPORT;
	int r = proxy_arguments(&program, argv, &mode, &o);

	if (r != PROXY_ARGUMENTS_GOOD)
		return r;
	if (proxy_begin(program.name, mode == MODE_EXPORT ? PROXY_FD_SNAPSHOT : PROXY_FD_DATA) < 0)
		return EXIT_FAILURE;
	/* transfer buffers come and go: keep their pages */
	(void)mallopt(M_MMAP_THRESHOLD, HEAP_KEEP);
	(void)mallopt(M_TRIM_THRESHOLD, HEAP_KEEP);
	_exit(mode == MODE_EXPORT ? export_run(&o) : import_run(&o));
}
