/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The payload of an attach, a move or an assignment: key='value' with what the request says anyway, and options, whose
 * keys begin with '_'. See admin-job.h. Nothing in it may contradict the request; an option that nobody knows is refused,
 * for its user believes that it does something.
 *
 * Qubes 4.2 sends key=value without quotes; each is an option, and one of them, persistent, says what 4.3 has a call for.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "broker/io/admin-job.h"
#include "lib/base/text.h"

#define KEY_MAX 64u
#define NAMES_MAX 160u
#define IS_OLD 4u /* beside enum admin_payload_may */

/* The options; each returns what a value must be, or NULL: it is taken. */
static const char *option_max_time(const char *untrusted_value, struct admin_payload *payload)
{
	uint32_t seconds;

	if (text_to_seconds(untrusted_value, &seconds) < 0)
		return TEXT_TIME_FORM;
	payload->said.max_time_usec = seconds * USEC_PER_SEC;
	return NULL;
}

static const char *option_follow_port(const char *untrusted_value, struct admin_payload *payload)
{
	payload->said.follow_port = strcmp(untrusted_value, "yes") == 0;
	return payload->said.follow_port || strcmp(untrusted_value, "no") == 0 ? NULL : "yes or no";
}

static const char *option_size(const char *untrusted_value, struct admin_payload *payload)
{
	struct core_picture *picture = &payload->said.picture;

	return text_to_size(untrusted_value, &picture->width, &picture->height) < 0 ? TEXT_SIZE_FORM : NULL;
}

static const char *option_fps(const char *untrusted_value, struct admin_payload *payload)
{
	uint64_t fps;

	if (text_to_u64(untrusted_value, LIMIT_PICTURE_FPS, &fps) < 0 || fps == 0)
		return "a whole number of pictures a second, from 1 to 120";
	payload->said.picture.fps = (uint16_t)fps;
	return NULL;
}

/* One of each. */
#define OPTION_OF_CONTROL(constant, name, last)                                                          \
	static const char *option_##constant(const char *untrusted_value, struct admin_payload *payload) \
	{                                                                                                \
		uint8_t *value = &payload->said.picture.controls[CONTROL_##constant];                    \
                                                                                                         \
		return controls_read_value(CONTROL_##constant, untrusted_value, value) < 0               \
			       ? controls_form(CONTROL_##constant)                                       \
			       : NULL;                                                                   \
	}
CONTROLS(OPTION_OF_CONTROL)

/* As Qubes reads a bool. */
static const char *option_persistent(const char *untrusted_value, struct admin_payload *payload)
{
	static const char *const words[][2] = {{"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (size_t value = 0; value < 2; value++)
			if (strcasecmp(untrusted_value, words[i][value]) == 0) {
				payload->persistent = value;
				return NULL;
			}
	return "True or False";
}

#define CONTROL_ROW(constant, name, last) {"_" name, 0, true, option_##constant},
static const struct {
	const char *key;
	unsigned int may; /* 0: in every payload */
	bool of_cameras;  /* only */
	const char *(*read)(const char *untrusted_value, struct admin_payload *payload);
} payload_options[] = {
	{"_max-time", 0, false, option_max_time},
	{"_follow-port", ADMIN_MAY_FOLLOW, false, option_follow_port},
	{"_size", 0, true, option_size},
	{"_fps", 0, true, option_fps},
	/* clang-format off */
	CONTROLS(CONTROL_ROW)
	/* clang-format on */
	{"_persistent", IS_OLD, false, option_persistent},
};

/* The next key=value of 4.2, as the option that it is. */
static bool read_old(struct admin_span *untrusted_rest, char *key, size_t key_size, char *value, size_t value_size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,+:";
	struct admin_span rest = *untrusted_rest, untrusted_value, untrusted_key;

	while (rest.len && *rest.at == ' ') {
		rest.at++;
		rest.len--;
	}
	if (!admin_span_cut(&rest, ' ', &untrusted_value)) {
		untrusted_value = rest;
		rest = (struct admin_span){.at = rest.at + rest.len};
	}
	key[0] = '_';
	if (!admin_span_cut(&untrusted_value, '=', &untrusted_key) ||
	    !admin_span_copy(untrusted_key, key + 1, key_size - 1) ||
	    !admin_span_copy(untrusted_value, value, value_size) || key[1 + strspn(key + 1, plain)] ||
	    value[strspn(value, plain)])
		return false;
	*untrusted_rest = rest;
	return true;
}

static bool is_old(struct admin_span untrusted_payload)
{
	struct admin_span untrusted_key;

	return admin_span_cut(&untrusted_payload, '=', &untrusted_key) &&
	       (!untrusted_payload.len || untrusted_payload.at[0] != '\'');
}

bool admin_payload_persists(struct admin_span untrusted_payload)
{
	struct admin_payload payload = {0};
	char key[KEY_MAX], untrusted_value[CORE_DEVICE_ID_MAX];

	if (!is_old(untrusted_payload))
		return false;
	while (read_old(&untrusted_payload, key, sizeof(key), untrusted_value, sizeof(untrusted_value)))
		if (strcmp(key, "_persistent") == 0)
			(void)option_persistent(untrusted_value, &payload);
	return payload.persistent;
}

/* "max-time, size and fps": what may be said here, but for what 4.2 says. */
static void list_options(unsigned int may, bool of_camera, char *text, size_t size)
{
	const char *names[ARRAY_SIZE(payload_options)];
	size_t n = 0, len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(payload_options); i++)
		if (!(payload_options[i].may & (IS_OLD | ~may)) && (of_camera || !payload_options[i].of_cameras))
			names[n++] = payload_options[i].key + 1;
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s",
					i == 0      ? ""
					: i + 1 < n ? ", "
						    : " and ",
					names[i]);
}

static int read_option(struct admin_job *job, const char *key, const char *untrusted_value, unsigned int may,
		       struct admin_payload *payload)
{
	bool of_camera = job->class_id == WIRE_CLASS_WEBCAM;
	char names[NAMES_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(payload_options); i++) {
		const char *must;

		if (strcmp(key, payload_options[i].key) != 0 || (payload_options[i].may & ~may))
			continue;
		if (payload_options[i].of_cameras && !of_camera) {
			admin_write_exception(job->reply, "QubesValueError",
					      "option %s is for cameras only: leave it out", key + 1);
			return 1;
		}
		must = payload_options[i].read(untrusted_value, payload);
		if (!must)
			return 0;
		admin_write_exception(job->reply, "QubesValueError", "option %s must be %s, not %s", key + 1, must,
				      untrusted_value);
		return 1;
	}
	list_options(may, of_camera, names, sizeof(names));
	admin_write_exception(job->reply, "QubesValueError", "there is no option %s here, only %s: leave it out",
			      key + 1, names);
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
	bool old = is_old(untrusted_rest);
	bool (*const read)(struct admin_span *, char *, size_t, char *, size_t) = old ? read_old : admin_read_property;
	char key[KEY_MAX], untrusted_value[CORE_DEVICE_ID_MAX];

	*ret_payload = (struct admin_payload){0};
	may |= old ? IS_OLD : 0;
	while (read(&untrusted_rest, key, sizeof(key), untrusted_value, sizeof(untrusted_value))) {
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
