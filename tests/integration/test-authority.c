// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The real broker as the authority: policy, questions, assignments, moves, sleep, time limits, and what outlives it.
 * The words are in broker-vocabulary.h; after each scene the audit log must verify.
 */
#include "tests/integration/broker-vocabulary.h"

#define MOVE "device.Move"

/* A new set of rules; returns when it holds. */
static void set_policy(const char *text)
{
	unsigned int n = count_audit("\"policy-");

	write_file("policy.d/50-test.policy", text);
	SERVE_UNTIL(count_audit("\"policy-") > n);
}

static bool is_attached(const char *qube)
{
	return strstr(attached(qube), "sys-usb+1-2:") != NULL;
}

static const char *assign(const char *argument, const char *qube, const char *payload)
{
	return call_with("admin.vm.device.usb.Assign", argument, qube, payload);
}

/* ---- policy and questions ---------------------------------------------------------------------------------------- */

static void test_policy(void **unused _unused_)
{
	struct trio t = add_trio(0);

	set_policy("usb * sys-usb personal deny\nusb * sys-usb @anyvm allow\n");
	assert_text_has(attach("personal"), "denied by 50-test.policy:1; why: qvm-device policy explain personal "
					    "sys-usb:1-2");
	assert_int_equal(t.usb->n_exports, 0);
	assert_int_equal(count_audit("\"rule\":\"50-test.policy:1\""), 1);
	assert_done(attach("work"));
	assert_int_equal(count_audit("\"rule\":\"50-test.policy:2\""), 2); /* request and attached */
	assert_text_has(call("device.policy.Check", "", "dom0"), "0good: 2 rules");
	assert_text_has(call("device.policy.Explain", STICK, "personal"), "0deny by 50-test.policy:1\n");
	assert_text_has(call("device.policy.Explain", STICK, "elsewhere"), "0allow by 50-test.policy:2\n");

	set_policy("usb * sys-usb work allow\nusb * sys-usb @anyvm alow\n");
	assert_true(is_attached("work")); /* it was right when it was granted */
	assert_done(detach("work"));
	assert_text_has(attach("work"), "denied by 50-test.policy:2: ");
	assert_text_has(call("device.policy.Check", "", "dom0"),
			"0broken, so everything is denied: 50-test.policy:2: ");
	assert_int_equal(count_audit("\"policy-broken\""), 1);

	set_policy("# nothing\n");
	assert_text_has(attach("work"), "denied by no rule");
	set_policy("usb * sys-usb work allow\n");
	assert_done(attach("work"));
	assert_done(detach("work"));

	/* what is assigned waits for the policy, and is looked at again when it changes */
	set_policy("# nothing\n");
	assert_done(assign(STICK, "personal", "mode='auto-attach'"));
	(void)serve(-1, 300);
	assert_false(is_attached("personal"));
	set_policy("usb * sys-usb @anyvm allow\n");
	SERVE_UNTIL(is_attached("personal"));
}

static void answer(const char *question, const char *words, bool good)
{
	const char *reply = call_with("device.ask.Answer", question, "dom0", words);

	if (good)
		assert_done(reply);
	else
		assert_text_has(reply, "2");
}

/* The number of the question that has just come. */
static void hear_question(struct stream *asks, char question[24])
{
	size_t len;

	SERVE_UNTIL(has_come(asks, "device-ask:usb question "));
	SERVE_UNTIL(strchr(asks->bytes, ' ') || has_come(asks, "\n"));
	len = strcspn(asks->bytes, " ");
	assert_true(len < 24);
	memcpy(question, asks->bytes, len);
	question[len] = '\0';
}

