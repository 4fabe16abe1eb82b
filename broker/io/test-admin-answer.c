/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every answer of the core has its sentence: what has none must never be told as a success. */
#include "tests/unit.h"

#include <string.h>

#include "broker/io/admin-calls.h"
#include "broker/io/device-class.h"
#include "lib/base/base.h"
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

/* What is in the way, by what that is doing. */
static void test_parts(void **unused _unused_)
{
	static const struct core_device mic = {
		.class_id = WIRE_CLASS_MIC, .port = "mic-0123abcd", .parent = "1-2", .target_name = "vault"};
	static const struct core_device whole = {.class_id = WIRE_CLASS_USB, .port = "1-2", .target_name = "vault"};
	static const struct {
		enum core_answer answer;
		enum core_state state;
		const char *text;
	} rows[] = {
		{CORE_ANSWER_PART_IN_USE, CORE_ATTACHED,
		 "sys-usb:1-2 cannot be taken as a whole: its microphone mic-0123abcd is in use by vault: detach that "
		 "first "
		 "(qvm-mic detach vault sys-usb:mic-0123abcd), or let the policy say parts=end"},
		{CORE_ANSWER_PART_IN_USE, CORE_DETACHING,
		 "sys-usb:1-2 cannot be taken as a whole: its microphone mic-0123abcd is still being detached from "
		 "vault: "
		 "try again in a few seconds"},
		{CORE_ANSWER_PART_IN_USE, CORE_LOCKED,
		 "sys-usb:1-2 cannot be taken as a whole: its microphone mic-0123abcd is locked: sys-usb has not "
		 "confirmed "
		 "that its attachment to vault ended; if it stays so, restart sys-usb"},
		{CORE_ANSWER_WHOLE_IN_USE, CORE_AUDITING,
		 "sys-usb:1-2 is a part of sys-usb:1-2, which is in use by vault: detach that first (qvm-usb detach "
		 "vault "
		 "sys-usb:1-2)"},
		{CORE_ANSWER_WHOLE_IN_USE, CORE_LOCKED,
		 "sys-usb:1-2 is a part of sys-usb:1-2, which is locked: sys-usb has not confirmed that its attachment "
		 "to "
		 "vault ended; if it stays so, restart sys-usb"},
	};
	char text[1024];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct core_device other = rows[i].answer == CORE_ANSWER_PART_IN_USE ? mic : whole;

		other.state = rows[i].state;
		(void)reply_of(&(struct core_action){.answer = rows[i].answer, .other = &other}, text);
		assert_non_null(strstr(text, rows[i].text));
	}
}

/* What the classes are called. */
static void test_nouns(void **unused _unused_)
{
	assert_string_equal(device_class_noun(WIRE_CLASS_USB), "USB device");
	assert_string_equal(device_class_noun(WIRE_CLASS_WEBCAM), "camera");
	assert_string_equal(device_class_noun(0), "device");
	for (uint8_t class_id = WIRE_CLASS_FIRST; class_id <= WIRE_CLASS_LAST; class_id++)
		assert_string_not_equal(device_class_noun(class_id), "device");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_answer),
		cmocka_unit_test(test_every_outcome),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_nouns),
	};

	return cmocka_run_group_tests_name("admin-answer", tests, NULL, NULL);
}
