// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What happens, line by line, and with --answer the questions that the broker asks: the oldest open one is on the
 * screen, and a line from the terminal answers it.
 *
 * A line answers only the question that its user had read. A question that ends by itself (time, unplugged, answered
 * elsewhere) goes away with a word about it, while somebody may just be typing: for ASK_DEAF_USEC nothing typed counts,
 * and no other question is shown. Whatever was typed before a question is shown is dropped when it is, and of what is
 * read at once only the first line counts.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include "cli/command.h"
#include "lib/base/clock.h"
#include "lib/base/text.h"

#define SHOWN_MAX 512u

struct question {
	char id[24];
	char device[SHOWN_MAX], description[SHOWN_MAX], rule[LIMIT_RULE_TEXT];
	char targets[LIMIT_OFFERED][LIMIT_QUBE_NAME + 1];
	size_t n_targets;
	char default_target[LIMIT_QUBE_NAME + 1];
};

struct watch {
	const struct state *state;
	struct admin_call *events, *asks; /* asks NULL: questions are not answered here */
	struct question questions[LIMIT_QUESTIONS];
	size_t n_questions;
	bool shown;               /* the first of them, and a line is for it */
	uint64_t deaf_until_usec; /* none is shown before that */
	char line[128];           /* from the terminal */
	size_t line_len;
	bool stale; /* the line that comes now began too early, or is too long: it is no answer */
};

static void watch_deinit(struct watch *watch)
{
	watch->events = admin_call_free(watch->events);
	watch->asks = admin_call_free(watch->asks);
}

/* A line of --json. */
static void print_event_json(const struct admin_event *event)
{
	struct admin_span untrusted_fields = event->fields, untrusted_key, untrusted_value;
	struct json_object *object = json_out_object(), *fields = json_out_object();
	char text[SHOWN_MAX], key[64];

	while (admin_event_next(&untrusted_fields, &untrusted_key, &untrusted_value)) {
		(void)text_make_safe(untrusted_key.at, untrusted_key.len, key, sizeof(key));
		(void)text_make_safe(untrusted_value.at, untrusted_value.len, text, sizeof(text));
		json_out_add(fields, key, json_out_text(text));
	}
	(void)text_make_safe(event->name.at, event->name.len, text, sizeof(text));
	json_out_add(object, "event", json_out_text(text));
	(void)text_make_safe(event->subject.at, event->subject.len, text, sizeof(text));
	json_out_add(object, "subject", json_out_text(text));
	json_out_add(object, "fields", fields);
	json_out_line(object);
}

/* EVENT SUBJECT KEY=VALUE... */
static void print_event(const struct admin_event *event)
{
	struct admin_span untrusted_fields = event->fields, untrusted_key, untrusted_value;
	char name[SHOWN_MAX], text[SHOWN_MAX], key[64];

	(void)text_make_safe(event->name.at, event->name.len, name, sizeof(name));
	(void)text_make_safe(event->subject.at, event->subject.len, text, sizeof(text));
	printf("%s%s%s", name, text[0] ? " " : "", text);
	while (admin_event_next(&untrusted_fields, &untrusted_key, &untrusted_value)) {
		(void)text_make_safe(untrusted_key.at, untrusted_key.len, key, sizeof(key));
		(void)text_make_safe(untrusted_value.at, untrusted_value.len, text, sizeof(text));
		printf(" %s=%s", key, text);
	}
	putchar('\n');
	(void)fflush(stdout);
}

/* ---- questions -------------------------------------------------------------------------------------------------- */

/* Names of qubes with spaces between; what is not a name is left out. */
static void read_targets(const char *text, struct question *question)
{
	struct admin_span rest = admin_span(text), part;

	while (rest.len && question->n_targets < LIMIT_OFFERED) {
		char *target = question->targets[question->n_targets];

		if (!admin_span_cut(&rest, ' ', &part)) {
			part = rest;
			rest.len = 0;
		}
		if (admin_span_copy(part, target, sizeof(question->targets[0])) && text_is_qube_name(target))
			question->n_targets++;
	}
}

static bool can_read(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN);
}

/*
 * What was typed so far: here, in the terminal, in a pipe (of which no more than it holds by default: its writer may
 * never end). A terminal that is another job's now is let alone, to touch it would stop us.
 */