/* Qubes ask and answer, and the log says which. */
static void test_from_qubes(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct stream asks;
	char question[24], refused[96];
	int waiting;

	set_policy("usb * sys-usb @anyvm ask\n");
	scene.caller = "sys-gui";
	open_stream(&asks, "device.ask.Listen");
	SERVE_UNTIL(has_come(&asks, "connection-established"));
	waiting = attach_begin("work");
	hear_question(&asks, question);
	assert_int_equal(count_audit("\"event\":\"asked\",\"who\":"), 1);
	assert_int_equal(count_audit(",\"who-qube\":\"sys-gui\","), 1);
	scene.caller = "sys-gui2";
	answer(question, "allow work", true);
	assert_done(call_end(waiting));
	/* the answer, the request, the attach */
	assert_int_equal(count_audit(",\"who-qube\":\"sys-gui\","), 4);
	assert_int_equal(count_audit(",\"answered-by-qube\":\"sys-gui2\","), 3);
	assert_text_has(call_with("device.Move", STICK, "personal", "from='work'"), "only dom0 may call device.Move");
	assert_text_has(call_with("admin.vm.device.usb.Attach", "sys-usb+1-2", "work", "persistent=True"),
			"call Assign");
	assert_done(assign(STICK, "personal", "mode='ask-to-attach'"));
	assert_int_equal(count_audit("\"event\":\"assigned\",\"who\":"), 1);
	assert_int_equal(count_audit(",\"who-qube\":\"sys-gui2\","), 1);
	scene.caller = NULL;
	assert_done(detach("work"));
	assert_int_equal(t.usb->n_exports, 1);

	/* a no is the answerer's, what was refused is the asker's, and so is the pause */
	scene.caller = "sys-gui";
	waiting = attach_begin("work");
	hear_question(&asks, question);
	scene.caller = NULL;
	answer(question, "deny", true);
	assert_text_has(call_end(waiting), "said no");
	(void)snprintf(refused, sizeof(refused), "\"event\":\"refused\",\"who\":%u,\"who-qube\":\"sys-gui\",",
		       getuid());
	assert_int_equal(count_audit(refused), 1);
	scene.caller = "sys-gui";
	assert_text_has(attach("work"), "wait ten seconds");
	scene.caller = NULL;
	waiting = attach_begin("work"); /* its user may */
	hear_question(&asks, question);
	answer(question, "allow work", true);
	assert_done(call_end(waiting));
	scene.caller = "sys-gui";
	assert_text_has(attach("personal"), "in use by another qube: detach it there first");
	scene.caller = NULL;
	assert_text_has(attach("personal"), "in use by work: detach it there first (qvm-usb detach work sys-usb:1-2)");
	assert_done(detach("work"));
	close_stream(&asks);
}

static void test_ask(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct stream asks;
	char question[24];
	int waiting;

	set_policy("usb * sys-usb @anyvm ask\n");
	assert_text_has(attach("work"), "nobody is there to be asked");
	assert_int_equal(count_audit("\"outcome\":\"nobody\"") + count_audit("\"refused\""), 2);

	open_stream(&asks, "device.ask.Listen");
	SERVE_UNTIL(has_come(&asks, "connection-established"));
	waiting = attach_begin("work");
	hear_question(&asks, question);
	assert_text_has(asks.bytes, "rule 50-test.policy:1 targets work ");
	assert_int_equal(t.usb->n_exports, 0); /* nothing before the word */
	assert_text_has(attach("personal"), "a question about sys-usb:1-2 is open");
	answer("12345678901", "deny", false); /* another question */
	answer(question, "allow personal", false);
	answer(question, "allow", false);
	assert_int_equal(t.usb->n_exports, 0);
	answer(question, "allow work", true);
	assert_done(call_end(waiting));
	assert_true(is_attached("work"));
	assert_int_equal(count_audit("\"answered-by\":"), 3); /* the answer, the request, the attach */
	answer(question, "allow work", false);                /* once */
	SERVE_UNTIL(has_come(&asks, "end allowed"));
	assert_done(detach("work"));

	waiting = attach_begin("work");
	hear_question(&asks, question);
	answer(question, "deny", true);
	assert_text_has(call_end(waiting), "said no");

	waiting = attach_begin("work");
	hear_question(&asks, question);
	close_stream(&asks); /* the only one who could answer */
	assert_text_has(call_end(waiting), "nobody");
	assert_int_equal(t.usb->n_exports, 1);

	/* the policy changes to deny while a question is open */
	open_stream(&asks, "device.ask.Listen");
	SERVE_UNTIL(has_come(&asks, "connection-established"));
	waiting = attach_begin("work");
	hear_question(&asks, question);
	set_policy("usb * sys-usb @anyvm deny\n");
	(void)call_with("device.ask.Answer", question, "dom0", "allow work");
	assert_text_has(call_end(waiting), "2");
	assert_int_equal(t.usb->n_exports, 1);
	close_stream(&asks);
}

/* ---- what is stored ----------------------------------------------------------------------------------------------- */

