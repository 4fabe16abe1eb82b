/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every answer of the core has its sentence: what has none must never be told as a success. */
#include "tests/unit.h"

#include <string.h>

#include "broker/io/admin-calls.h"
#include "lib/base/text.h"

static const struct admin_subject subject = {
	.type = CORE_MOVE, .device = "sys-usb:1-2", .backend = "sys-usb", .target = "work", .from = "personal"};

/* The reply to subject's request; `ret_text` is what its user reads. */
static enum admin_reply_type reply_of(const struct core_action *action, char ret_text[1024])
{
	char bytes[2048];
	struct admin_writer writer;
	struct admin_reply reply;

	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_answer(&writer, &subject, action);
	assert_false(writer.full);
	assert_int_equal(admin_reply_parse(bytes, writer.len, &reply), 0);
	ret_text[0] = '\0';
	if (reply.type == ADMIN_REPLY_EXCEPTION) {
		assert_true(reply.exception.len > 0);
		admin_reply_text(&reply, ret_text, 1024);
	}
	return reply.type;
}

/* A refusal, in a sentence with all words put in. */
static void assert_refused(const struct core_action *action)
{
	char text[1024];

	if (reply_of(action, text) != ADMIN_REPLY_EXCEPTION || strlen(text) < 10 || strpbrk(text, "{}"))
		fail_msg("answer %u, outcome %u: \"%s\"", action->answer, action->outcome, text);
}

static void test_every_answer(void **unused _unused_)
{
	char text[1024];

	assert_int_equal(reply_of(&(struct core_action){.answer = CORE_ANSWER_DONE, .confirmed = true}, text),
			 ADMIN_REPLY_DONE);
	for (unsigned int answer = 0; answer < CORE_ANSWER_COUNT; answer++)
		if (answer != CORE_ANSWER_DONE)
			assert_refused(&(struct core_action){.answer = answer, .outcome = OUTCOME_INTERNAL});
}

static void test_every_outcome(void **unused _unused_)
{
	char text[1024];

	for (unsigned int outcome = OUTCOME_FIRST_FAILURE; outcome < OUTCOME_COUNT; outcome++) {
		const struct core_action action = {.answer = CORE_ANSWER_FAILED, .outcome = outcome};

		assert_refused(&action);
		(void)reply_of(&action, text);
		assert_non_null(strstr(text, outcome_text(outcome)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_answer),
		cmocka_unit_test(test_every_outcome),
	};

	return cmocka_run_group_tests_name("admin-answer", tests, NULL, NULL);
}
