/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See capture.h. What the driver says comes from a device that may lie: each number is checked or clamped before it is used. */
#include "proxies/camera/capture.h"

#include <errno.h>
#include <linux/videodev2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/text.h"
#include "proxies/camera/modes.h"
#include "proxies/camera/range.h"

/* What we take, and as what it crosses the channel; where two give the same frames the first is taken. */
static const struct pixels {
	uint32_t fourcc;
	uint8_t format; /* enum camera_format */
} pixels[] = {
	{V4L2_PIX_FMT_NV12, CAMERA_NV12},  {V4L2_PIX_FMT_YUV420, CAMERA_I420}, {V4L2_PIX_FMT_YUYV, CAMERA_YUYV},
	{V4L2_PIX_FMT_MJPEG, CAMERA_I420}, {V4L2_PIX_FMT_JPEG, CAMERA_I420},
};

/* Tried where a driver takes any size within bounds. */
static const struct {
	uint16_t width, height;
} common_sizes[] = {{1920, 1080}, {1280, 720}, {640, 480}, {640, 360}, {320, 240}};

/* Which control of V4L2 each is, and of what kind it must be: Linux' uapi/linux/v4l2-controls.h. */
static const struct {
	uint32_t id, type;
} known[CONTROL_COUNT] = {
	[CONTROL_BRIGHTNESS] = {V4L2_CID_BRIGHTNESS, V4L2_CTRL_TYPE_INTEGER},
	[CONTROL_CONTRAST] = {V4L2_CID_CONTRAST, V4L2_CTRL_TYPE_INTEGER},
	[CONTROL_SATURATION] = {V4L2_CID_SATURATION, V4L2_CTRL_TYPE_INTEGER},
	[CONTROL_SHARPNESS] = {V4L2_CID_SHARPNESS, V4L2_CTRL_TYPE_INTEGER},
	[CONTROL_POWER_LINE] = {V4L2_CID_POWER_LINE_FREQUENCY, V4L2_CTRL_TYPE_MENU},
};

struct buffer {
	uint8_t *at; /* NULL: none */
	size_t len;
	bool with_us; /* it was taken and not given back */
};

struct capture {
	int fd;
	struct v4l2_capability capability;
	struct buffer buffers[CAPTURE_BUFFERS];
	struct camera_mode mode;
	uint32_t fourcc; /* 0: no mode is set */
	bool on;
	struct {
		bool changed; /* by us */
		int32_t was;
	} controls[CONTROL_COUNT];

	uint32_t fourccs[CAMERA_MODES]; /* of the modes of the hello */
	unsigned int n_looks;           /* while it is described */
	struct camera_hello *hello;
};

static int ask(struct capture *capture, unsigned long request, void *argument)
{
	int r;

	do
		r = ioctl(capture->fd, request, argument);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int capture_new(int fd, struct capture **ret_capture)
{
	const uint32_t needed = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
	_cleanup_free_ struct capture *capture = calloc(1, sizeof(*capture));
	uint32_t has;
	int r;

	if (!capture)
		return -ENOMEM;
	capture->fd = fd;
	r = ask(capture, VIDIOC_QUERYCAP, &capture->capability);
	if (r == -ENOTTY)
		return CAPTURE_NONE;
	if (r < 0)
		return r;
	has = capture->capability.capabilities & V4L2_CAP_DEVICE_CAPS ? capture->capability.device_caps
								      : capture->capability.capabilities;
	if ((has & needed) != needed)
		return CAPTURE_NONE;
	*ret_capture = TAKE_PTR(capture);
	return 0;
}

static void unmap(struct capture *capture)
{
	struct v4l2_requestbuffers none = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};

	for (size_t i = 0; i < CAPTURE_BUFFERS; i++) {
		if (capture->buffers[i].at)
			(void)munmap(capture->buffers[i].at, capture->buffers[i].len);
		capture->buffers[i] = (struct buffer){.at = NULL};
	}
	if (TAKE(capture->fourcc, 0))
		(void)ask(capture, VIDIOC_REQBUFS, &none);
}

