// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The policy's language, word by word, and what a set says. Hostile cases PO01 (empty), PO04, PO06, PO07, PO08, RX13.
 * tests/integration/test-policy.py compares with an evaluator of its own on generated sets.
 */
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker/policy/policy.h"
#include "lib/base/base.h"

#define TAGS "!qube work type=AppVM tag=office tag=net\n!qube disp1 type=DispVM\n!qube tpl type=TemplateVM tag=tpl\n"

static struct policy_file file_of(const char *name, const char *text)
{
	return (struct policy_file){.name = name, .text = text, .len = strlen(text)};
}

/* One file; NULL: broken, as *error says. */
static struct policy *parse(const char *text, size_t len, struct policy_error *error)
{
	struct policy_file file = {.name = "a.policy", .text = text, .len = len};
	struct policy *policy = NULL;

	if (policy_new(&file, 1, &policy, error) != 0)
		return NULL;
	return policy;
}

static struct policy *parse_good(const char *text)
{
	struct policy_error error = {0};
	struct policy *policy = parse(text, strlen(text), &error);

	if (!policy)
		fail_msg("%u: %s\n%s", error.line, error.reason, text);
	return policy;
}

/* ---- what the language is not ---- */

#define RULE " sys-usb work allow"

static void test_faults(void **unused _unused_)
{
	static const struct {
		const char *line, *reason; /* a part of it */
	} faults[] = {
		/* fields */
		{"usb", "DEVICE is missing"},
		{"usb *", "SOURCE is missing"},
		{"usb * *", "TARGET is missing"},
		{"usb * * *", "ACTION is missing"},
		{"usb * * * allow allow", "'allow': an option is"},
		{"usb * * * allow # why", "a comment has a line of its own"},
		{"USB * * * allow", "CLASS 'USB'"},
		{"block * * * allow", "usb, mic, webcam, speaker or *"},
		{"usb * * * Allow", "ACTION 'Allow'"},
		{"usb * * * allow,", "allow, ask or deny"},
		{"usb * * * permit", "allow, ask or deny"},
		/* devices */
		{"usb 0781:5581:" RULE, "an id is"},
		{"usb 0781:5581:a" RULE, "an id is"},
		{"usb 0781:" RULE, "four lower-case"},
		{"usb 781:5581" RULE, "four lower-case"},
		{"usb 0781:558" RULE, "four lower-case"},
		{"usb 0781:55811" RULE, "after the product"},
		{"usb 0781:558A" RULE, "four lower-case"},
		{"usb *:*" RULE, "four lower-case"},
		{"usb 0781:*" RULE, "four lower-case"},
		{"usb 0781:5581:a:" RULE, "interfaces are"},
		{"usb 0781:5581:a:u08065" RULE, "interfaces are"},
		{"usb 0781:5581:a:u0806501" RULE, "interfaces are"},
		{"usb 0781:5581:a:u0806F0" RULE, "interfaces are"},
		{"usb 0781:5581:a:u08****" RULE, "interfaces are"},
		{"usb 0781:5581:a:?*****" RULE, "interfaces are"},
		{"usb 0781:5581:a%:u080650" RULE, "%20"},
		{"usb 0781:5581:a%2:u080650" RULE, "%20"},
		{"usb 0781:5581:a%2A:u080650" RULE, "%20"},
		{"usb 0781:5581:a%1f:u080650" RULE, "%20"},
		{"usb 0781:5581:a%00:u080650" RULE, "%20"},
		{"usb 0781:5581:a%80:u080650" RULE, "%20"},
		{"usb u03**0" RULE, "interface pattern"},
		{"usb u03**011" RULE, "interface pattern"},
		{"usb u03**0G" RULE, "interface pattern"},
		{"usb u03**0A" RULE, "interface pattern"},
		{"usb U03**01" RULE, "it must be *, a port"},
		{"usb *03**01" RULE, "it must be *, a port"},
		{"mic u03**01" RULE, "of the classes usb and webcam"},
		{"speaker u01****" RULE, "of the classes usb and webcam"},
		{"speaker speaker-0123abc" RULE, "speaker-01234567"},
		{"webcam webcam-0123abc" RULE, "webcam-01234567"},
		{"webcam webcam" RULE, "webcam-01234567"},
		{"webcam w0e****" RULE, "it must be *, a port"},
		{"webcam u0e0" RULE, "interface pattern"},
		{"usb 1" RULE, "a port"},
		{"usb 1-" RULE, "a port"},
		{"usb 1.2" RULE, "a port"},
		{"usb 1-2,1-3" RULE, "a port"},
		{"usb **" RULE, "a port"},
		/* qubes */
		{"usb * 9work work allow", "SOURCE '9work'"},
		{"usb * work abcdefghijabcdefghijabcdefghij12 allow", "TARGET"},
		{"usb * @default work allow", "SOURCE '@default'"},
		{"usb * $anyvm work allow", "@anyvm"},
		{"usb * @AnyVM work allow", "@anyvm"},
		{"usb * @dispvm:work work allow", "@dispvm"},
		{"usb * @tag: work allow", "a tag is"},
		{"usb * @tag:a.b work allow", "a tag is"},
		{"usb * @tag work allow", "@tag:TAG"},
		{"usb * @type:appvm work allow", "a type is"},
		{"usb * @type:AdminVM work allow", "dom0 is @adminvm"},
		{"usb * work,personal work allow", "a qube's name"},
		/* options */
		{"usb * * * allow max-time=", "a time is"},
		{"usb * * * allow max-time=0s", "a time is"},
		{"usb * * * allow max-time=05m", "a time is"},
		{"usb * * * allow max-time=5", "a time is"},
		{"usb * * * allow max-time=-5m", "a time is"},
		{"usb * * * allow max-time=5d", "a time is"},
		{"usb * * * allow max-time=169h", "a time is"},
		{"usb * * * allow max-time=604801s", "a time is"},
		{"usb * * * allow max-time=99999999999999999999999s", "a time is"},
		{"usb * * * allow max-time=1h max-time=1h", "twice"},
		{"usb * * * deny max-time=1h", "no meaning"},
		{"usb * * * allow default_target=work", "no meaning"},
		{"usb * * * ask default_target=dom0", "not dom0"},
		{"usb * * * ask default_target=@adminvm", "not dom0"},
		{"usb * * * ask default_target=", "the name of a qube"},
		{"usb * * * deny notify=on", "yes or no"},
		{"usb * * * deny notify=Yes", "yes or no"},
		{"usb * * * deny notify", "an option is"},
		{"usb * * * deny notify =yes", "an option is"},
		{"usb * * * deny =yes", "an option is"},
		{"usb * * * allow target=work", "an option is"},
		{"usb * * * allow read-only=yes", "cannot be enforced and is therefore refused"},
		{"usb * * * allow read-only=no", "cannot be enforced and is therefore refused"},
		/* directives */
		{"!", "only !include and !qube"},
		{"!Qube work type=AppVM", "only !include and !qube"},
		{"!compat-4.0", "only !include and !qube"},
		{"! include x", "only !include and !qube"},
		{"!qube", "the name is missing"},
		{"!qube work", "type= is missing"},
		{"!qube work tag=a", "type= is missing"},
		{"!qube work type=AppVM type=AppVM", "there already"},
		{"!qube work type=AppVM tag=a tag=b tag=a", "there already"},
		{"!qube work type=X", "a type is"},
		{"!qube work type=AppVM tag=", "a tag is"},
		{"!qube work type=AppVM label=red", "type=TYPE or tag=TAG"},
		{"!qube dom0 type=AppVM", "not dom0"},
		{"!qube @anyvm type=AppVM", "the name of a qube"},
		{"!qube other type=AppVM", "there is a line for it already"},
		{"!include", "takes one name"},
		{"!include a b", "takes one name"},
		{"!include missing", "no such file"},
		{"!include ../x", "a plain name"},
		{"!include /etc/passwd", "a plain name"},
		{"!include ..", "a plain name"},
		{"!include .hidden", "a plain name"},
		{"!include sub/x", "a plain name"},
		{"!include a.policy", "read anyway"},
		/* bytes */
		{"usb * * * allow\r", "carriage return"},
		{"# \r", "carriage return"},
		{"# \x01", "control character (0x1)"},
		{"# \x7f", "control character (0x7f)"},
		{"# \xc2\x80", "control character (0x80)"},
		{"# \xe2\x80\xae", "control character (0x202e)"},
		{"# \xff", "byte 3 is not UTF-8"},
		{"# \xc3", "byte 3 is not UTF-8"},
		{"# \xc0\xaf", "not UTF-8"},
		{"# \xed\xa0\x80", "not UTF-8"},
		{"usb * w\xc3\xb6rk * allow", "only comments"},
		{"\xef\xbb\xbf# a byte order mark", "control character (0xfeff)"},
		{"usb\v* * * allow", "control character (0xb)"},
	};
	static const char above[] = "# a set\n!qube other type=AppVM\n\nusb * * @anyvm ask\n";
	char text[512];

	/* each with good lines above and below, and once as the last line without its end */
	for (size_t i = 0; i < 2 * ARRAY_SIZE(faults); i++) {
		struct policy_error error = {0};
		struct policy *policy;

		(void)snprintf(text, sizeof(text), "%s%s%s", above, faults[i / 2].line,
			       i % 2 ? "" : "\nusb * * * deny\nnonsense\n");
		policy = parse(text, strlen(text), &error);
		if (policy)
			fail_msg("taken: %s", faults[i / 2].line);
		if (error.line != 5 || strcmp(error.file, "a.policy") != 0 ||
		    !strstr(error.reason, faults[i / 2].reason))
			fail_msg("%s\n%s:%u: %s", faults[i / 2].line, error.file, error.line, error.reason);
	}
}