static void test_assign(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(assign(STICK, "work", "mode='auto-attach' _max-time='1h'"));
	SERVE_UNTIL(is_attached("work")); /* both are there */
	assert_text_has(call("admin.vm.device.usb.Assigned", "", "work"),
			"0sys-usb+1-2:0781:5581:AB12:u080650 device_id='0781:5581:AB12:u080650' port_id='1-2' "
			"devclass='usb' backend_domain='sys-usb' mode='auto-attach' frontend_domain='work' "
			"_max-time='1h'\n");
	assert_text_has(attached("work"), "mode='auto-attach'");
	assert_int_equal(count_audit("\"origin\":\"auto\""), 2);
	assert_done(detach("work"));
	(void)serve(-1, 300);
	assert_false(is_attached("work")); /* its user took it back */

	/* the qube starts anew: that is a new cause */
	end_qube(4);
	kill_agent(t.work);
	SERVE_UNTIL(strstr(call("admin.vm.List", "", "dom0"), "work class=AppVM state=Halted"));
	start_qube(4, "work");
	listen_at_new_port(t.work);
	SERVE_UNTIL(is_attached("work"));
	assert_text_has(assign(STICK, "work", "mode='required'"), "already assigned");
	assert_done(call("admin.vm.device.usb.Unassign", STICK, "work"));
	assert_done(call("admin.vm.device.usb.Assigned", "", "work"));
	assert_true(is_attached("work")); /* an assignment is not the attachment */
	assert_done(detach("work"));

	/* stored for a qube that does not run, over the broker's end; a plug is a cause too */
	assert_done(assign("sys-usb+7-1+_", "later", "mode='auto-attach'"));
	assert_done(call_with("admin.vm.device.denied.Add", "", "later", "u03**01u03**02"));
	assert_done(call_with("device.label.Set", STICK, "sys-usb", "bank stick"));
	assert_done(call_with("device.label.Set", STICK, "sys-usb", "bank stick")); /* which changes nothing */
	restart_broker(SIGKILL);
	SERVE_UNTIL(t.usb->state == WIRE_IN_READY);
	assert_text_has(available("sys-usb"), " _label='bank stick'");
	assert_int_equal(count_audit("\"event\":\"label\""), 1);
	assert_int_equal(count_audit("\"outcome\":\"bank stick: sys-usb 0781:5581:AB12:u080650\""), 1);
	assert_done(call_with("device.label.Set", STICK, "sys-usb", ""));
	assert_null(strstr(available("sys-usb"), "_label"));
	assert_text_has(call("admin.vm.List", "", "dom0"), "later class=AppVM state=Halted");
	assert_text_has(call("admin.vm.device.usb.Assigned", "", "later"), "sys-usb+7-1:*");
	assert_string_equal(call("admin.vm.device.denied.List", "", "later"), "0u03**01\nu03**02");
	assert_true(add_agent(6, "later", NULL, 0) != NULL);
	plug(t.usb, 1, "7-1", false);
	SERVE_UNTIL(strstr(attached("later"), "sys-usb+7-1:"));
}

static const char *assigned(const char *qube)
{
	return call("admin.vm.device.usb.Assigned", "", qube);
}

static const char *unassign(const char *argument, const char *qube)
{
	return call("admin.vm.device.usb.Unassign", argument, qube);
}

/* A port is where it is, not what the kernel calls it: another device has the old number after a restart. */
static void test_renumbered(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct stream events;

	open_stream(&events, "admin.Events");
	SERVE_UNTIL(has_come(&events, "connection-established"));
	plug(t.usb, 1, "2-2", false);
	SERVE_UNTIL(strstr(available("sys-usb"), "2-2:"));
	assert_done(assign("sys-usb+1-2+_", "work", "mode='auto-attach'"));
	SERVE_UNTIL(is_attached("work"));

	t.usb->controllers[1] = 2;
	t.usb->controllers[2] = 1;
	restart_qube(t.usb, 13, "sys-usb", "2-2", "1-2");
	SERVE_UNTIL(strstr(attached("work"), "sys-usb+2-2:0781:5581:AB12:"));
	SERVE_UNTIL(has_come(&events, "work device-unassign:usb device sys-usb:1-2:* "));
	SERVE_UNTIL(has_come(&events, "work device-assign:usb device sys-usb:2-2:* "));
	assert_int_equal(n_sessions(t.usb), 1);
	assert_text_has(assigned("work"), "0sys-usb+2-2:* ");
	assert_null(strstr(assigned("work"), "1-2"));
	assert_int_equal(
		count_audit("\"assignment-renumbered\",\"target\":\"work\",\"outcome\":\"sys-usb:1-2:* is 2-2\""), 1);
	assert_done(attached("personal"));
	assert_text_has(unassign("sys-usb+1-2+_", "work"), "2DeviceNotAssigned: ");
	assert_done(unassign("sys-usb+2-2+_", "work"));
	assert_done(assigned("work"));
	close_stream(&events);
}

