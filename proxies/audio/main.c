/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * audio-proxy: one end of one audio session, the watcher of one sound server, or who removes there what a killed end has left;
 * started by the device agent with just the fds it needs (lib/proxy/report.h, sources.h). Exit status: 0 after a session, whatever
 * its outcome; 1 when it could not begin; 2 for a bad command line.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "lib/proxy/arguments.h"
#include "lib/proxy/sources.h"
#include "proxies/audio/run.h"

#define PRIORITY (-11) /* as PulseAudio and PipeWire: sound is due every few milliseconds, and does little then */

enum mode { MODE_EXPORT, MODE_IMPORT, MODE_WATCH, MODE_REMOVE };
#define EXPORT (1u << MODE_EXPORT)
#define IMPORT (1u << MODE_IMPORT)
#define WATCH (1u << MODE_WATCH)
#define REMOVE (1u << MODE_REMOVE)
#define ALL (EXPORT | IMPORT | WATCH | REMOVE)

static int take_server(const char *text, void *options)
{
	((struct audio_options *)options)->server = text;
	return text[0] ? 0 : -EINVAL;
}

static int take_owner(const char *text, void *options)
{
	uint64_t value = 0;
	int r = text_to_u64(text, UINT32_MAX - 1, &value);

	((struct audio_options *)options)->owner = (uid_t)value;
	return r;
}

static int take_source(const char *text, void *options)
{
	((struct audio_options *)options)->source = text;
	return text[0] && text_is_printable(text) ? 0 : -EINVAL;
}

/* A word of a module's arguments, too. */
static int take_pipe_dir(const char *text, void *options)
{
	((struct audio_options *)options)->pipe_dir = text;
	for (const char *at = text; *at; at++)
		if (*at <= ' ' || *at > '~' || *at == '\'' || *at == '"' || *at == '\\')
			return -EINVAL;
	return text[0] == '/' ? 0 : -EINVAL;
}

static int take_kind(const char *text, void *options)
{
	bool speaker = strcmp(text, "speaker") == 0;

	((struct audio_options *)options)->kind = speaker ? AUDIO_SPEAKER : AUDIO_MIC;
	return speaker || strcmp(text, "mic") == 0 ? 0 : -EINVAL;
}

static int take_digest(const char *text, void *options)
{
	return digest_from_hex(text, ((struct audio_options *)options)->digest);
}

static int take_clean(const char *text, void *options)
{
	((struct audio_options *)options)->clean = strcmp(text, "yes") == 0;
	return strcmp(text, "yes") == 0 || strcmp(text, "no") == 0 ? 0 : -EINVAL;
}

static int take_sources(const char *text, void *options)
{
	((struct audio_options *)options)->chosen = strcmp(text, "chosen") == 0;
	return strcmp(text, "chosen") == 0 || strcmp(text, "all") == 0 ? 0 : -EINVAL;
}

static int take_name(const char *text, void *options)
{
	const char *hex = text + strlen(PROXY_SOUND_PREFIX);

	((struct audio_options *)options)->name = text;
	return strncmp(text, PROXY_SOUND_PREFIX, strlen(PROXY_SOUND_PREFIX)) == 0 && *hex &&
			       strspn(hex, "0123456789abcdef") == strlen(hex)
		       ? 0
		       : -EINVAL;
}

static const struct proxy_option options[] = {
	PROXY_SESSION_OPTIONS(EXPORT | IMPORT),
	PROXY_USER_OPTION(ALL),
	{"--server", "ADDRESS", "of the sound server, e.g. unix:/run/user/1000/pulse/native", ALL, ALL, take_server},
	{"--owner", "UID", "of its user", ALL, ALL, take_owner},
	{"--source", "NAME", "export: the source's or sink's name there", EXPORT, EXPORT, take_source},
	{"--kind", "mic|speaker", "import: what was approved", IMPORT, IMPORT, take_kind},
	{"--pipe-dir", "DIR", "import: where its user may make a FIFO", IMPORT, IMPORT, take_pipe_dir},
	{"--digest", "HEX", "import: of what was approved, as the broker's IMPORT has it", IMPORT, IMPORT, take_digest},
	{"--name", "NAME", "remove: of the virtual microphone or speaker", REMOVE, REMOVE, take_name},
	{"--clean", "yes|no", "watch: remove virtual devices that were left", WATCH, WATCH, take_clean},
	{"--sources", "all|chosen", "watch: all, or as one which its user has chosen", WATCH, WATCH, take_sources},
};

int main(int argc _unused_, char **argv)
{
	static const char *const modes[] = {[MODE_EXPORT] = "export",
					    [MODE_IMPORT] = "import",
					    [MODE_WATCH] = "watch",
					    [MODE_REMOVE] = "remove",
					    NULL};
	static const struct proxy_program program = {
		.name = "audio-proxy",
		.about = "One end of an audio session between two qubes; the device agent starts it.",
		.modes = modes,
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	static int (*const runs[])(const struct audio_options *options) = {
		[MODE_EXPORT] = audio_export_run,
		[MODE_IMPORT] = audio_import_run,
		[MODE_WATCH] = audio_watch_run,
		[MODE_REMOVE] = audio_remove_run,
	};
	static const int last_fds[] = {
		[MODE_EXPORT] = PROXY_FD_SNAPSHOT,
		[MODE_IMPORT] = PROXY_FD_REPORT,
		[MODE_WATCH] = PROXY_FD_REPORT,
		[MODE_REMOVE] = STDERR_FILENO,
	};
	struct audio_options o = {.session = {.user = "qdb-proxy"}};
	unsigned int mode = MODE_EXPORT;
	int r = proxy_arguments(&program, argv, &mode, &o);

	if (r != PROXY_ARGUMENTS_GOOD)
		return r;
	if (proxy_begin(program.name, last_fds[mode]) < 0)
		return EXIT_FAILURE;
	if (mode == MODE_EXPORT || mode == MODE_IMPORT) /* without the right to that we are as late as others */
		(void)setpriority(PRIO_PROCESS, 0, PRIORITY);
	_exit(runs[mode](&o));
}
