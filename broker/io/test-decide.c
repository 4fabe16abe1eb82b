/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The core's questions to a real policy, and what a broken one answers. */
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

#include "broker/io/decide.h"
#include "lib/base/base.h"

static const char rules[] = "usb u03**01 @anyvm @anyvm ask default_target=work max-time=2h\n"
			    "usb 0781:5581 sys-usb work allow max-time=90s parts=end\n"
			    "usb * @adminvm work allow\n"
			    "usb * @anyvm @anyvm deny\n"
			    "webcam u0e0100 sys-usb work ask\n";

struct qubes {
	struct core_qube dom0, usb, work, vault;
};

static const struct {
	const char *name;
	size_t source, target; /* offsets in struct qubes */
	struct core_device device;
	enum core_verdict verdict;
	const char *rule;
	uint64_t max_time_usec;
	const char *default_target;
	bool end_parts;
} rows[] = {
#define FROM_TO(a, b) offsetof(struct qubes, a), offsetof(struct qubes, b)
	{"stick",
	 FROM_TO(usb, work),
	 {.vendor = 0x0781, .product = 0x5581, .n_interfaces = 1, .interfaces = {{8, 6, 80}}},
	 CORE_VERDICT_ALLOW,
	 "p.policy:2",
	 90 * USEC_PER_SEC,
	 "",
	 true},
	{"stick elsewhere",
	 FROM_TO(usb, vault),
	 {.vendor = 0x0781, .product = 0x5581, .n_interfaces = 1, .interfaces = {{8, 6, 80}}},
	 CORE_VERDICT_DENY,
	 "p.policy:4",
	 0,
	 "",
	 false},
	{"stick with a keyboard in it",
	 FROM_TO(usb, work),
	 {.vendor = 0x0781, .product = 0x5581, .n_interfaces = 2, .interfaces = {{8, 6, 80}, {3, 1, 1}}},
	 CORE_VERDICT_ASK,
	 "p.policy:1",
	 7200 * USEC_PER_SEC,
	 "work",
	 false},
	{"unknown interfaces",
	 FROM_TO(usb, work),
	 {.vendor = 0x0781, .product = 0x5581},
	 CORE_VERDICT_ASK,
	 "p.policy:1",
	 7200 * USEC_PER_SEC,
	 "work",
	 false},
	{"dom0's own",
	 FROM_TO(dom0, work),
	 {.vendor = 1, .product = 2, .n_interfaces = 1, .interfaces = {{8, 6, 80}}},
	 CORE_VERDICT_ALLOW,
	 "p.policy:3",
	 0,
	 "",
	 false},
	{"to dom0",
	 FROM_TO(usb, dom0),
	 {.vendor = 1, .product = 2, .n_interfaces = 1, .interfaces = {{8, 6, 80}}},
	 CORE_VERDICT_DENY,
	 "no rule",
	 0,
	 "",
	 false},
	{"a camera",
	 FROM_TO(usb, work),
	 {.class_id = WIRE_CLASS_WEBCAM, .n_interfaces = 1, .interfaces = {{0x0e, 1, 0}}},
	 CORE_VERDICT_ASK,
	 "p.policy:5",
	 0,
	 "",
	 false},
	{"a class that nobody knows",
	 FROM_TO(usb, work),
	 {.class_id = 200, .vendor = 0x0781, .product = 0x5581, .n_interfaces = 1, .interfaces = {{8, 6, 80}}},
	 CORE_VERDICT_DENY,
	 "no rule",
	 0,
	 "",
	 false},
};

static void test_decisions(void **unused _unused_)
{
	const struct policy_file file = {.name = "p.policy", .text = rules, .len = sizeof(rules) - 1};
	struct qubes *qubes = calloc(1, sizeof(*qubes));
	struct policy *policy = NULL;
	struct policy_error error;

	assert_int_equal(policy_new(&file, 1, &policy, &error), 0);
	(void)strcpy(qubes->dom0.name, "dom0");
	(void)strcpy(qubes->usb.name, "sys-usb");
	(void)strcpy(qubes->work.name, "work");
	(void)strcpy(qubes->vault.name, "vault");
	qubes->usb.domid = 1;
	qubes->work.domid = 2;
	qubes->vault.domid = 3;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct core_device device = rows[i].device;
		struct core_decision decision;

		if (device.class_id == 0)
			device.class_id = WIRE_CLASS_USB;
		(void)strcpy(device.port, "1-2");
		decide(policy, NULL, &device, (const void *)((const char *)qubes + rows[i].source),
		       (const void *)((const char *)qubes + rows[i].target), &decision);
		if (decision.verdict != rows[i].verdict || strcmp(decision.rule, rows[i].rule) != 0 ||
		    decision.max_time_usec != rows[i].max_time_usec || decision.end_parts != rows[i].end_parts ||
		    strcmp(decision.default_target, rows[i].default_target) != 0)
			fail_msg("%s: %d by %s", rows[i].name, (int)decision.verdict, decision.rule);
	}
	policy_free(policy);
	free(qubes);
}

/* No set: denied, and the rule is why, as much of it as fits. */
static void test_broken(void **unused _unused_)
{
	struct core_qube *qube = calloc(1, sizeof(*qube));
	struct core_device device = {.class_id = WIRE_CLASS_USB};
	struct core_decision decision;
	char error[300];

	memset(error, 'e', sizeof(error) - 1);
	error[sizeof(error) - 1] = '\0';
	decide(NULL, error, &device, qube, qube, &decision);
	assert_int_equal(decision.verdict, CORE_VERDICT_DENY);
	assert_int_equal(strlen(decision.rule), LIMIT_RULE_TEXT - 1);
	decide(NULL, NULL, &device, NULL, qube, &decision);
	assert_int_equal(decision.verdict, CORE_VERDICT_DENY);
	assert_string_equal(decision.rule, "the policy is broken");
	free(qube);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decisions),
		cmocka_unit_test(test_broken),
	};

	return cmocka_run_group_tests_name("decide", tests, NULL, NULL);
}
