/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which actions leave a record, and what it says of who, why and by which rule. */
#include "tests/unit.h"

#include <string.h>

#include "broker/io/record.h"
#include "lib/base/base.h"

static void emit(void *userdata _unused_, const struct core_action *action _unused_)
{
}

static const struct core_device device = {
	.target_name = "work",
	.terms = {.origin = CORE_ORIGIN_AUTO,
		  .asked_by = CORE_NO_USER,
		  .rule = "a.policy:1",
		  .answered = true,
		  .answered_by = {.uid = 7}},
};
static const struct core_user asker = {.uid = 7, .qube = "sys-gui"};
static const struct core_device was_attached = {.target_name = "work", .was_attached = true};
static const struct core_question question = {
	.id = 1, .n_offered = 1, .offered = {"work"}, .terms = {.asked_by = {.uid = 1000}, .rule = "b.policy:2"}};
static const struct core_restore restore = {.target_name = "work",
					    .terms = {.origin = CORE_ORIGIN_RESUME, .asked_by = {.uid = 1000}}};
static const struct core_memory memory = {.session = 9, .target = {.name = "work"}};

static const struct {
	struct core_action action;
	const char *event; /* NULL: no record */
	uid_t caller;
	const char *target, *origin, *rule, *outcome;
} rows[] = {
	{{.type = CORE_DO_AUDIT, .device = &device}, "attach-request", CORE_NOBODY, "work", "auto", "a.policy:1", NULL},
	{{.type = CORE_DO_NOTE, .device = &device, .state = CORE_ATTACHED},
	 "attached",
	 CORE_NOBODY,
	 "work",
	 "auto",
	 "a.policy:1",
	 "ok"},
	{{.type = CORE_DO_NOTE, .device = &device, .state = CORE_LOCKED, .outcome = OUTCOME_TIMED_OUT},
	 "locked",
	 501,
	 "work",
	 NULL,
	 NULL,
	 "timed-out"},
	{{.type = CORE_DO_NOTE, .device = &device, .state = CORE_CLEARING},
	 "ending-parts",
	 501,
	 "work",
	 NULL,
	 NULL,
	 "ok"},
	{{.type = CORE_DO_NOTE, .device = &was_attached, .state = CORE_FREE, .outcome = OUTCOME_WHOLE_ATTACHED},
	 "detached",
	 501,
	 "work",
	 NULL,
	 NULL,
	 "whole-attached"},
	{{.type = CORE_DO_NOTE, .device = &device, .state = CORE_FREE, .outcome = OUTCOME_PART_HELD},
	 "attach-failed",
	 501,
	 "work",
	 NULL,
	 NULL,
	 "part-held"},
	{{.type = CORE_DO_ANSWER, .answer = CORE_ANSWER_PART_IN_USE}, "refused", 501, "asked-for", NULL, NULL, ""},
	{{.type = CORE_DO_NOTE, .device = &device, .state = CORE_FREE, .outcome = OUTCOME_NO_PORT},
	 "attach-failed",
	 501,
	 "work",
	 NULL,
	 NULL,
	 "no-port"},
	{{.type = CORE_DO_NOTE, .device = &was_attached, .state = CORE_FREE, .outcome = OUTCOME_DETACHED},
	 "detached",
	 501,
	 "work",
	 NULL,
	 NULL,
	 "detached"},
	{{.type = CORE_DO_ANSWER, .answer = CORE_ANSWER_DONE}, NULL, 0, NULL, NULL, NULL, NULL},
	{{.type = CORE_DO_ANSWER, .answer = CORE_ANSWER_FAILED}, NULL, 0, NULL, NULL, NULL, NULL},
	{{.type = CORE_DO_ANSWER, .answer = CORE_ANSWER_MOVED_BACK}, NULL, 0, NULL, NULL, NULL, NULL},
	{{.type = CORE_DO_ANSWER, .answer = CORE_ANSWER_MOVED_BACK, .rule = "c.policy:3"},
	 "refused",
	 501,
	 "asked-for",
	 NULL,
	 "c.policy:3",
	 ""},
	{{.type = CORE_DO_ANSWER, .answer = CORE_ANSWER_MOVED_FREE, .back_rule = "d.policy:4"},
	 "refused",
	 501,
	 "asked-for",
	 NULL,
	 "d.policy:4",
	 ""},
	{{.type = CORE_DO_ANSWER, .answer = CORE_ANSWER_DENIED, .rule = "c.policy:3"},
	 "refused",
	 501,
	 "asked-for",
	 NULL,
	 "c.policy:3",
	 ""},
	/* what is handled is an answer by 501 to the question of 7 */
	{{.type = CORE_DO_ANSWER, .answer = CORE_ANSWER_SAID_NO, .asked_by = &asker, .target_name = "work"},
	 "refused",
	 7,
	 "work",
	 NULL,
	 NULL,
	 ""},
	{{.type = CORE_DO_ASK, .question = &question}, "asked", 1000, "work", "user", "b.policy:2", NULL},
	{{.type = CORE_DO_ASK_END, .question = &question, .question_end = CORE_QUESTION_TIMED_OUT},
	 "answered",
	 1000,
	 "work",
	 "user",
	 "b.policy:2",
	 "timed-out"},
	{{.type = CORE_DO_LIMIT_NEAR, .device = &device}, "limit-near", 501, "work", NULL, NULL, NULL},
	{{.type = CORE_DO_AUTO_FAILED, .device = &device, .target_name = "later", .outcome = OUTCOME_BUSY},
	 "auto-failed",
	 501,
	 "later",
	 NULL,
	 NULL,
	 "busy"},
	{{.type = CORE_DO_RESTORE_FAILED, .restore = &restore, .answer = CORE_ANSWER_NO_QUBE},
	 "restore-failed",
	 1000,
	 "work",
	 "resume",
	 NULL,
	 ""},
	{{.type = CORE_DO_NOT_ADOPTED, .memory = &memory, .outcome = OUTCOME_NOT_PROVEN},
	 "not-adopted",
	 501,
	 "work",
	 NULL,
	 NULL,
	 "not-proven"},
	{{.type = CORE_DO_EXPORT, .device = &device}, NULL, 0, NULL, NULL, NULL, NULL},
	{{.type = CORE_DO_CLAIM}, NULL, 0, NULL, NULL, NULL, NULL},
	{{.type = CORE_DO_FORGET}, NULL, 0, NULL, NULL, NULL, NULL},
	{{.type = CORE_DO_ATTACHED, .device = &device}, NULL, 0, NULL, NULL, NULL, NULL},
};

