/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sources.h. The watcher has read what a sound server says, and the agent is root: each datagram is checked as a whole. */
#include "lib/proxy/sources.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "lib/proxy/datagram.h"

static bool is_zero(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++)
		if (at[i])
			return false;
	return true;
}

static bool is_valid(const struct proxy_source *source)
{
	if (source->type == PROXY_SOURCES_BEGIN || source->type == PROXY_SOURCES_END)
		return is_zero((const uint8_t *)source + 1, sizeof(*source) - 1);
	return source->type == PROXY_SOURCE &&
	       (source->kind == PROXY_SOURCE_MIC || source->kind == PROXY_SOURCE_SPEAKER) &&
	       text_is_field(source->source, sizeof(source->source)) && source->source[0] &&
	       text_is_field(source->serial, sizeof(source->serial)) &&
	       text_is_field(source->name, sizeof(source->name)) && source->name[0] &&
	       text_is_field(source->parent, sizeof(source->parent)) &&
	       (!source->parent[0] || text_is_usb_port(source->parent));
}

/* A device's directory has its interfaces' in it, whose names begin with its own. */
void proxy_source_parent(const char *untrusted_path, char ret_parent[LIMIT_PORT_TEXT])
{
	char port[LIMIT_PORT_TEXT] = "";

	ret_parent[0] = '\0';
	for (const char *at = untrusted_path; *at;) {
		size_t len = strcspn(at, "/"), port_len = strlen(port);

		if (port_len > 0 && len > port_len && at[port_len] == ':' && memcmp(at, port, port_len) == 0)
			(void)strcpy(ret_parent, port);
		(void)snprintf(port, sizeof(port), "%.*s", (int)(len < sizeof(port) ? len : 0), at);
		if (!text_is_usb_port(port))
			port[0] = '\0';
		at += len + (at[len] == '/');
	}
}

int proxy_source_send(int fd, const struct proxy_source *source)
{
	return datagram_send(fd, source, sizeof(*source), 0);
}

int proxy_source_receive(int fd, struct proxy_source *ret_source)
{
	struct proxy_source untrusted_source;
	int r = datagram_receive(fd, &untrusted_source, sizeof(untrusted_source));

	if (r)
		return r;
	if (!is_valid(&untrusted_source))
		return -EPROTO;
	*ret_source = untrusted_source;
	return 0;
}
