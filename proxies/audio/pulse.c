/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See pulse.h. libpulse takes callbacks and gives no results: each wait is for a flag that one of them sets. While the session
 * runs nothing waits but the session's own poll.
 */
#include "proxies/audio/pulse-internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proxy/sources.h"

#define ANSWER_USEC (3 * USEC_PER_SEC)           /* the server must answer a question */
#define CLOSE_USEC (TIMEOUT_PROXY_EXIT_USEC / 2) /* and at the end let go of the device, before the agent kills us */
#define LOOK_AGAIN_NSEC (10 * 1000 * 1000)
#define FRAGMENT_USEC (5 * USEC_PER_MSEC)
#define BUFFER_USEC (200 * USEC_PER_MSEC)          /* that a sink's server is ready to keep; much less waits there */
#define CONFIG "enable-shm = no\nautospawn = no\n" /* no memory that the server may write while we read it */

/* ---- waiting ------------------------------------------------------------------------------------------------------- */

/* One turn of the loop, outside a session. False: it is too late, or the loop has ended. */
static bool step(struct pulse *pulse, uint64_t give_up)
{
	uint64_t now = clock_monotonic_usec();

	return now < give_up && pa_mainloop_prepare(pulse->loop, (int)(give_up - now)) >= 0 &&
	       pa_mainloop_poll(pulse->loop) >= 0 && pa_mainloop_dispatch(pulse->loop) >= 0;
}

/* Outside a session: until it was answered. False: it was not, or with no. */
bool pulse_await(struct pulse *pulse, pa_operation *operation)
{
	uint64_t give_up = clock_monotonic_usec() + ANSWER_USEC;

	pulse->answered = pulse->good = false;
	while (operation && !pulse->answered && pa_operation_get_state(operation) == PA_OPERATION_RUNNING &&
	       step(pulse, give_up))
		;
	if (operation)
		pa_operation_unref(operation);
	return TAKE(pulse->answered, false) && TAKE(pulse->good, false);
}

void pulse_answered(struct pulse *pulse, bool good)
{
	pulse->answered = true;
	pulse->good = good;
}

/* In place of poll(2) in libpulse's loop: the session's fds are looked at too. */
static int poll_session(struct pollfd *fds, unsigned long n_fds, int timeout_msec, void *userdata)
{
	struct pulse *pulse = userdata;
	struct pollfd all[SESSION_POLLFDS];
	uint64_t deadline = pulse->deadline_usec;
	int n_ready = 0;

	if (n_fds > SESSION_POLLFDS - 2)
		return -1;
	memcpy(all, fds, n_fds * sizeof(*fds));
	if (timeout_msec >= 0) {
		uint64_t soon = clock_monotonic_usec() + (unsigned int)timeout_msec * USEC_PER_MSEC;

		deadline = soon < deadline ? soon : deadline;
	}
	pulse->fault = session_wait(pulse->session, all, (int)n_fds, pulse->want_read, pulse->want_write, deadline);
	for (unsigned long i = 0; i < n_fds; i++) {
		fds[i].revents = pulse->fault < 0 ? 0 : all[i].revents;
		n_ready += fds[i].revents != 0;
	}
	return n_ready;
}

enum outcome pulse_turn(struct pulse *pulse, struct session *session, bool want_read, bool want_write,
			uint64_t deadline_usec)
{
	pulse->session = session;
	pulse->want_read = want_read;
	pulse->want_write = want_write;
	pulse->deadline_usec = deadline_usec;
	pulse->fault = 0;
	pa_mainloop_set_poll_func(pulse->loop, poll_session, pulse);
	if (pa_mainloop_prepare(pulse->loop, -1) < 0 || pa_mainloop_poll(pulse->loop) < 0 ||
	    pa_mainloop_dispatch(pulse->loop) < 0)
		return OUTCOME_NO_SOUND;
	if (pulse->fault < 0)
		return OUTCOME_INTERNAL;
	if (pulse->over)
		return pulse->over;
	return session->stopped ? OUTCOME_STOPPED : OUTCOME_COUNT;
}