/* Two that swap their names, over the end of the broker, and one that was assigned before its port was ever seen. */
static void test_swapped(void **unused _unused_)
{
	struct trio t = add_trio(0);

	plug(t.usb, 1, "2-2", false);
	SERVE_UNTIL(strstr(available("sys-usb"), "2-2:"));
	assert_done(assign("sys-usb+1-2+_", "work", "mode='auto-attach'"));
	assert_done(assign("sys-usb+2-2+_", "work", "mode='auto-attach'"));
	assert_done(assign("sys-usb+3-2+_", "personal", "mode='auto-attach'"));
	for (unsigned int round = 0; round < 4; round++) {
		bool swap = round % 2 == 0;

		t.usb->controllers[1] = swap ? 2 : 1;
		t.usb->controllers[2] = swap ? 1 : 2;
		restart_qube(t.usb, (uint16_t)(20 + round), "sys-usb", swap ? "2-2" : "1-2", swap ? "1-2" : "2-2");
		SERVE_UNTIL(strstr(attached("work"), swap ? "2-2:0781:5581:AB12:" : "1-2:0781:5581:AB12:"));
		SERVE_UNTIL(strstr(attached("work"), swap ? "1-2:0781:5581:S2-2:" : "2-2:0781:5581:S2-2:"));
		SERVE_UNTIL(count_audit("\"assignment-renumbered\"") == 2 * (round + 1));
		assert_text_has(assigned("work"), "1-2:*");
		assert_text_has(assigned("work"), "2-2:*");
		if (round == 1)
			restart_broker(SIGKILL);
	}
	assert_int_equal(count_audit("\"assignment-located\""), 0);
	plug(t.usb, 2, "3-2", false);
	SERVE_UNTIL(strstr(attached("personal"), "3-2:"));
	SERVE_UNTIL(count_audit("sys-usb:3-2:* is pci-0000:00:03.0-usb-0:2\"") == 1);
	assert_text_has(assign("sys-usb+3-2+_", "personal", "mode='ask-to-attach'"), "2DeviceAlreadyAssigned: ");
	assert_done(unassign("sys-usb+1-2+_", "work"));
	assert_null(strstr(assigned("work"), "1-2:*"));
	assert_text_has(assigned("work"), "2-2:*");
}

/* The slots of the devices that were to be exported, in this order. */
static struct {
	uint16_t slots[16];
	size_t n;
} exports;

static bool note_export(struct agent *agent _unused_, const struct wire_message *order)
{
	if (order->type == WIRE_EXPORT && exports.n < ARRAY_SIZE(exports.slots))
		exports.slots[exports.n++] = order->EXPORT.slot;
	return true;
}

/* RF01: one of three fails each time; the other two do not wait for it. */
static void test_one_failure_stays_one(void **unused _unused_)
{
	struct trio t = add_trio(0);
	unsigned int n_orders[4] = {0};

	assert_done(assign("sys-usb+7-1+_", "work", "mode='auto-attach'"));
	assert_done(assign("sys-usb+7-2+_", "work", "mode='auto-attach'"));
	assert_done(assign("sys-usb+7-3+_", "personal", "mode='auto-attach'"));
	exports.n = 0;
	scene.on_order = note_export;
	plug(t.usb, 1, "7-1", true);
	plug(t.usb, 2, "7-2", false);
	plug(t.usb, 3, "7-3", false);
	SERVE_UNTIL(strstr(attached("work"), "sys-usb+7-2:") && strstr(attached("personal"), "sys-usb+7-3:"));
	for (size_t i = 0; i < 3; i++)
		n_orders[exports.slots[i] % ARRAY_SIZE(n_orders)]++;
	assert_memory_equal(n_orders, ((unsigned int[]){0, 1, 1, 1}), sizeof(n_orders));
	assert_null(strstr(attached("work"), "sys-usb+7-1:"));
	SERVE_UNTIL(count_audit("\"attach-failed\"") >= 2); /* it is tried again, later */
	assert_int_equal(exports.slots[3], 1);
	t.usb->more[1].broken = false;
	SERVE_UNTIL(strstr(attached("work"), "sys-usb+7-1:"));
}

static void test_deny_list(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(call_with("admin.vm.device.denied.Add", "", "work", "u08****"));
	assert_text_has(attach("work"), "denied by ");
	assert_done(assign(STICK, "work", "mode='auto-attach'")); /* no way round it */
	(void)serve(-1, 300);
	assert_false(is_attached("work"));
	assert_int_equal(t.usb->n_exports, 0);
	assert_text_has(call("device.policy.Explain", STICK, "work"), "0deny by the deny list of work: u08****");
	assert_text_has(call("admin.vm.property.Get", "devices_denied", "work"), "0default=False type=str u08****");
	assert_done(attach("personal"));
	assert_text_has(call_with(MOVE, STICK, "work", "from='personal'"), "denied by ");
	assert_true(is_attached("personal"));
	assert_done(detach("personal"));
	assert_done(call_with("admin.vm.device.denied.Remove", "", "work", "all"));
	assert_done(attach("work"));
}

/* ---- move, sleep, time ------------------------------------------------------------------------------------------- */

