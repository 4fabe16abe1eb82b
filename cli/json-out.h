/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Output for programs. What is printed is ASCII: every text that goes in was made safe to show, or is made so here.
 * Without memory for it the process ends: half an object would be worse than none. The forms are in qvm-device-json(5).
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "lib/admin/request.h"

struct json_object *json_out_object(void);
struct json_object *json_out_array(void);

/* The value is taken; NULL is null. `key` must be new. */
void json_out_add(struct json_object *object, const char *key, struct json_object *value);
void json_out_append(struct json_object *array, struct json_object *value);

/* A safe text; "" and NULL are null. */
struct json_object *json_out_text(const char *text);
struct json_object *json_out_bool(bool value);
struct json_object *json_out_number(uint64_t value);
/* "u080650u030101", each seven. */
struct json_object *json_out_codes(const char *codes);

/* What a reply says, made safe: an array of lines. */
struct json_object *json_out_lines(struct admin_span untrusted_text);
/* The same values, each text and key of them made safe. */
struct json_object *json_out_copy(struct json_object *untrusted_value);

/* Takes the value and prints it: over several lines as a document, or in one of a stream, which is then flushed. */
void json_out_document(struct json_object *value);
void json_out_line(struct json_object *value);
