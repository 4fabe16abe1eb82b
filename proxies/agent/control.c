/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection after the other, each on a fresh number (see channel.h for why). Two facts shape the code: the
 * channel's wake-ups are edges, so each turn reads until there is nothing and writes until there is no more room; and
 * handlers send and cut while frames are being taken from the buffer, so cutting only notes the reason, and the turn's end
 * carries it out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "proxies/agent/control.h"

#define BROKER_DOMID 0u
#define NUMBER_LIMIT (1u << 24)
#define INPUT_SIZE 4096u
#define READS_PER_TURN 16u /* then other sources have their turn */
#define BACKOFF_MIN_USEC (100 * USEC_PER_MSEC)
#define BACKOFF_MAX_USEC (2 * USEC_PER_SEC)
#define GOODBYE_USEC (200 * USEC_PER_MSEC)

struct control {
	struct control_settings settings;
	struct channel_address address;
	uint32_t number;
	uint64_t backoff_usec; /* before the next listen; 0: at once */
	struct channel *channel;
	sd_event_source *io, *listen_timer, *stall_timer, *turn;

	bool open; /* the broker came */
	enum wire_states state;
	const char *cut; /* why this connection is to end */
	size_t input_len;
	uint8_t input[INPUT_SIZE];
	size_t output_start, output_len;
	uint8_t output[LIMIT_PEER_QUEUE];
};

static int on_listen(sd_event_source *source, uint64_t usec, void *userdata);