static void put_back(struct capture *capture)
{
	for (size_t i = 0; i < CONTROL_COUNT; i++) {
		struct v4l2_control control = {.id = known[i].id, .value = capture->controls[i].was};

		if (TAKE(capture->controls[i].changed, false))
			(void)ask(capture, VIDIOC_S_CTRL, &control);
	}
}

struct capture *capture_free(struct capture *capture)
{
	if (!capture)
		return NULL;
	capture_stop(capture);
	put_back(capture);
	unmap(capture);
	free(capture);
	return NULL;
}

/* ---- its modes --------------------------------------------------------------------------------------------------------- */

/* False: enough was asked. */
static bool look(struct capture *capture)
{
	return capture->n_looks++ < CAPTURE_LOOKS;
}

static uint32_t usec_of(const struct v4l2_fract *interval)
{
	uint64_t usec = interval->denominator ? interval->numerator * USEC_PER_SEC / interval->denominator : 0;

	return usec > UINT32_MAX ? UINT32_MAX : (uint32_t)usec;
}

/* The driver takes the size as it is, with no bytes between the lines. */
static int set_format(struct capture *capture, unsigned long request, const struct camera_mode *mode, uint32_t fourcc,
		      uint32_t *ret_size)
{
	struct v4l2_format format = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.fmt.pix = {
			.width = mode->width, .height = mode->height, .pixelformat = fourcc, .field = V4L2_FIELD_NONE}};
	const struct v4l2_pix_format *pix = &format.fmt.pix;
	bool is_jpeg = fourcc == V4L2_PIX_FMT_MJPEG || fourcc == V4L2_PIX_FMT_JPEG;
	uint32_t line = mode->format == CAMERA_YUYV ? 2u * mode->width : mode->width;
	int r = ask(capture, request, &format);

	if (r < 0)
		return r;
	if (pix->width != mode->width || pix->height != mode->height || pix->pixelformat != fourcc ||
	    (!is_jpeg && pix->bytesperline != 0 && pix->bytesperline != line))
		return -ERANGE;
	*ret_size = pix->sizeimage;
	return 0;
}

static void add_mode(struct capture *capture, const struct camera_mode *mode, uint32_t fourcc)
{
	int at = modes_add(capture->hello, mode);

	if (at < 0)
		return;
	memmove(&capture->fourccs[at + 1], &capture->fourccs[at],
		(CAMERA_MODES - 1u - (size_t)at) * sizeof(capture->fourccs[0]));
	capture->fourccs[at] = fourcc;
}

/* The rates of one size: the fastest up to MODES_FPS and, if there is one, a faster one. */
static void add_rates(struct capture *capture, const struct pixels *kind, struct camera_mode mode)
{
	struct v4l2_frmivalenum rate = {.pixel_format = kind->fourcc, .width = mode.width, .height = mode.height};
	const uint32_t usual = (uint32_t)(USEC_PER_SEC / (MODES_FPS + 1));
	uint32_t size, best = UINT32_MAX, fast = UINT32_MAX;

	if (set_format(capture, VIDIOC_TRY_FMT, &mode, kind->fourcc, &size) < 0)
		return;
	for (rate.index = 0; look(capture) && ask(capture, VIDIOC_ENUM_FRAMEINTERVALS, &rate) == 0; rate.index++) {
		bool is_range = rate.type != V4L2_FRMIVAL_TYPE_DISCRETE;
		uint32_t usec = usec_of(is_range ? &rate.stepwise.min : &rate.discrete);

		if (is_range && usec < USEC_PER_SEC / MODES_FPS &&
		    usec_of(&rate.stepwise.max) >= USEC_PER_SEC / MODES_FPS)
			usec = USEC_PER_SEC / MODES_FPS;
		if (usec >= usual && usec < best)
			best = usec;
		if (usec < usual && usec >= CAMERA_INTERVAL_MIN && usec < fast)
			fast = usec;
		if (is_range)
			break; /* one range is all that there is */
	}
	mode.interval_usec = best;
	add_mode(capture, &mode, kind->fourcc);
	mode.interval_usec = fast;
	add_mode(capture, &mode, kind->fourcc);
}

