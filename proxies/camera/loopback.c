/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See sink.h. v4l2loopback's side for whoever writes (github.com/v4l2loopback/v4l2loopback, v4l2loopback.c): S_FMT, REQBUFS, mmap and
 * STREAMON make it a camera for others, and QBUF shows one of its buffers. Readers see the same memory, so they are taken in turn,
 * and there are enough of them for a reader to be behind by some. (DQBUF is not asked for the next: in 0.13 it gives the one that was
 * shown last.)
 *
 * A program that begins to look sees at once what was shown last, whenever that was, with a time stamp of now.
 *
 * Who looks is told from 0.13 on by an event of its own, at each STREAMON and STREAMOFF of a reader.
 */
#include <errno.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "proxies/camera/sink.h"

#define BUFFERS 4u
#define EVENT_CLIENT_USAGE (V4L2_EVENT_PRIVATE_START + 0x08e00000 + 1) /* v4l2loopback.h: V4L2_EVENT_PRI_CLIENT_USAGE */

static const uint32_t fourccs[] = {
	[CAMERA_YUYV] = V4L2_PIX_FMT_YUYV, [CAMERA_NV12] = V4L2_PIX_FMT_NV12, [CAMERA_I420] = V4L2_PIX_FMT_YUV420};

struct sink {
	int fd;
	struct camera_mode mode;
	uint32_t n_bytes;          /* of a picture */
	uint32_t n_buffers, place; /* the buffer that is being filled */
	uint32_t n_watchers;
	struct {
		uint8_t *at;
		size_t len;
	} buffers[BUFFERS];
};

static int ask(struct sink *sink, unsigned long request, void *argument)
{
	int r;

	do
		r = ioctl(sink->fd, request, argument);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* The driver may say what it likes of sizes: it is a camera of this mode, or it is none of ours. */
static int set_format(struct sink *sink, const struct camera_mode *mode)
{
	struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT,
				     .fmt.pix = {.width = mode->width,
						 .height = mode->height,
						 .pixelformat = fourccs[mode->format],
						 .field = V4L2_FIELD_NONE,
						 .bytesperline = mode->width * (mode->format == CAMERA_YUYV ? 2u : 1u),
						 .sizeimage = camera_frame_bytes(mode),
						 .colorspace = V4L2_COLORSPACE_SRGB}};
	struct v4l2_streamparm rate = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
	int r = ask(sink, VIDIOC_S_FMT, &format);

	if (r < 0)
		return r;
	if (format.fmt.pix.width != mode->width || format.fmt.pix.height != mode->height ||
	    format.fmt.pix.pixelformat != fourccs[mode->format] || format.fmt.pix.sizeimage < sink->n_bytes)
		return -ERANGE;
	rate.parm.output.timeperframe = (struct v4l2_fract){mode->interval_usec, (uint32_t)USEC_PER_SEC};
	return ask(sink, VIDIOC_S_PARM, &rate);
}

static int map(struct sink *sink)
{
	struct v4l2_requestbuffers request = {
		.count = BUFFERS, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_MMAP};
	int r = ask(sink, VIDIOC_REQBUFS, &request);

	if (r < 0)
		return r;
	sink->n_buffers = request.count;
	if (request.count == 0 || request.count > BUFFERS)
		return -ERANGE;
	for (uint32_t i = 0; i < request.count; i++) {
		struct v4l2_buffer info = {.index = i, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_MMAP};
		void *at;

		r = ask(sink, VIDIOC_QUERYBUF, &info);
		if (r < 0)
			return r;
		if (info.length < sink->n_bytes)
			return -ERANGE;
		at = mmap(NULL, info.length, PROT_READ | PROT_WRITE, MAP_SHARED, sink->fd, (off_t)info.m.offset);
		if (at == MAP_FAILED)
			return -errno;
		sink->buffers[i].at = at;
		sink->buffers[i].len = info.length;
	}
	return 0;
}

