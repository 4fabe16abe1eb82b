// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The audit log: records as lines for eyes, or as they are but made safe (--json); --follow goes on; --verify asks the
 * broker whether the chain of records is whole. Records come in pages, each from after the last number of the one before.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "lib/base/text.h"

#define SHOWN_MAX 512u

/* The text at object.key, or object.key.sub, made safe; "" when there is none. */
static const char *text_at(struct json_object *object, const char *key, const char *sub, char text[SHOWN_MAX])
{
	struct json_object *value = NULL;
	const char *untrusted_text;

	text[0] = '\0';
	if (!json_object_object_get_ex(object, key, &value) || (sub && !json_object_object_get_ex(value, sub, &value)))
		return text;
	untrusted_text = json_object_get_string(value);
	if (untrusted_text)
		(void)text_make_safe(untrusted_text, strlen(untrusted_text), text, SHOWN_MAX);
	return text;
}

static void print_part(const char *before, const char *text)
{
	if (text[0])
		printf("%s%s", before, text);
}

/* TIME  #SEQ EVENT  SOURCE:PORT (ID) -> TARGET  by uid N for QUBE  rule R: OUTCOME */
static void print_record(struct json_object *object)
{
	char text[SHOWN_MAX], port[SHOWN_MAX];

	printf("%-27s", text_at(object, "ts", NULL, text));
	print_part("  #", text_at(object, "seq", NULL, text));
	print_part(" ", text_at(object, "event", NULL, text));
	print_part("  ", text_at(object, "source", "name", text));
	print_part(":", text_at(object, "port", NULL, port));
	print_part("  ", text_at(object, "qube", "name", text));
	if (text_at(object, "device", NULL, text)[0])
		printf(" (%s)", text);
	print_part(" -> ", text_at(object, "target", NULL, text));
	print_part("  by uid ", text_at(object, "who", NULL, text));
	print_part(" for ", text_at(object, "who-qube", NULL, text));
	print_part("  rule ", text_at(object, "rule", NULL, text));
	print_part(": ", text_at(object, "outcome", NULL, text));
	print_part("  ", text_at(object, "text", NULL, text));
	putchar('\n');
}

/* One whole value and nothing else; NULL: it is not JSON. json-c by itself takes more than that. */
static struct json_object *parse_strictly(const char *untrusted_text)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *object;

	if (!tokener)
		return NULL;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	object = json_tokener_parse_ex(tokener, untrusted_text, (int)strlen(untrusted_text) + 1);
	if (json_tokener_get_error(tokener) != json_tokener_success) {
		(void)json_object_put(object);
		object = NULL;
	}
	json_tokener_free(tokener);
	return object;
}

/* One line of the log; *seq becomes its number. False: it is not a record. */
static bool show_line(const struct options *options, struct admin_span untrusted_line, uint64_t *seq)
{
	char untrusted_text[LIMIT_AUDIT_LINE];
	struct json_object *object, *number = NULL;
	bool good;

	if (!admin_span_copy(untrusted_line, untrusted_text, sizeof(untrusted_text)))
		return false;
	object = parse_strictly(untrusted_text);
	good = object && json_object_is_type(object, json_type_object) &&
	       json_object_object_get_ex(object, "seq", &number) && json_object_get_int64(number) > 0 &&
	       (uint64_t)json_object_get_int64(number) > *seq;
	if (good) {
		*seq = (uint64_t)json_object_get_int64(number);
		if (options->json)
			json_out_line(json_out_copy(object));
		else
			print_record(object);
	}
	(void)json_object_put(object);
	return good;
}

/* The records after *seq, one page; *ret_any: there were some. -1 or an exit code. */
static int show_page(const struct state *state, uint64_t *seq, bool *ret_any)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	struct admin_span untrusted_line;
	char after[24];
	int r;

	(void)snprintf(after, sizeof(after), "%" PRIu64, *seq);
	r = inventory_call(&state->options, "device.audit.Read", after, "dom0", "", NULL, &call, &reply);
	if (r >= 0)
		return r;
	*ret_any = reply.content.len > 0;
	while (admin_span_cut(&reply.content, '\n', &untrusted_line))
		if (!show_line(&state->options, untrusted_line, seq))
			return runtime_error(state, "the record after number %s cannot be read: look at audit --verify",
					     after);
	return -1;
}

int run_audit(struct state *state)
{
	static const struct timespec pause = {.tv_nsec = (long)(AUDIT_FOLLOW_USEC * 1000)};
	uint64_t seq = 0;
	bool any = false;

	if (state->options.verify)
		return print_answer(state, "device.audit.Verify", "", "dom0", "Verifying the audit log",
				    json_out_lines);
	for (;;) {
		int r = show_page(state, &seq, &any);

		if (r >= 0)
			return r;
		if (any)
			continue;
		if (!state->options.follow)
			return EXIT_DONE;
		(void)fflush(stdout);
		(void)nanosleep(&pause, NULL);
	}
}
