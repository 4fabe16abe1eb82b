/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See video.h. An answer counts only when it is the whole of what was said and who said it has ended well; anything else is a node
 * that is left out. One that does not answer keeps its place among those that ask until it is dead, which a driver that hangs can
 * put off for ever: so the nodes of one USB device have one place in all.
 */
#include "proxies/agent/video.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/digest/digest.h"
#include "lib/proxy/camera.h"
#include "lib/proxy/sources.h"
#include "proxies/agent/port.h"
#include "proxies/agent/video-node.h"

#define NODES (UDEV_VIDEO_MAX + 1u)
#define PORT_START "webcam-"

struct node {
	bool used, seen; /* seen: in the present look */
	bool wanted;     /* is to be asked (again) */
	bool offered;    /* it has answered: it is a camera */
	const char *reason;
	struct udev_sight sight;
	char port[LIMIT_PORT_TEXT], parent[LIMIT_PORT_TEXT];
	struct proxy_camera camera;
	uint16_t number; /* as a device number: its own as long as it is there, whatever it says of itself */
};

/* Who asks one node. */
struct asker {
	struct video *video;
	struct node *node; /* NULL: nobody waits for the answer any more */
	char parent[LIMIT_PORT_TEXT];
	sd_event_source *child, *timer;
	int fd;
};

struct video {
	struct video_settings settings;
	uint16_t last_number;
	size_t turn; /* the node that is looked at first for the next question */
	struct node nodes[NODES];
	struct asker askers[VIDEO_ASKS];
};

static void ask_next(struct video *video);

static void tell_changed(struct video *video)
{
	video->settings.changed(video->settings.userdata);
}

/* ---- what a node is --------------------------------------------------------------------------------------------------- */

static void leave_out(struct video *video, struct node *node, const char *reason)
{
	node->offered = false;
	node->reason = reason;
	tell_changed(video);
}

/*
 * It was not heard. What it said before holds: it may be in use, and a camera that streams may be too busy to answer. Whether that is
 * still so its exporter looks at.
 */
static void miss(struct video *video, struct node *node, const char *reason)
{
	if (node->offered)
		log_notice("/dev/%s was asked once more what it is: %s", node->sight.port, reason);
	else
		leave_out(video, node, reason);
}

static void offer(struct video *video, struct node *node, const struct proxy_camera *camera)
{
	if (node->offered && memcmp(&node->camera, camera, sizeof(*camera)) == 0)
		return;
	if (node->number == 0) {
		if (++video->last_number == 0)
			video->last_number = 1;
		node->number = video->last_number;
	}
	node->camera = *camera;
	node->offered = true;
	node->reason = NULL;
	tell_changed(video);
}

/* Metadata, an output, or a kind of picture that we cannot take: nothing that its user would miss. */
static void pass_over(struct video *video, struct node *node)
{
	bool known = node->offered || node->reason != NULL;

	node->offered = false;
	node->reason = NULL;
	if (known)
		tell_changed(video);
}

/* ---- asking ----------------------------------------------------------------------------------------------------------- */

static void end_asker(struct asker *asker)
{
	asker->child = sd_event_source_disable_unref(asker->child);
	asker->timer = sd_event_source_disable_unref(asker->timer);
	cleanup_close(&asker->fd);
	asker->fd = -1;
	asker->node = NULL;
}

/* Its answer is no longer waited for; its place is free when it is dead. */
static void give_up(struct asker *asker)
{
	asker->node = NULL;
	(void)sd_event_source_send_child_signal(asker->child, SIGKILL, NULL, 0);
}

static void take_answer(struct asker *asker, struct node *node, const siginfo_t *info)
{
	struct proxy_camera camera, more;
	int r = proxy_camera_receive(asker->fd, &camera);

	if (info->si_code != CLD_EXITED || info->si_status != 0)
		miss(asker->video, node, "what asks it has failed");
	else if (r == -EPIPE)
		pass_over(asker->video, node);
	else if (r != 0 || proxy_camera_receive(asker->fd, &more) != -EPIPE)
		miss(asker->video, node, "what asks it says nonsense");
	else
		offer(asker->video, node, &camera);
}

static int on_child(sd_event_source *source _unused_, const siginfo_t *info, void *userdata)
{
	struct asker *asker = userdata;

	if (asker->node != NULL)
		take_answer(asker, asker->node, info);
	end_asker(asker);
	ask_next(asker->video);
	return 0;
}