/* ---- what the server says ------------------------------------------------------------------------------------------- */

static void on_context(pa_context *context, void *userdata)
{
	struct pulse *pulse = userdata;

	switch (pa_context_get_state(context)) {
	case PA_CONTEXT_READY:
		pulse_answered(pulse, true);
		break;
	case PA_CONTEXT_FAILED:
	case PA_CONTEXT_TERMINATED:
		pulse_answered(pulse, false);
		pulse->over = OUTCOME_NO_SOUND;
		break;
	case PA_CONTEXT_UNCONNECTED:
	case PA_CONTEXT_CONNECTING:
	case PA_CONTEXT_AUTHORIZING:
	case PA_CONTEXT_SETTING_NAME:
		break;
	}
}

static void on_server(pa_context *context _unused_, const pa_server_info *info, void *userdata)
{
	struct pulse *pulse = userdata;

	if (info && info->server_name)
		pulse->has_clock = strstr(info->server_name, "PipeWire") != NULL;
	pulse_answered(pulse, info != NULL);
}

static bool is_ours(const struct pulse *pulse)
{
	return pulse->hooks.used != NULL;
}

static void set_used(struct pulse *pulse, bool used)
{
	if (used != pulse->used)
		pulse->hooks.used(pulse->userdata, used);
	pulse->used = used;
}

/*
 * Has the server let go of a device that nobody uses: by itself it does so after seconds, if at all. It stays so until it is opened
 * again; for others in this qube the watcher sees to that.
 */
static void suspend(struct pulse *pulse, bool suspended)
{
	if (pulse->kind == AUDIO_SPEAKER)
		pulse_forget(pa_context_suspend_sink_by_index(pulse->context, pulse->index, suspended, NULL, NULL));
	else
		pulse_forget(pa_context_suspend_source_by_index(pulse->context, pulse->index, suspended, NULL, NULL));
}

static void ask_players(struct pulse *pulse);

/* A sink that is heard may be said to run for that alone: who plays there is asked. */
static void on_player(pa_context *context _unused_, const pa_sink_input_info *info, int end, void *userdata)
{
	struct pulse *pulse = userdata;

	if (!end && info) {
		pulse->playing = pulse->playing || (info->sink == pulse->index && !info->corked);
		return;
	}
	pulse->asking = false;
	set_used(pulse, pulse->playing);
	if (TAKE(pulse->ask_again, false))
		ask_players(pulse);
}

static void ask_players(struct pulse *pulse)
{
	if (pulse->asking) {
		pulse->ask_again = true;
		return;
	}
	pulse->asking = true;
	pulse->playing = false;
	pulse_forget(pa_context_get_sink_input_info_list(pulse->context, on_player, pulse));
}

static void on_device(struct pulse *pulse, uint32_t index, bool idle, bool running)
{
	pulse->index = index;
	if (!is_ours(pulse)) {
		if (!pulse->stream && idle)
			suspend(pulse, true);
		return;
	}
	if (pulse->kind == AUDIO_SPEAKER)
		ask_players(pulse);
	else
		set_used(pulse, running);
}

static void on_source(pa_context *context _unused_, const pa_source_info *info, int end, void *userdata)
{
	struct pulse *pulse = userdata;

	if (end || !info)
		pulse_answered(pulse, pulse->index != PA_INVALID_INDEX);
	else
		on_device(pulse, info->index, info->state == PA_SOURCE_IDLE, info->state == PA_SOURCE_RUNNING);
}

static void on_sink(pa_context *context _unused_, const pa_sink_info *info, int end, void *userdata)
{
	struct pulse *pulse = userdata;

	if (end || !info)
		pulse_answered(pulse, pulse->index != PA_INVALID_INDEX);
	else
		on_device(pulse, info->index, info->state == PA_SINK_IDLE, info->state == PA_SINK_RUNNING);
}

static pa_operation *ask_device(struct pulse *pulse)
{
	if (pulse->kind == AUDIO_SPEAKER)
		return pa_context_get_sink_info_by_index(pulse->context, pulse->index, on_sink, pulse);
	return pa_context_get_source_info_by_index(pulse->context, pulse->index, on_source, pulse);
}