/* Bytes that no C string holds, and long lines. */
static void test_bytes(void **unused _unused_)
{
	static char text[3 * LIMIT_POLICY_LINE];
	struct policy_error error;

	assert_null(parse("# a\0b\n", 6, &error));
	assert_non_null(strstr(error.reason, "control character (0x0)"));
	assert_null(parse("\n\n\0", 3, &error));
	assert_int_equal(error.line, 3);
	for (size_t len = LIMIT_POLICY_LINE - 1; len <= LIMIT_POLICY_LINE + 1; len++) {
		static const char rule[] = "usb * * * allow";

		memset(text, ' ', sizeof(text));
		memcpy(text, rule, strlen(rule));
		memcpy(text + len, "\n#\n", 3);
		for (int comment = 0; comment < 2; comment++) {
			struct policy *policy = parse(text, len + 3, &error);

			assert_int_equal(policy != NULL, len <= LIMIT_POLICY_LINE);
			if (!policy)
				assert_int_equal(error.line, 1);
			policy_free(policy);
			memset(text, '#', len);
		}
	}
	/* what is told of a fault is printable, and cut */
	memset(text, 'x', 4000);
	assert_null(parse(text, 4000, &error));
	assert_true(strlen(error.reason) < sizeof(error.reason) - 1);
	assert_null(parse("", 0, &error));
	assert_non_null(strstr(error.reason, "empty"));
	assert_int_equal(error.line, 0);
}