static void drop_typed(struct watch *watch)
{
	char dropped[4096];
	pid_t job = tcgetpgrp(STDIN_FILENO);

	watch->stale = watch->stale || watch->line_len > 0;
	watch->line_len = 0;
	if (job >= 0 && job != getpgrp())
		return;
	(void)tcflush(STDIN_FILENO, TCIFLUSH);
	for (size_t i = 0; i < 65536 / sizeof(dropped) && can_read(STDIN_FILENO); i++) {
		ssize_t n = read(STDIN_FILENO, dropped, sizeof(dropped));

		if (n <= 0)
			return; /* read_terminal() sees that too */
		watch->stale = dropped[n - 1] != '\n';
	}
}

static void print_question(const struct question *question)
{
	printf("\n%s (%s), by rule %s\n", question->description, question->device, question->rule);
	if (question->n_targets == 1) {
		printf("attach it to %s? [y/n] ", question->targets[0]);
	} else {
		for (size_t i = 0; i < question->n_targets; i++)
			printf("  %zu) %s%s\n", i + 1, question->targets[i],
			       strcmp(question->targets[i], question->default_target) == 0 ? " (suggested)" : "");
		printf("attach it to which qube? [1-%zu, or n for none] ", question->n_targets);
	}
	(void)fflush(stdout);
}

static void show_question(struct watch *watch)
{
	if (watch->shown || watch->n_questions == 0 || clock_monotonic_usec() < watch->deaf_until_usec)
		return;
	drop_typed(watch);
	print_question(&watch->questions[0]);
	watch->shown = true;
}

static void on_question(struct watch *watch, const struct admin_event *event)
{
	struct question *question = &watch->questions[watch->n_questions];
	char targets[LIMIT_OFFERED * (LIMIT_QUBE_NAME + 1) + 1];

	if (watch->n_questions == LIMIT_QUESTIONS)
		return;
	*question = (struct question){0};
	(void)admin_event_field(event, "device", question->device, sizeof(question->device));
	(void)admin_event_field(event, "description", question->description, sizeof(question->description));
	(void)admin_event_field(event, "rule", question->rule, sizeof(question->rule));
	(void)admin_event_field(event, "default", question->default_target, sizeof(question->default_target));
	(void)admin_event_field(event, "targets", targets, sizeof(targets));
	read_targets(targets, question);
	if (!admin_event_field(event, "question", question->id, sizeof(question->id)) || question->n_targets == 0)
		return;
	watch->n_questions++;
}

static void drop_question(struct watch *watch, size_t at)
{
	watch->n_questions--;
	memmove(&watch->questions[at], &watch->questions[at + 1],
		(watch->n_questions - at) * sizeof(watch->questions[0]));
	if (at == 0)
		watch->shown = false;
}

static void on_question_end(struct watch *watch, const struct admin_event *event)
{
	char id[sizeof(watch->questions[0].id)], how[64];

	(void)admin_event_field(event, "question", id, sizeof(id));
	(void)admin_event_field(event, "end", how, sizeof(how));
	for (size_t i = 0; i < watch->n_questions; i++) {
		if (strcmp(watch->questions[i].id, id) != 0)
			continue;
		printf("%s%s: %s\n", i == 0 && watch->shown ? "\n" : "", watch->questions[i].device, how);
		(void)fflush(stdout);
		if (i == 0 && watch->shown)
			watch->deaf_until_usec = clock_monotonic_usec() + ASK_DEAF_USEC;
		drop_question(watch, i);
		return;
	}
}

/* What a line means for a question: a payload of device.ask.Answer; NULL: nothing. */
static const char *make_answer(const struct question *question, const char *line, char answer[64])
{
	uint64_t number;

	if (strcmp(line, "n") == 0)
		return "deny";
	if (strcmp(line, "y") == 0 && question->n_targets == 1)
		number = 1;
	else if (text_to_u64(line, question->n_targets, &number) < 0 || number == 0)
		return NULL;
	(void)snprintf(answer, 64, "allow %s", question->targets[number - 1]);
	return answer;
}

/* To the question that is shown; what is no answer makes it be shown again. -1, or the exit code: no broker. */
static int on_line(struct watch *watch, const char *line)
{
	char id[sizeof(watch->questions[0].id)], buffer[64];
	const char *answer = make_answer(&watch->questions[0], line, buffer);
	int r;

	watch->shown = false;
	if (!answer)
		return -1;
	(void)strcpy(id, watch->questions[0].id);
	drop_question(watch, 0);
	r = change(watch->state,
		   &(struct change){.method = "device.ask.Answer", .argument = id, .dest = "dom0", .payload = answer});
	return r == EXIT_NO_BROKER ? r : -1;
}

/* ---- the two streams and the terminal ----------------------------------------------------------------------------- */