static void test_move(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_text_has(call_with(MOVE, STICK, "personal", "from='work'"), "not attached to");
	assert_done(attach("work"));
	assert_done(call_with(MOVE, STICK, "personal", "from='work'"));
	assert_true(is_attached("personal") && !is_attached("work"));
	assert_int_equal(n_sessions(t.usb), 1);

	t.work->manners = REFUSES_IMPORT;
	assert_text_has(call_with(MOVE, STICK, "work", "from='personal'"), "It is attached to personal again");
	assert_true(is_attached("personal") && !is_attached("work"));

	t.personal->manners = REFUSES_IMPORT;
	assert_text_has(call_with(MOVE, STICK, "work", "from='personal'"), "it is attached to no qube");
	assert_true(!is_attached("personal") && !is_attached("work"));
	assert_int_equal(n_sessions(t.usb) + n_sessions(t.work) + n_sessions(t.personal), 0);
	t.work->manners = 0;
	assert_done(attach("work"));
	assert_done(detach("work"));
}

static void test_sleep(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(attach("work"));
	assert_done(call("device.Suspend", "", "dom0"));
	assert_int_equal(n_sessions(t.usb) + n_sessions(t.work), 0); /* quiet when it returns */
	assert_text_has(attach("personal"), "going to sleep");
	assert_done(call("device.Resume", "", "dom0"));
	assert_int_equal(count_audit("\"event\":\"suspend\",\"who\":"), 1);
	assert_int_equal(count_audit("\"event\":\"resume\",\"who\":"), 1);
	SERVE_UNTIL(is_attached("work"));
	assert_int_equal(count_audit("\"origin\":\"resume\""), 2);
	assert_int_equal(n_sessions(t.usb), 1);
	assert_done(detach("work"));
}

/* What a sleep ended outlives the broker; once it is back, or detached, nothing of it is left to a later one. */
static void test_killed_asleep(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(attach("work"));
	for (unsigned int i = 1; i <= 2; i++) {
		assert_done(call("device.Suspend", "", "dom0"));
		assert_int_equal(n_sessions(t.usb) + n_sessions(t.work), 0);
		restart_broker(SIGKILL);
		SERVE_UNTIL(is_attached("work"));
		assert_int_equal(count_audit("\"origin\":\"resume\""), 2 * i);
		assert_int_equal(t.usb->n_exports, 1 + i);
	}
	assert_done(detach("work"));
	restart_broker(SIGKILL);
	SERVE_UNTIL(strcmp(attach("personal"), "0") == 0);
	assert_done(detach("personal"));
	assert_int_equal(t.usb->n_exports, 4);
}

static void test_replug(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(attach("work"));
	say_gone(t.usb, 0, 1);
	SERVE_UNTIL(n_sessions(t.usb) + n_sessions(t.work) == 0);
	say_device(t.usb, "1-2", 0, 2); /* the same on the same port */
	SERVE_UNTIL(is_attached("work"));
	assert_int_equal(count_audit("\"origin\":\"replug\""), 2);
	say_gone(t.usb, 0, 2);
	say_device(t.usb, "1-2", 0, 3); /* and before its stream has ended */
	SERVE_UNTIL(count_audit("\"origin\":\"replug\"") == 4);
	SERVE_UNTIL(is_attached("work"));
	assert_int_equal(n_sessions(t.usb) + n_sessions(t.work), 2);
	say_gone(t.usb, 0, 3);
	SERVE_UNTIL(n_sessions(t.usb) + n_sessions(t.work) == 0);
	say_device_of(t.usb, "1-2", 0, 4, 0x9999, "AB12"); /* something else */
	SERVE_UNTIL(strstr(available("sys-usb"), "0781:9999"));
	(void)serve(-1, 300);
	assert_false(is_attached("work"));
}

#define MIC "sys-usb+mic-0123abcd+_"
#define MIC_SLOT 7

/* A part of what is at 1-2. */
static void say_part(struct agent *agent, uint16_t slot, uint8_t class_id, const char *port, const char *name)
{
	struct wire_message m = {.type = WIRE_DEVICE};

	m.DEVICE.slot = slot;
	m.DEVICE.generation = 1;
	m.DEVICE.class = class_id;
	m.DEVICE.n_interfaces = 1;
	if (class_id == WIRE_CLASS_WEBCAM)
		memcpy(m.DEVICE.interfaces, "\x0e\x01\x00", 3);
	(void)snprintf(m.DEVICE.port, sizeof(m.DEVICE.port), "%s", port);
	say(agent, &m);
	if (name)
		say_text(agent, slot, 1, WIRE_TEXT_PRODUCT, name);
	say_text(agent, slot, 1, WIRE_TEXT_PARENT, "1-2");
	m = (struct wire_message){.type = WIRE_DEVICE_COMMIT};
	m.DEVICE_COMMIT.slot = slot;
	m.DEVICE_COMMIT.generation = 1;
	say(agent, &m);
}

