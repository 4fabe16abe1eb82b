/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What microphones and speakers there are; see pulse.h. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "lib/proxy/sources.h"
#include "proxies/audio/pulse-internal.h"

#define LEFTOVERS 64u
#define DEFAULT_RATE 48000u

/* ---- the list ------------------------------------------------------------------------------------------------------- */

struct list {
	struct pulse *pulse;
	struct pulse_source *sources;
	size_t max, n;
};

/* "046d", "0x046d"; else 0. */
static uint16_t read_id(const char *untrusted_text)
{
	unsigned int value = 0;
	size_t n = 0;

	if (!untrusted_text)
		return 0;
	if (strncmp(untrusted_text, "0x", 2) == 0)
		untrusted_text += 2;
	for (; n < 4 && text_hex_digit(untrusted_text[n]) >= 0; n++)
		value = value << 4 | (unsigned int)text_hex_digit(untrusted_text[n]);
	return n > 0 && untrusted_text[n] == '\0' ? (uint16_t)value : 0;
}

/* What a server says of a source or a sink. */
struct seen {
	enum audio_kind kind;
	const char *name, *description;
	const pa_sample_spec *format;
	const pa_proplist *proplist;
	bool is_hardware;
};

static bool is_offered(const struct seen *seen)
{
	const char *word = pa_proplist_gets(seen->proplist, "qdb.offer");

	if (strncmp(seen->name, PROXY_SOUND_PREFIX, strlen(PROXY_SOUND_PREFIX)) == 0)
		return false;
	return seen->is_hardware || (word && strcmp(word, "yes") == 0);
}

static void describe(const struct seen *seen, struct audio_hello *ret_hello)
{
	const char *serial = pa_proplist_gets(seen->proplist, "device.serial");
	const char *name = seen->description && seen->description[0] ? seen->description : seen->name;

	*ret_hello = (struct audio_hello){
		.kind = (uint8_t)seen->kind,
		.channels = seen->format->channels == 1 ? 1 : 2,
		.rate = audio_is_rate(seen->format->rate) ? seen->format->rate : DEFAULT_RATE,
		.vendor = read_id(pa_proplist_gets(seen->proplist, "device.vendor.id")),
		.product = read_id(pa_proplist_gets(seen->proplist, "device.product.id")),
	};
	(void)text_make_safe(name, strlen(name), ret_hello->name, LIMIT_TEXT + 1);
	if (serial)
		(void)text_make_safe(serial, strlen(serial), ret_hello->serial, LIMIT_TEXT + 1);
}

static void add(struct list *list, const struct seen *seen)
{
	struct pulse_source *source = &list->sources[list->n];
	const char *sysfs_path;

	if (list->n == list->max || !seen->name || !seen->name[0] || strlen(seen->name) >= sizeof(source->name) ||
	    !text_is_printable(seen->name) || !is_offered(seen))
		return;
	sysfs_path = pa_proplist_gets(seen->proplist, "sysfs.path");
	memset(source, 0, sizeof(*source)); /* two lists are compared as bytes */
	(void)strcpy(source->name, seen->name);
	if (sysfs_path)
		proxy_source_parent(sysfs_path, source->parent);
	describe(seen, &source->hello);
	list->n++;
}

static struct seen see_source(const pa_source_info *info)
{
	return (struct seen){.kind = AUDIO_MIC,
			     .name = info->name,
			     .description = info->description,
			     .format = &info->sample_spec,
			     .proplist = info->proplist,
			     .is_hardware = info->flags & PA_SOURCE_HARDWARE};
}

bool pulse_is_offered(const pa_source_info *info)
{
	const struct seen seen = see_source(info);

	return info->monitor_of_sink == PA_INVALID_INDEX && is_offered(&seen);
}

static void on_each_source(pa_context *context _unused_, const pa_source_info *info, int end, void *userdata)
{
	struct list *list = userdata;

	if (end || !info) {
		pulse_answered(list->pulse, end > 0);
	} else if (info->monitor_of_sink == PA_INVALID_INDEX) {
		const struct seen seen = see_source(info);

		add(list, &seen);
	}
}

static struct seen see_sink(const pa_sink_info *info)
{
	return (struct seen){.kind = AUDIO_SPEAKER,
			     .name = info->name,
			     .description = info->description,
			     .format = &info->sample_spec,
			     .proplist = info->proplist,
			     .is_hardware = info->flags & PA_SINK_HARDWARE};
}

static void on_each_sink(pa_context *context _unused_, const pa_sink_info *info, int end, void *userdata)
{
	struct list *list = userdata;

	if (end || !info) {
		pulse_answered(list->pulse, end > 0);
	} else {
		const struct seen seen = see_sink(info);

		add(list, &seen);
	}
}

static int compare_sources(const void *a, const void *b)
{
	const struct pulse_source *one = a, *other = b;

	return one->hello.kind == other->hello.kind ? strcmp(one->name, other->name)
						    : (int)one->hello.kind - (int)other->hello.kind;
}

int pulse_list_sources(struct pulse *pulse, struct pulse_source *ret_sources, size_t max, size_t *ret_n)
{
	struct list list = {.pulse = pulse, .sources = ret_sources, .max = max};

	pa_mainloop_set_poll_func(pulse->loop, NULL, NULL);
	if (!pulse_await(pulse, pa_context_get_source_info_list(pulse->context, on_each_source, &list)) ||
	    !pulse_await(pulse, pa_context_get_sink_info_list(pulse->context, on_each_sink, &list)))
		return OUTCOME_NO_SOUND;
	qsort(ret_sources, list.n, sizeof(*ret_sources), compare_sources);
	*ret_n = list.n;
	return 0;
}