/* ---- what a set says ---- */

static const uint8_t stick[][3] = {{8, 6, 0x50}}, keyboard[][3] = {{3, 1, 1}, {3, 0, 0}},
		     both[][3] = {{8, 6, 0x50}, {3, 1, 1}};

static const struct policy_query queries[] = {
	[0] = {"usb", "1-2", 0x0781, 0x5581, "AB12", 1, stick, "sys-usb", "work", false, false},
	[1] = {"usb", "1-2.4", 0x046d, 0xc31c, "", 2, keyboard, "sys-usb", "disp1", false, false},
	[2] = {"usb", "1-2", 0x0781, 0x5581, "A B", 2, both, "sys-usb", "work", false, false},
	[3] = {"usb", "3-1", 0x0781, 0x5581, "*", 0, NULL, "sys-usb", "tpl", false, false},
	[4] = {"mic", "mic", 0, 0, "", 0, NULL, "dom0", "work", true, false},
	[5] = {"usb", "1-2", 0x0781, 0x5581, "AB12", 1, stick, "sys-usb", "dom0", false, true},
	[6] = {"block", NULL, 0, 0, NULL, 0, NULL, NULL, NULL, false, false},
};

/* One character per query: a rule that matches (1) or not (0). */
static void test_matches(void **unused _unused_)
{
	static const struct {
		const char *fields;
		const char *allow, *deny; /* `deny` NULL: the same; `ask` reads as `deny` does */
	} rules[] = {
		{"* * * *", "1111111", NULL},
		{"usb * * *", "1111010", NULL},
		{"mic * * *", "0000100", NULL},
		{"webcam * * *", "0000000", NULL},
		/* devices */
		{"* 1-2 * *", "1010010", NULL},
		{"* 1-2.4 * *", "0100000", NULL},
		{"* 0781:5581 * *", "1011010", NULL},
		{"* 0781:5580 * *", "0000000", NULL},
		{"* 0000:0000 * *", "0000101", NULL},
		{"* 0781:5581:*:* * *", "1011010", NULL},
		{"* 0781:5581:AB12:* * *", "1000010", NULL},
		{"* 0781:5581:AB12:u080650 * *", "1000010", NULL},
		{"* 0781:5581:AB12:u080650u030101 * *", "0000000", NULL},
		{"* 0781:5581:*:u080650 * *", "1000010", "1001010"},
		{"* 0781:5581:*:?****** * *", "0001000", NULL},
		{"* 0781:5581:A%20B:* * *", "0010000", NULL},
		{"* 0781:5581:A_B:* * *", "0000000", "0010000"},
		{"* 0781:5581:A-B:u080650u030101 * *", "0000000", "0010000"},
		{"* 0781:5581:A_B:u030101u080650 * *", "0000000", NULL},
		{"* 0781:5581:%2a:* * *", "0001000", NULL},
		{"* 0781:5581:%2a:u080650 * *", "0000000", "0001000"},
		{"* 046d:c31c::u030101u030000 * *", "0100000", NULL},
		{"* 0781:5581::* * *", "0000000", NULL},
		{"* u****** * *", "1110010", "1111010"},
		{"* u08**** * *", "1000010", "1011010"},
		{"* u03**** * *", "0100000", "0111000"},
		{"* u03**01 * *", "0000000", "0111000"},
		{"* u**06** * *", "1000010", "1011010"},
		{"* u0****0 * *", "1000010", "1111010"},
		{"* u02**** * *", "0000000", "0001000"},
		/* qubes */
		{"* * sys-usb *", "1111010", NULL},
		{"* * SYS-USB *", "0000000", NULL},
		{"* * * work", "1010100", NULL},
		{"* * work *", "0000000", NULL},
		{"* * @anyvm *", "1111011", NULL},
		{"* * * @anyvm", "1111101", NULL},
		{"* * @adminvm *", "0000100", NULL},
		{"* * dom0 *", "0000100", NULL},
		{"mic mic @adminvm @anyvm", "0000100", NULL},
		{"mic mic @anyvm @anyvm", "0000000", NULL},
		{"* * * @adminvm", "0000010", NULL},
		{"* * * @tag:office", "1010100", NULL},
		{"* * * @tag:net", "1010100", NULL},
		{"* * * @tag:tpl", "0001000", NULL},
		{"* * * @tag:nobody", "0000000", NULL},
		{"* * * @tag:work", "0000000", NULL},
		{"* * * @type:AppVM", "1010100", NULL},
		{"* * * @type:DispVM", "0100000", NULL},
		{"* * * @dispvm", "0100000", NULL},
		{"* * * @type:TemplateVM", "0001000", NULL},
		{"* * * @type:StandaloneVM", "0000000", NULL},
	};
	char text[512];

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		for (unsigned int action = 0; action < POLICY_ACTION_COUNT; action++) {
			const char *expect = action != POLICY_ALLOW && rules[i].deny ? rules[i].deny : rules[i].allow;
			struct policy *policy;

			(void)snprintf(text, sizeof(text), "%s%s %s", TAGS, rules[i].fields,
				       policy_action_name(action));
			policy = parse_good(text);
			for (size_t q = 0; q < ARRAY_SIZE(queries); q++) {
				struct policy_verdict verdict;

				policy_decide(policy, &queries[q], &verdict);
				if ((verdict.why == POLICY_WHY_RULE) != (expect[q] == '1'))
					fail_msg("query %zu: %s", q, text);
				assert_int_equal(verdict.action, expect[q] == '1' ? action : POLICY_DENY);
				assert_int_equal(verdict.line, expect[q] == '1' ? 4 : 0);
				assert_string_equal(verdict.file, expect[q] == '1' ? "a.policy" : "");
				assert_string_equal(verdict.text,
						    expect[q] == '1' ? strstr(text, rules[i].fields) : "");
			}
			policy_free(policy);
		}
}

