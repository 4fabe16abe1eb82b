// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The user space that Linux' UVC gadget needs (drivers/usb/gadget/function/f_uvc.c): answers what the host's driver asks, and feeds
 * the pictures. Tests only.
 *
 *     rig-camera NODE FOURCC:WIDTH:HEIGHT:FPS:FILE...      formats in the order in which the gadget has them, one size each
 *
 * FILE has the pictures of that format, shown in turn, again and again: each a u32 with its length, little endian, and its bytes.
 * Says "on FOURCC" and "off" as the host lets it stream, a line each.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/usb/ch9.h>
#include <linux/usb/g_uvc.h>
#include <linux/usb/video.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FORMATS 4
#define PICTURES 256
#define BUFFERS 4
#define UNITS_PER_SEC 10000000u /* of a frame interval: 100 ns, USB Video Class 1.5 section 4.3.1.1 */

struct stream {
	uint32_t fourcc, width, height, fps, max_bytes;
	size_t n;
	struct {
		const uint8_t *bytes;
		uint32_t len;
	} pictures[PICTURES];
};

static struct stream streams[FORMATS];
static size_t n_streams;
static struct stream *chosen = streams;
static struct uvc_streaming_control probe, commit;
static int node, asked; /* asked: which control the data that comes next is of */
static size_t shown;
static struct {
	uint8_t *at;
	size_t len;
} buffers[BUFFERS];
static uint32_t n_buffers;
static uint64_t due; /* 0: it does not stream */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void ask(unsigned long request, void *argument, const char *what)
{
	if (ioctl(node, request, argument) < 0)
		die(what);
}

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- the pictures ------------------------------------------------------------------------------------------------------ */

static void load(struct stream *stream, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	const uint8_t *at, *end;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		die(path);
	for (end = at + st.st_size; at + 4 < end && stream->n < PICTURES; stream->n++) {
		uint32_t len;

		memcpy(&len, at, sizeof(len));
		len = le32toh(len);
		stream->pictures[stream->n].bytes = at + 4;
		stream->pictures[stream->n].len = len;
		if (len > stream->max_bytes)
			stream->max_bytes = len;
		at += 4 + len;
	}
	(void)close(fd);
}

static void parse(char *word)
{
	struct stream *stream = &streams[n_streams++];
	char fourcc[5], path[256];

	if (n_streams > FORMATS || sscanf(word, "%4[A-Z0-9]:%u:%u:%u:%255s", fourcc, &stream->width, &stream->height,
					  &stream->fps, path) != 5) {
		(void)fprintf(stderr, "rig-camera: what is %s?\n", word);
		exit(2);
	}
	memcpy(&stream->fourcc, fourcc, 4);
	load(stream, path);
}

/* ---- what the host asks ------------------------------------------------------------------------------------------------- */

static void fill(struct uvc_streaming_control *control, size_t format)
{
	const struct stream *stream = &streams[format];

	*control = (struct uvc_streaming_control){.bmHint = htole16(1),
						  .bFormatIndex = (uint8_t)(format + 1),
						  .bFrameIndex = 1,
						  .dwFrameInterval = htole32(UNITS_PER_SEC / stream->fps),
						  .dwMaxVideoFrameSize = htole32(stream->max_bytes),
						  .dwMaxPayloadTransferSize = htole32(1024),
						  .bmFramingInfo = 3,
						  .bPreferedVersion = 1,
						  .bMaxVersion = 1};
}

/* A control of the streaming interface. */
static void answer_streaming(const struct usb_ctrlrequest *request, int which, struct uvc_request_data *response)
{
	struct uvc_streaming_control control;

	response->length = le16toh(request->wLength);
	if (request->bRequest == UVC_SET_CUR) {
		asked = which;
		return;
	}
	fill(&control, 0);
	if (request->bRequest == UVC_GET_CUR)
		control = which == UVC_VS_PROBE_CONTROL ? probe : commit;
	if (response->length > (int)sizeof(control))
		response->length = sizeof(control);
	memcpy(response->data, &control, sizeof(control));
	if (request->bRequest == UVC_GET_INFO)
		response->data[0] = 3;
}

/* A control of a unit: it can be read, and has one value. */
static void answer_unit(const struct usb_ctrlrequest *request, struct uvc_request_data *response)
{
	response->length = le16toh(request->wLength);
	if (response->length > (int)sizeof(response->data))
		response->length = sizeof(response->data);
	response->data[0] = request->bRequest == UVC_GET_INFO ? 3 : request->bRequest == UVC_GET_LEN ? 2 : 1;
}

static void answer(const struct usb_ctrlrequest *request)
{
	int which = le16toh(request->wValue) >> 8, unit = le16toh(request->wIndex) >> 8;
	struct uvc_request_data response = {.length = -EL2HLT}; /* a stall */

	asked = 0;
	if ((request->bRequestType & USB_TYPE_MASK) == USB_TYPE_CLASS) {
		if (unit)
			answer_unit(request, &response);
		else if (which == UVC_VS_PROBE_CONTROL || which == UVC_VS_COMMIT_CONTROL)
			answer_streaming(request, which, &response);
	}
	(void)ioctl(node, UVCIOC_SEND_RESPONSE, &response); /* EINVAL: the host has given up waiting */
}

