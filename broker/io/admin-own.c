/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The calls that Qubes has not: the policy's reasons, the audit log, questions and their answers, the machine's sleep.
 * See admin-job.h; device.Move is beside attach in admin-calls.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/admin-job.h"
#include "broker/io/decide.h"
#include "lib/base/text.h"

#define MISSES_SHOWN 5u

/* ---- the policy ------------------------------------------------------------------------------------------------- */

static void write_warning(void *userdata, const struct policy_warning *warning)
{
	struct admin_writer *writer = userdata;

	admin_write_format(writer, "warning: %s:%u: %s", warning->file, warning->line,
			   policy_warning_text(warning->type));
	if (warning->other_file)
		admin_write_format(writer, " (%s:%u)", warning->other_file, warning->other_line);
	admin_write_format(writer, "\n");
}

/* "good", or "broken", with what there is to say, a line each. */
static enum admin_verdict call_policy_check(struct admin_job *job)
{
	const char *error = NULL;
	const struct policy *policy = job->hooks->policy(job->userdata, &error);

	admin_write_done(job->reply);
	if (!policy) {
		admin_write_format(job->reply, "broken, so everything is denied: %s\n", error ? error : "not read yet");
		return ADMIN_REPLY;
	}
	admin_write_format(job->reply, "good: %zu rules\n", policy_n_rules(policy));
	if (policy_lint(policy, write_warning, job->reply) < 0)
		admin_write_format(job->reply, "warning: it was not looked at for mistakes: out of memory\n");
	return ADMIN_REPLY;
}

/* A rule's line may be longer than what one write takes. */
static void write_rule(struct admin_writer *writer, const char *text)
{
	admin_write_bytes(writer, text, strlen(text));
	admin_write_bytes(writer, "\n", 1);
}

static void write_verdict(struct admin_writer *writer, const struct policy_verdict *verdict, const char *error)
{
	char rule[LIMIT_RULE_TEXT], time[TEXT_SECONDS];

	decide_rule(verdict, NULL, rule);
	admin_write_format(writer, "%s by %s\n", policy_action_name(verdict->action), rule);
	if (error)
		admin_write_format(writer, "  %s\n", error);
	if (verdict->why == POLICY_WHY_RULE) {
		admin_write_format(writer, "  ");
		write_rule(writer, verdict->text);
	}
	text_of_seconds(verdict->max_time_usec / USEC_PER_SEC, time);
	if (time[0])
		admin_write_format(writer, "  for at most %s\n", time);
	if (verdict->end_parts)
		admin_write_format(writer, "  ending its parts\n");
	if (verdict->default_target[0])
		admin_write_format(writer, "  suggesting %s\n", verdict->default_target);
}

/* Argument: BACKEND+PORT[+DEVICE_ID]; destination: to where. */
static enum admin_verdict call_policy_explain(struct admin_job *job)
{
	struct policy_miss misses[MISSES_SHOWN];
	struct policy_verdict verdict;
	struct policy_query query;
	struct admin_found found;
	const char *error = NULL, *pattern;
	size_t n;

	job->class_id = ADMIN_EVERY_CLASS;
	if (admin_find_one(job, &found))
		return ADMIN_REPLY;
	decide_query(found.device, core_find_qube(job->core, found.device->ref.qube), job->dest_name, job->dest_is_dom0,
		     &query);
	n = policy_explain(job->hooks->policy(job->userdata, &error), &query, &verdict, misses, MISSES_SHOWN);
	pattern = denied_match(core_denied(job->core), job->dest_name, found.device);
	admin_write_done(job->reply);
	if (pattern)
		admin_write_format(job->reply, "deny by the deny list of %s: %s (qvm-device allow %s %s)\n",
				   job->dest_name, pattern, job->dest_name, pattern);
	write_verdict(job->reply, &verdict, verdict.why == POLICY_WHY_BROKEN ? error : NULL);
	for (size_t i = 0; !job->caller.qube[0] && i < n; i++) { /* these lines may be about other qubes */
		admin_write_format(job->reply, "nearly %s:%u, but for its %s%s%s: ", misses[i].file, misses[i].line,
				   policy_field_name(misses[i].field), misses[i].hint ? "; " : "",
				   misses[i].hint ? misses[i].hint : "");
		write_rule(job->reply, misses[i].text);
	}
	return ADMIN_REPLY;
}