/* A microphone and a speaker have codes of their own, which no pattern for USB interfaces is about. */
static void test_sound(void **unused _unused_)
{
	static const uint8_t none[][3] = {{0, 0, 0}};
	static const struct policy_query mic = {"mic", "mic-0123abcd", 0x046d, 0x0a4d, "S1", 1,
						none,  "sys-usb",      "work", false,  false};
	static const struct policy_query speaker = {"speaker", "speaker-0123abcd", 0x046d, 0x0a4d, "S1", 1,
						    none,      "sys-usb",          "work", false,  false};
	static const struct {
		const char *fields;
		bool mic, speaker;
	} rules[] = {
		{"mic * * *", true, false},
		{"speaker * * *", false, true},
		{"* * sys-usb work", true, true},
		{"usb * * *", false, false},
		{"mic mic-0123abcd * *", true, false},
		{"* mic-0123abcd * *", true, false},
		{"mic mic-0123abce * *", false, false},
		{"speaker speaker-0123abcd * *", false, true},
		{"* speaker-0123abcd * *", false, true},
		{"speaker speaker-0123abce * *", false, false},
		{"mic 046d:0a4d * *", true, false},
		{"* 046d:0a4d:S1:* * *", true, true},
		{"mic 046d:0a4d:S1:m000000 * *", true, false},
		{"speaker 046d:0a4d:S1:s000000 * *", false, true},
		{"* 046d:0a4d:S1:s000000 * *", false, true},
		{"* 046d:0a4d:S1:u000000 * *", false, false},
		{"* u****** * *", false, false},
		{"* u00**** * *", false, false},
		{"* u000000 * *", false, false},
	};
	char text[128];

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		for (unsigned int action = 0; action < POLICY_ACTION_COUNT; action++) {
			struct policy_verdict of_mic, of_speaker;
			struct policy *policy;

			(void)snprintf(text, sizeof(text), "%s %s", rules[i].fields, policy_action_name(action));
			policy = parse_good(text);
			policy_decide(policy, &mic, &of_mic);
			policy_decide(policy, &speaker, &of_speaker);
			if ((of_mic.why == POLICY_WHY_RULE) != rules[i].mic ||
			    (of_speaker.why == POLICY_WHY_RULE) != rules[i].speaker)
				fail_msg("%s", text);
			policy_free(policy);
		}
}

/* A camera's code is that of USB's video class: patterns are about it, as about a USB device that has one. */
static void test_webcam(void **unused _unused_)
{
	static const uint8_t video[][3] = {{0x0e, 1, 0}}, headset[][3] = {{0x0e, 1, 0}, {1, 1, 0}};
	static const struct policy_query webcam = {"webcam", "webcam-0123abcd", 0x046d, 0x0825, "S1", 1,
						   video,    "sys-usb",         "work", false,  false};
	static const struct policy_query whole = {"usb",   "1-2",     0x046d, 0x0825, "S1", 2,
						  headset, "sys-usb", "work", false,  false};
	static const struct {
		const char *fields;
		bool webcam, allow_whole, deny_whole;
	} rules[] = {
		{"webcam * * *", true, false, false},
		{"usb * * *", false, true, true},
		{"* * sys-usb work", true, true, true},
		{"webcam webcam-0123abcd * *", true, false, false},
		{"* webcam-0123abcd * *", true, false, false},
		{"usb webcam-0123abcd * *", false, false, false},
		{"webcam webcam-0123abce * *", false, false, false},
		{"webcam 046d:0825 * *", true, false, false},
		{"webcam 046d:0825:S1:u0e0100 * *", true, false, false},
		{"webcam 046d:0825:S1:u0e0200 * *", false, false, false},
		{"webcam u0e**** * *", true, false, false},
		{"webcam u0e0100 * *", true, false, false},
		{"webcam u****** * *", true, false, false},
		{"webcam u0e02** * *", false, false, false},
		{"webcam u01**** * *", false, false, false},
		{"usb u0e**** * *", false, false, true},
		{"* u0e**** * *", true, false, true},
		{"* u01**** * *", false, false, true},
		{"* u****** * *", true, true, true},
	};
	char text[128];

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		for (unsigned int action = 0; action < POLICY_ACTION_COUNT; action++) {
			struct policy_verdict of_webcam, of_whole;
			struct policy *policy;

			(void)snprintf(text, sizeof(text), "%s %s", rules[i].fields, policy_action_name(action));
			policy = parse_good(text);
			policy_decide(policy, &webcam, &of_webcam);
			policy_decide(policy, &whole, &of_whole);
			if ((of_webcam.why == POLICY_WHY_RULE) != rules[i].webcam ||
			    (of_whole.why == POLICY_WHY_RULE) !=
				    (action == POLICY_ALLOW ? rules[i].allow_whole : rules[i].deny_whole))
				fail_msg("%s", text);
			policy_free(policy);
		}
}