static int on_timeout(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata)
{
	struct asker *asker = userdata;
	struct node *node = asker->node;

	give_up(asker);
	if (node != NULL)
		miss(asker->video, node, "it does not answer");
	return 0;
}

/* 0 or a negative errno: then nothing of it is left. */
static int start_asker(struct asker *asker, struct node *node, int node_fd)
{
	const struct video_settings *settings = &asker->video->settings;
	const struct udev_video *video = &node->sight.video;
	_cleanup_close_ int theirs = -1;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	asker->fd = pair[0];
	theirs = pair[1];
	r = sd_event_add_time_relative(settings->event, &asker->timer, CLOCK_MONOTONIC, VIDEO_ASK_USEC, 1, on_timeout,
				       asker);
	if (r >= 0) /* an answer that is there counts, however late it is looked at */
		r = sd_event_source_set_priority(asker->timer, SD_EVENT_PRIORITY_NORMAL + 1);
	if (r >= 0)
		r = launch_describer(settings->launch, video->vendor, video->product, video->serial, theirs, node_fd,
				     &pid);
	if (r < 0)
		return r;
	r = sd_event_add_child(settings->event, &asker->child, pid, WEXITED, on_child, asker);
	if (r < 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	asker->node = node;
	(void)strcpy(asker->parent, node->parent);
	return 0;
}

static void ask(struct asker *asker, struct node *node)
{
	_cleanup_close_ int fd = -1;
	int r = video_node_open(node->sight.syspath, node->sight.port, &fd);

	node->wanted = false;
	if (r == -ENODEV) { /* its event is on its way */
		pass_over(asker->video, node);
		return;
	}
	if (r == -ESTALE) {
		leave_out(asker->video, node, "its node is another device's");
		return;
	}
	if (r < 0) {
		miss(asker->video, node, "its node cannot be opened");
		return;
	}
	r = start_asker(asker, node, fd);
	if (r == 0)
		return;
	end_asker(asker);
	miss(asker->video, node, "camera-proxy could not be started");
}

/* One that is asked already, or whose USB device is: it would wait there as well. */
static bool must_wait(const struct video *video, const struct node *node)
{
	for (size_t i = 0; i < VIDEO_ASKS; i++) {
		const struct asker *asker = &video->askers[i];

		if (asker->child == NULL)
			continue;
		if (asker->node == node || (node->parent[0] != '\0' && strcmp(asker->parent, node->parent) == 0))
			return true;
	}
	return false;
}

static struct node *next_wanted(struct video *video)
{
	for (size_t i = 0; i < NODES; i++) {
		struct node *node = &video->nodes[(video->turn + i) % NODES];

		if (!node->used || !node->wanted || must_wait(video, node))
			continue;
		video->turn = (video->turn + i + 1) % NODES;
		return node;
	}
	return NULL;
}

static void ask_next(struct video *video)
{
	for (size_t i = 0; i < VIDEO_ASKS; i++) {
		struct asker *asker = &video->askers[i];
		struct node *node;

		while (asker->child == NULL && (node = next_wanted(video)) != NULL)
			ask(asker, node);
	}
}

/* ---- which nodes there are -------------------------------------------------------------------------------------------- */

static void forget(struct video *video, struct node *node)
{
	bool known = node->offered || node->reason != NULL;

	if (!node->used)
		return;
	for (size_t i = 0; i < VIDEO_ASKS; i++)
		if (video->askers[i].node == node)
			give_up(&video->askers[i]);
	*node = (struct node){.used = false};
	if (known)
		tell_changed(video);
}

static bool is_same(const struct udev_sight *a, const struct udev_sight *b)
{
	return strcmp(a->syspath, b->syspath) == 0 && a->video.dev == b->video.dev &&
	       a->video.since == b->video.since && a->video.vendor == b->video.vendor &&
	       a->video.product == b->video.product && strcmp(a->video.serial, b->video.serial) == 0 &&
	       strcmp(a->video.place, b->video.place) == 0;
}

void video_see(struct video *video, const struct udev_sight *sight)
{
	struct node *node = &video->nodes[sight->video.number];

	if (!sight->ours || (node->used && !is_same(&node->sight, sight)))
		forget(video, node);
	if (!sight->ours)
		return;
	if (!node->used) {
		*node = (struct node){.used = true, .wanted = true, .sight = *sight};
		port_make(PORT_START, sight->video.place, node->port);
		proxy_source_parent(sight->syspath, node->parent);
	}
	node->seen = true;
	node->wanted = node->wanted || sight->event;
	ask_next(video);
}

void video_ask_again(struct video *video, bool all)
{
	for (size_t i = 0; i < NODES; i++) {
		struct node *node = &video->nodes[i];

		node->wanted = node->wanted || (node->used && (all || node->reason != NULL));
	}
	ask_next(video);
}

void video_look_begin(struct video *video)
{
	for (size_t i = 0; i < NODES; i++)
		video->nodes[i].seen = false;
}

void video_look_end(struct video *video)
{
	for (size_t i = 0; i < NODES; i++)
		if (!video->nodes[i].seen)
			forget(video, &video->nodes[i]);
}

/* ---- what there is ---------------------------------------------------------------------------------------------------- */

/* Two places with one hash: the first is offered. */
static bool is_taken(const struct video *video, const struct node *node)
{
	for (const struct node *other = video->nodes; other < node; other++)
		if (other->offered && strcmp(other->port, node->port) == 0)
			return true;
	return false;
}

static void identify(const struct node *node, struct identity *ret_identity)
{
	*ret_identity = (struct identity){.class_id = WIRE_CLASS_WEBCAM,
					  .dev = node->number,
					  .vendor = node->sight.video.vendor,
					  .product = node->sight.video.product,
					  .n_interfaces = 1,
					  .interfaces = {{0x0e, 0x01, 0x00}}}; /* as messages.h has it */
	(void)strcpy(ret_identity->port, node->port);
	(void)strcpy(ret_identity->parent, node->parent);
	(void)strcpy(ret_identity->serial, node->sight.video.serial);
	(void)strcpy(ret_identity->product_name, node->camera.name);
	digest_sha256(node->camera.hello, sizeof(node->camera.hello), ret_identity->digest);
}

bool video_next(const struct video *video, size_t *cursor, struct video_camera *ret_camera)
{
	while (*cursor < NODES) {
		const struct node *node = &video->nodes[(*cursor)++];

		if (!node->offered && node->reason == NULL)
			continue;
		*ret_camera = (struct video_camera){.name = node->sight.port, .reason = node->reason};
		if (node->offered && is_taken(video, node))
			ret_camera->reason = "another has its port";
		if (ret_camera->reason != NULL)
			return true;
		ret_camera->hello = node->camera.hello;
		identify(node, &ret_camera->identity);
		return true;
	}
	return false;
}

static const struct node *find(const struct video *video, const struct identity *identity)
{
	for (size_t i = 0; i < NODES; i++)
		if (video->nodes[i].offered && strcmp(video->nodes[i].port, identity->port) == 0)
			return &video->nodes[i];
	return NULL;
}

enum outcome video_open(const struct video *video, const struct identity *identity, const uint8_t **ret_hello,
			int *ret_fd)
{
	const struct node *node = find(video, identity);
	uint8_t digest[DIGEST_SIZE];
	int r;

	if (node == NULL)
		return OUTCOME_NO_DEVICE;
	digest_sha256(node->camera.hello, sizeof(node->camera.hello), digest);
	if (node->number != identity->dev || memcmp(digest, identity->digest, sizeof(digest)) != 0)
		return OUTCOME_CHANGED;
	r = video_node_open(node->sight.syspath, node->sight.port, ret_fd);
	if (r == -ENODEV)
		return OUTCOME_NO_DEVICE;
	if (r == -ESTALE)
		return OUTCOME_CHANGED;
	if (r < 0) {
		log_error("cannot open /dev/%s: %s", node->sight.port, strerror(-r));
		return OUTCOME_OPEN_FAILED;
	}
	*ret_hello = node->camera.hello;
	return OUTCOME_OK;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------------ */

int video_new(const struct video_settings *settings, struct video **ret_video)
{
	struct video *video = calloc(1, sizeof(*video));

	if (video == NULL)
		return -ENOMEM;
	video->settings = *settings;
	for (size_t i = 0; i < VIDEO_ASKS; i++)
		video->askers[i] = (struct asker){.video = video, .fd = -1};
	*ret_video = video;
	return 0;
}

struct video *video_free(struct video *video)
{
	if (video == NULL)
		return NULL;
	for (size_t i = 0; i < VIDEO_ASKS; i++) {
		if (video->askers[i].child != NULL)
			give_up(&video->askers[i]);
		end_asker(&video->askers[i]);
	}
	free(video);
	return NULL;
}
