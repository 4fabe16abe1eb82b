// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The policy for test-policy.py: `policy-eval DIR` takes queries as lines, and answers each with one line.
 *
 *     load               reads DIR anew: good N-RULES | broken FILE:LINE: REASON (without :LINE: the whole file)
 *     query CLASS PORT VENDOR PRODUCT SERIAL INTERFACES SOURCE SOURCE-IS-DOM0 TARGET TARGET-IS-DOM0
 *                        ACTION FILE:LINE MAX-TIME-SEC NOTIFY DEFAULT-TARGET
 *
 * SERIAL is in hexadecimal, INTERFACES are six digits each with commas between; "-" is an empty one of either side.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/policy-files.h"
#include "lib/base/base.h"

static struct policy_files *files;

static void load(void)
{
	const char *error;

	policy_files_reload(files);
	error = policy_files_error(files);
	if (error)
		printf("broken %s\n", error);
	else
		printf("good %zu\n", policy_n_rules(policy_files_current(files)));
}

static const char *or_dash(const char *text)
{
	return text[0] ? text : "-";
}

static const char *or_empty(const char *word)
{
	return strcmp(word, "-") == 0 ? "" : word;
}

static size_t read_hex(const char *word, uint8_t *bytes, size_t size)
{
	size_t n = 0;

	for (; n < size && sscanf(word, "%2hhx", &bytes[n]) == 1; n++)
		word += word[2] == ',' ? 3 : 2;
	return n;
}

static int query(char *words[10])
{
	uint8_t interfaces[LIMIT_INTERFACES + 8][3];
	char serial[LIMIT_TEXT + 1] = "";
	struct policy_query query = {
		.class_name = words[0],
		.port = or_empty(words[1]),
		.serial = serial,
		.interfaces = (const uint8_t(*)[3])interfaces,
		.source = words[6],
		.source_is_dom0 = words[7][0] == '1',
		.target = words[8],
		.target_is_dom0 = words[9][0] == '1',
	};
	struct policy_verdict verdict;

	if (sscanf(words[2], "%4" SCNx16, &query.vendor) != 1 || sscanf(words[3], "%4" SCNx16, &query.product) != 1)
		return 2;
	serial[read_hex(or_empty(words[4]), (uint8_t *)serial, sizeof(serial) - 1)] = '\0';
	query.n_interfaces = read_hex(or_empty(words[5]), interfaces[0], sizeof(interfaces)) / 3;
	policy_decide(policy_files_current(files), &query, &verdict);
	printf("%s %s:%u %llu %s %s %s\n", policy_action_name(verdict.action), or_dash(verdict.file), verdict.line,
	       verdict.max_time_usec / USEC_PER_SEC, verdict.notify ? "yes" : "no", or_dash(verdict.default_target),
	       verdict.end_parts ? "end" : "keep");
	return 0;
}

int main(int argc, char *argv[])
{
	static const struct policy_files_hooks hooks;
	sd_event *event = NULL;
	char line[4096];

	if (argc != 2 || sd_event_new(&event) < 0 ||
	    policy_files_new(event, argv[1], geteuid(), &hooks, NULL, &files) < 0)
		return 2;

	while (fgets(line, sizeof(line), stdin)) {
		char *words[12] = {NULL}, *save = NULL;
		size_t n = 0;

		for (char *word = strtok_r(line, " \n", &save); word && n < ARRAY_SIZE(words);
		     word = strtok_r(NULL, " \n", &save))
			words[n++] = word;
		if (n == 1 && strcmp(words[0], "load") == 0)
			load();
		else if (n != 11 || strcmp(words[0], "query") != 0 || query(words + 1) != 0)
			return 2;
		(void)fflush(stdout);
	}
	policy_files_free(files);
	sd_event_unref(event);
	return 0;
}