static void say_microphone(struct agent *agent)
{
	say_part(agent, MIC_SLOT, WIRE_CLASS_MIC, "mic-0123abcd", NULL);
}

static const char *mic(const char *what, const char *qube)
{
	char method[64];

	(void)snprintf(method, sizeof(method), "admin.vm.device.mic.%s", what);
	return call(method, MIC, qube);
}

/* What sys-usb's agent is told: 's' a stop, a slot an export of what is in it. */
static char orders[64];
static bool note_order(struct agent *agent, const struct wire_message *order)
{
	size_t len = strlen(orders);

	if (agent->device_port[0] && order->type == WIRE_STOP)
		(void)snprintf(orders + len, sizeof(orders) - len, "s");
	if (order->type == WIRE_EXPORT)
		(void)snprintf(orders + len, sizeof(orders) - len, "%u", order->EXPORT.slot);
	return true;
}

/* A headset and its microphone: never both, and whoever loses one of them is told. */
static void test_headset(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct stream events;

	set_policy("mic * sys-usb @anyvm allow\nusb * sys-usb personal allow parts=end\nusb * sys-usb work allow\n");
	open_stream(&events, "admin.Events");
	SERVE_UNTIL(has_come(&events, "connection-established"));
	say_microphone(t.usb);
	SERVE_UNTIL(strstr(call("admin.vm.device.mic.Available", "", "sys-usb"),
			   " parent_port_id='1-2' parent_devclass='usb'\n"));
	assert_done(mic("Attach", "work"));
	assert_text_has(attach("work"),
			"2DeviceAlreadyAttached: sys-usb:1-2 cannot be taken as a whole: its microphone "
			"mic-0123abcd is in use by work: detach that first");
	assert_int_equal(n_sessions(t.usb), 1);

	orders[0] = '\0';
	scene.on_order = note_order;
	assert_done(attach("personal"));
	assert_string_equal(orders, "s0");
	assert_int_equal(n_sessions(t.usb), 1);
	assert_int_equal(n_sessions(t.work), 0);
	SERVE_UNTIL(has_come(&events, "work device-detach:mic port sys-usb:mic-0123abcd"));
	assert_done(call("admin.vm.device.mic.Attached", "", "work"));
	assert_int_equal(count_audit("\"event\":\"ending-parts\""), 1);
	assert_int_equal(count_audit("\"outcome\":\"whole-attached\""), 2); /* detaching, detached */
	assert_text_has(mic("Attach", "work"), "2DeviceAlreadyAttached: sys-usb:mic-0123abcd is a part of sys-usb:1-2, "
					       "which is in use by personal: detach that first");
	assert_done(detach("personal"));

	/* a microphone that its qube does not stop: nothing of the whole is sent */
	assert_done(mic("Attach", "work"));
	orders[0] = '\0';
	t.usb->manners = NO_ANSWER_TO_STOP;
	assert_text_has(attach("personal"),
			"failed: a part of the device is still in use, or its end was not confirmed");
	assert_string_equal(orders, "s");
	assert_text_has(attach("personal"), "its microphone mic-0123abcd is locked: sys-usb has not confirmed");
	close_stream(&events);
}

#define CAMERA "sys-usb+webcam-0123abcd+_"

static const char *camera(const char *what, const char *qube, const char *payload)
{
	char method[64];

	(void)snprintf(method, sizeof(method), "admin.vm.device.webcam.%s", what);
	return call_with(method, CAMERA, qube, payload);
}

/* What the last EXPORT and the last IMPORT said of a camera. */
static char controls[CONTROLS_TEXT], imported[96];
static bool note_orders(struct agent *agent _unused_, const struct wire_message *order)
{
	if (order->type == WIRE_EXPORT)
		controls_write(order->EXPORT.controls, controls);
	if (order->type == WIRE_IMPORT)
		(void)snprintf(imported, sizeof(imported), "%u %ux%u %u %s", order->IMPORT.class, order->IMPORT.width,
			       order->IMPORT.height, order->IMPORT.fps, order->IMPORT.label);
	return true;
}

static void say_camera(struct trio *t, const char *name)
{
	say_part(t->usb, MIC_SLOT, WIRE_CLASS_WEBCAM, "webcam-0123abcd", name);
	SERVE_UNTIL(strstr(call("admin.vm.device.webcam.Available", "", "sys-usb"), "webcam-0123abcd:"));
}

