/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watcher of one sound server: connect, give up all rights, then tell the agent which microphones and speakers there are, whenever that
 * is other than what it was told last. A change is waited out for a moment, so that a server that changes all the time costs
 * no more than one list in that time. And what a killed importer has left there is removed, by a process that does just that.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/proxy/report.h"
#include "lib/proxy/sources.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/audio/pulse.h"
#include "proxies/audio/run.h"

#define SETTLE_NSEC (100 * 1000 * 1000)

_Static_assert(PROXY_HELLO == AUDIO_HELLO, "the agent hands it from here to an exporter");
_Static_assert((int)PROXY_SOURCE_MIC == (int)AUDIO_MIC && (int)PROXY_SOURCE_SPEAKER == (int)AUDIO_SPEAKER,
	       "a hello's kind is told as it is");

struct watch {
	struct pulse *pulse;
	bool told;
	size_t n, n_before;
	struct pulse_source now[LIMIT_DEVICES], before[LIMIT_DEVICES];
};

static int send_word(enum proxy_source_type type)
{
	const struct proxy_source word = {.type = (uint8_t)type};

	return proxy_source_send(PROXY_FD_REPORT, &word);
}

static int send_source(const struct pulse_source *source)
{
	struct proxy_source word = {.type = PROXY_SOURCE,
				    .kind = source->hello.kind,
				    .vendor = source->hello.vendor,
				    .product = source->hello.product};

	(void)strcpy(word.source, source->name);
	(void)strcpy(word.serial, source->hello.serial);
	(void)strcpy(word.name, source->hello.name);
	(void)strcpy(word.parent, source->parent);
	audio_hello_write(&source->hello, word.hello);
	return proxy_source_send(PROXY_FD_REPORT, &word);
}

/* 0, an outcome or a negative errno. */
static int tell(struct watch *watch, bool chosen)
{
	int r = chosen ? pulse_list_chosen(watch->pulse, watch->now, &watch->n)
		       : pulse_list_sources(watch->pulse, watch->now, ARRAY_SIZE(watch->now), &watch->n);

	if (r)
		return r;
	if (watch->told && watch->n == watch->n_before &&
	    memcmp(watch->now, watch->before, watch->n * sizeof(watch->now[0])) == 0)
		return 0;
	r = send_word(PROXY_SOURCES_BEGIN);
	for (size_t i = 0; r == 0 && i < watch->n; i++)
		r = send_source(&watch->now[i]);
	if (r == 0)
		r = send_word(PROXY_SOURCES_END);
	memcpy(watch->before, watch->now, sizeof(watch->before));
	watch->n_before = watch->n;
	watch->told = true;
	return r;
}

int audio_remove_run(const struct audio_options *options)
{
	static const struct pulse_hooks hooks = {.heard = NULL};
	struct pulse *pulse = NULL;
	int r = pulse_new(options->server, options->owner, &hooks, NULL, &pulse);

	if (r == 0)
		r = sandbox_enter(SANDBOX_AUDIO, options->session.user);
	if (r == 0)
		pulse_remove_leftovers(pulse, options->name);
	pulse = pulse_free(pulse);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int audio_watch_run(const struct audio_options *options)
{
	static const struct pulse_hooks hooks = {.heard = NULL};
	static struct watch watch;
	int r = pulse_new(options->server, options->owner, &hooks, NULL, &watch.pulse);

	if (r == 0)
		r = sandbox_enter(SANDBOX_AUDIO, options->session.user);
	if (r == 0 && options->clean)
		pulse_remove_leftovers(watch.pulse, NULL);
	while (r == 0) {
		r = tell(&watch, options->chosen);
		if (r == 0 && !pulse_wait_for_sources(watch.pulse, PROXY_FD_REPORT))
			break;
		(void)nanosleep(&(struct timespec){.tv_nsec = SETTLE_NSEC}, NULL);
	}
	if (r < 0 && r != -EPIPE)
		log_error("cannot watch the sound server: %s", strerror(-r));
	watch.pulse = pulse_free(watch.pulse);
	return r == 0 || r == -EPIPE ? EXIT_SUCCESS : EXIT_FAILURE;
}
