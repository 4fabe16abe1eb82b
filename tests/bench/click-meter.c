/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much later a click is heard at the end of a way than without it.
 *
 *     click-meter mic SECONDS PIPE SERVER SOURCE SERVER SOURCE      the source itself, then at the end of the way
 *     click-meter speaker SECONDS SERVER SINK SERVER SINK           the sink itself, then the way's beginning
 *
 * There are four clicks a second. Of a microphone, PIPE is what the source hears (module-pipe-source), at the pace of the clock; both
 * programs record in fragments of 5 ms. To a speaker two programs that keep 10 ms ahead play the same click in the same moment, one
 * at the left and one at the right, and the sink's monitor is heard. Prints one line: how many clicks, and of what is added the median,
 * the 99th percentile and the most, in milliseconds; then the median of each for itself, from when it was made.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pulse/pulseaudio.h>

#define RATE 48000u
#define BLOCK 240u      /* frames: 5 ms */
#define CLICK_EVERY 50u /* blocks */
#define CHANNELS 2u
#define FRAME 4u  /* bytes */
#define CLICK 20u /* frames */
#define CLICK_LOUD 20000
#define LOUD 8000
#define CLICKS 4096u
#define WAY_MAX_USEC 240000u /* less than from click to click */

struct ear {
	unsigned int quiet; /* frames since the last loud one */
	uint64_t heard[CLICKS];
};

/* A program that records, or plays. */
struct program {
	pa_context *context;
	pa_stream *stream;
	const char *device;
	struct ear *ears[CHANNELS]; /* what listens to each channel, if anything does */
	bool plays, click;          /* one is to be played next */
	unsigned int channel;       /* where it plays */
};

static uint64_t written[CLICKS];
static unsigned int n_written;

static uint64_t now_usec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void on_click(struct ear *ear, uint64_t now)
{
	for (unsigned int i = n_written; i-- > 0;) {
		if (now - written[i] > WAY_MAX_USEC)
			return;
		if (now >= written[i] && !ear->heard[i]) {
			ear->heard[i] = now;
			return;
		}
	}
}

static void listen_to(struct ear *ear, int16_t sample, uint64_t now)
{
	bool loud = sample > LOUD;

	if (loud && ear->quiet > RATE / 20)
		on_click(ear, now);
	ear->quiet = loud ? 0 : ear->quiet + 1;
}

static void on_readable(pa_stream *stream, size_t len, void *userdata)
{
	struct program *program = userdata;
	const void *bytes;
	uint64_t now = now_usec();

	while (pa_stream_readable_size(stream) > 0 && pa_stream_peek(stream, &bytes, &len) >= 0 && len > 0) {
		const int16_t *samples = bytes;

		for (size_t i = 0; samples && i < len / sizeof(*samples); i++)
			if (program->ears[i % CHANNELS])
				listen_to(program->ears[i % CHANNELS], samples[i], now);
		(void)pa_stream_drop(stream);
	}
}

static void on_writable(pa_stream *stream, size_t len, void *userdata)
{
	static int16_t samples[RATE * CHANNELS];
	struct program *program = userdata;

	len = len < sizeof(samples) ? len : sizeof(samples);
	memset(samples, 0, len);
	if (program->click && len >= CLICK * CHANNELS * sizeof(*samples)) {
		for (unsigned int i = 0; i < CLICK; i++)
			samples[i * CHANNELS + program->channel] = CLICK_LOUD;
		program->click = false;
	}
	(void)pa_stream_write(stream, samples, len, NULL, 0, PA_SEEK_RELATIVE);
}

static void on_context(pa_context *context, void *userdata)
{
	static const pa_sample_spec format = {PA_SAMPLE_S16LE, RATE, CHANNELS};
	static const pa_buffer_attr record = {.maxlength = UINT32_MAX, .fragsize = BLOCK * FRAME};
	static const pa_buffer_attr play = {
		.maxlength = UINT32_MAX, .tlength = 2 * BLOCK * FRAME, .prebuf = UINT32_MAX, .minreq = UINT32_MAX};
	const pa_stream_flags_t flags = PA_STREAM_ADJUST_LATENCY | PA_STREAM_DONT_MOVE;
	struct program *program = userdata;

	if (pa_context_get_state(context) != PA_CONTEXT_READY)
		return;
	program->stream = pa_stream_new(context, "click-meter", &format, NULL);
	pa_stream_set_read_callback(program->stream, on_readable, program);
	pa_stream_set_write_callback(program->stream, on_writable, program);
	if (program->plays)
		(void)pa_stream_connect_playback(program->stream, program->device, &play, flags, NULL, NULL);
	else
		(void)pa_stream_connect_record(program->stream, program->device, &record, flags);
}