/* Nothing a device or a caller says of itself is taken for more than it is. */
static void test_strange_queries(void **unused _unused_)
{
	static uint8_t many[LIMIT_INTERFACES + 1][3];
	static char long_text[2000];
	struct policy *policy = parse_good(TAGS "usb u****** * @adminvm allow\n"
						"usb u****** * * allow\nusb u02**** * * ask\n* * * @adminvm deny\n");
	struct policy_query query = queries[0];
	struct policy_verdict verdict;

	/* the name dom0 does not make a qube dom0, nor does another name keep dom0 from being it */
	query.target = "dom0";
	policy_decide(policy, &query, &verdict);
	assert_int_equal(verdict.line, 5);
	query.target = "work";
	query.target_is_dom0 = true;
	policy_decide(policy, &query, &verdict);
	assert_int_equal(verdict.line, 4);
	query.target_is_dom0 = false;
	/* all 32 interfaces are looked at, and 33 are none that we know */
	query.interfaces = many;
	query.n_interfaces = LIMIT_INTERFACES;
	policy_decide(policy, &query, &verdict);
	assert_int_equal(verdict.line, 5);
	query.n_interfaces++;
	policy_decide(policy, &query, &verdict);
	assert_int_equal(verdict.line, 6);
	memset(long_text, 'x', sizeof(long_text) - 1);
	query.serial = query.port = query.source = query.target = query.class_name = long_text;
	policy_decide(policy, &query, &verdict);
	assert_int_equal(verdict.why, POLICY_WHY_NO_RULE);
	policy_free(policy);
	/* no set: everything is denied, and the user told */
	policy_decide(NULL, &queries[0], &verdict);
	assert_int_equal(verdict.action, POLICY_DENY);
	assert_int_equal(verdict.why, POLICY_WHY_BROKEN);
	assert_int_equal(verdict.line, 0);
	assert_string_equal(verdict.text, "");
	assert_true(verdict.notify);
}