/* Nobody can answer here any more; the broker must know that nobody does. */
static void end_answers(struct watch *watch)
{
	watch->asks = admin_call_free(watch->asks);
	watch->n_questions = 0;
	watch->shown = false;
	if (watch->state->options.verbosity >= 0)
		fprintf(stderr, "Warning: the input has ended: questions are not answered here any more.\n");
}

static int read_terminal(struct watch *watch)
{
	char *line = watch->line, *end;
	ssize_t n = read(STDIN_FILENO, line + watch->line_len, sizeof(watch->line) - watch->line_len);
	bool whole, stale = watch->stale;

	if (n <= 0) {
		if (n == 0 || (errno != EINTR && errno != EAGAIN))
			end_answers(watch);
		return -1;
	}
	watch->line_len += (size_t)n;
	end = memchr(line, '\n', watch->line_len);
	if (watch->shown && !end && watch->line_len < sizeof(watch->line))
		return -1;
	whole = line[watch->line_len - 1] == '\n';
	watch->line_len = 0;
	watch->stale = !whole;
	if (!watch->shown || !end)
		return -1;
	*end = '\0';
	return on_line(watch, stale ? "" : line);
}

static const struct {
	const char *name; /* the class follows */
	void (*handle)(struct watch *watch, const struct admin_event *event);
} ask_events[] = {
	{"device-ask:", on_question},
	{"device-ask-end:", on_question_end},
};

static void on_ask_event(struct watch *watch, const struct admin_event *event)
{
	for (size_t i = 0; i < ARRAY_SIZE(ask_events); i++) {
		size_t len = strlen(ask_events[i].name);

		if (event->name.len > len && memcmp(event->name.at, ask_events[i].name, len) == 0)
			ask_events[i].handle(watch, event);
	}
}

/* All events that have come on one stream. -1 or an exit code. */
static int read_stream(struct watch *watch, struct admin_call *call)
{
	for (;;) {
		struct admin_event event;
		struct admin_reply refusal;
		int r = admin_call_next_event(call, 0, &event, &refusal);

		if (r == ADMIN_CALL_PENDING)
			return -1;
		if (r == ADMIN_CALL_REFUSED)
			return inventory_refused(&refusal);
		if (r)
			return inventory_fail(&watch->state->options, r);
		if (call == watch->asks)
			on_ask_event(watch, &event);
		else if (watch->state->options.json)
			print_event_json(&event);
		else
			print_event(&event);
	}
}

/* A stream is there when its first event has come. */
static int open_stream(const struct state *state, const char *method, struct admin_call **ret_call)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_event event;
	struct admin_reply refusal;
	int r = admin_call_new(state->options.socket_path, method, "", "dom0", "", &call);

	if (r == 0)
		r = admin_call_next_event(call, TIMEOUT_ADMIN_READ_USEC, &event, &refusal);
	if (r == ADMIN_CALL_REFUSED)
		return inventory_refused(&refusal);
	if (r)
		return inventory_fail(&state->options, r);
	*ret_call = TAKE_PTR(call);
	return -1;
}

/* For poll(): until a question that waits for it may be shown. */
static int patience_msec(const struct watch *watch)
{
	uint64_t now = clock_monotonic_usec();

	if (watch->shown || watch->n_questions == 0)
		return -1;
	return watch->deaf_until_usec > now ? (int)((watch->deaf_until_usec - now) / USEC_PER_MSEC) + 1 : 0;
}

int run_watch(struct state *state)
{
	_cleanup_(watch_deinit) struct watch watch = {.state = state};
	int r = open_stream(state, "admin.Events", &watch.events);

	if (r < 0 && state->options.answer)
		r = open_stream(state, "device.ask.Listen", &watch.asks);
	while (r < 0) {
		struct pollfd fds[] = {
			{.fd = admin_call_fd(watch.events), .events = POLLIN},
			{.fd = watch.asks ? admin_call_fd(watch.asks) : -1, .events = POLLIN},
			{.fd = watch.asks ? STDIN_FILENO : -1, .events = POLLIN},
		};

		r = read_stream(&watch, watch.events);
		if (r < 0 && watch.asks)
			r = read_stream(&watch, watch.asks);
		if (r >= 0)
			break;
		show_question(&watch);
		if (poll(fds, ARRAY_SIZE(fds), patience_msec(&watch)) < 0 && errno != EINTR)
			break;
		if (fds[2].revents)
			r = read_terminal(&watch);
	}
	return r < 0 ? EXIT_NO_BROKER : r;
}