/* ---- labels ------------------------------------------------------------------------------------------------------- */

static void label_told(struct admin_job *job, const struct admin_found *found, const char *text)
{
	const char *const fields[] = {"device", job->told_texts[0], "label", job->told_texts[1], NULL};
	struct admin_names names;

	admin_device_names(found->backend, found->device, &names);
	(void)snprintf(job->told_event, sizeof(job->told_event), "device-label-changed:%s",
		       admin_class_name(found->device->class_id));
	(void)strcpy(job->told_texts[0], names.full);
	(void)snprintf(job->told_texts[1], sizeof(job->told_texts[1]), "%s", text);
	memcpy(job->told_fields, fields, sizeof(fields));
}

/* Argument: BACKEND+PORT[+DEVICE_ID]; destination: that backend. Payload: the label; nothing: it has none any more. */
static enum admin_verdict call_label_set(struct admin_job *job)
{
	struct core_event event = {.type = CORE_LABELED};
	struct admin_found found;
	const char *before;
	int r;

	job->class_id = ADMIN_EVERY_CLASS;
	if (admin_find_one(job, &found))
		return ADMIN_REPLY;
	if (strcmp(found.backend, job->dest_name) != 0)
		return admin_refuse(job, "QubesValueError",
				    "the destination of this call must be the device's backend");
	if (!admin_span_copy(job->request->payload, event.label.text, sizeof(event.label.text)) ||
	    (event.label.text[0] && !labels_is_text(event.label.text)))
		return admin_refuse(
			job, "QubesValueError",
			"a label is 1 to 64 printable ASCII characters without a backslash, and has no space or "
			"= at its end");
	labels_key(found.backend, found.device, event.label.key);
	before = labels_get(core_labels(job->core), event.label.key);
	r = strcmp(before ? before : "", event.label.text) == 0 ? CORE_EVENT_IGNORED : admin_change(job, &event);
	if (r == CORE_EVENT_FULL)
		return admin_refuse(job, "QubesException",
				    "there are as many labels as there may be: remove one that is not needed");
	if (r == 0)
		label_told(job, &found, event.label.text);
	if (r >= 0)
		admin_write_done(job->reply); /* the same label again is no fault, and no change */
	return ADMIN_REPLY;
}

/* ---- the audit log ------------------------------------------------------------------------------------------------ */

/* Argument: the number of the last record that is known; nothing: from the first. */
static enum admin_verdict call_audit_read(struct admin_job *job)
{
	char text[24];
	uint64_t after = 0;
	size_t len = 0, room = job->reply->size;
	int r;

	if (job->request->argument.len &&
	    (!admin_span_copy(job->request->argument, text, sizeof(text)) || text_to_u64(text, INT64_MAX, &after) < 0))
		return admin_refuse(job, "QubesValueError", "not the number of a record");
	admin_write_done(job->reply);
	room -= job->reply->len;
	r = job->hooks->audit_read(job->userdata, after, job->reply->bytes + job->reply->len,
				   room < LIMIT_ADMIN_PAGE ? room : LIMIT_ADMIN_PAGE, &len);
	if (r < 0)
		admin_write_exception(job->reply, "QubesException", "the audit log cannot be read: %s",
				      r == -EBADMSG ? "a line in it is no record; qvm-device audit --verify says where"
						    : strerror(-r));
	else
		job->reply->len += len;
	return ADMIN_REPLY;
}

static enum admin_verdict call_audit_verify(struct admin_job *job _unused_)
{
	return ADMIN_VERIFY;
}

void admin_write_report(struct admin_writer *writer, int r, const struct audit_report *report)
{
	char text[AUDIT_REPORT_TEXT];

	if (r == -EBUSY) {
		admin_write_exception(writer, "QubesException",
				      "the audit log is being verified for dom0 now: try again later");
		return;
	}
	if (r < 0) {
		admin_write_exception(writer, "QubesException", "the audit log could not be read: %s", strerror(-r));
		return;
	}
	audit_report_text(report, text);
	if (report->fault != AUDIT_FAULT_NONE) {
		admin_write_exception(writer, "QubesException", "%s", text);
		return;
	}
	admin_write_done(writer);
	admin_write_format(writer, "%s\n", text);
}