static void test_options(void **unused _unused_)
{
	static const struct {
		const char *action;
		uint64_t max_time_sec;
		bool notify;
		const char *default_target;
		bool end_parts;
	} options[] = {
		{"deny", 0, true, "", false},
		{"deny notify=yes", 0, true, "", false},
		{"deny notify=no", 0, false, "", false},
		{"allow", 0, false, "", false},
		{"ask", 0, false, "", false},
		{"allow notify=yes max-time=90s", 90, true, "", false},
		{"allow max-time=30m notify=no", 1800, false, "", false},
		{"ask max-time=168h", 604800, false, "", false},
		{"ask max-time=604800s", 604800, false, "", false},
		{"ask default_target=personal", 0, false, "personal", false},
		{"\task \t default_target=abcdefghijabcdefghijabcdefghij1  notify=yes  max-time=1s\t", 1, true,
		 "abcdefghijabcdefghijabcdefghij1", false},
		{"allow parts=end", 0, false, "", true},
		{"ask max-time=1s parts=end", 1, false, "", true},
		{"ask parts=keep", 0, false, "", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct policy_verdict verdict;
		struct policy *policy;
		char text[256];

		(void)snprintf(text, sizeof(text), "\t* * * * %s", options[i].action);
		policy = parse_good(text);
		policy_decide(policy, &queries[0], &verdict);
		assert_int_equal(verdict.max_time_usec, options[i].max_time_sec * USEC_PER_SEC);
		assert_int_equal(verdict.notify, options[i].notify);
		assert_string_equal(verdict.default_target, options[i].default_target);
		assert_int_equal(verdict.end_parts, options[i].end_parts);
		policy_free(policy);
	}
}

/* PO08: files by the bytes of their names, included ones where they are included; the first that matches. */
static void test_order(void **unused _unused_)
{
	const struct policy_file files[] = {
		file_of("b.policy", "usb * * tpl deny\n* * * * deny"),
		file_of("inc", "# included\nusb * * disp1 ask notify=yes\n!include inc.d\n"),
		file_of("unused", "nonsense"),
		file_of(".hidden.policy", "nonsense"),
		file_of("inc.d", "usb * * tpl ask\n"),
		file_of("B.policy", "usb * * tpl allow\n"),
		file_of("10-x.policy",
			"!qube tpl type=TemplateVM\n!include inc\nusb * * work allow\nusb * * work deny\n"),
		file_of("9.policy", "usb * * work deny\n"),
		file_of("x.policy~", "nonsense"),
	};
	static const struct {
		const char *file;
		unsigned int line;
		enum policy_action action;
	} expect[] = {
		[0] = {"10-x.policy", 3, POLICY_ALLOW}, [1] = {"inc", 2, POLICY_ASK},
		[2] = {"10-x.policy", 3, POLICY_ALLOW}, [3] = {"inc.d", 1, POLICY_ASK},
		[4] = {"b.policy", 2, POLICY_DENY},     [5] = {"b.policy", 2, POLICY_DENY},
		[6] = {"b.policy", 2, POLICY_DENY},
	};
	struct policy_file turned[ARRAY_SIZE(files)];

	for (size_t turn = 0; turn < ARRAY_SIZE(files); turn++) {
		struct policy_error error = {0};
		struct policy *policy = NULL;

		for (size_t i = 0; i < ARRAY_SIZE(files); i++)
			turned[i] = files[(i + turn) % ARRAY_SIZE(files)];
		if (policy_new(turned, ARRAY_SIZE(turned), &policy, &error) != 0)
			fail_msg("%s:%u: %s", error.file, error.line, error.reason);
		assert_int_equal(policy_n_rules(policy), 8);
		for (size_t q = 0; q < ARRAY_SIZE(expect); q++) {
			struct policy_verdict verdict;

			policy_decide(policy, &queries[q], &verdict);
			assert_string_equal(verdict.file, expect[q].file);
			assert_int_equal(verdict.line, expect[q].line);
			assert_int_equal(verdict.action, expect[q].action);
		}
		policy_free(policy);
	}
}

/* PO07 and the rest that takes several files. */
static void test_broken_sets(void **unused _unused_)
{
	const struct {
		struct policy_file files[10];
		const char *file, *reason;
		unsigned int line;
	} sets[] = {
		{{file_of("README", "x")}, "", "no file *.policy", 0},
		{{file_of("a.policy", "!include self"), file_of("self", "\n!include self")}, "self", "already", 2},
		{{file_of("a.policy", "!include b"), file_of("b", "!include c"), file_of("c", "#\n#\n!include b")},
		 "c",
		 "already",
		 3},
		{{file_of("a.policy", "!include b\n!include b"), file_of("b", "#")}, "a.policy", "already", 2},
		{{file_of("a.policy", "!include b\nx"), file_of("b", "#\n#\n#")}, "a.policy", "DEVICE", 2},
		{{file_of("a.policy", "#"), file_of("b.policy", "#\nx"), file_of("c.policy", "y")},
		 "b.policy",
		 "DEVICE is missing",
		 2},
		{{file_of("a.policy", "!include b"), file_of("b", "")}, "b", "empty", 0},
		{{file_of("a.policy", "#"), file_of("a b.policy", "#")}, "a b.policy", "rename", 0},
		{{file_of("a.policy", "#"), file_of("\x1b[2J.policy", "#")}, "_[2J.policy", "rename", 0},
		{{file_of("a.policy", "#"),
		  file_of("abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefg.policy", "#")},
		 "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefg.polic",
		 "rename",
		 0},
		{{file_of("a.policy", "#"), {.name = "b.policy", .fault = "it is a directory"}},
		 "b.policy",
		 "it is a directory",
		 0},
		{{file_of("a.policy", "!include b"), {.name = "b", .fault = "it is a directory"}},
		 "b",
		 "it is a directory",
		 0},
		{{file_of("a.policy", "!qube work type=AppVM"), file_of("b.policy", "!qube work type=AppVM")},
		 "b.policy",
		 "already",
		 1},
		{{file_of("a.policy", "#"), file_of("a.policy", "#")}, "a.policy", "two files", 0},
		{{file_of("a.policy", "!include 1"), file_of("1", "!include 2"), file_of("2", "!include 3"),
		  file_of("3", "!include 4"), file_of("4", "!include 5"), file_of("5", "!include 6"),
		  file_of("6", "!include 7"), file_of("7", "!include 8"), file_of("8", "!include 9"),
		  file_of("9", "#")},
		 "8",
		 "more than 8 files inside",
		 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct policy_error error = {0};
		struct policy *policy = NULL;
		char text[POLICY_ERROR_TEXT_MAX];
		size_t n = 0;

		while (n < ARRAY_SIZE(sets[i].files) && sets[i].files[n].name)
			n++;
		assert_int_equal(policy_new(sets[i].files, n, &policy, &error), POLICY_BROKEN);
		assert_null(policy);
		if (strcmp(error.file, sets[i].file) != 0 || error.line != sets[i].line ||
		    !strstr(error.reason, sets[i].reason))
			fail_msg("%zu: %s:%u: %s", i, error.file, error.line, error.reason);
		policy_error_text(&error, text);
		if (error.line)
			assert_non_null(strstr(text, ": "));
	}
	/* a file that is not needed may be what it likes */
	{
		const struct policy_file files[] = {file_of("a.policy", "#"), {.name = "lost+found", .fault = "x"}};
		struct policy_error error = {0};
		struct policy *policy = NULL;

		assert_int_equal(policy_new(files, 2, &policy, &error), 0);
		policy_free(policy);
	}
}

/* ---- limits and speed ---- */

/* Of the processor: how busy the machine is otherwise makes no difference. */
static double seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* `n` times the format with its number. */
static char *repeat(const char *format, size_t n, size_t *ret_len)
{
	char *text = malloc(n * 120 + 1);

	assert_non_null(text);
	*ret_len = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned int a = (unsigned int)i;
		int len;

		switch (format[0]) { /* the formats are these */
		case 'i':
			len = sprintf(text + *ret_len, "usb %04x:%04x:S%u:u080650 sys-usb w%u deny\n", 0x781, 0x5581, a,
				      a);
			break;
		case 'p':
			len = sprintf(text + *ret_len, "usb u%02x**%02x * @anyvm deny\n", 0xf0 + a % 16, a / 16 % 256);
			break;
		case 's':
			len = sprintf(text + *ret_len, "* 0781:5581:S%u:* sys-usb @anyvm ask\n", a);
			break;
		case 't':
			len = sprintf(text + *ret_len, "usb u02**** @tag:a%u @tag:b%u ask\n", a % 500, a % 500);
			break;
		case 'n':
			len = sprintf(text + *ret_len, "usb u02**** @anyvm * ask\n");
			break;
		case 'q':
			len = sprintf(text + *ret_len, "!qube q%u type=AppVM tag=t%u\n", a, a);
			break;
		default:
			len = sprintf(text + *ret_len, "\n");
			break;
		}
		*ret_len += (size_t)len;
	}
	return text;
}

/* PO06: over each limit, soon and in the right place. */
static void test_limits(void **unused _unused_)
{
	static const struct {
		const char *format;
		size_t n, line; /* line 0: taken */
		const char *reason;
	} limits[] = {
		{"p", LIMIT_POLICY_RULES, 0, NULL},
		{"p", LIMIT_POLICY_RULES + 1, LIMIT_POLICY_RULES + 1, "131072"},
		{"\n", LIMIT_POLICY_LINES, 0, NULL},
		{"\n", LIMIT_POLICY_LINES + 1, LIMIT_POLICY_LINES + 1, "262144 lines"},
		{"\n", 1000000, LIMIT_POLICY_LINES + 1, "262144 lines"},
		{"q", LIMIT_POLICY_TAGS, 0, NULL},
		{"q", LIMIT_POLICY_TAGS + 1, LIMIT_POLICY_TAGS + 1, "1024"},
		{"i", 1000000, 0, "8388608 bytes"},
	};
	static struct policy_file many[100000];
	static char names[ARRAY_SIZE(many)][16];
	struct policy_error error;
	struct policy *policy = NULL;
	double start;

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		size_t len;
		char *text = repeat(limits[i].format, limits[i].n, &len);

		error = (struct policy_error){0};
		start = seconds();
		policy = parse(text, len, &error);
		print_message("%zu lines of kind '%c': %.3f s, %s\n", limits[i].n,
			      limits[i].format[0] == '\n' ? ' ' : limits[i].format[0], seconds() - start,
			      policy ? "taken" : error.reason);
		assert_true(seconds() - start < 1.0);
		assert_int_equal(error.line, limits[i].line);
		assert_int_equal(policy != NULL, limits[i].reason == NULL);
		if (limits[i].reason)
			assert_non_null(strstr(error.reason, limits[i].reason));
		policy = policy_free(policy);
		free(text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%zu.policy", i);
		many[i] = file_of(names[i], "#");
	}
	start = seconds();
	assert_int_equal(policy_new(many, LIMIT_POLICY_FILES, &policy, &error), 0);
	policy = policy_free(policy);
	assert_int_equal(policy_new(many, LIMIT_POLICY_FILES + 1, &policy, &error), POLICY_BROKEN);
	assert_int_equal(policy_new(many, ARRAY_SIZE(many), &policy, &error), POLICY_BROKEN);
	assert_non_null(strstr(error.reason, "256 files"));
	assert_true(seconds() - start < 1.0);
}

/* The worst sets that we know, of which no rule matches. The figure is of a plain build; sanitizers are slower. */
static void test_speed(void **unused _unused_)
{
	static const char kinds[] = "ipstn";
	uint8_t interfaces[LIMIT_INTERFACES][3];

	memset(interfaces, 0x11, sizeof(interfaces));
	for (size_t kind = 0; kind < strlen(kinds); kind++) {
		struct policy_query query = queries[0];
		struct policy_verdict verdict;
		struct policy_error error = {0};
		double best = 1e9;
		size_t len;
		char *text = repeat(&kinds[kind], 100000, &len);
		struct policy *policy = parse(text, len, &error);

		if (!policy)
			fail_msg("%u: %s", error.line, error.reason);
		query.interfaces = (const uint8_t(*)[3])interfaces;
		query.n_interfaces = LIMIT_INTERFACES;
		for (int run = 0; run < 20; run++) {
			double start = seconds();

			policy_decide(policy, &query, &verdict);
			if (seconds() - start < best)
				best = seconds() - start;
		}
		assert_int_equal(verdict.why, POLICY_WHY_NO_RULE);
		print_message("100000 rules of kind '%c', none matches: %.3f ms\n", kinds[kind], best * 1e3);
		assert_true(best < 0.01); /* RX13 */
		policy_free(policy);
		free(text);
	}
}

/* ---- explain and lint ---- */

static void test_explain(void **unused _unused_)
{
	struct policy *policy = parse_good("mic * sys-usb work allow\n"               /* class */
					   "usb u08**** sys-usb work allow\n"         /* device: not all */
					   "usb 0781:5581:A_B:* sys-usb work allow\n" /* device: shown form */
					   "usb 1-9 sys-usb work allow\n"             /* device */
					   "usb * other personal allow\n"             /* two */
					   "usb * other work allow\n"                 /* source */
					   "usb * @anyvm @dispvm allow\n"             /* target */
					   "usb * * * ask\n"
					   "mic * * * deny\n");
	static const struct {
		unsigned int line;
		enum policy_field field;
		const char *hint;
	} expect[] = {
		{1, POLICY_FIELD_CLASS, NULL},  {2, POLICY_FIELD_DEVICE, "wants all"}, {3, POLICY_FIELD_DEVICE, "%20"},
		{4, POLICY_FIELD_DEVICE, NULL}, {6, POLICY_FIELD_SOURCE, NULL},        {7, POLICY_FIELD_TARGET, NULL},
	};
	struct policy_verdict verdict;
	struct policy_miss misses[16];

	assert_int_equal(policy_explain(policy, &queries[2], &verdict, misses, ARRAY_SIZE(misses)), ARRAY_SIZE(expect));
	assert_int_equal(verdict.line, 8);
	for (size_t i = 0; i < ARRAY_SIZE(expect); i++) {
		assert_int_equal(misses[i].line, expect[i].line);
		assert_int_equal(misses[i].field, expect[i].field);
		assert_int_equal(misses[i].hint != NULL, expect[i].hint != NULL);
		if (expect[i].hint)
			assert_non_null(strstr(misses[i].hint, expect[i].hint));
	}
	assert_string_equal(misses[3].text, "usb 1-9 sys-usb work allow");
	assert_int_equal(policy_explain(policy, &queries[2], &verdict, misses, 2), 2);
	assert_int_equal(policy_explain(policy, &queries[2], &verdict, NULL, 0), 0);
	assert_int_equal(policy_explain(NULL, &queries[2], &verdict, misses, 2), 0);
	assert_int_equal(verdict.why, POLICY_WHY_BROKEN);
	policy_free(policy);
}

static void note(void *userdata, const struct policy_warning *warning)
{
	char *text = userdata;
	size_t len = strlen(text);

	assert_string_equal(warning->file, "a.policy");
	(void)snprintf(text + len, 256 - len, "%u%c%u ", warning->line, "sud"[warning->type], warning -> other_line);
	assert_string_not_equal(policy_warning_text(warning->type), "unknown");
}

static void test_lint(void **unused _unused_)
{
	static const struct {
		const char *rules, *warnings; /* LINE, s(hadowed) u(nknown tag) d(om0), other LINE */
	} sets[] = {
		{"usb * a b allow\nusb * a b deny\n", "2s1 "},
		{"usb * a b deny\nusb * a b deny\nusb * a b ask\n", "2s1 3s1 "},
		{"usb * a b allow\nusb * a c deny\nusb * c b deny\nmic * a b deny", ""},
		{"usb * @anyvm @anyvm ask\nusb 1-2 sys-usb work deny\n", "2s1 "},
		{"usb * @anyvm @anyvm ask\nusb 1-2 @adminvm work deny\nusb 1-2 * work deny\n", ""},
		{"usb * @anyvm work ask\nusb * @dispvm work deny\nusb * @type:AppVM work deny\n", "2s1 3s1 "},
		{"* * * * deny\nusb 1-2 @adminvm work allow\nmic * @anyvm @anyvm ask\n", "2s1 3s1 "},
		{"usb 1-2 a b deny\nusb 1-3 a b deny\nusb * a b deny\nusb 1-2 a b deny\n", "4s1 "},
		/* an `allow` pattern is narrower than the same one in `deny` */
		{"usb u03**** a b allow\nusb u03**** a b deny\n", ""},
		{"usb u03**** a b deny\nusb u03**** a b allow\n", "2s1 "},
		{"usb u03**** a b deny\nusb u03**** a b ask\nusb u02**** a b ask\n", "2s1 "},
		{"usb u03**** a b ask\nusb u03**** @anyvm b allow\nusb u03**** a b allow\n", "3s1 "},
		{"usb 0781:5581:A_B:* a b allow\nusb 0781:5581:A_B:* a b deny\n", ""},
		{"usb 0781:5581:A_B:* a b allow\nusb 0781:5581:A_B:* a b allow\n", "2s1 "},
		{"usb 0781:5581 a b allow\nusb 0781:5581 a b deny\n", "2s1 "},
		{"usb * @tag:x a ask\nusb * @tag:y a ask\n!qube q type=AppVM tag=x", "2u0 "},
		{"usb * a * allow\nusb * a @adminvm allow\nusb * b @adminvm ask\nusb * c @anyvm allow\n",
		 "1d0 2d0 2s1 "},
	};
	size_t len;
	char *text = repeat("p", 100000, &len);
	char told[256];
	struct policy_error error;
	struct policy *policy;
	double start;

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		policy = parse_good(sets[i].rules);
		told[0] = '\0';
		assert_int_equal(policy_lint(policy, note, told), 0);
		if (strcmp(told, sets[i].warnings) != 0)
			fail_msg("%s\nexpected: %s\nwarned:   %s", sets[i].rules, sets[i].warnings, told);
		policy_free(policy);
	}
	policy = parse(text, len, &error);
	assert_non_null(policy);
	start = seconds();
	told[0] = '\0';
	assert_int_equal(policy_lint(policy, note, told), 0);
	print_message("lint of 100000 rules: %.3f s\n", seconds() - start);
	assert_true(seconds() - start < 5.0);
	policy_free(policy);
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),  cmocka_unit_test(test_bytes),  cmocka_unit_test(test_matches),
		cmocka_unit_test(test_sound),   cmocka_unit_test(test_webcam), cmocka_unit_test(test_strange_queries),
		cmocka_unit_test(test_options), cmocka_unit_test(test_order),  cmocka_unit_test(test_broken_sets),
		cmocka_unit_test(test_limits),  cmocka_unit_test(test_speed),  cmocka_unit_test(test_explain),
		cmocka_unit_test(test_lint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