static void on_event(pa_context *context _unused_, pa_subscription_event_type_t event, uint32_t index, void *userdata)
{
	struct pulse *pulse = userdata;
	pa_subscription_event_type_t type = event & PA_SUBSCRIPTION_EVENT_TYPE_MASK;
	pa_subscription_event_type_t what = event & PA_SUBSCRIPTION_EVENT_FACILITY_MASK;
	bool speaker = pulse->kind == AUDIO_SPEAKER, plays = what == PA_SUBSCRIPTION_EVENT_SINK_INPUT;

	if (!plays && what != PA_SUBSCRIPTION_EVENT_SOURCE_OUTPUT) {
		pulse->changed = true;
		if (pulse->follows)
			pulse_look_at_chosen(pulse);
	} else if (pulse->watches && type == PA_SUBSCRIPTION_EVENT_NEW) {
		pulse_resume_for(pulse, plays ? AUDIO_SPEAKER : AUDIO_MIC, index);
	}
	if (pulse->index == PA_INVALID_INDEX)
		return;
	if (plays && speaker && is_ours(pulse))
		ask_players(pulse);
	if (what != (speaker ? PA_SUBSCRIPTION_EVENT_SINK : PA_SUBSCRIPTION_EVENT_SOURCE) || index != pulse->index ||
	    (pulse->follows && !pulse->stream && type == PA_SUBSCRIPTION_EVENT_REMOVE))
		return;
	if (type == PA_SUBSCRIPTION_EVENT_REMOVE)
		pulse->over = is_ours(pulse) ? OUTCOME_NO_SOUND : OUTCOME_UNPLUGGED;
	else
		pulse_forget(ask_device(pulse));
}

static void on_success(pa_context *context _unused_, int success, void *userdata)
{
	pulse_answered(userdata, success != 0);
}

/* ---- connecting ----------------------------------------------------------------------------------------------------- */

/* libpulse reads its settings from a file; ours is nowhere on the disk. */
static int settings_file(void)
{
	_cleanup_close_ int fd = memfd_create("client.conf", MFD_CLOEXEC);
	char path[32];

	if (fd < 0 || write(fd, CONFIG, strlen(CONFIG)) != (ssize_t)strlen(CONFIG))
		return -EIO;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return setenv("PULSE_CLIENTCONFIG", path, 1) < 0 ? -errno : TAKE_FD(fd);
}

/* The server knows its user by the real uid of who connects. */
static int connect_as(struct pulse *pulse, const char *server, uid_t owner)
{
	bool root = geteuid() == 0;
	bool good = false;

	if (root && setresuid(owner, owner, 0) < 0)
		return -errno;
	if (pa_context_connect(pulse->context, server, PA_CONTEXT_NOAUTOSPAWN, NULL) >= 0) {
		uint64_t give_up = clock_monotonic_usec() + ANSWER_USEC;

		while (!pulse->answered && step(pulse, give_up))
			;
		good = TAKE(pulse->answered, false) && TAKE(pulse->good, false);
	}
	if (root && setresuid(0, 0, 0) < 0)
		return -errno;
	return good ? 0 : (int)OUTCOME_NO_SOUND;
}

static void cleanup_pulse(struct pulse **pulse)
{
	*pulse = pulse_free(*pulse);
}

int pulse_new(const char *server, uid_t owner, const struct pulse_hooks *hooks, void *userdata,
	      struct pulse **ret_pulse)
{
	_cleanup_(cleanup_pulse) struct pulse *pulse = calloc(1, sizeof(*pulse));
	_cleanup_close_ int settings = settings_file();
	int r;