/* What its user asks for reaches both agents, also after a sleep and the broker's end, and from the store. */
static void test_camera(void **unused _unused_)
{
	struct trio t = add_trio(0);

	set_policy("webcam u0e**** sys-usb @anyvm allow\nusb * sys-usb @anyvm allow\n");
	scene.on_order = note_orders;
	assert_done(attach("work"));
	assert_string_equal(imported, "1 0x0 0 ");
	assert_done(detach("work"));
	say_camera(&t, NULL);
	assert_done(camera("Attach", "work", ""));
	assert_string_equal(imported, "4 0x0 0 Camera");
	assert_string_equal(controls, "none");
	assert_done(camera("Detach", "work", ""));
	assert_done(call_with("device.label.Set", CAMERA, "sys-usb", "the one on the desk, a very good one"));
	assert_done(camera("Attach", "work", "_size='1280x720' _fps='30' _brightness='50'"));
	assert_string_equal(imported, "4 1280x720 30 the one on the desk, a very goo");
	assert_string_equal(controls, "brightness=50");

	imported[0] = controls[0] = '\0';
	assert_done(call("device.Suspend", "", "dom0"));
	restart_broker(SIGKILL);
	SERVE_UNTIL(strstr(available("sys-usb"), "1-2:"));
	say_camera(&t, "C310");
	SERVE_UNTIL(strstr(call("admin.vm.device.webcam.Attached", "", "work"),
			   " _size='1280x720' _fps='30' _brightness='50'\n"));
	assert_string_equal(imported, "4 1280x720 30 the one on the desk, a very goo");
	assert_string_equal(controls, "brightness=50");
	assert_done(camera("Detach", "work", ""));

	assert_done(call_with("device.label.Set", CAMERA, "sys-usb", ""));
	assert_done(camera("Assign", "work", "mode='auto-attach' _size='640x480' _power-line='60'"));
	SERVE_UNTIL(strcmp(imported, "4 640x480 0 C310") == 0);
	assert_done(camera("Detach", "work", ""));
	restart_broker(SIGKILL);
	imported[0] = controls[0] = '\0';
	SERVE_UNTIL(strstr(available("sys-usb"), "1-2:"));
	say_camera(&t, NULL);
	SERVE_UNTIL(strcmp(imported, "4 640x480 0 Camera") == 0);
	assert_string_equal(controls, "power-line=60");
	assert_text_has(call("admin.vm.device.webcam.Assigned", "", "work"), " _size='640x480' _power-line='60'\n");
	scene.on_order = NULL;
}

static void test_max_time(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct stream events;
	uint64_t since;

	open_stream(&events, "admin.Events");
	SERVE_UNTIL(has_come(&events, "connection-established"));
	assert_text_has(call_with("admin.vm.device.usb.Attach", STICK, "work", "_max-time='soon'"),
			"option max-time must be a number and s, m or h");
	since = clock_monotonic_usec();
	assert_done(call_with("admin.vm.device.usb.Attach", STICK, "work", "_max-time='3s'"));
	SERVE_UNTIL(has_come(&events, "work device-limit-near:usb"));
	SERVE_UNTIL(has_come(&events, "work device-detach:usb"));
	/* how late says only how busy the machine is */
	assert_true(clock_monotonic_usec() - since > 25 * USEC_PER_SEC / 10);
	assert_int_equal(n_sessions(t.usb) + n_sessions(t.work), 0);
	assert_int_equal(count_audit("\"outcome\":\"time-limit\""), 2); /* detaching, detached */
	close_stream(&events);
}

/* ---- the broker's own end ---------------------------------------------------------------------------------------- */

static void test_adoption(void **unused _unused_)
{
	struct trio t = add_trio(0);
	uint64_t session;

	assert_done(call_with("admin.vm.device.usb.Attach", STICK, "work", "_max-time='1h'"));
	session = t.usb->last_session;
	for (unsigned int i = 0; i < 3; i++) {
		restart_broker(SIGKILL);
		SERVE_UNTIL(strstr(available("sys-usb"), "1-2:") && is_attached("work"));
		SERVE_UNTIL(!strstr(available("sys-usb"), "_state="));
		assert_int_equal(t.usb->n_stops + t.work->n_stops, 0);
		assert_int_equal(n_sessions(t.usb) + n_sessions(t.work), 2);
		assert_int_equal(t.usb->sessions[0].number, session);
		assert_int_equal(t.usb->n_exports, 1);
	}
	assert_text_has(attach("personal"), "in use by work");
	assert_done(detach("work"));
	assert_int_equal(t.usb->n_stops, 1);
	assert_int_equal(n_sessions(t.usb) + n_sessions(t.work), 0);
	restart_broker(SIGKILL); /* what has ended is not remembered */
	SERVE_UNTIL(strstr(available("sys-usb"), "1-2:"));
	SERVE_UNTIL(strcmp(attach("personal"), "0") == 0);
}