static int begin(struct sink *sink, const struct camera_mode *mode)
{
	struct v4l2_event_subscription who = {.type = EVENT_CLIENT_USAGE, .flags = V4L2_EVENT_SUB_FL_SEND_INITIAL};
	int type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
	int r = set_format(sink, mode);

	if (r == 0)
		r = map(sink);
	if (r == 0)
		r = ask(sink, VIDIOC_STREAMON, &type);
	if (r < 0) {
		log_error("the virtual camera takes no pictures of %u x %u: %s", mode->width, mode->height,
			  strerror(-r));
		return SINK_UNFIT;
	}
	r = ask(sink, VIDIOC_SUBSCRIBE_EVENT, &who);
	if (r < 0) {
		log_error("v4l2loopback does not tell who looks: install version 0.13 or later");
		return SINK_UNFIT;
	}
	return 0;
}

int sink_new(int fd, const struct camera_mode *mode, struct sink **ret_sink)
{
	struct sink *sink = calloc(1, sizeof(*sink));
	int r;

	if (!sink)
		return -ENOMEM;
	sink->fd = fd;
	sink->mode = *mode;
	sink->n_bytes = camera_frame_bytes(mode);
	r = begin(sink, mode);
	if (r) {
		(void)sink_free(sink);
		return r;
	}
	*ret_sink = sink;
	return 0;
}

struct sink *sink_free(struct sink *sink)
{
	int type = V4L2_BUF_TYPE_VIDEO_OUTPUT;

	if (!sink)
		return NULL;
	(void)ask(sink, VIDIOC_STREAMOFF, &type);
	for (size_t i = 0; i < BUFFERS; i++)
		if (sink->buffers[i].at)
			(void)munmap(sink->buffers[i].at, sink->buffers[i].len);
	free(sink);
	return NULL;
}

int sink_fd(const struct sink *sink)
{
	return sink->fd;
}

short sink_poll_events(const struct sink *sink _unused_)
{
	return POLLPRI;
}

int sink_dispatch(struct sink *sink)
{
	struct v4l2_event event;
	int r;

	while ((r = ask(sink, VIDIOC_DQEVENT, &event)) == 0)
		if (event.type == EVENT_CLIENT_USAGE)
			memcpy(&sink->n_watchers, event.u.data, sizeof(sink->n_watchers));
	return r == -ENOENT || r == -EAGAIN ? 0 : r;
}

bool sink_is_watched(const struct sink *sink)
{
	return sink->n_watchers > 0;
}

uint8_t *sink_place(struct sink *sink)
{
	return sink->buffers[sink->place].at;
}

int sink_blank(struct sink *sink)
{
	uint8_t *at = sink_place(sink);
	size_t luma = (size_t)sink->mode.width * sink->mode.height;

	if (sink->mode.format == CAMERA_YUYV) {
		for (size_t i = 0; i < sink->n_bytes; i++)
			at[i] = i % 2 ? 0x80 : 0x10;
	} else {
		memset(at, 0x10, luma);
		memset(at + luma, 0x80, sink->n_bytes - luma);
	}
	return sink_show(sink, clock_monotonic_usec());
}

int sink_show(struct sink *sink, uint64_t usec)
{
	struct v4l2_buffer info = {
		.index = sink->place,
		.type = V4L2_BUF_TYPE_VIDEO_OUTPUT,
		.memory = V4L2_MEMORY_MMAP,
		.bytesused = sink->n_bytes,
		.field = V4L2_FIELD_NONE,
		.flags = V4L2_BUF_FLAG_TIMESTAMP_COPY,
		.timestamp = {.tv_sec = (time_t)(usec / USEC_PER_SEC), .tv_usec = (suseconds_t)(usec % USEC_PER_SEC)}};

	sink->place = (sink->place + 1) % sink->n_buffers;
	return ask(sink, VIDIOC_QBUF, &info);
}