	if (!pulse || settings < 0)
		return -ENOMEM;
	pulse->hooks = *hooks;
	pulse->userdata = userdata;
	pulse->index = pulse->module = PA_INVALID_INDEX;
	pulse->loop = pa_mainloop_new();
	if (!pulse->loop)
		return -ENOMEM;
	pulse->context = pa_context_new(pa_mainloop_get_api(pulse->loop), "Qubes Device Broker");
	if (!pulse->context)
		return -ENOMEM;
	pa_context_set_state_callback(pulse->context, on_context, pulse);
	r = connect_as(pulse, server, owner);
	if (r == 0 && !pulse_await(pulse, pa_context_get_server_info(pulse->context, on_server, pulse)))
		r = OUTCOME_NO_SOUND;
	pa_context_set_subscribe_callback(pulse->context, on_event, pulse);
	if (r == 0 && !pulse_await(pulse, pa_context_subscribe(
						  pulse->context,
						  PA_SUBSCRIPTION_MASK_SOURCE | PA_SUBSCRIPTION_MASK_SOURCE_OUTPUT |
							  PA_SUBSCRIPTION_MASK_SINK | PA_SUBSCRIPTION_MASK_SINK_INPUT |
							  PA_SUBSCRIPTION_MASK_SERVER,
						  on_success, pulse)))
		r = OUTCOME_NO_SOUND;
	if (r) {
		log_error("cannot talk to the sound server: %s",
			  r < 0 ? strerror(-r) : pa_strerror(pa_context_errno(pulse->context)));
		return r;
	}
	*ret_pulse = TAKE_PTR(pulse);
	return 0;
}

static bool is_being_made(const struct pulse *pulse)
{
	return pa_stream_get_state(pulse->stream) == PA_STREAM_CREATING;
}

static void close_device(struct pulse *pulse)
{
	pa_stream *stream = TAKE_PTR(pulse->stream);

	(void)pa_stream_disconnect(stream);
	pa_stream_unref(stream);
	pulse_forget(ask_device(pulse));
}

/* So that the server has let go of a real device before we are gone, even of one that was closed just now. */
static void let_go(struct pulse *pulse)
{
	uint64_t give_up = clock_monotonic_usec() + CLOSE_USEC;

	while (pulse->over == OUTCOME_OK && pulse->stream && is_being_made(pulse) && step(pulse, give_up))
		;
	if (pulse->stream)
		close_device(pulse);
	/* the answer about the device, and what follows from it, until it is said and heard */
	while (pulse->over == OUTCOME_OK && pa_context_is_pending(pulse->context) && step(pulse, give_up))
		;
}

struct pulse *pulse_free(struct pulse *pulse)
{
	if (!pulse)
		return NULL;
	if (pulse->loop)
		pa_mainloop_set_poll_func(pulse->loop, NULL, NULL);
	if (pulse->stream || (pulse->context && pulse->index != PA_INVALID_INDEX && !is_ours(pulse)))
		let_go(pulse);
	if (pulse->n_underflows > 0)
		log_debug("the speaker had nothing to play %llu times", (unsigned long long)pulse->n_underflows);
	if (pulse->context) {
		pa_context_disconnect(pulse->context);
		pa_context_unref(pulse->context);
	}
	if (pulse->loop)
		pa_mainloop_free(pulse->loop);
	free(pulse);
	return NULL;
}

bool pulse_has_clock(const struct pulse *pulse)
{
	return pulse->has_clock;
}

/* ---- the device ------------------------------------------------------------------------------------------------------ */

int pulse_find(struct pulse *pulse, enum audio_kind kind, const char *name)
{
	pa_operation *question;

	pulse->kind = kind;
	if (strcmp(name, PROXY_SOURCE_CHOSEN) == 0)
		return kind == AUDIO_MIC ? pulse_follow_chosen(pulse) : OUTCOME_NO_DEVICE;
	if (strlen(name) >= sizeof(pulse->name))
		return OUTCOME_NO_DEVICE;
	(void)strcpy(pulse->name, name);
	if (kind == AUDIO_SPEAKER)
		question = pa_context_get_sink_info_by_name(pulse->context, name, on_sink, pulse);
	else
		question = pa_context_get_source_info_by_name(pulse->context, name, on_source, pulse);
	if (pulse_await(pulse, question))
		return 0;
	return pulse->over ? OUTCOME_NO_SOUND : OUTCOME_NO_DEVICE;
}

