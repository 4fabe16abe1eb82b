/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Put before camera-proxy, on machines without a camera: the kernel's V4L2, played. To the program fd PAPER_FD is a camera, or a device
 * of v4l2loopback; in truth it is a socket (SOCK_SEQPACKET) to the test, which says when there is a picture or who looks, and hears what the
 * program does. The buffers are memory shared with the test, mapped from the fd that PAPER_MEMORY names before main().
 *
 * The memory begins with a struct paper; its buffers follow at `offset`, each `size` bytes. A message is a struct message.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define PAPER_FD 4
#define MODES 64
#define BUFFERS 4
#define CONTROLS 8
#define EVENT_CLIENT_USAGE 0x10e00001u

struct paper {
	uint32_t n_modes, n_bytes, offset, size;
	struct {
		uint32_t fourcc, width, height, numerator, denominator;
	} modes[MODES];
	struct {
		uint32_t id, type;
		int32_t min, max, step;
		uint32_t flags;
		int32_t value;
	} controls[CONTROLS]; /* with id 0: none */
};

/* To the program: a picture is in a buffer, so many bytes of it; or so many look. From it: what it did. */
struct message {
	uint32_t
		what; /* 'P' picture, 'W' watchers, 'E' the next DQBUF fails with this errno; 'S' on, 'O' off, 'Q' given or shown, 'F' format, 'C' a control, whose id is in `buffer` */
	uint32_t buffer, value;
	uint32_t zero;
	uint64_t usec;
};

static uint8_t *memory;
static size_t memory_len;

__attribute__((constructor)) static void begin(void)
{
	const char *fd = getenv("PAPER_MEMORY");
	struct stat st;

	if (!fd || fstat(atoi(fd), &st) < 0)
		return;
	memory_len = (size_t)st.st_size;
	memory = mmap(NULL, memory_len, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(fd), 0);
	if (memory == MAP_FAILED)
		memory = NULL;
}

static const struct paper *paper(void)
{
	return (const struct paper *)(const void *)memory;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

static int tell(uint32_t what, uint32_t buffer, uint32_t value, uint64_t usec)
{
	const struct message message = {.what = what, .buffer = buffer, .value = value, .usec = usec};

	return send(PAPER_FD, &message, sizeof(message), MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int hear(struct message *ret_message)
{
	ssize_t n = recv(PAPER_FD, ret_message, sizeof(*ret_message), MSG_DONTWAIT);

	if (n == 0)
		return fail(ENODEV); /* the test has pulled it out */
	return n == sizeof(*ret_message) ? 0 : -1;
}

static int query(struct v4l2_capability *capability)
{
	memset(capability, 0, sizeof(*capability));
	(void)strcpy((char *)capability->card, "Paper camera");
	capability->capabilities = V4L2_CAP_DEVICE_CAPS;
	capability->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
	return 0;
}

static int enumerate_sizes(struct v4l2_frmsizeenum *size)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < paper()->n_modes && i < MODES; i++) {
		if (paper()->modes[i].fourcc != size->pixel_format || n++ != size->index)
			continue;
		size->type = V4L2_FRMSIZE_TYPE_DISCRETE;
		size->discrete.width = paper()->modes[i].width;
		size->discrete.height = paper()->modes[i].height;
		return 0;
	}
	return fail(EINVAL);
}

static int enumerate_rates(struct v4l2_frmivalenum *rate)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < paper()->n_modes && i < MODES; i++) {
		if (paper()->modes[i].fourcc != rate->pixel_format || paper()->modes[i].width != rate->width ||
		    paper()->modes[i].height != rate->height || n++ != rate->index)
			continue;
		rate->type = V4L2_FRMIVAL_TYPE_DISCRETE;
		rate->discrete.numerator = paper()->modes[i].numerator;
		rate->discrete.denominator = paper()->modes[i].denominator;
		return 0;
	}
	return fail(EINVAL);
}

static int set_format(struct v4l2_format *format, int really)
{
	struct v4l2_pix_format *pix = &format->fmt.pix;

	pix->bytesperline = 0;
	pix->sizeimage = paper()->size;
	return really ? tell('F', pix->width << 16 | pix->height, pix->pixelformat, 0) : 0;
}

static int find_control(uint32_t id)
{
	for (int i = 0; i < CONTROLS; i++)
		if (id != 0 && paper()->controls[i].id == id)
			return i;
	return fail(EINVAL);
}

