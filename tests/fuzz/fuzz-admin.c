/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Admin API's requests and device names (the broker reads them) and its replies (tools read them): any bytes.
 * Checked beside memory safety: what was parsed gives the same bytes when it is put together again; a device's name
 * matches itself and no other port; what is shown of a reply, and what listeners hear of a change, is printable.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/admin-calls.h"
#include "lib/admin/reply.h"
#include "lib/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *userdata, const struct core_action *action)
{
	(void)userdata;
	(void)action;
}

static int change(void *userdata _unused_, const struct core_user *caller _unused_, const struct core_event *event,
		  const char **ret_why _unused_)
{
	return core_handle(*(struct core **)userdata, event, NULL);
}

static const struct policy *policy(void *userdata _unused_, const char **ret_error)
{
	*ret_error = "x.policy:1: no";
	return NULL;
}

static int read_audit(void *userdata _unused_, uint64_t after_seq _unused_, char *ret_lines, size_t size,
		      size_t *ret_len)
{
	*ret_len = (size_t)snprintf(ret_lines, size, "{}\n");
	return 0;
}

/* Requests and checks of the log are not begun here. */
static const struct admin_hooks hooks = {.change = change, .policy = policy, .audit_read = read_audit};

static struct core *make_core(void)
{
	struct core *core = core_new(1, &(struct core_hooks){.emit = ignore}, NULL);
	struct core_event event = {.type = CORE_QUBE_STARTED, .qube_started = {.domid = 1, .name = "a"}};
	struct core_qube_ref ref;

	(void)core_handle(core, &event, &ref);
	event = (struct core_event){.type = CORE_AGENT_READY, .qube = ref};
	(void)core_handle(core, &event, NULL);
	event = (struct core_event){.type = CORE_DEVICE,
				    .qube = ref,
				    .device = {.class_id = WIRE_CLASS_USB, .port = "1-1", .serial = "+*= '"}};
	(void)core_handle(core, &event, NULL);
	return core;
}

static void check_request(const char *bytes, size_t len)
{
	static struct core *core;
	static char reply_bytes[LIMIT_ADMIN_REPLY];
	static const char *const nothing = NULL;
	struct admin_request request;
	struct admin_writer writer;
	struct admin_reply reply;
	struct admin_job job = {.hooks = &hooks, .userdata = &core, .request = &request, .reply = &writer};
	char text[256];

	if (!core)
		core = make_core();
	if (admin_request_parse(bytes, len, &request))
		return;
	assert(request.method.at == bytes);
	assert(request.payload.at + request.payload.len == bytes + len);
	assert(!memchr(request.method.at, '+', request.method.len));
	assert(!memchr(request.source.at, ' ', request.source.len));
	admin_write_init(&writer, reply_bytes, sizeof(reply_bytes));
	job.core = core;
	if (admin_run(&job) != ADMIN_REPLY)
		return;
	for (const char *const *field = job.told_event[0] ? job.told_fields : &nothing; *field; field++)
		assert(text_is_printable(*field));
	assert(!writer.full && admin_reply_parse(writer.bytes, writer.len, &reply) == 0);
	if (reply.type == ADMIN_REPLY_EXCEPTION) {
		admin_reply_text(&reply, text, sizeof(text));
		assert(text_is_printable(text));
	}
}

static void check_device(const char *bytes, size_t len)
{
	struct admin_device device;
	char backend[64], port[64], id[512];

	if (admin_device_parse((struct admin_span){.at = bytes, .len = len}, &device) ||
	    !admin_span_copy(device.backend, backend, sizeof(backend)) ||
	    !admin_span_copy(device.port, port, sizeof(port)) || !admin_span_copy(device.device_id, id, sizeof(id)))
		return;
	assert(admin_device_matches(&device, backend, port, id));
	assert(device.any_port || strcmp(port, "1-1") == 0 || !admin_device_matches(&device, backend, "1-1", id));
	assert(device.any_id || strcmp(id, "x+") == 0 || !admin_device_matches(&device, backend, port, "x+"));
	assert(!admin_device_matches(&device, "", port, id));
}

static void check_reply(const char *bytes, size_t len)
{
	struct admin_span rest = {.at = bytes, .len = len};
	struct admin_reply reply;
	struct admin_event event;
	char key[16], value[64], text[64];
	size_t used;

	while (admin_read_property(&rest, key, sizeof(key), value, sizeof(value)))
		assert(strlen(key) < sizeof(key) && strlen(value) < sizeof(value));
	if (admin_event_parse(bytes, len, &event, &used) == 0) {
		assert(used <= len && event.fields.at + event.fields.len < bytes + used);
		(void)admin_event_field(&event, "device", text, sizeof(text));
		assert(text_is_printable(text));
	}
	if (admin_reply_parse(bytes, len, &reply))
		return;
	if (reply.type == ADMIN_REPLY_EXCEPTION) {
		admin_reply_text(&reply, text, sizeof(text));
		assert(text_is_printable(text));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(const char *bytes, size_t len) = {check_request, check_device, check_reply};

	if (size)
		checks[data[0] % 3]((const char *)data + 1, size - 1);
	return 0;
}