static void assert_text(size_t row, const char *what, const char *is, const char *should_be)
{
	if (should_be && !should_be[0] ? !is || !is[0] : !is != !should_be || (is && strcmp(is, should_be) != 0))
		fail_msg("row %zu: %s is %s", row, what, is ? is : "nothing");
}

static void test_records(void **unused _unused_)
{
	struct core *core = core_new(1, &(struct core_hooks){.emit = emit}, NULL);
	const struct record_context context = {.core = core, .caller = {.uid = 501}, .requested = "asked-for"};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct audit_record record = {0};
		bool any = record_of(&rows[i].action, &context, &record);

		if (any != (rows[i].event != NULL))
			fail_msg("row %zu: a record: %d", i, any);
		if (!any)
			continue;
		assert_text(i, "event", record.event, rows[i].event);
		assert_text(i, "target", record.target, rows[i].target);
		assert_text(i, "origin", record.origin, rows[i].origin);
		assert_text(i, "rule", record.rule, rows[i].rule);
		assert_text(i, "outcome", record.outcome, rows[i].outcome);
		if (record.caller.uid != rows[i].caller)
			fail_msg("row %zu: caller %u", i, record.caller.uid);
	}
	core_free(core);
}

/* Who answered: as the terms say, or, of the end of a question, whoever is being handled. */
static void test_who_answered(void **unused _unused_)
{
	struct core *core = core_new(1, &(struct core_hooks){.emit = emit}, NULL);
	const struct record_context context = {.core = core, .caller = {.uid = 501}};
	struct core_action action = {.type = CORE_DO_AUDIT, .device = &device};
	struct audit_record record;

	assert_true(record_of(&action, &context, &record));
	assert_int_equal(record.answered_by.uid, 7);
	action = (struct core_action){
		.type = CORE_DO_ASK_END, .question = &question, .question_end = CORE_QUESTION_DENIED};
	assert_true(record_of(&action, &context, &record));
	assert_int_equal(record.answered_by.uid, 501);
	action.question_end = CORE_QUESTION_NOBODY;
	assert_true(record_of(&action, &context, &record));
	assert_int_equal(record.answered_by.uid, CORE_NOBODY);
	core_free(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_who_answered),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
