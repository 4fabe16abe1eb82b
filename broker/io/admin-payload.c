/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The payload of an attach, a move or an assignment: key='value' with what the request says anyway, and options, whose
 * keys begin with '_'. See admin-job.h. Nothing in it may contradict the request; an option that nobody knows is refused,
 * for its user believes that it does something.
 */
#include <stdio.h>
#include <string.h>

#include "broker/io/admin-job.h"
#include "lib/base/text.h"

/* The options; each returns what a value must be, or NULL: it is taken. */
static const char *option_max_time(const char *untrusted_value, struct admin_payload *payload)
{
	uint32_t seconds;

	if (text_to_seconds(untrusted_value, &seconds) < 0)
		return TEXT_TIME_FORM;
	payload->max_time_usec = seconds * USEC_PER_SEC;
	return NULL;
}

static const char *option_follow_port(const char *untrusted_value, struct admin_payload *payload)
{
	payload->follow_port = strcmp(untrusted_value, "yes") == 0;
	return payload->follow_port || strcmp(untrusted_value, "no") == 0 ? NULL : "yes or no";
}

static const struct {
	const char *key;
	unsigned int may; /* 0: in every payload */
	const char *(*read)(const char *untrusted_value, struct admin_payload *payload);
} payload_options[] = {
	{"_max-time", 0, option_max_time},
	{"_follow-port", ADMIN_MAY_FOLLOW, option_follow_port},
};

static int read_option(struct admin_job *job, const char *key, const char *untrusted_value, unsigned int may,
		       struct admin_payload *payload)
{
	for (size_t i = 0; i < ARRAY_SIZE(payload_options); i++) {
		const char *must;

		if (strcmp(key, payload_options[i].key) != 0 || (payload_options[i].may & ~may))
			continue;
		must = payload_options[i].read(untrusted_value, payload);
		if (!must)
			return 0;
		admin_write_exception(job->reply, "QubesValueError", "option %s must be %s, not %s", key + 1, must,
				      untrusted_value);
		return 1;
	}
	admin_write_exception(job->reply, "QubesValueError",
			      "there is no option %s here, only max-time%s: leave it out", key + 1,
			      may & ADMIN_MAY_FOLLOW ? " and follow-port" : "");
	return 1;
}

/* Keys whose value the caller wants. */
static bool keep(const char *key, const char *untrusted_value, unsigned int may, struct admin_payload *payload)
{
	const struct {
		const char *key;
		char *to;
		size_t size;
		bool may;
	} kept[] = {
		{"mode", payload->mode, sizeof(payload->mode), true},
		{"from", payload->from, sizeof(payload->from), may & ADMIN_MAY_FROM},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i].may && strcmp(key, kept[i].key) == 0) {
			(void)snprintf(kept[i].to, kept[i].size, "%.*s", (int)kept[i].size - 1, untrusted_value);
			return true;
		}
	return false;
}

static const char *find_expected(const char *const *expected, const char *key)
{
	for (; *expected; expected += 2)
		if (strcmp(expected[0], key) == 0)
			return expected[1];
	return NULL;
}

int admin_read_payload(struct admin_job *job, const char *const *expected, unsigned int may,
		       struct admin_payload *ret_payload)
{
	struct admin_span untrusted_rest = job->request->payload;
	char key[64], untrusted_value[CORE_DEVICE_ID_MAX];

	*ret_payload = (struct admin_payload){0};
	while (admin_read_property(&untrusted_rest, key, sizeof(key), untrusted_value, sizeof(untrusted_value))) {
		bool id = strcmp(key, "device_id") == 0;
		const char *value = find_expected(expected, key);

		if (key[0] == '_') {
			if (read_option(job, key, untrusted_value, may, ret_payload))
				return 1;
			continue;
		}
		if (id)
			(void)strcpy(ret_payload->device_id, untrusted_value);
		if (keep(key, untrusted_value, may, ret_payload) || !value || strcmp(untrusted_value, value) == 0 ||
		    ((id || strcmp(key, "port_id") == 0) && strcmp(untrusted_value, "*") == 0))
			continue;
		admin_write_exception(job->reply, "QubesValueError", "the request contradicts itself: %s is %s, not %s",
				      key, value, untrusted_value);
		return 1;
	}
	for (size_t i = 0; i < untrusted_rest.len; i++)
		if (untrusted_rest.at[i] != ' ')
			return admin_refuse(job, "QubesValueError", "the payload is not a list of key='value'"), 1;
	return 0;
}