/* Frees the present channel and lets the next one be served. */
static void drop(struct control *control)
{
	bool was_open = control->open;

	control->io = sd_event_source_disable_unref(control->io);
	(void)sd_event_source_set_enabled(control->stall_timer, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(control->turn, SD_EVENT_OFF);
	if (control->channel != NULL) {
		control->channel = channel_free(control->channel);
		(void)channel_remove_leftovers(control->settings.backend, &control->address);
	}
	control->open = false;
	control->cut = NULL;
	control->input_len = control->output_start = control->output_len = 0;
	if (was_open)
		control->settings.handlers->disconnected(control->settings.userdata);
}

static void listen_again(struct control *control)
{
	drop(control);
	(void)sd_event_source_set_time_relative(control->listen_timer, control->backoff_usec);
	(void)sd_event_source_set_enabled(control->listen_timer, SD_EVENT_ONESHOT);
	control->backoff_usec = control->backoff_usec == 0 ? BACKOFF_MIN_USEC : 2 * control->backoff_usec;
	if (control->backoff_usec > BACKOFF_MAX_USEC)
		control->backoff_usec = BACKOFF_MAX_USEC;
}

static void write_output(struct control *control)
{
	while (control->output_len > 0) {
		ssize_t n =
			channel_write(control->channel, control->output + control->output_start, control->output_len);

		if (n <= 0)
			break; /* full, or not open any more: its state says so */
		control->output_start += (size_t)n;
		control->output_len -= (size_t)n;
		(void)sd_event_source_set_time_relative(control->stall_timer, HEARTBEAT_LOST_USEC);
	}
	if (control->output_len == 0)
		control->output_start = 0;
	(void)sd_event_source_set_enabled(control->stall_timer,
					  control->output_len > 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* Takes all whole frames out of the input. */
static void take_frames(struct control *control)
{
	size_t at = 0;

	while (control->cut == NULL) {
		struct wire_message message;
		size_t used;
		int r = wire_decode(control->input + at, control->input_len - at, WIRE_TO_AGENT, control->state,
				    &message, &used);

		if (r == WIRE_MORE)
			break;
		if (r != 0) {
			control_cut(control, wire_fault_text(r));
			break;
		}
		at += used;
		control->state = wire_next_state(control->state, message.type, WIRE_TO_AGENT);
		if (message.type == WIRE_WELCOME)
			control->backoff_usec = 0;
		control->settings.handlers->message(control->settings.userdata, &message);
	}
	memmove(control->input, control->input + at, control->input_len - at);
	control->input_len -= at;
}

/* True if there may be more to read. */
static bool read_input(struct control *control)
{
	for (unsigned int i = 0; i < READS_PER_TURN && control->cut == NULL; i++) {
		ssize_t n = channel_read(control->channel, control->input + control->input_len,
					 INPUT_SIZE - control->input_len);

		if (n < 0)
			control_cut(control, "the channel's framing is broken");
		if (n <= 0)
			return false;
		control->input_len += (size_t)n;
		take_frames(control);
	}
	return control->cut == NULL;
}

/* One turn: see who is there, read, write, then end what is to be ended. */
static void turn(struct control *control)
{
	bool more = false;

	if (!control->open && channel_state(control->channel) != CHANNEL_WAITING) {
		control->open = true;
		control->state = WIRE_IN_NEW;
		control->settings.handlers->connected(control->settings.userdata);
	}
	if (control->open)
		more = read_input(control);
	if (control->cut == NULL)
		write_output(control);
	if (control->cut == NULL && !more) {
		enum channel_state state = channel_state(control->channel);

		if (state == CHANNEL_ENDED || state == CHANNEL_DEAD)
			control->cut = state == CHANNEL_ENDED ? "the broker ended it" : "the broker is gone";
	}
	if (control->cut != NULL) {
		log_notice("control connection %" PRIu32 " ended: %s", control->number, control->cut);
		listen_again(control);
		return;
	}
	(void)sd_event_source_set_io_events(control->io,
					    (uint32_t)channel_poll_events(control->channel, control->output_len > 0));
	(void)sd_event_source_set_enabled(control->turn, more ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_channel(_unused_ sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata)
{
	struct control *control = userdata;

	if (channel_dispatch(control->channel) < 0)
		control_cut(control, "the channel failed");
	turn(control);
	return 0;
}

static int on_turn(_unused_ sd_event_source *source, void *userdata)
{
	turn(userdata);
	return 0;
}

static int on_stall(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	control_cut(userdata, "the broker does not read");
	turn(userdata);
	return 0;
}

/* Serves the next number and publishes it. 0 or a negative errno. */
static int serve(struct control *control)
{
	const struct channel_rings rings = {.read = RING_CONTROL, .write = RING_CONTROL};
	int r;

	control->number = (control->number + 1) % NUMBER_LIMIT;
	control->address = (struct channel_address){
		.server_domid = control->settings.own,
		.client_domid = BROKER_DOMID,
	};
	(void)snprintf(control->address.service, sizeof(control->address.service), "device-agent/%" PRIu32,
		       control->number);
	r = channel_listen(control->settings.backend, &control->address, &rings, &control->channel);
	if (r < 0)
		return r;
	r = sd_event_add_io(control->settings.event, &control->io, channel_fd(control->channel),
			    (uint32_t)channel_poll_events(control->channel, false), on_channel, control);
	if (r < 0)
		return r;
	return publisher_put(control->settings.publisher, control->number);
}

static int on_listen(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct control *control = userdata;
	int r = serve(control);

	if (r < 0) {
		log_warning("cannot serve the broker as number %" PRIu32 ": %s", control->number, strerror(-r));
		listen_again(control);
	}
	return 0;
}

static void cleanup_control(struct control **control)
{
	(void)control_free(*control);
}

int control_new(const struct control_settings *settings, struct control **ret_control)
{
	_cleanup_(cleanup_control) struct control *control = calloc(1, sizeof(*control));
	uint32_t start = 0;
	int r;

	if (control == NULL)
		return -ENOMEM;
	control->settings = *settings;
	if (getrandom(&start, sizeof(start), 0) != sizeof(start))
		return -EIO;
	control->number = start % NUMBER_LIMIT;
	r = sd_event_add_time_relative(settings->event, &control->listen_timer, CLOCK_MONOTONIC, 0, 1, on_listen,
				       control);
	if (r == 0)
		r = sd_event_add_time_relative(settings->event, &control->stall_timer, CLOCK_MONOTONIC, 0, 0, on_stall,
					       control);
	if (r == 0)
		r = sd_event_source_set_enabled(control->stall_timer, SD_EVENT_OFF);
	if (r == 0)
		r = sd_event_add_defer(settings->event, &control->turn, on_turn, control);
	if (r == 0)
		r = sd_event_source_set_enabled(control->turn, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret_control = TAKE_PTR(control);
	return 0;
}

bool control_is_ready(const struct control *control)
{
	return control->open && control->cut == NULL && control->state != WIRE_IN_NEW;
}

void control_send(struct control *control, const struct wire_message *message)
{
	uint8_t frame[LIMIT_FRAME];
	size_t len;

	if (!control->open || control->cut != NULL)
		return;
	len = wire_encode(message, frame);
	if (control->output_len + len > sizeof(control->output)) {
		control_cut(control, "the broker does not read");
		return;
	}
	if (control->output_start + control->output_len + len > sizeof(control->output)) {
		memmove(control->output, control->output + control->output_start, control->output_len);
		control->output_start = 0;
	}
	if (control->output_len == 0)
		(void)sd_event_source_set_time_relative(control->stall_timer, HEARTBEAT_LOST_USEC);
	memcpy(control->output + control->output_start + control->output_len, frame, len);
	control->output_len += len;
	(void)sd_event_source_set_enabled(control->turn, SD_EVENT_ONESHOT);
}

size_t control_queued(const struct control *control)
{
	return control->output_len;
}

void control_cut(struct control *control, const char *why)
{
	if (control->channel == NULL || control->cut != NULL)
		return;
	control->cut = why;
	(void)sd_event_source_set_enabled(control->turn, SD_EVENT_ONESHOT);
}

/* All that is queued, then end-of-stream, as far as the broker takes it within GOODBYE_USEC. */
static void say_goodbye(struct control *control)
{
	bool said = false;

	for (unsigned int i = 0; i < 8 && channel_state(control->channel) == CHANNEL_OPEN; i++) {
		write_output(control);
		if (!said && control->output_len == 0)
			said = channel_finish(control->channel) == 0;
		if (channel_wait(control->channel, !said, GOODBYE_USEC / 4) != 0)
			break;
	}
}

struct control *control_free(struct control *control)
{
	if (control == NULL)
		return NULL;
	if (control->channel != NULL && control->open)
		say_goodbye(control);
	control->open = false; /* its user is going away as well */
	drop(control);
	publisher_withdraw(control->settings.publisher);
	(void)sd_event_source_disable_unref(control->listen_timer);
	(void)sd_event_source_disable_unref(control->stall_timer);
	(void)sd_event_source_disable_unref(control->turn);
	free(control);
	return NULL;
}
