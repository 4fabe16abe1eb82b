/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * liar: a hostile end of a USB session, for the tests. It takes the place of usb-proxy, starts the honest one behind it
 * (on a private socket channel, with the agent's fds), relays its stream, and changes fields of one message:
 *
 *     liar export|import USB-PROXY-OPTION... [--lie FIELD=VALUE[,FIELD=VALUE...]] [--kind KIND] [--nth N] [--flood N]
 *          [--fit 1] [--silence N] [--proxy PATH] [--record FILE] [--told FILE]
 *
 * `export` lies in the replies, `import` in the requests. KIND: any, hello (the exporter's preamble), control, in, out, iso,
 * unlink; the Nth (from 1) of it is changed. VALUE: a number, or +N to be added to the truth. FIELDs: see the table.
 * Without --lie it only relays.
 *   --flood N    the message itself stays true, but before it N headers like it go out, with the lies (after one in seqnum,
 *                each with a number of its own)
 *   --fit 1      as much data follows as a false actual_length says: cut off, or zeros added
 *   --silence N  N bytes of the message go out, and nothing more this way
 *   --record     keeps what was sent, lies included
 *   --told       this file is made when the lie is told
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/base/text.h"
#include "lib/channel/channel.h"
#include "lib/usbip/pdu.h"
#include "lib/usbip/snapshot.h"

#define MAX_LIES 8
#define MAX_ARGUMENTS 64
#define PIPE_SIZE (1024u * 1024u)
#define SEEN 65536u /* requests remembered, by the low bits of their number */

#define FIELD_PACKET 100 /* + offset: in the last packet descriptor */
#define FIELD_HELLO 200  /* + offset: in the exporter's preamble and the snapshot behind it */
#define HELLO_SHOWN (SNAPSHOT_PREAMBLE + 24u)

static const struct {
	const char *name;
	int offset;
} fields[] = {
	{"command", 0},
	{"seqnum", 4},
	{"devid", 8},
	{"direction", 12},
	{"ep", 16},
	{"status", 20},
	{"flags", 20},
	{"unlink_seqnum", 20},
	{"actual_length", 24},
	{"length", 24},
	{"start_frame", 28},
	{"number_of_packets", 32},
	{"error_count", 36},
	{"interval", 36},
	{"padding", 40},
	{"setup", 40},
	{"padding2", 44},
	{"setup2", 44},
	{"packet_offset", 100},
	{"packet_length", 104},
	{"packet_actual", 108},
	{"packet_status", 112},
	{"hello_magic", 200},
	{"hello_version", 204},
	{"hello_devid", 208},
	{"hello_length", 212},
	{"hello_snapshot", 216},
	{"hello_descriptors", 236},
};

static const char *const kinds[] = {"any", "control", "in", "out", "iso", "unlink", "hello"};
enum kind { KIND_ANY, KIND_CONTROL, KIND_IN, KIND_OUT, KIND_ISO, KIND_UNLINK, KIND_HELLO };

struct lie {
	int offset;
	uint32_t value;
	bool relative;
};

/* One direction: bytes come in at `end`, are understood up to `ready`, leave at `at`. */
struct flow {
	struct channel *from, *to;
	bool is_replies, lies_here;
	uint8_t *bytes;
	size_t at, ready, end;
	uint64_t plain_left; /* preamble or data */
	uint64_t pad_left;   /* zeros to be added to it */
	uint64_t drop_left;  /* bytes to be taken away after it */
	uint64_t flood_left; /* headers to be added before the one that is next */
	uint64_t last_left;  /* bytes until silence */
	uint32_t packets_left;
	bool greeted, finished, silenced;
};

struct liar {
	bool is_export;
	const char *channel, *service, *proxy;
	uint16_t own, peer;
	struct lie lies[MAX_LIES];
	size_t n_lies;
	enum kind kind;
	unsigned int nth, n_seen;
	bool now; /* the message at hand is the one */
	bool fit;
	uint32_t flood, silence;
	const char *told;
	FILE *record;
	pid_t child;
	struct flow requests, replies;
	struct {
		bool in, control;
		uint32_t n_packets;
	} seen[SEEN];
};

static bool kind_matches(enum kind kind, bool in, bool control, bool iso, bool unlink)
{
	switch (kind) {
	case KIND_ANY:
		return true;
	case KIND_CONTROL:
		return control && !unlink;
	case KIND_IN:
		return in && !control && !iso && !unlink;
	case KIND_OUT:
		return !in && !control && !iso && !unlink;
	case KIND_ISO:
		return iso;
	case KIND_UNLINK:
		return unlink;
	case KIND_HELLO:
		break;
	}
	return false;
}

static void tell_lies(struct liar *l, uint8_t *bytes, int from, int to)
{
	for (size_t i = 0; l->now && i < l->n_lies; i++) {
		uint8_t *word = bytes + (l->lies[i].offset - from);

		if (l->lies[i].offset < from || l->lies[i].offset >= to)
			continue;
		put_be32(word, l->lies[i].relative ? get_be32(word) + l->lies[i].value : l->lies[i].value);
	}
}

static bool lies_in(const struct liar *l, int offset)
{
	bool found = false;

	for (size_t i = 0; i < l->n_lies; i++)
		found |= l->lies[i].offset == offset;
	return found;
}

static void tell(const struct liar *l)
{
	FILE *f = l->told ? fopen(l->told, "we") : NULL;

	if (f)
		(void)fclose(f);
}

/* This message is the one: what shall happen to it beside false fields. `bytes` is its header. */
static void begin_lie(struct liar *l, struct flow *f, uint8_t *bytes)
{
	uint64_t truth = f->plain_left;
	int32_t claimed;

	tell(l);
	tell_lies(l, bytes, 0, (int)USBIP_HEADER);
	claimed = (int32_t)get_be32(bytes + 24);
	if (l->fit && claimed < (int64_t)truth) {
		f->plain_left = claimed > 0 ? (uint64_t)claimed : 0;
		f->drop_left = truth - f->plain_left;
	} else if (l->fit) {
		f->pad_left = (uint64_t)claimed - truth;
	}
	if (l->silence) {
		f->silenced = true;
		f->last_left = (uint64_t)(bytes - (f->bytes + f->at)) + l->silence;
	}
}

/* One more false header before the true one that is at `ready`. False: no room now. */
static bool flood_once(struct liar *l, struct flow *f)
{
	uint8_t *bytes = f->bytes + f->ready;

	if (PIPE_SIZE - f->end < USBIP_HEADER)
		return false;
	memmove(bytes + USBIP_HEADER, bytes, f->end - f->ready);
	tell_lies(l, bytes, 0, (int)USBIP_HEADER);
	if (lies_in(l, 4))
		put_be32(bytes + 4, get_be32(bytes + 4) + (uint32_t)f->flood_left);
	f->end += USBIP_HEADER;
	f->ready += USBIP_HEADER;
	if (--f->flood_left == 0)
		l->now = false;
	return true;
}

/* A whole header: notes what follows it, then lies in it. False: no room now. */
static bool take_header(struct liar *l, struct flow *f, uint8_t *bytes)
{
	struct usbip_header h;
	bool unlink, in, control;
	uint32_t n_packets;

	if (f->flood_left > 0)
		return flood_once(l, f);
	if (usbip_decode(bytes, &h)) {
		f->ready += USBIP_HEADER;
		return true;
	}
	unlink = h.command == USBIP_CMD_UNLINK || h.command == USBIP_RET_UNLINK;
	if (h.command == USBIP_CMD_SUBMIT) {
		l->seen[h.seqnum % SEEN].in = h.direction == USBIP_IN;
		l->seen[h.seqnum % SEEN].control = h.ep == 0;
		l->seen[h.seqnum % SEEN].n_packets =
			h.ep != 0 && h.cmd_submit.n_packets > 0 ? (uint32_t)h.cmd_submit.n_packets : 0;
	}
	in = l->seen[h.seqnum % SEEN].in;
	control = l->seen[h.seqnum % SEEN].control;
	n_packets = l->seen[h.seqnum % SEEN].n_packets;
	if (f->lies_here && kind_matches(l->kind, in, control, n_packets > 0, unlink) && ++l->n_seen == l->nth) {
		l->now = true;
		if (l->flood) {
			tell(l);
			f->flood_left = l->flood;
			return flood_once(l, f);
		}
	} else {
		l->now = false;
	}
	if (h.command == USBIP_CMD_SUBMIT)
		f->plain_left = in ? 0 : (uint32_t)h.cmd_submit.length;
	else if (h.command == USBIP_RET_SUBMIT)
		f->plain_left = in ? (uint32_t)h.ret_submit.actual_length : 0;
	f->packets_left = unlink ? 0 : n_packets;
	if (l->now)
		begin_lie(l, f, bytes);
	f->ready += USBIP_HEADER;
	return true;
}

/* The preamble of either side. */
static void take_hello(struct liar *l, struct flow *f)
{
	uint8_t *bytes = f->bytes + f->ready;

	f->plain_left = f->is_replies ? SNAPSHOT_PREAMBLE + get_le32(bytes + 12) : SNAPSHOT_GO;
	f->greeted = true;
	if (!f->is_replies || !f->lies_here || l->kind != KIND_HELLO)
		return;
	l->now = true;
	tell(l);
	tell_lies(l, bytes, FIELD_HELLO, FIELD_HELLO + (int)HELLO_SHOWN);
	l->now = false;
}

/* Adds the zeros and drops the bytes that fit the data to a false length. True if anything changed. */
static bool fit_data(struct flow *f)
{
	uint8_t *at = f->bytes + f->ready;
	size_t left = f->end - f->ready;
	size_t n = f->drop_left < left ? (size_t)f->drop_left : left;

	if (n > 0) {
		memmove(at, at + n, left - n);
		f->end -= n;
		f->drop_left -= n;
		return true;
	}
	n = f->pad_left < PIPE_SIZE - f->end ? (size_t)f->pad_left : PIPE_SIZE - f->end;
	if (n == 0 || f->drop_left > 0)
		return false;
	memmove(at + n, at, left);
	memset(at, 0, n);
	f->end += n;
	f->ready += n;
	f->pad_left -= n;
	return true;
}

static void understand(struct liar *l, struct flow *f)
{
	while (f->ready < f->end || f->pad_left > 0) {
		size_t left = f->end - f->ready;
		size_t n;

		if (f->plain_left > 0) {
			n = f->plain_left < left ? (size_t)f->plain_left : left;
			if (n == 0)
				return;
			f->plain_left -= n;
			f->ready += n;
		} else if (f->drop_left > 0 || f->pad_left > 0) {
			if (!fit_data(f))
				return;
		} else if (!f->greeted) {
			if (left < (f->is_replies ? HELLO_SHOWN : SNAPSHOT_GO))
				return;
			take_hello(l, f);
		} else if (f->packets_left > 0) {
			if (left < USBIP_ISO_PACKET)
				return;
			if (f->lies_here && f->packets_left == 1)
				tell_lies(l, f->bytes + f->ready, FIELD_PACKET, FIELD_PACKET + (int)USBIP_ISO_PACKET);
			f->packets_left--;
			f->ready += USBIP_ISO_PACKET;
		} else if (left < USBIP_HEADER || !take_header(l, f, f->bytes + f->ready)) {
			return;
		}
	}
}

/* Bytes that are off our hands. */
static ssize_t send_on(struct flow *f)
{
	size_t len = f->ready - f->at;
	ssize_t n;

	if (!f->silenced)
		return channel_write(f->to, f->bytes + f->at, len);
	if (f->last_left == 0)
		return (ssize_t)len; /* never sent */
	n = channel_write(f->to, f->bytes + f->at, f->last_left < len ? (size_t)f->last_left : len);
	if (n > 0)
		f->last_left -= (uint64_t)n;
	return n;
}

/* True if anything moved. */
static bool move(struct liar *l, struct flow *f)
{
	bool moved = false;
	ssize_t n;

	if (f->at == f->ready && f->at > 0) {
		memmove(f->bytes, f->bytes + f->at, f->end - f->at);
		f->end -= f->at;
		f->at = f->ready = 0;
	}
	if (f->end < PIPE_SIZE) {
		n = channel_read(f->from, f->bytes + f->end, PIPE_SIZE - f->end);
		if (n > 0) {
			f->end += (size_t)n;
			moved = true;
		}
	}
	understand(l, f);
	if (f->at < f->ready) {
		n = send_on(f);
		if (n > 0) {
			if (l->record && f->lies_here)
				(void)fwrite(f->bytes + f->at, 1, (size_t)n, l->record);
			f->at += (size_t)n;
			moved = true;
		}
	}
	if (!f->finished && f->at == f->end && channel_state(f->from) == CHANNEL_ENDED) {
		f->finished = channel_finish(f->to) != CHANNEL_NOT_YET;
		moved = true;
	}
	return moved;
}

static bool alive(const struct channel *channel)
{
	return channel_state(channel) == CHANNEL_OPEN || channel_state(channel) == CHANNEL_WAITING;
}

static int relay(struct liar *l)
{
	struct channel *a = l->requests.from, *b = l->requests.to;

	while (alive(a) && alive(b)) {
		struct pollfd fds[2] = {{.fd = channel_fd(a)}, {.fd = channel_fd(b)}};

		while ((int)move(l, &l->requests) | (int)move(l, &l->replies))
			continue;
		if (l->requests.finished || l->replies.finished)
			break;
		fds[0].events = channel_poll_events(a, l->replies.at < l->replies.ready);
		fds[1].events = channel_poll_events(b, l->requests.at < l->requests.ready);
		if (poll(fds, 2, 1000) < 0 && errno != EINTR)
			return EXIT_FAILURE;
		(void)channel_dispatch(a);
		(void)channel_dispatch(b);
	}
	if (l->record)
		(void)fclose(l->record);
	/* the honest proxy dies with us: let it say its last word */
	l->requests.from = channel_free(a);
	l->requests.to = channel_free(b);
	for (int i = 0; i < 100 && waitpid(l->child, NULL, WNOHANG) == 0; i++)
		(void)usleep(10000);
	return EXIT_SUCCESS;
}

static int take_lie(struct liar *l, char *text)
{
	char *value = strchr(text, '=');
	size_t i = 0;

	if (!value || l->n_lies == MAX_LIES)
		return -EINVAL;
	*value++ = '\0';
	while (i < ARRAY_SIZE(fields) && strcmp(fields[i].name, text) != 0)
		i++;
	if (i == ARRAY_SIZE(fields))
		return -EINVAL;
	l->lies[l->n_lies++] = (struct lie){
		.offset = fields[i].offset,
		.relative = *value == '+',
		.value = (uint32_t)strtoll(value, NULL, 0),
	};
	return 0;
}

static int take_option(struct liar *l, const char *name, char *value)
{
	char *save = NULL;
	int r = 0;

	if (strcmp(name, "--lie") == 0) {
		for (char *t = strtok_r(value, ",", &save); t && r == 0; t = strtok_r(NULL, ",", &save))
			r = take_lie(l, t);
		return r;
	}
	if (strcmp(name, "--kind") == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (strcmp(kinds[i], value) == 0) {
				l->kind = (enum kind)i;
				return 0;
			}
		return -EINVAL;
	}
	if (strcmp(name, "--nth") == 0)
		l->nth = (unsigned int)strtoul(value, NULL, 10);
	else if (strcmp(name, "--proxy") == 0)
		l->proxy = value;
	else if (strcmp(name, "--flood") == 0)
		l->flood = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(name, "--silence") == 0)
		l->silence = (uint32_t)strtoul(value, NULL, 10);
	else if (strcmp(name, "--fit") == 0)
		l->fit = strcmp(value, "1") == 0;
	else if (strcmp(name, "--told") == 0)
		l->told = value;
	else if (strcmp(name, "--record") == 0)
		return (l->record = fopen(value, "we")) ? 0 : -errno;
	else
		return 1; /* usb-proxy's own */
	return 0;
}

/* Splits the words into ours and the proxy's, which gets `private_channel` for its own. */
static int take_words(struct liar *l, char **words, char *private_channel, char **ret_words)
{
	size_t n = 0;

	ret_words[n++] = (char *)(uintptr_t)l->proxy;
	ret_words[n++] = words[0];
	for (words++; words[0] && words[1]; words += 2) {
		int r = take_option(l, words[0], words[1]);
		uint64_t number = 0;

		if (r < 0 || n + 3 > MAX_ARGUMENTS)
			return -EINVAL;
		if (r == 0)
			continue;
		ret_words[n++] = words[0];
		ret_words[n++] = strcmp(words[0], "--channel") == 0 ? private_channel : words[1];
		(void)text_to_u64(words[1], UINT16_MAX, &number);
		if (strcmp(words[0], "--channel") == 0)
			l->channel = words[1];
		else if (strcmp(words[0], "--service") == 0)
			l->service = words[1];
		else if (strcmp(words[0], "--own") == 0)
			l->own = (uint16_t)number;
		else if (strcmp(words[0], "--peer") == 0)
			l->peer = (uint16_t)number;
	}
	ret_words[0] = (char *)(uintptr_t)l->proxy;
	ret_words[n] = NULL;
	return !words[0] && l->channel && l->service && l->proxy ? 0 : -EINVAL;
}

static pid_t start_proxy(char **words)
{
	pid_t parent = getpid();
	pid_t child = fork();

	if (child != 0)
		return child;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		(void)execv(words[0], words);
	_exit(EXIT_FAILURE);
}

/* The outer channel first: the honest proxy's word LISTENING must be true. */
static int connect_all(struct liar *l, char **words, const char *private_channel)
{
	static const struct channel_rings rings = {.read = RING_BULK_OUT, .write = RING_BULK_IN};
	struct channel_address address = {.server_domid = l->is_export ? l->own : l->peer,
					  .client_domid = l->is_export ? l->peer : l->own};
	struct channel_backend *outer = NULL, *inner = NULL;
	struct channel *server = NULL, *client = NULL;
	int r;

	(void)snprintf(address.service, sizeof(address.service), "%s", l->service);
	r = channel_backend_new_from_text(l->channel, &outer);
	if (r == 0)
		r = channel_backend_new_from_text(private_channel, &inner);
	if (r == 0)
		r = channel_listen(l->is_export ? outer : inner, &address, &rings, &server);
	if (r)
		return r;
	l->child = start_proxy(words);
	r = channel_connect_wait(l->is_export ? inner : outer, &address, &rings, TIMEOUT_CONNECT_USEC, &client);
	if (r)
		return r;
	while (channel_state(server) == CHANNEL_WAITING) {
		r = channel_wait(server, false, TIMEOUT_CONNECT_USEC);
		if (r)
			return r;
	}
	/* requests go from the server's ring to the one that exports */
	l->requests = (struct flow){.from = server, .to = client, .lies_here = !l->is_export};
	l->replies = (struct flow){.from = client, .to = server, .is_replies = true, .lies_here = l->is_export};
	l->requests.bytes = malloc(PIPE_SIZE);
	l->replies.bytes = malloc(PIPE_SIZE);
	return l->requests.bytes && l->replies.bytes ? 0 : -ENOMEM;
}

int main(int argc, char **argv)
{
	static struct liar l = {.proxy = "/usr/lib/device-broker/usb-proxy", .nth = 1};
	char directory[] = "/tmp/liar.XXXXXX", private_channel[64];
	char *words[MAX_ARGUMENTS + 1];
	int r;

	if (argc < 2 || (strcmp(argv[1], "export") != 0 && strcmp(argv[1], "import") != 0) || !mkdtemp(directory)) {
		fputs("usage: liar export|import OPTION... [--lie FIELD=VALUE,...] [--kind KIND] [--nth N] [--flood "
		      "N]\n"
		      "            [--fit 1] [--silence N] [--proxy PATH] [--record FILE] [--told FILE]\n",
		      stderr);
		return 2;
	}
	l.is_export = strcmp(argv[1], "export") == 0;
	(void)snprintf(private_channel, sizeof(private_channel), "socket:%s", directory);
	if (take_words(&l, argv + 1, private_channel, words)) {
		fputs("liar: bad option\n", stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	r = connect_all(&l, words, private_channel);
	if (r) {
		fprintf(stderr, "liar: cannot connect: %d\n", r);
		return EXIT_FAILURE;
	}
	return relay(&l);
}