/* ---- questions ---------------------------------------------------------------------------------------------------- */

static enum admin_verdict call_ask_listen(struct admin_job *job _unused_)
{
	return ADMIN_LISTEN_ASKS;
}

static bool is_offered(const struct core_question *question, const char *target)
{
	for (unsigned int i = 0; i < question->n_offered; i++)
		if (strcmp(question->offered[i], target) == 0)
			return true;
	return false;
}

/* Argument: the question's number. Payload: "deny", or "allow TARGET". The core takes a wrong target for a no. */
static enum admin_verdict call_ask_answer(struct admin_job *job)
{
	static const char allow[] = "allow ";
	struct admin_span untrusted_payload = job->request->payload;
	struct core_event event = {.type = CORE_ANSWERED};
	const struct core_question *question;
	char text[24];
	int r;

	if (!admin_span_copy(job->request->argument, text, sizeof(text)) ||
	    text_to_u64(text, UINT64_MAX, &event.answered.question) < 0)
		return admin_refuse(job, "QubesValueError", "not the number of a question");
	event.answered.user = job->caller;
	event.answered.allow =
		untrusted_payload.len > strlen(allow) && memcmp(untrusted_payload.at, allow, strlen(allow)) == 0;
	if (event.answered.allow) {
		untrusted_payload.at += strlen(allow);
		untrusted_payload.len -= strlen(allow);
	}
	if (event.answered.allow
		    ? !admin_span_copy(untrusted_payload, event.answered.target, sizeof(event.answered.target)) ||
			      !text_is_qube_name(event.answered.target)
		    : !admin_span_is(untrusted_payload, "deny"))
		return admin_refuse(job, "QubesValueError", "an answer is deny, or allow and the name of a qube");
	question = core_find_question(job->core, event.answered.question);
	if (question && event.answered.allow && !is_offered(question, event.answered.target))
		return admin_refuse(job, "QubesValueError", "that qube is not one of those in question");
	r = admin_change(job, &event);
	if (r > 0)
		return admin_refuse(job, "QubesException", "this question is not open any more");
	if (r == 0)
		admin_write_done(job->reply);
	return ADMIN_REPLY;
}

/* ---- sleep -------------------------------------------------------------------------------------------------------- */

static enum admin_verdict call_suspend(struct admin_job *job)
{
	job->event.type = job->subject.type = CORE_SUSPEND;
	job->event.request.user = job->caller;
	return ADMIN_REQUEST;
}

static enum admin_verdict call_resume(struct admin_job *job)
{
	if (admin_change(job, &(struct core_event){.type = CORE_RESUMED}) >= 0)
		admin_write_done(job->reply); /* one that is awake already may be told so again */
	return ADMIN_REPLY;
}

const struct admin_call admin_own_calls[] = {
	{"device.policy.Check", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, call_policy_check},
	{"device.policy.Explain", ADMIN_FROM_QUBES, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_BY_NAME, call_policy_explain},
	{"device.label.Set", ADMIN_SELDOM_ONLY, ADMIN_REQUIRED, ADMIN_OPTIONAL, ADMIN_KNOWN, call_label_set},
	{"device.audit.Read", ADMIN_FROM_QUBES, ADMIN_OPTIONAL, ADMIN_NONE, ADMIN_DOM0, call_audit_read},
	{"device.audit.Verify", ADMIN_SELDOM_ONLY, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, call_audit_verify},
	{"device.ask.Listen", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, call_ask_listen},
	{"device.ask.Answer", ADMIN_SELDOM_ONLY, ADMIN_REQUIRED, ADMIN_REQUIRED, ADMIN_DOM0, call_ask_answer},
	{"device.Snapshot", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, admin_call_snapshot},
	{"device.Suspend", ADMIN_SELDOM_ONLY, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, call_suspend},
	{"device.Resume", ADMIN_SELDOM_ONLY, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, call_resume},
	{NULL, ADMIN_FROM_DOM0, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, NULL},
};