int pulse_await_device(struct pulse *pulse, enum audio_kind kind, const char *name)
{
	uint64_t give_up = clock_monotonic_usec() + ANSWER_USEC;
	int r;

	while ((r = pulse_find(pulse, kind, name)) == OUTCOME_NO_DEVICE && clock_monotonic_usec() < give_up)
		(void)nanosleep(&(struct timespec){.tv_nsec = LOOK_AGAIN_NSEC}, NULL);
	return r;
}

/* Nothing is passed on but what comes from the one device: the server may not put another in its place. */
static void on_readable(pa_stream *stream, size_t len _unused_, void *userdata)
{
	struct pulse *pulse = userdata;
	const void *bytes;
	size_t n;

	while (pa_stream_readable_size(stream) > 0 && pa_stream_peek(stream, &bytes, &n) >= 0 && n > 0) {
		if (bytes) /* else a hole, which neither a source nor a monitor that is heard at once has */
			pulse->hooks.heard(pulse->userdata, bytes, n);
		(void)pa_stream_drop(stream);
	}
}

static void on_stream(pa_stream *stream, void *userdata)
{
	struct pulse *pulse = userdata;
	pa_stream_state_t state = pa_stream_get_state(stream);

	if (stream != pulse->stream)
		return;
	if (state == PA_STREAM_READY && pulse->hooks.opened)
		pulse->hooks.opened(pulse->userdata);
	if (!PA_STREAM_IS_GOOD(state))
		pulse->over = PA_CONTEXT_IS_GOOD(pa_context_get_state(pulse->context)) && !is_ours(pulse)
				      ? OUTCOME_UNPLUGGED
				      : OUTCOME_NO_SOUND;
}

static void on_underflow(pa_stream *stream _unused_, void *userdata)
{
	((struct pulse *)userdata)->n_underflows++;
}

static int connect_record(struct pulse *pulse, const pa_sample_spec *format)
{
	/* PulseAudio has the device work in pieces of half of that, and passes each on at once */
	const uint64_t usec = pulse->has_clock ? FRAGMENT_USEC : 2 * FRAGMENT_USEC;
	const pa_buffer_attr sizes = {.maxlength = UINT32_MAX, .fragsize = (uint32_t)pa_usec_to_bytes(usec, format)};
	char monitor[sizeof(pulse->name) + sizeof(".monitor")];

	(void)snprintf(monitor, sizeof(monitor), "%s%s", pulse->name, pulse->kind == AUDIO_SPEAKER ? ".monitor" : "");
	pa_stream_set_read_callback(pulse->stream, on_readable, pulse);
	return pa_stream_connect_record(pulse->stream, monitor, &sizes, PA_STREAM_ADJUST_LATENCY | PA_STREAM_DONT_MOVE);
}

/* An underflow stops nothing: the first frame that comes is played. The sink works in pieces of FRAGMENT_USEC, too. */
static int connect_playback(struct pulse *pulse, const pa_sample_spec *format)
{
	const uint32_t buffer = (uint32_t)pa_usec_to_bytes(BUFFER_USEC, format);
	const pa_buffer_attr sizes = {.maxlength = buffer,
				      .tlength = buffer,
				      .prebuf = (uint32_t)pa_frame_size(format),
				      .minreq = (uint32_t)pa_usec_to_bytes(FRAGMENT_USEC, format)};

	pa_stream_set_underflow_callback(pulse->stream, on_underflow, pulse);
	return pa_stream_connect_playback(pulse->stream, pulse->name, &sizes,
					  PA_STREAM_EARLY_REQUESTS | PA_STREAM_DONT_MOVE, NULL, NULL);
}