static bool connect_to(struct program *program, pa_mainloop *loop, const char *server, const char *device)
{
	program->device = device;
	program->context = pa_context_new(pa_mainloop_get_api(loop), "click-meter");
	pa_context_set_state_callback(program->context, on_context, program);
	return pa_context_connect(program->context, server, PA_CONTEXT_NOAUTOSPAWN, NULL) >= 0;
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

static double part(const double *sorted, unsigned int n, unsigned int percent)
{
	return sorted[(n - 1) * percent / 100];
}

static int report(const struct ear ears[2])
{
	static double added[CLICKS], alone[2][CLICKS];
	unsigned int n = 0;

	for (unsigned int i = 4; i < n_written; i++) { /* the first second is for beginning */
		if (!ears[0].heard[i] || !ears[1].heard[i])
			continue;
		added[n] = ((double)ears[1].heard[i] - (double)ears[0].heard[i]) / 1000;
		for (int e = 0; e < 2; e++)
			alone[e][n] = (double)(ears[e].heard[i] - written[i]) / 1000;
		n++;
	}
	if (!n) {
		fprintf(stderr, "click-meter: no click was heard twice\n");
		return EXIT_FAILURE;
	}
	qsort(added, n, sizeof(*added), compare);
	for (int e = 0; e < 2; e++)
		qsort(alone[e], n, sizeof(*alone[e]), compare);
	printf("%u %.2f %.2f %.2f %.2f %.2f\n", n, part(added, n, 50), part(added, n, 99), added[n - 1],
	       part(alone[0], n, 50), part(alone[1], n, 50));
	return EXIT_SUCCESS;
}

/* Runs until then. */
static bool run_until(pa_mainloop *loop, uint64_t due)
{
	while (now_usec() < due)
		if (pa_mainloop_prepare(loop, (int)(due - now_usec())) < 0 || pa_mainloop_poll(loop) < 0 ||
		    pa_mainloop_dispatch(loop) < 0)
			return false;
	return true;
}

static bool measure_mic(pa_mainloop *loop, struct ear ears[2], unsigned long seconds, char **words)
{
	struct program programs[2] = {{.ears = {&ears[0]}}, {.ears = {&ears[1]}}};
	int fd = open(words[0], O_RDWR | O_NONBLOCK | O_CLOEXEC);
	uint64_t begun = now_usec();

	if (fd < 0)
		return false;
	for (int i = 0; i < 2; i++)
		if (!connect_to(&programs[i], loop, words[1 + 2 * i], words[2 + 2 * i]))
			return false;
	for (uint64_t k = 0; k < seconds * RATE / BLOCK; k++) {
		int16_t block[BLOCK * CHANNELS] = {0};

		if (!run_until(loop, begun + k * BLOCK * 1000000u / RATE))
			return false;
		if (k % CLICK_EVERY == 0 && n_written < CLICKS) {
			for (unsigned int i = 0; i < CLICK * CHANNELS; i++)
				block[i] = CLICK_LOUD;
			written[n_written++] = now_usec();
		}
		if (write(fd, block, sizeof(block)) < 0 && errno != EAGAIN)
			return false;
	}
	return true;
}

static bool measure_speaker(pa_mainloop *loop, struct ear ears[2], unsigned long seconds, char **words)
{
	struct program players[2] = {{.plays = true}, {.plays = true, .channel = 1}};
	struct program recorder = {.ears = {&ears[0], &ears[1]}};
	uint64_t begun = now_usec();
	char monitor[256];

	(void)snprintf(monitor, sizeof(monitor), "%s.monitor", words[1]);
	if (!connect_to(&recorder, loop, words[0], monitor))
		return false;
	for (int i = 0; i < 2; i++)
		if (!connect_to(&players[i], loop, words[2 * i], words[1 + 2 * i]))
			return false;
	for (uint64_t k = 0; k < seconds * RATE / BLOCK && n_written < CLICKS; k += CLICK_EVERY) {
		if (!run_until(loop, begun + k * BLOCK * 1000000u / RATE))
			return false;
		written[n_written++] = now_usec();
		players[0].click = players[1].click = true;
	}
	return true;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int n_words;
		bool (*measure)(pa_mainloop *loop, struct ear ears[2], unsigned long seconds, char **words);
	} kinds[] = {{"mic", 5, measure_mic}, {"speaker", 4, measure_speaker}};
	static struct ear ears[2];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (argc < 3 || argc - 3 != kinds[i].n_words || strcmp(argv[1], kinds[i].name) != 0)
			continue;
		if (kinds[i].measure(pa_mainloop_new(), ears, strtoul(argv[2], NULL, 10), argv + 3))
			return report(ears);
		perror("click-meter");
		return EXIT_FAILURE;
	}
	fprintf(stderr, "usage: click-meter mic SECONDS PIPE SERVER SOURCE SERVER SOURCE\n"
			"       click-meter speaker SECONDS SERVER SINK SERVER SINK\n");
	return 2;
}