static void take_data(const struct uvc_request_data *data)
{
	const struct uvc_streaming_control *wanted = (const void *)data->data;
	size_t format = wanted->bFormatIndex;

	if (!asked)
		return;
	format = format >= 1 && format <= n_streams ? format - 1 : 0;
	fill(asked == UVC_VS_PROBE_CONTROL ? &probe : &commit, format);
	if (asked == UVC_VS_COMMIT_CONTROL)
		chosen = &streams[format];
}

/* ---- the stream ---------------------------------------------------------------------------------------------------------- */

static void give(uint32_t index)
{
	size_t turn = shown++ % chosen->n;
	struct v4l2_buffer buffer = {.index = index,
				     .type = V4L2_BUF_TYPE_VIDEO_OUTPUT,
				     .memory = V4L2_MEMORY_MMAP,
				     .bytesused = chosen->pictures[turn].len};

	memcpy(buffers[index].at, chosen->pictures[turn].bytes, chosen->pictures[turn].len);
	ask(VIDIOC_QBUF, &buffer, "QBUF");
}

static void begin(void)
{
	struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT,
				     .fmt.pix = {.width = chosen->width,
						 .height = chosen->height,
						 .pixelformat = chosen->fourcc,
						 .field = V4L2_FIELD_NONE,
						 .sizeimage = chosen->max_bytes}};
	struct v4l2_requestbuffers request = {
		.count = BUFFERS, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_MMAP};
	int type = V4L2_BUF_TYPE_VIDEO_OUTPUT;

	ask(VIDIOC_S_FMT, &format, "S_FMT");
	ask(VIDIOC_REQBUFS, &request, "REQBUFS");
	n_buffers = request.count < BUFFERS ? request.count : BUFFERS;
	shown = 0;
	for (uint32_t i = 0; i < n_buffers; i++) {
		struct v4l2_buffer buffer = {
			.index = i, .type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_MMAP};

		ask(VIDIOC_QUERYBUF, &buffer, "QUERYBUF");
		buffers[i].len = buffer.length;
		buffers[i].at =
			mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, node, (off_t)buffer.m.offset);
		if (buffers[i].at == MAP_FAILED)
			die("mmap");
		give(i);
	}
	ask(VIDIOC_STREAMON, &type, "STREAMON");
	due = now();
	(void)printf("on %.4s\n", (const char *)&chosen->fourcc);
}

static void end(void)
{
	struct v4l2_requestbuffers none = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_MMAP};
	int type = V4L2_BUF_TYPE_VIDEO_OUTPUT;

	if (!due)
		return;
	due = 0;
	(void)ioctl(node, VIDIOC_STREAMOFF, &type);
	for (uint32_t i = 0; i < n_buffers; i++)
		(void)munmap(buffers[i].at, buffers[i].len);
	(void)ioctl(node, VIDIOC_REQBUFS, &none);
	(void)printf("off\n");
}

static void feed(void)
{
	struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT, .memory = V4L2_MEMORY_MMAP};

	if (!due || now() < due || ioctl(node, VIDIOC_DQBUF, &buffer) < 0)
		return;
	give(buffer.index);
	due += 1000000 / chosen->fps;
	if (due + 1000000 < now())
		due = now();
}

static void handle(const struct v4l2_event *event)
{
	const struct uvc_event *uvc = (const void *)&event->u.data;

	switch (event->type) {
	case UVC_EVENT_SETUP:
		answer(&uvc->req);
		break;
	case UVC_EVENT_DATA:
		take_data(&uvc->data);
		break;
	case UVC_EVENT_STREAMON:
		begin();
		break;
	case UVC_EVENT_STREAMOFF:
	case UVC_EVENT_DISCONNECT:
		end();
		break;
	default:
		break;
	}
}

int main(int argc, char **argv)
{
	static const uint32_t events[] = {UVC_EVENT_CONNECT,   UVC_EVENT_DISCONNECT, UVC_EVENT_STREAMON,
					  UVC_EVENT_STREAMOFF, UVC_EVENT_SETUP,      UVC_EVENT_DATA};

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 2; i < argc; i++)
		parse(argv[i]);
	node = argc > 2 ? open(argv[1], O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;
	if (node < 0)
		die(argc > 2 ? argv[1] : "usage: rig-camera NODE FOURCC:WIDTH:HEIGHT:FPS:FILE...");
	fill(&probe, 0);
	fill(&commit, 0);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		ask(VIDIOC_SUBSCRIBE_EVENT, &(struct v4l2_event_subscription){.type = events[i]}, "SUBSCRIBE_EVENT");
	for (;;) {
		struct pollfd fd = {.fd = node, .events = (short)(POLLPRI | (due && now() >= due ? POLLOUT : 0))};
		struct v4l2_event event = {0};

		(void)poll(&fd, 1, 5);
		if (fd.revents & POLLPRI && ioctl(node, VIDIOC_DQEVENT, &event) == 0)
			handle(&event);
		feed();
		if (fd.revents & POLLERR && !(fd.revents & POLLPRI))
			(void)usleep(2000); /* it is not plugged in */
	}
}