static int query_control(struct v4l2_queryctrl *query)
{
	int i = find_control(query->id);

	if (i < 0)
		return -1;
	query->type = paper()->controls[i].type;
	query->minimum = paper()->controls[i].min;
	query->maximum = paper()->controls[i].max;
	query->step = paper()->controls[i].step;
	query->flags = paper()->controls[i].flags;
	return 0;
}

static int get_control(struct v4l2_control *control)
{
	int i = find_control(control->id);

	control->value = i < 0 ? 0 : paper()->controls[i].value;
	return i < 0 ? -1 : 0;
}

static int query_buffer(struct v4l2_buffer *buffer)
{
	if (buffer->index >= BUFFERS)
		return fail(EINVAL);
	buffer->length = paper()->size;
	buffer->m.offset = paper()->offset + buffer->index * paper()->size;
	return 0;
}

static int give(const struct v4l2_buffer *buffer)
{
	return tell('Q', buffer->index, buffer->bytesused,
		    (uint64_t)buffer->timestamp.tv_sec * 1000000u + (uint64_t)buffer->timestamp.tv_usec);
}

static int take(struct v4l2_buffer *buffer)
{
	struct message message;

	if (hear(&message) < 0)
		return -1;
	if (message.what == 'E')
		return fail((int)message.value);
	buffer->index = message.buffer;
	buffer->bytesused = message.value;
	buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
	buffer->timestamp.tv_sec = (time_t)(message.usec / 1000000u);
	buffer->timestamp.tv_usec = (suseconds_t)(message.usec % 1000000u);
	return 0;
}

static int take_event(struct v4l2_event *event)
{
	struct message message;

	if (hear(&message) < 0)
		return errno == EAGAIN ? fail(ENOENT) : -1;
	event->type = EVENT_CLIENT_USAGE;
	memcpy(event->u.data, &message.value, sizeof(message.value));
	return 0;
}

static int play(unsigned long request, void *argument)
{
	switch (request) {
	case VIDIOC_QUERYCAP:
		return query(argument);
	case VIDIOC_ENUM_FRAMESIZES:
		return enumerate_sizes(argument);
	case VIDIOC_ENUM_FRAMEINTERVALS:
		return enumerate_rates(argument);
	case VIDIOC_TRY_FMT:
	case VIDIOC_S_FMT:
		return set_format(argument, request == VIDIOC_S_FMT);
	case VIDIOC_S_PARM:
	case VIDIOC_SUBSCRIBE_EVENT:
		return 0;
	case VIDIOC_QUERYCTRL:
		return query_control(argument);
	case VIDIOC_G_CTRL:
		return get_control(argument);
	case VIDIOC_S_CTRL:
		return tell('C', ((struct v4l2_control *)argument)->id,
			    (uint32_t)((struct v4l2_control *)argument)->value, 0);
	case VIDIOC_REQBUFS: /* as many as are wanted */
		return ((struct v4l2_requestbuffers *)argument)->count > BUFFERS ? fail(EINVAL) : 0;
	case VIDIOC_QUERYBUF:
		return query_buffer(argument);
	case VIDIOC_QBUF:
		return give(argument);
	case VIDIOC_DQBUF:
		return take(argument);
	case VIDIOC_STREAMON:
		return tell('S', 0, 0, 0);
	case VIDIOC_STREAMOFF:
		return tell('O', 0, 0, 0);
	case VIDIOC_DQEVENT:
		return take_event(argument);
	default:
		return fail(ENOTTY);
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int, unsigned long, void *);
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (fd == PAPER_FD && memory)
		return play(request, argument);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "ioctl");
	return real(fd, request, argument);
}

/* A buffer's memory is there already. */
void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
	static void *(*real)(void *, size_t, int, int, int, off_t);

	if (fd == PAPER_FD && memory)
		return memory + offset;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "mmap");
	return real(at, len, protection, flags, fd, offset);
}

int munmap(void *at, size_t len)
{
	static int (*real)(void *, size_t);

	if (memory && (uint8_t *)at >= memory && (uint8_t *)at < memory + memory_len)
		return 0;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "munmap");
	return real(at, len);
}

/* A socket has no exceptional state; for v4l2loopback's event it is that something can be read. */
int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	static int (*real)(struct pollfd *, nfds_t, int);
	int r;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "poll");
	for (nfds_t i = 0; i < n; i++)
		if (fds[i].fd == PAPER_FD && fds[i].events == POLLPRI)
			fds[i].events = POLLIN;
	r = real(fds, n, timeout);
	return r;
}