static bool is_in(uint32_t value, uint32_t min, uint32_t max, uint32_t step)
{
	return value >= min && value <= max && (step == 0 || (value - min) % step == 0);
}

static void add_sizes(struct capture *capture, const struct pixels *kind)
{
	struct v4l2_frmsizeenum size = {.pixel_format = kind->fourcc};
	struct camera_mode mode = {.format = kind->format};

	for (size.index = 0; look(capture) && ask(capture, VIDIOC_ENUM_FRAMESIZES, &size) == 0; size.index++) {
		const struct v4l2_frmsize_stepwise *range = &size.stepwise;

		if (size.type == V4L2_FRMSIZE_TYPE_DISCRETE) {
			if (size.discrete.width > LIMIT_PICTURE_SIDE_MAX ||
			    size.discrete.height > LIMIT_PICTURE_SIDE_MAX)
				continue;
			mode.width = (uint16_t)size.discrete.width;
			mode.height = (uint16_t)size.discrete.height;
			add_rates(capture, kind, mode);
			continue;
		}
		for (size_t i = 0; i < ARRAY_SIZE(common_sizes); i++) {
			mode.width = common_sizes[i].width;
			mode.height = common_sizes[i].height;
			if (is_in(mode.width, range->min_width, range->max_width, range->step_width) &&
			    is_in(mode.height, range->min_height, range->max_height, range->step_height))
				add_rates(capture, kind, mode);
		}
		return;
	}
}

int capture_describe(struct capture *capture, struct camera_hello *hello)
{
	capture->n_looks = 0;
	capture->hello = hello;
	hello->n_modes = 0;
	for (size_t i = 0; i < ARRAY_SIZE(pixels); i++)
		add_sizes(capture, &pixels[i]);
	if (!hello->name[0])
		(void)text_make_safe(capture->capability.card,
				     strnlen((const char *)capture->capability.card, sizeof(capture->capability.card)),
				     hello->name, LIMIT_TEXT + 1);
	if (!hello->name[0])
		(void)strcpy(hello->name, "Camera");
	return hello->n_modes > 0 ? 0 : CAPTURE_NONE;
}

/* ---- its pictures ------------------------------------------------------------------------------------------------------ */