int pulse_open(struct pulse *pulse, const struct audio_hello *hello, bool open)
{
	const pa_sample_spec format = {.format = PA_SAMPLE_S16LE, .rate = hello->rate, .channels = hello->channels};
	pa_channel_map map;
	int r;

	if (open == (pulse->stream != NULL))
		return 0;
	if (!open) {
		if (!is_being_made(pulse)) /* else it cannot be taken back: it is closed as soon as it is there */
			close_device(pulse);
		return 0;
	}
	if (pulse->follows && !pulse_take_chosen(pulse))
		return OUTCOME_UNPLUGGED;
	pulse->stream = pa_stream_new(pulse->context, hello->name, &format,
				      pa_channel_map_init_extend(&map, hello->channels, PA_CHANNEL_MAP_DEFAULT));
	if (!pulse->stream)
		return OUTCOME_OPEN_FAILED;
	pa_stream_set_state_callback(pulse->stream, on_stream, pulse);
	r = pulse->hooks.opened ? connect_playback(pulse, &format) : connect_record(pulse, &format);
	/* only now: a sink that nobody plays to yet would at once work two seconds ahead */
	suspend(pulse, false);
	return r < 0 ? OUTCOME_OPEN_FAILED : 0;
}

size_t pulse_waiting(struct pulse *pulse)
{
	const pa_buffer_attr *sizes = pa_stream_get_buffer_attr(pulse->stream);
	size_t writable = pa_stream_writable_size(pulse->stream);

	return sizes && writable < sizes->tlength ? sizes->tlength - writable : 0;
}

bool pulse_play(struct pulse *pulse, const uint8_t *frames, size_t len)
{
	return pa_stream_write(pulse->stream, frames, len, NULL, 0, PA_SEEK_RELATIVE) == 0;
}

/* ---- the virtual device ----------------------------------------------------------------------------------------------- */

static void on_module(pa_context *context _unused_, uint32_t index, void *userdata)
{
	struct pulse *pulse = userdata;

	pulse->module = index;
	pulse_answered(pulse, index != PA_INVALID_INDEX);
}

/* In the arguments of a module, quoted twice. */
static void quotable(const char *text, char ret_text[AUDIO_TEXT])
{
	size_t i = 0;

	for (; text[i]; i++)
		ret_text[i] = strchr("'\"\\", text[i]) ? '_' : text[i];
	ret_text[i] = '\0';
}

int pulse_make(struct pulse *pulse, const char *name, const char *pipe, const struct audio_hello *hello)
{
	const bool speaker = hello->kind == AUDIO_SPEAKER;
	const char *module = speaker ? "module-null-sink" : "module-pipe-source", *word = speaker ? "sink" : "source";
	char arguments[1024], map_text[PA_CHANNEL_MAP_SNPRINT_MAX], description[AUDIO_TEXT];
	pa_channel_map map;
	int n;

	quotable(hello->name, description);
	(void)pa_channel_map_snprint(map_text, sizeof(map_text),
				     pa_channel_map_init_extend(&map, hello->channels, PA_CHANNEL_MAP_DEFAULT));
	/* with rewinds PulseAudio's null sink works two seconds ahead while nobody plays, and its monitor is as late */
	n = snprintf(arguments, sizeof(arguments),
		     "%s_name=%s %s%s format=s16le rate=%u channels=%u channel_map=%s "
		     "%s_properties=\"device.description='%s'\"",
		     word, name, speaker ? "norewinds=1" : "file=", speaker ? "" : pipe, hello->rate, hello->channels,
		     map_text, word, description);
	if (n < 0 || (size_t)n >= sizeof(arguments))
		return OUTCOME_INTERNAL;
	if (!pulse_await(pulse, pa_context_load_module(pulse->context, module, arguments, on_module, pulse))) {
		log_error("the sound server makes no virtual %s: %s", speaker ? "speaker" : "microphone",
			  pa_strerror(pa_context_errno(pulse->context)));
		return OUTCOME_NO_SOUND;
	}
	return 0;
}

void pulse_remove(struct pulse *pulse)
{
	if (pulse->module == PA_INVALID_INDEX || pulse->over == OUTCOME_NO_SOUND)
		return;
	pulse->index = PA_INVALID_INDEX;
	pa_mainloop_set_poll_func(pulse->loop, NULL, NULL);
	(void)pulse_await(pulse, pa_context_unload_module(pulse->context, pulse->module, on_success, pulse));
	pulse->module = PA_INVALID_INDEX;
}
