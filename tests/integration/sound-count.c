/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A microphone that counts, and a program that listens to it, where there is no Python: each frame (two channels of 16 bits) is
 * the number of frames before it and one, so that what is lost, repeated or late is seen. Silence is 0.
 *
 *     sound-count speak FIFO SECONDS      at 48,000 frames a second by the clock; what nobody reads is dropped
 *     sound-count sing FIFO SECONDS RAW PPM   the same with a file's sound, round and round; its clock is so much fast
 *     sound-count listen SECONDS <RAW     ends when so many seconds of counts have come; prints what was heard
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/limits.h"

#define RATE 48000u
#define BLOCK 480u          /* frames: 10 ms */
#define WAITING (4 * BLOCK) /* more than that in the FIFO: nobody listens */
#define SETTLE (RATE / 5)   /* the first counts may be what waited in a closed source */

struct song {
	uint32_t *frames; /* NULL: counts */
	size_t n;
	double ppm;
};

static bool read_song(const char *path, struct song *song)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

	song->n = (size_t)size / sizeof(*song->frames);
	song->frames = song->n > 0 ? malloc((size_t)size) : NULL;
	return song->frames && pread(fd, song->frames, (size_t)size, 0) == size;
}

static int speak(const char *path, uint64_t seconds, const struct song *song)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	uint64_t begun = clock_monotonic_usec();
	uint32_t frames[BLOCK], count = 0;

	if (fd < 0) {
		perror(path);
		return EXIT_FAILURE;
	}
	while (count < seconds * RATE) {
		uint64_t due = begun + (uint64_t)(count * 1e6 / RATE / (1 + song->ppm / 1e6));
		uint64_t now = clock_monotonic_usec();
		int waiting = 0;

		if (now < due) {
			(void)usleep((useconds_t)(due - now));
			continue;
		}
		for (uint32_t i = 0; i < BLOCK; i++, count++)
			frames[i] = song->frames ? song->frames[count % song->n] : count + 1;
		(void)ioctl(fd, FIONREAD, &waiting);
		if ((unsigned int)waiting < WAITING * sizeof(frames[0]) &&
		    write(fd, frames, sizeof(frames)) != sizeof(frames))
			return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

struct heard {
	uint64_t n, n_silent, n_lost, n_repeated, n_jumps;
	uint32_t last;
};

static void hear(struct heard *heard, uint32_t frame)
{
	if (frame == 0) {
		heard->n_silent += heard->n > 0;
		return;
	}
	if (heard->n++ >= SETTLE && frame != heard->last + 1) {
		heard->n_jumps++;
		if (frame > heard->last)
			heard->n_lost += frame - heard->last - 1;
		else
			heard->n_repeated += heard->last + 1 - frame;
	}
	heard->last = frame;
}

static int listen_for(uint64_t seconds)
{
	struct heard heard = {0};
	uint32_t frames[BLOCK];
	size_t have = 0;
	ssize_t n;

	while (heard.n < seconds * RATE &&
	       (n = read(STDIN_FILENO, (uint8_t *)frames + have, sizeof(frames) - have)) > 0) {
		have += (size_t)n;
		for (size_t i = 0; i < have / sizeof(frames[0]); i++)
			hear(&heard, frames[i]);
		memmove(frames, (uint8_t *)frames + have / 4 * 4, have % 4);
		have %= 4;
	}
	(void)printf("frames %" PRIu64 " silent %" PRIu64 " jumps %" PRIu64 " lost %" PRIu64 " repeated %" PRIu64 "\n",
		     heard.n, heard.n_silent, heard.n_jumps, heard.n_lost, heard.n_repeated);
	return heard.n >= seconds * RATE ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct song song = {0};

	if (argc == 4 && strcmp(argv[1], "speak") == 0)
		return speak(argv[2], strtoull(argv[3], NULL, 10), &song);
	if (argc == 6 && strcmp(argv[1], "sing") == 0) {
		song.ppm = strtod(argv[5], NULL);
		if (read_song(argv[4], &song))
			return speak(argv[2], strtoull(argv[3], NULL, 10), &song);
		perror(argv[4]);
		return EXIT_FAILURE;
	}
	if (argc == 3 && strcmp(argv[1], "listen") == 0)
		return listen_for(strtoull(argv[2], NULL, 10));
	(void)fputs("usage: sound-count speak FIFO SECONDS | sing FIFO SECONDS RAW PPM | listen SECONDS <RAW\n",
		    stderr);
	return 2;
}
