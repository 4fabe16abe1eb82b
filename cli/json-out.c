// SPDX-License-Identifier: GPL-2.0-or-later
/* See json-out.h. */
#include "cli/json-out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inventory.h"
#include "lib/base/text.h"

#define CODE_LEN 7u
#define TEXT_MAX LIMIT_AUDIT_LINE /* longer texts are cut */

static _Noreturn void give_up(void)
{
	fprintf(stderr, "Error: out of memory\n");
	exit(EXIT_REFUSED);
}

static struct json_object *need(struct json_object *value)
{
	if (!value)
		give_up();
	return value;
}

struct json_object *json_out_object(void)
{
	return need(json_object_new_object());
}

struct json_object *json_out_array(void)
{
	return need(json_object_new_array());
}

void json_out_add(struct json_object *object, const char *key, struct json_object *value)
{
	if (json_object_object_add(object, key, value) < 0)
		give_up();
}

void json_out_append(struct json_object *array, struct json_object *value)
{
	if (json_object_array_add(array, value) < 0)
		give_up();
}

struct json_object *json_out_text(const char *text)
{
	return text && text[0] ? need(json_object_new_string(text)) : NULL;
}

struct json_object *json_out_bool(bool value)
{
	return need(json_object_new_boolean(value));
}

struct json_object *json_out_number(uint64_t value)
{
	return need(json_object_new_uint64(value));
}

struct json_object *json_out_codes(const char *codes)
{
	struct json_object *array = json_out_array();

	for (const char *at = codes; strlen(at) >= CODE_LEN; at += CODE_LEN)
		json_out_append(array, need(json_object_new_string_len(at, (int)CODE_LEN)));
	return array;
}

/* Also "": a line, or a text, that is there. */
static struct json_object *safe_text(const char *untrusted_bytes, size_t len)
{
	char text[TEXT_MAX];

	(void)text_make_safe(untrusted_bytes, len, text, sizeof(text));
	return need(json_object_new_string(text));
}

struct json_object *json_out_lines(struct admin_span untrusted_text)
{
	struct json_object *array = json_out_array();
	struct admin_span untrusted_line;

	while (inventory_cut_line(&untrusted_text, &untrusted_line))
		json_out_append(array, safe_text(untrusted_line.at, untrusted_line.len));
	return array;
}

static struct json_object *copy_object(struct json_object *untrusted_object)
{
	struct json_object *copy = json_out_object();

	json_object_object_foreach(untrusted_object, untrusted_key, untrusted_value)
	{
		char key[64];

		(void)text_make_safe(untrusted_key, strlen(untrusted_key), key, sizeof(key));
		json_out_add(copy, key, json_out_copy(untrusted_value));
	}
	return copy;
}

static struct json_object *copy_array(struct json_object *untrusted_array)
{
	struct json_object *copy = json_out_array();

	for (size_t i = 0; i < json_object_array_length(untrusted_array); i++)
		json_out_append(copy, json_out_copy(json_object_array_get_idx(untrusted_array, i)));
	return copy;
}

/* As deep as the parser lets it be. */
struct json_object *json_out_copy(struct json_object *untrusted_value)
{
	switch (json_object_get_type(untrusted_value)) {
	case json_type_object:
		return copy_object(untrusted_value);
	case json_type_array:
		return copy_array(untrusted_value);
	case json_type_string:
		return safe_text(json_object_get_string(untrusted_value),
				 (size_t)json_object_get_string_len(untrusted_value));
	case json_type_null:
	case json_type_boolean:
	case json_type_double:
	case json_type_int:
		break;
	}
	return json_object_get(untrusted_value);
}

static void print(struct json_object *value, int flags)
{
	const char *text = json_object_to_json_string_ext(value, flags | JSON_C_TO_STRING_NOSLASHESCAPE);

	if (!text)
		give_up();
	(void)puts(text);
	(void)json_object_put(value);
}

void json_out_document(struct json_object *value)
{
	print(value, JSON_C_TO_STRING_PRETTY);
}

void json_out_line(struct json_object *value)
{
	print(value, JSON_C_TO_STRING_PLAIN);
	(void)fflush(stdout);
}
