/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source that the server's user has chosen to be the microphone, under one name; see pulse.h. The server is asked again
 * after each change, so that it is known when it is to be opened: then there is no time to ask.
 */
#include <string.h>

#include "lib/base/base.h"
#include "lib/proxy/sources.h"
#include "proxies/audio/pulse-internal.h"

/* A monitor may be chosen too, and would give away what all other qubes play: only what is offered elsewhere is taken. */
static void keep_chosen(struct pulse *pulse, const pa_source_info *info, int end)
{
	bool good =
		!end && info && info->name && strlen(info->name) < sizeof(pulse->chosen_name) && pulse_is_offered(info);

	if (end > 0)
		return;
	pulse->chosen = good ? info->index : PA_INVALID_INDEX;
	if (good)
		(void)strcpy(pulse->chosen_name, info->name);
}

static void on_chosen(pa_context *context _unused_, const pa_source_info *info, int end, void *userdata)
{
	keep_chosen(userdata, info, end);
}

static void on_asked(pa_context *context _unused_, const pa_source_info *info, int end, void *userdata)
{
	keep_chosen(userdata, info, end);
	if (end)
		pulse_answered(userdata, end > 0);
}

/* True: there is one. */
static bool ask(struct pulse *pulse)
{
	pulse->chosen = PA_INVALID_INDEX;
	(void)pulse_await(pulse,
			  pa_context_get_source_info_by_name(pulse->context, PROXY_SOURCE_CHOSEN, on_asked, pulse));
	return pulse->chosen != PA_INVALID_INDEX;
}

int pulse_list_chosen(struct pulse *pulse, struct pulse_source *ret_source, size_t *ret_n)
{
	bool found;

	pa_mainloop_set_poll_func(pulse->loop, NULL, NULL);
	found = ask(pulse);
	if (pulse->over)
		return OUTCOME_NO_SOUND;
	memset(ret_source, 0, sizeof(*ret_source));
	(void)strcpy(ret_source->name, PROXY_SOURCE_CHOSEN);
	ret_source->hello = (struct audio_hello){.kind = AUDIO_MIC, .channels = 2, .rate = 48000, .name = "Microphone"};
	*ret_n = found;
	return 0;
}

int pulse_follow_chosen(struct pulse *pulse)
{
	pulse->follows = true;
	if (ask(pulse))
		return 0;
	return pulse->over ? OUTCOME_NO_SOUND : OUTCOME_NO_DEVICE;
}

void pulse_look_at_chosen(struct pulse *pulse)
{
	pulse_forget(pa_context_get_source_info_by_name(pulse->context, PROXY_SOURCE_CHOSEN, on_chosen, pulse));
}

bool pulse_take_chosen(struct pulse *pulse)
{
	if (pulse->chosen == PA_INVALID_INDEX)
		return false;
	pulse->index = pulse->chosen;
	(void)strcpy(pulse->name, pulse->chosen_name);
	return true;
}