/* One side lost its stream while the broker was away: the other is stopped, nobody has the device, then all is free. */
static void test_not_adopted(void **unused _unused_)
{
	struct trio t = add_trio(0);

	assert_done(attach("work"));
	(void)stop_broker(SIGKILL);
	memset(t.work->sessions, 0, sizeof(t.work->sessions));
	start_broker();
	listen_at_new_port(t.usb);
	listen_at_new_port(t.work);
	listen_at_new_port(t.personal);
	SERVE_UNTIL(n_sessions(t.usb) == 0);
	SERVE_UNTIL(count_audit("\"not-adopted\"") == 1);
	SERVE_UNTIL(strcmp(attach("personal"), "0") == 0);
	assert_done(attached("work"));
}

/* ST07: what cannot be written cannot be granted; what runs goes on. */
static void test_disk_full(void **unused _unused_)
{
	struct trio t = add_trio(0);
	struct rlimit before, none;

	plug(t.usb, 1, "7-1", false);
	SERVE_UNTIL(strstr(available("sys-usb"), "7-1:"));
	assert_done(attach("work"));
	assert_int_equal(prlimit(scene.broker, RLIMIT_FSIZE, NULL, &before), 0);
	none = (struct rlimit){.rlim_cur = 1, .rlim_max = before.rlim_max};
	assert_int_equal(prlimit(scene.broker, RLIMIT_FSIZE, &none, NULL), 0);
	assert_text_has(call("admin.vm.device.usb.Attach", "sys-usb+7-1+_", "personal"), "2");
	assert_text_has(assign(STICK, "personal", "mode='auto-attach'"), "nothing was changed: ");
	assert_int_equal(t.usb->n_exports, 1);
	assert_true(is_attached("work"));
	assert_done(detach("work")); /* giving back needs no disk */
	assert_int_equal(prlimit(scene.broker, RLIMIT_FSIZE, &before, NULL), 0);
}

/* A journal with a flipped byte: nothing is granted, and it says what to do; after --recover all is well. */
static void test_damaged_store(void **unused _unused_)
{
	struct trio t = add_trio(0);
	FILE *file;

	assert_done(assign("sys-usb+7-1+_", "work", "mode='auto-attach'"));
	assert_done(assign("sys-usb+7-2+_", "work", "mode='auto-attach'"));
	(void)stop_broker(SIGTERM);
	file = fopen(path_of("state/state.journal"), "r+e");
	assert_non_null(file);
	assert_int_equal(fseek(file, -10, SEEK_END), 0);
	assert_true(fputc('~', file) == '~' && fclose(file) == 0);
	start_broker();
	listen_at_new_port(t.usb);
	listen_at_new_port(t.work);
	SERVE_UNTIL(strstr(available("sys-usb"), "1-2:") && t.work->state == WIRE_IN_READY);
	assert_text_has(attach("work"), "denied by state.journal");
	assert_text_has(assign(STICK, "work", "mode='auto-attach'"), "nothing was changed: ");
	assert_int_equal(t.usb->n_exports, 0);

	(void)stop_broker(SIGTERM);
	assert_int_equal(recover_broker(), 0);
	assert_int_equal(recover_broker(), 0); /* nothing is damaged now: no harm */
	start_broker();
	listen_at_new_port(t.usb);
	listen_at_new_port(t.work);
	SERVE_UNTIL(strstr(available("sys-usb"), "1-2:") && t.work->state == WIRE_IN_READY);
	assert_text_has(call("admin.vm.device.usb.Assigned", "", "work"), "sys-usb+7-1:*"); /* the whole line is kept */
	assert_null(strstr(call("admin.vm.device.usb.Assigned", "", "work"), "sys-usb+7-2:"));
	assert_done(attach("work"));
	assert_done(detach("work"));
}

int main(void)
{
#define SCENE(t) cmocka_unit_test_setup_teardown(t, scene_begin, scene_end)
	const struct CMUnitTest tests[] = {
		SCENE(test_policy),
		SCENE(test_ask),
		SCENE(test_from_qubes),
		SCENE(test_assign),
		SCENE(test_one_failure_stays_one),
		SCENE(test_renumbered),
		SCENE(test_swapped),
		SCENE(test_deny_list),
		SCENE(test_move),
		SCENE(test_sleep),
		SCENE(test_killed_asleep),
		SCENE(test_replug),
		SCENE(test_headset),
		SCENE(test_camera),
		SCENE(test_max_time),
		SCENE(test_adoption),
		SCENE(test_not_adopted),
		SCENE(test_disk_full),
		SCENE(test_damaged_store),
	};

	return cmocka_run_group_tests_name("authority", tests, NULL, NULL);
}
