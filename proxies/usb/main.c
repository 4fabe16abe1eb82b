/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usb-proxy: one end of one USB session, started by the device agent with just the fds it needs (lib/proxy/report.h).
 * Exit status: 0 after a session, whatever its outcome; 1 when it could not begin; 2 for a bad command line.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/usb/session.h"

#define EXIT_USAGE 2
#define DOMID_LAST 0x7fef /* the last that a domain can have */
#define HEAP_KEEP (64 * 1024 * 1024)

enum mode { MODE_EXPORT = 1, MODE_IMPORT = 2 };

static int take_channel(const char *text, struct session_options *o)
{
	o->channel = text;
	return strcmp(text, "xen") == 0 || (strncmp(text, "socket:", 7) == 0 && text[7]) ? 0 : -EINVAL;
}

static int take_domid(const char *text, uint16_t *ret_domid)
{
	uint64_t value = 0;
	int r = text_to_u64(text, DOMID_LAST, &value);

	*ret_domid = (uint16_t)value;
	return r;
}

static int take_own(const char *text, struct session_options *o)
{
	return take_domid(text, &o->own);
}

static int take_peer(const char *text, struct session_options *o)
{
	return take_domid(text, &o->peer);
}

static int take_service(const char *text, struct session_options *o)
{
	size_t len = strlen(text);

	o->service = text;
	return len > 0 && len < CHANNEL_SERVICE_MAX && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-/") == len
		       ? 0
		       : -EINVAL;
}

static int take_devid(const char *text, struct session_options *o)
{
	uint64_t value = 0;
	int r = text_to_u64(text, UINT32_MAX, &value);

	o->devid = (uint32_t)value;
	return r;
}

static int take_configuration(const char *text, struct session_options *o)
{
	uint64_t value = 0;
	int r = text_to_u64(text, UINT8_MAX, &value);

	o->configuration = (uint8_t)value;
	return r;
}

static int take_digest(const char *text, struct session_options *o)
{
	return digest_from_hex(text, o->digest);
}

static int take_user(const char *text, struct session_options *o)
{
	o->user = text;
	return text[0] ? 0 : -EINVAL;
}

static const struct {
	const char *name, *argument, *what;
	unsigned int modes, required; /* of enum mode */
	int (*take)(const char *text, struct session_options *options);
} options[] = {
	{"--channel", "xen|socket:DIR", "how to reach the other qube", 3, 3, take_channel},
	{"--own", "DOMID", "this qube's domain id", 3, 3, take_own},
	{"--peer", "DOMID", "the other qube's domain id", 3, 3, take_peer},
	{"--service", "NAME", "the channel's name, e.g. qdb/1f", 3, 3, take_service},
	{"--devid", "N", "export: the device's number in USB/IP", MODE_EXPORT, MODE_EXPORT, take_devid},
	{"--configuration", "N", "export: the one that the kernel has the device in, 0 for none", MODE_EXPORT,
	 MODE_EXPORT, take_configuration},
	{"--digest", "HEX", "import: what was approved, as the broker's IMPORT has it", MODE_IMPORT, MODE_IMPORT,
	 take_digest},
	{"--user", "NAME", "the account to become (qdb-proxy)", 3, 0, take_user},
};

static void usage(FILE *out)
{
	fputs("usage: usb-proxy export|import OPTION...\n"
	      "One end of a USB session between two qubes; the device agent starts it.\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		fprintf(out, "  %-15s %-15s %s\n", options[i].name, options[i].argument, options[i].what);
	fputs("  --help                          this text\n", out);
}

static int refuse(const char *problem, const char *text)
{
	fprintf(stderr, "usb-proxy: %s: %.64s\nTry usb-proxy --help.\n", problem, text);
	return -EINVAL;
}

static int parse(unsigned int mode, char **words, struct session_options *ret_options)
{
	unsigned int seen = 0;

	for (; *words; words += 2) {
		size_t i = 0;

		while (i < ARRAY_SIZE(options) && strcmp(options[i].name, *words) != 0)
			i++;
		if (i == ARRAY_SIZE(options) || !(options[i].modes & mode))
			return refuse("unknown option", *words);
		if (seen & 1u << i)
			return refuse("option given twice", *words);
		if (!words[1])
			return refuse("option needs an argument", *words);
		if (options[i].take(words[1], ret_options))
			return refuse("bad argument", words[1]);
		seen |= 1u << i;
	}
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if ((options[i].required & mode) && !(seen & 1u << i))
			return refuse("option is missing", options[i].name);
	return 0;
}

/* Without the agent nobody could take the device back: never outlive it. sandbox_enter() keeps this up. */
static void die_with_parent(void)
{
	pid_t parent = getppid();

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
	static const char *const modes[] = {[MODE_EXPORT] = "export", [MODE_IMPORT] = "import"};
	struct session_options o = {.user = "qdb-proxy"};
	int mode = MODE_IMPORT;

	if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	while (argc >= 2 && mode > 0 && strcmp(modes[mode], argv[1]) != 0)
		mode--;
	if (argc < 2 || mode == 0) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (parse((unsigned int)mode, argv + 2, &o))
		return EXIT_USAGE;
	log_set_name("usb-proxy");
	die_with_parent();
	(void)signal(SIGPIPE, SIG_IGN);
	/* transfer buffers come and go: keep their pages */
	(void)mallopt(M_MMAP_THRESHOLD, HEAP_KEEP);
	(void)mallopt(M_TRIM_THRESHOLD, HEAP_KEEP);
	if (sandbox_close_fds(mode == MODE_EXPORT ? PROXY_FD_SNAPSHOT : PROXY_FD_DATA) < 0)
		return EXIT_FAILURE;
	_exit(mode == MODE_EXPORT ? export_run(&o) : import_run(&o));
}
