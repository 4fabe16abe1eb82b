/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much later a click is heard at the end of a way than by a program that hears the source itself.
 *
 *     click-meter SECONDS PIPE SERVER SOURCE SERVER SOURCE
 *
 * PIPE is the source's microphone (module-pipe-source); four clicks a second are written into it at the pace of the clock. Both
 * programs record in fragments of 5 ms. Prints one line: how many clicks, and of what is added the median, the 99th
 * percentile and the most, in milliseconds; then the median of each for itself, from the write on.
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
#define LOUD 8000
#define CLICKS 4096u
#define WAY_MAX_USEC 240000u /* less than from click to click */

struct ear {
	pa_context *context;
	pa_stream *stream;
	const char *source;
	unsigned int quiet; /* frames since the last loud one */
	uint64_t heard[CLICKS];
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

static void on_readable(pa_stream *stream, size_t len, void *userdata)
{
	struct ear *ear = userdata;
	const void *bytes;
	uint64_t now = now_usec();

	while (pa_stream_readable_size(stream) > 0 && pa_stream_peek(stream, &bytes, &len) >= 0 && len > 0) {
		const int16_t *samples = bytes;

		for (size_t i = 0; samples && i < len / 4; i++) {
			bool loud = samples[2 * i] > LOUD;

			if (loud && ear->quiet > RATE / 20)
				on_click(ear, now);
			ear->quiet = loud ? 0 : ear->quiet + 1;
		}
		(void)pa_stream_drop(stream);
	}
}

static void on_context(pa_context *context, void *userdata)
{
	static const pa_sample_spec format = {PA_SAMPLE_S16LE, RATE, 2};
	static const pa_buffer_attr sizes = {.maxlength = UINT32_MAX, .fragsize = BLOCK * 4};
	struct ear *ear = userdata;

	if (pa_context_get_state(context) != PA_CONTEXT_READY)
		return;
	ear->stream = pa_stream_new(context, "click-meter", &format, NULL);
	pa_stream_set_read_callback(ear->stream, on_readable, ear);
	(void)pa_stream_connect_record(ear->stream, ear->source, &sizes,
				       PA_STREAM_ADJUST_LATENCY | PA_STREAM_DONT_MOVE);
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

int main(int argc, char **argv)
{
	static struct ear ears[2];
	int16_t block[BLOCK * 2];
	pa_mainloop *loop = pa_mainloop_new();
	uint64_t begun, n_blocks;
	int fd;

	if (argc != 7) {
		fprintf(stderr, "usage: click-meter SECONDS PIPE SERVER SOURCE SERVER SOURCE\n");
		return 2;
	}
	fd = open(argv[2], O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "click-meter: %s: %s\n", argv[2], strerror(errno));
		return EXIT_FAILURE;
	}
	for (int e = 0; e < 2; e++) {
		ears[e].source = argv[4 + 2 * e];
		ears[e].context = pa_context_new(pa_mainloop_get_api(loop), "click-meter");
		pa_context_set_state_callback(ears[e].context, on_context, &ears[e]);
		if (pa_context_connect(ears[e].context, argv[3 + 2 * e], PA_CONTEXT_NOAUTOSPAWN, NULL) < 0)
			return EXIT_FAILURE;
	}
	n_blocks = strtoul(argv[1], NULL, 10) * RATE / BLOCK;
	begun = now_usec();
	for (uint64_t k = 0; k < n_blocks; k++) {
		uint64_t due = begun + k * BLOCK * 1000000u / RATE;

		while (now_usec() < due) {
			if (pa_mainloop_prepare(loop, (int)(due - now_usec())) < 0 || pa_mainloop_poll(loop) < 0 ||
			    pa_mainloop_dispatch(loop) < 0)
				return EXIT_FAILURE;
		}
		memset(block, 0, sizeof(block));
		if (k % CLICK_EVERY == 0 && n_written < CLICKS) {
			for (int i = 0; i < 40; i++)
				block[i] = 20000;
			written[n_written++] = now_usec();
		}
		if (write(fd, block, sizeof(block)) < 0 && errno != EAGAIN)
			return EXIT_FAILURE;
	}
	return report(ears);
}