static int map(struct capture *capture)
{
	struct v4l2_requestbuffers request = {
		.count = CAPTURE_BUFFERS, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
	int r = ask(capture, VIDIOC_REQBUFS, &request);

	if (r < 0)
		return r;
	if (request.count != CAPTURE_BUFFERS)
		return -ENOMEM;
	for (uint32_t i = 0; i < CAPTURE_BUFFERS; i++) {
		struct v4l2_buffer info = {.index = i, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
		void *at;

		r = ask(capture, VIDIOC_QUERYBUF, &info);
		if (r < 0)
			return r;
		at = mmap(NULL, info.length, PROT_READ, MAP_SHARED, capture->fd, (off_t)info.m.offset);
		if (at == MAP_FAILED)
			return -errno;
		capture->buffers[i] = (struct buffer){.at = at, .len = info.length};
	}
	return 0;
}

/* Best effort: the rate that it really has shows itself. Rounded up, as some take the next faster one for what is a little too fast. */
static void set_rate(struct capture *capture, uint32_t interval_usec)
{
	struct v4l2_streamparm parameters = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};

	parameters.parm.capture.timeperframe = (struct v4l2_fract){interval_usec + 1, (uint32_t)USEC_PER_SEC};
	(void)ask(capture, VIDIOC_S_PARM, &parameters);
}

int capture_set(struct capture *capture, const struct camera_hello *hello, uint8_t mode)
{
	uint32_t size, fourcc = capture->fourccs[mode];
	int r;

	capture->mode = hello->modes[mode];
	r = set_format(capture, VIDIOC_S_FMT, &capture->mode, fourcc, &size);
	if (r < 0)
		return r;
	capture->fourcc = fourcc;
	if (!capture_is_jpeg(capture) && size < camera_frame_bytes(&capture->mode))
		return -ERANGE;
	set_rate(capture, capture->mode.interval_usec);
	return map(capture);
}

const char *capture_control(struct capture *capture, enum camera_control control, uint8_t value)
{
	static const uint32_t fixed =
		V4L2_CTRL_FLAG_READ_ONLY | V4L2_CTRL_FLAG_WRITE_ONLY | V4L2_CTRL_FLAG_INACTIVE | V4L2_CTRL_FLAG_GRABBED;
	struct v4l2_queryctrl query = {.id = known[control].id};
	struct v4l2_control now = {.id = known[control].id}, wanted = now;
	struct range range;

	if (ask(capture, VIDIOC_QUERYCTRL, &query) < 0 || query.flags & V4L2_CTRL_FLAG_DISABLED)
		return "the camera does not have it";
	if (query.flags & fixed)
		return "it cannot be set now";
	range = (struct range){query.minimum, query.maximum, query.step};
	if (query.type != known[control].type || !range_setting(&range, control, value, &wanted.value))
		return "the camera has it in a way that makes no sense, or not that far";
	if (ask(capture, VIDIOC_G_CTRL, &now) < 0 || !range_has(&range, now.value))
		return "the camera does not tell how it is now";
	if (ask(capture, VIDIOC_S_CTRL, &wanted) < 0)
		return "the camera does not take it";
	capture->controls[control].changed = true;
	capture->controls[control].was = now.value;
	return NULL;
}

bool capture_is_jpeg(const struct capture *capture)
{
	return capture->fourcc == V4L2_PIX_FMT_MJPEG || capture->fourcc == V4L2_PIX_FMT_JPEG;
}

int capture_fd(const struct capture *capture)
{
	return capture->fd;
}

static struct v4l2_buffer numbered(int buffer)
{
	return (struct v4l2_buffer){
		.index = (uint32_t)buffer, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
}

int capture_give(struct capture *capture, int buffer)
{
	struct v4l2_buffer info = numbered(buffer);
	int r;

	capture->buffers[buffer].with_us = false;
	if (!capture->on)
		return 0; /* capture_start() does it */
	r = ask(capture, VIDIOC_QBUF, &info);
	return r;
}

int capture_start(struct capture *capture)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE, r = 0;

	if (capture->on)
		return 0;
	capture->on = true;
	for (int i = 0; i < CAPTURE_BUFFERS && r == 0; i++)
		if (!capture->buffers[i].with_us)
			r = capture_give(capture, i);
	if (r == 0)
		r = ask(capture, VIDIOC_STREAMON, &type);
	if (r < 0)
		capture_stop(capture);
	return r;
}

/* The driver has none of the buffers then. */
void capture_stop(struct capture *capture)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;

	if (TAKE(capture->on, false))
		(void)ask(capture, VIDIOC_STREAMOFF, &type);
}

/* The driver's stamp, if it is of our clock and not of the future. */
static uint64_t taken_usec(const struct v4l2_buffer *info)
{
	uint64_t now = clock_monotonic_usec();
	uint64_t usec = (uint64_t)info->timestamp.tv_sec * USEC_PER_SEC + (uint64_t)info->timestamp.tv_usec;

	return (info->flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC && usec < now ? usec
													       : now;
}

int capture_take(struct capture *capture, struct capture_picture *ret_picture)
{
	struct v4l2_buffer info = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
	const struct buffer *buffer;
	int r = ask(capture, VIDIOC_DQBUF, &info);

	if (r == -EAGAIN)
		return CAPTURE_NOTHING;
	if (r < 0)
		return r;
	if (info.index >= CAPTURE_BUFFERS)
		return -EPROTO;
	capture->buffers[info.index].with_us = true;
	buffer = &capture->buffers[info.index];
	if (info.flags & V4L2_BUF_FLAG_ERROR || info.bytesused > buffer->len ||
	    (!capture_is_jpeg(capture) && info.bytesused < camera_frame_bytes(&capture->mode))) {
		r = capture_give(capture, (int)info.index);
		return r < 0 ? r : CAPTURE_NOTHING;
	}
	*ret_picture = (struct capture_picture){
		.buffer = (int)info.index, .bytes = buffer->at, .len = info.bytesused, .usec = taken_usec(&info)};
	return 0;
}