/* ---- others in this qube ------------------------------------------------------------------------------------------------ */

/*
 * A session's exporter has the server let go of a device that nobody uses, and that outlasts the session. PulseAudio resumes none
 * by itself: a program of this qube would hear nothing.
 */
static void on_used_source(pa_context *context, const pa_source_info *info, int end, void *userdata _unused_)
{
	if (!end && info && info->state == PA_SOURCE_SUSPENDED && pulse_is_offered(info))
		pulse_forget(pa_context_suspend_source_by_index(context, info->index, false, NULL, NULL));
}

static void on_used_sink(pa_context *context, const pa_sink_info *info, int end, void *userdata _unused_)
{
	struct seen seen;

	if (end || !info || info->state != PA_SINK_SUSPENDED)
		return;
	seen = see_sink(info);
	if (is_offered(&seen))
		pulse_forget(pa_context_suspend_sink_by_index(context, info->index, false, NULL, NULL));
}

static void on_recorder(pa_context *context, const pa_source_output_info *info, int end, void *userdata)
{
	if (!end && info)
		pulse_forget(pa_context_get_source_info_by_index(context, info->source, on_used_source, userdata));
}

static void on_player(pa_context *context, const pa_sink_input_info *info, int end, void *userdata)
{
	if (!end && info)
		pulse_forget(pa_context_get_sink_info_by_index(context, info->sink, on_used_sink, userdata));
}

void pulse_resume_for(struct pulse *pulse, enum audio_kind kind, uint32_t stream)
{
	if (kind == AUDIO_SPEAKER)
		pulse_forget(pa_context_get_sink_input_info(pulse->context, stream, on_player, pulse));
	else
		pulse_forget(pa_context_get_source_output_info(pulse->context, stream, on_recorder, pulse));
}

/* ---- waiting -------------------------------------------------------------------------------------------------------- */

/* In place of poll(2) in libpulse's loop: pulse->fault is set when there is something at the other fd. */
static int poll_with(struct pollfd *fds, unsigned long n_fds, int timeout_msec, void *userdata)
{
	struct pulse *pulse = userdata;
	struct pollfd all[SESSION_POLLFDS];
	int n_ready;

	if (n_fds >= ARRAY_SIZE(all))
		return -1;
	memcpy(all, fds, n_fds * sizeof(*fds));
	all[n_fds] = (struct pollfd){.fd = pulse->other_fd, .events = POLLIN};
	n_ready = poll(all, n_fds + 1, timeout_msec);
	for (unsigned long i = 0; i < n_fds; i++)
		fds[i].revents = n_ready < 0 ? 0 : all[i].revents;
	if (n_ready > 0 && all[n_fds].revents) {
		pulse->fault = -EPIPE;
		n_ready--;
	}
	return n_ready;
}

bool pulse_wait_for_sources(struct pulse *pulse, int fd)
{
	pulse->fault = 0;
	pulse->watches = true;
	pulse->other_fd = fd;
	pa_mainloop_set_poll_func(pulse->loop, poll_with, pulse);
	while (!pulse->changed && pulse->over == OUTCOME_OK && pulse->fault == 0)
		if (pa_mainloop_prepare(pulse->loop, -1) < 0 || pa_mainloop_poll(pulse->loop) < 0 ||
		    pa_mainloop_dispatch(pulse->loop) < 0)
			return false;
	return TAKE(pulse->changed, false) && pulse->over == OUTCOME_OK && pulse->fault == 0;
}

/* ---- leftovers ------------------------------------------------------------------------------------------------------ */

struct leftovers {
	struct pulse *pulse;
	const char *name; /* the only one; NULL: all */
	uint32_t modules[LEFTOVERS];
	size_t n;
};

/* A virtual device of an importer's: its module, and how the arguments begin that pulse_make() gives it. */
static bool is_leftover(const struct leftovers *leftovers, const pa_module_info *info)
{
	static const struct {
		const char *module, *begin;
	} made[] = {{"module-pipe-source", "source_name="}, {"module-null-sink", "sink_name="}};
	const char *wanted = leftovers->name ? leftovers->name : PROXY_SOUND_PREFIX;
	size_t len = strlen(wanted);

	for (size_t i = 0; info->name && info->argument && i < ARRAY_SIZE(made); i++) {
		const char *name = info->argument + strlen(made[i].begin);

		if (strcmp(info->name, made[i].module) == 0 &&
		    strncmp(info->argument, made[i].begin, strlen(made[i].begin)) == 0 &&
		    strncmp(name, wanted, len) == 0 && (!leftovers->name || name[len] == ' '))
			return true;
	}
	return false;
}

static void on_each_module(pa_context *context _unused_, const pa_module_info *info, int end, void *userdata)
{
	struct leftovers *leftovers = userdata;

	if (end || !info)
		pulse_answered(leftovers->pulse, end > 0);
	else if (leftovers->n < LEFTOVERS && is_leftover(leftovers, info))
		leftovers->modules[leftovers->n++] = info->index;
}

static void on_unloaded(pa_context *context _unused_, int success, void *userdata)
{
	pulse_answered(userdata, success != 0);
}

void pulse_remove_leftovers(struct pulse *pulse, const char *name)
{
	struct leftovers leftovers = {.pulse = pulse, .name = name};

	if (!pulse_await(pulse, pa_context_get_module_info_list(pulse->context, on_each_module, &leftovers)))
		return;
	for (size_t i = 0; i < leftovers.n; i++)
		(void)pulse_await(pulse,
				  pa_context_unload_module(pulse->context, leftovers.modules[i], on_unloaded, pulse));
}
