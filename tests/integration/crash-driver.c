// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One run of test-crash.py: the real broker, traced by strace, which kills it or fails one of its system calls, or starved
 * (starve.c), while users and agents go through a scenario; then a judge.
 *
 *     crash-driver DIRECTORY life|recovery|failing:HOW [STRACE-OPTION...|starve:WHEN]
 *
 * DIRECTORY must exist and be empty; what the broker keeps stays in it, for who reads the audit log again. The trace, or
 * what starve.c says, is DIRECTORY/trace. Exit status 0: all was right; else the output says what was wrong. `failing`
 * needs no strace: there an agent fails each order once, in the way HOW.
 *
 * The judge is a fresh broker, and the agents as they were left. Invariants that hold in each run: an agent that is told
 * to export finds the record of that session in the audit log's file, and no other export of that device; what was
 * acknowledged is there, what was refused is not; a stream that nobody touched goes on; in the end each stream that
 * runs is an attachment that the broker shows, and each device can be attached.
 */
#include "tests/integration/broker-vocabulary.h"

#include <inttypes.h>

#define STARTED_USEC (10 * USEC_PER_SEC) /* a broker is there, or has ended, under strace and sanitizers */
#define SETTLED_USEC (40 * USEC_PER_SEC) /* a fresh broker and its agents agree: TIMEOUT_ADOPT_USEC and some more */
#define MOVE "device.Move"
#define SECOND "sys-usb+7-1+_"
#define PLACE "sys-usb+9-9+_"
#define N_DEVICES 2

static struct agent *usb, *work, *personal;
static int broker_status;                     /* as waitpid() has it, when scene.broker is 0 */
static uint64_t step_usec = 4 * USEC_PER_SEC; /* a step's effect is seen within this, or never */

/* ---- what must be there after it all ------------------------------------------------------------------------------ */

enum thing { ASSIGNED_PLACE, ASSIGNED_STICK, DENIED, N_THINGS };
enum presence { ABSENT, PRESENT, EITHER };
static enum presence things[N_THINGS];
static bool killed;  /* strace kills the broker, else it fails a call of it */
static bool untaken; /* what failed could not be taken back either */
static bool starved; /* the broker's memory runs out, and it may end because of it */

/* ---- a broker that may end at any time ---------------------------------------------------------------------------- */

static bool lives(void)
{
	if (scene.broker && waitpid(scene.broker, &broker_status, WNOHANG) == scene.broker)
		scene.broker = 0;
	return scene.broker != 0;
}

#define WAIT_FOR(condition, usec)                                                         \
	do {                                                                              \
		uint64_t wait_deadline = clock_monotonic_usec() + (usec);                 \
		while (lives() && !(condition) && clock_monotonic_usec() < wait_deadline) \
			attend(10);                                                       \
	} while (0)

/* What an agent does when its hook cut it off: `cut` is done here, where nobody is in its channel. */
static struct {
	struct agent *agent; /* NULL: nobody */
	bool dies;           /* the agent, its streams with it; else only the channel breaks */
} cut;

static void attend(int msec)
{
	(void)serve(-1, msec);
	if (!cut.agent)
		return;
	if (cut.dies)
		kill_agent(cut.agent);
	listen_at_new_port(cut.agent);
	cut.agent = NULL;
}

/* One call; "" when no whole reply came. */
static const char *ask(const char *method, const char *argument, const char *destination, const char *payload)
{
	static char reply[8200];
	char raw[8192], request[1024];
	uint64_t deadline = clock_monotonic_usec() + 3 * PATIENCE_USEC;
	size_t len = 0;
	int fd = lives() ? connect_api() : -1;
	int n_request =
		snprintf(request, sizeof(request), "%s+%s dom0 name %s%c%s", method, argument, destination, 0, payload);

	reply[0] = '\0';
	if (fd < 0) {
		WAIT_FOR(!killed, STARTED_USEC);
		return reply;
	}
	(void)send(fd, request, (size_t)n_request, MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
	for (;;) {
		struct pollfd due = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (clock_monotonic_usec() > deadline)
			fail_msg("%s was not answered", method);
		attend(5);
		if (poll(&due, 1, 0) <= 0)
			continue;
		n = read(fd, raw + len, sizeof(raw) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	(void)close(fd);
	raw[len] = '\0';
	if (len < 2 || raw[1] != '\0') {
		WAIT_FOR(!killed, STARTED_USEC); /* that was its end, which takes a moment */
		return reply;
	}
	if (raw[0] == '0') {
		(void)snprintf(reply, sizeof(reply), "0%s", raw + 2);
	} else {
		const char *type = raw + 2, *trace = type + strlen(type) + 1, *text = trace + strlen(trace) + 1;

		(void)snprintf(reply, sizeof(reply), "%c%s: %s", raw[0], type, text);
		if (raw[0] == '2' && strlen(text) < 8)
			fail_msg("%s failed without a reason: %s", method, reply);
	}
	return reply;
}

static bool shows(const char *method, const char *qube, const char *part)
{
	return strstr(ask(method, "", qube, ""), part) != NULL;
}

static bool shows_attached(const char *qube, const char *port)
{
	char part[64];

	(void)snprintf(part, sizeof(part), "sys-usb+%s:", port);
	return shows("admin.vm.device.usb.Attached", qube, part);
}

/* ---- streams ------------------------------------------------------------------------------------------------------ */

static const char *const ports[N_DEVICES] = {"1-2", "7-1"};

static uint64_t export_of(uint16_t slot)
{
	for (unsigned int i = 0; i < MAX_SESSIONS; i++)
		if (usb->sessions[i].number != 0 && usb->sessions[i].side == WIRE_SIDE_EXPORT &&
		    usb->sessions[i].slot == slot)
			return usb->sessions[i].number;
	return 0;
}

static bool imports(const struct agent *agent, uint64_t session)
{
	for (unsigned int i = 0; i < MAX_SESSIONS; i++)
		if (agent->sessions[i].number == session)
			return true;
	return false;
}

/* Each stream has two ends, and is what the broker shows; nothing else runs, nothing is under way. */
static bool is_settled(void)
{
	unsigned int n_attached = 0;

	if (shows("admin.vm.device.usb.Available", "sys-usb", "_state="))
		return false;
	for (uint16_t slot = 0; slot < N_DEVICES; slot++) {
		bool at_work = shows_attached("work", ports[slot]);
		bool at_personal = shows_attached("personal", ports[slot]);
		uint64_t session = export_of(slot);

		if (at_work && at_personal)
			fail_msg("%s has two targets", ports[slot]);
		if ((session != 0) != (at_work || at_personal))
			return false;
		if (session != 0 && !imports(at_work ? work : personal, session))
			return false;
		n_attached += session != 0;
	}
	return n_sessions(usb) == n_attached && n_sessions(work) + n_sessions(personal) == n_attached;
}

static bool is_recorded(uint64_t session)
{
	char words[2][64];
	FILE *file = fopen(path_of("state/audit.log"), "re");
	char line[4096];
	bool found = false;

	(void)snprintf(words[0], sizeof(words[0]), "\"event\":\"attach-request\"");
	(void)snprintf(words[1], sizeof(words[1]), "\"session\":\"%016" PRIx64 "\"", session);
	while (file && !found && fgets(line, sizeof(line), file))
		found = strchr(line, '\n') && strstr(line, words[0]) && strstr(line, words[1]);
	if (file)
		(void)fclose(file);
	return found;
}

/* From the trace: each file that was written about this session was synced after, and no sync had failed before. */
static bool is_synced(uint64_t session)
{
	FILE *file = fopen(path_of("trace"), "re");
	char line[8192], number[24];
	bool failed = false, good = true;
	uint64_t unsynced = 0; /* a bit for each file descriptor */

	(void)snprintf(number, sizeof(number), "%016" PRIx64, session);
	while (file && good && fgets(line, sizeof(line), file)) {
		bool injected = strstr(line, "(INJECTED)") != NULL;
		unsigned int fd = 0;
		char call[16] = "";

		if (sscanf(line, "%*d %15[a-z](%u", call, &fd) != 2 || fd >= 64)
			continue;
		if (strcmp(call, "fdatasync") == 0) {
			good = !injected || !(unsynced & 1ull << fd);
			failed = failed || injected;
			unsynced &= ~(1ull << fd);
		} else if (strcmp(call, "write") == 0 && !injected && strstr(line, number)) {
			good = !failed;
			unsynced |= 1ull << fd;
		}
	}
	if (file)
		(void)fclose(file);
	return good && !unsynced;
}

static bool check_order(struct agent *agent, const struct wire_message *order)
{
	if (cut.agent == agent)
		return false; /* it is gone */
	if (order->type != WIRE_EXPORT)
		return true;
	if (!is_recorded(order->EXPORT.session))
		fail_msg("EXPORT of session %" PRIx64 " came without a record", order->EXPORT.session);
	if (scene.tracer && !is_synced(order->EXPORT.session))
		fail_msg("EXPORT of session %" PRIx64 " came, and its record was not synced", order->EXPORT.session);
	return true;
}

/* ---- the scenario ------------------------------------------------------------------------------------------------- */

static void change(enum thing thing, enum presence to, const char *method, const char *argument, const char *payload)
{
	enum presence before = things[thing];
	const char *reply;

	things[thing] = EITHER;
	reply = ask(method, argument, "work", payload);
	if (reply[0] == '0')
		things[thing] = to;
	else if (reply[0] == '2' && !untaken)
		things[thing] = before;
}

static void step_agents(void)
{
	WAIT_FOR(usb->state == WIRE_IN_READY && work->state == WIRE_IN_READY && personal->state == WIRE_IN_READY,
		 step_usec);
	WAIT_FOR(shows("admin.vm.device.usb.Available", "sys-usb", "7-1:"), step_usec);
}

static void step_assign(void)
{
	change(ASSIGNED_PLACE, PRESENT, "admin.vm.device.usb.Assign", PLACE, "mode='auto-attach'");
}

static void step_attach(void)
{
	(void)ask("admin.vm.device.usb.Attach", STICK, "work", "");
}

static void step_deny(void)
{
	change(DENIED, PRESENT, "admin.vm.device.denied.Add", "", "u03**01");
}

static void step_attach_second(void)
{
	(void)ask("admin.vm.device.usb.Attach", SECOND, "personal", "");
}

static void step_move(void)
{
	(void)ask(MOVE, STICK, "personal", "from='work'");
}

static void step_detach(void)
{
	(void)ask("admin.vm.device.usb.Detach", STICK, "personal", "");
}

static unsigned int count_policies(void)
{
	return access(path_of("state/audit.log"), F_OK) == 0 ? count_audit("\"policy-") : 0;
}

static void step_policy(void)
{
	unsigned int n = count_policies();

	write_file("policy.d/50-test.policy", "usb * sys-usb @anyvm allow\nusb * @anyvm @anyvm deny\n");
	WAIT_FOR(count_policies() > n, step_usec);
}

static void step_assign_stick(void)
{
	change(ASSIGNED_STICK, PRESENT, "admin.vm.device.usb.Assign", STICK, "mode='auto-attach'");
	if (things[ASSIGNED_STICK] == PRESENT)
		WAIT_FOR(shows_attached("work", "1-2"), step_usec);
}

static void step_unassign(void)
{
	change(ASSIGNED_PLACE, ABSENT, "admin.vm.device.usb.Unassign", PLACE, "");
}

static void step_suspend(void)
{
	const char *reply = ask("device.Suspend", "", "dom0", "");

	if (reply[0] == '0' && n_sessions(usb) + n_sessions(work) + n_sessions(personal) != 0)
		fail_msg("streams run although the machine may sleep");
}

static void step_resume(void)
{
	const char *reply = ask("device.Resume", "", "dom0", "");

	if (reply[0] == '0')
		WAIT_FOR(export_of(0) != 0 && export_of(1) != 0 && is_settled(), step_usec / 4);
}

static void step_undeny(void)
{
	change(DENIED, ABSENT, "admin.vm.device.denied.Remove", "", "all");
}

static void step_unassign_stick(void)
{
	change(ASSIGNED_STICK, ABSENT, "admin.vm.device.usb.Unassign", STICK, "");
}

/* What the user does; `touches`: the devices whose stream this may end. */
static const struct step {
	void (*run)(void);
	unsigned int touches;
} steps[] = {
	{step_agents, 3},  {step_assign, 0}, {step_attach, 1}, {step_deny, 0},           {step_attach_second, 2},
	{step_move, 1},    {step_detach, 1}, {step_policy, 0}, {step_assign_stick, 0},   {step_unassign, 0},
	{step_suspend, 3}, {step_resume, 3}, {step_undeny, 0}, {step_unassign_stick, 0},
};

/* Streams that nobody has touched, with their numbers. */
static uint64_t untouched[N_DEVICES];

static void check_untouched(const char *when)
{
	for (uint16_t slot = 0; slot < N_DEVICES; slot++)
		if (untouched[slot] != 0 && export_of(slot) != untouched[slot])
			fail_msg("the stream of %s ended %s", ports[slot], when);
}

static void go_through(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps) && lives(); i++) {
		char when[32];

		for (uint16_t slot = 0; slot < N_DEVICES; slot++)
			untouched[slot] = steps[i].touches & 1u << slot ? 0 : export_of(slot);
		steps[i].run();
		(void)snprintf(when, sizeof(when), "in step %zu", i);
		check_untouched(when);
	}
	if (!lives())
		return;
	for (uint16_t slot = 0; slot < N_DEVICES; slot++)
		untouched[slot] = export_of(slot);
}

/* ---- the judge ---------------------------------------------------------------------------------------------------- */

static void check_thing(enum thing thing, const char *method, const char *part)
{
	bool found = shows(method, "work", part);

	if (things[thing] != EITHER && found != (things[thing] == PRESENT))
		fail_msg("%s is %s", part, found ? "there although it was refused or taken back" : "lost");
}

/* Wherever it is: it can be taken back, and given to another. */
static void check_attach(const char *device, const char *port)
{
	const char *reply = "";
	uint64_t deadline = clock_monotonic_usec() + SETTLED_USEC;

	while (clock_monotonic_usec() < deadline && reply[0] != '0') {
		WAIT_FOR(is_settled(), SETTLED_USEC);
		if (shows_attached("work", port))
			(void)ask("admin.vm.device.usb.Detach", device, "work", "");
		if (shows_attached("personal", port))
			(void)ask("admin.vm.device.usb.Detach", device, "personal", "");
		reply = ask("admin.vm.device.usb.Attach", device, "personal", "");
	}
	if (reply[0] != '0')
		fail_msg("%s cannot be attached: %s", port, reply);
}

static void judge(void)
{
	scene.tracer = NULL;
	start_broker();
	for (unsigned int i = 0; i < scene.n_agents; i++)
		listen_at_new_port(&scene.agents[i]);
	WAIT_FOR(shows("admin.vm.device.usb.Available", "sys-usb", "7-1:") && work->state == WIRE_IN_READY &&
			 personal->state == WIRE_IN_READY && is_settled(),
		 SETTLED_USEC);
	if (!is_settled())
		fail_msg("streams that run and what the broker shows differ: %u, %u, %u run", n_sessions(usb),
			 n_sessions(work), n_sessions(personal));
	check_untouched("with the broker");
	for (uint16_t slot = 0; slot < N_DEVICES; slot++)
		if (export_of(slot) != 0 && !is_recorded(export_of(slot)))
			fail_msg("the stream of %s has no record", ports[slot]);
	check_thing(ASSIGNED_PLACE, "admin.vm.device.usb.Assigned", "9-9:*");
	check_thing(ASSIGNED_STICK, "admin.vm.device.usb.Assigned", "1-2:0781:5581:AB12:u080650");
	check_thing(DENIED, "admin.vm.device.denied.List", "u03**01");
	check_attach(STICK, "1-2");
	check_attach(SECOND, "7-1");
	if (ask("device.audit.Verify", "", "dom0", "")[0] != '0')
		fail_msg("the audit log does not verify");
}

static void add_agents(void)
{
	usb = add_agent(3, "sys-usb", "1-2", 0);
	work = add_agent(4, "work", NULL, 0);
	personal = add_agent(5, "personal", NULL, 0);
	usb->more[1].generation = 1;
	(void)snprintf(usb->more[1].port, sizeof(usb->more[1].port), "7-1");
	(void)snprintf(usb->more[1].serial, sizeof(usb->more[1].serial), "S7-1");
}

/* A broker that was told to end, or to die. */
static void end_broker(void)
{
	int fd = -1;

	if (lives())
		broker_status = stop_broker(SIGTERM);
	else
		fd = connect_api();
	if (fd >= 0)
		fail_msg("a broker answers that has ended");
}

/* ---- runs --------------------------------------------------------------------------------------------------------- */

/* Starts the traced broker; true when it answers: what connects may still wait in a queue. */
static bool start_traced(void)
{
	int fd = -1;

	scene.broker = spawn_broker();
	WAIT_FOR((fd = connect_api()) >= 0, STARTED_USEC);
	if (fd >= 0)
		(void)close(fd);
	return ask("admin.vm.List", "", "dom0", "")[0] == '0';
}

/* How it ended: killed by strace; by itself, because it could not start; or because it was told to. */
static void check_end(bool answered, bool told)
{
	if (killed && WIFSIGNALED(broker_status) && WTERMSIG(broker_status) == SIGKILL)
		return;
	if (!WIFEXITED(broker_status) || WEXITSTATUS(broker_status) > 1)
		fail_msg("the broker crashed: %x", (unsigned int)broker_status);
	if (!told && answered && !starved)
		fail_msg("the broker ended by itself");
}

static void run_traced(bool recovery)
{
	bool answered = start_traced(), told;

	if (recovery) {
		for (unsigned int i = 0; i < scene.n_agents; i++)
			listen_at_new_port(&scene.agents[i]);
		step_agents();
		WAIT_FOR(is_settled(), step_usec);
		if (!killed) /* what cannot be proven is stopped, and a fault may be why it cannot be */
			memset(untouched, 0, sizeof(untouched));
	} else if (answered) {
		go_through();
	}
	told = lives();
	end_broker();
	check_end(answered, told);
}

/* A stream with both ends, one that lost an end while there was no broker, one that no broker knows, and what is stored. */
static void prepare_recovery(void)
{
	static const uint8_t digest[WIRE_DIGEST];
	const char *const *tracer = scene.tracer;

	scene.tracer = NULL;
	start_broker();
	step_agents();
	step_attach();
	step_attach_second();
	step_assign();
	step_deny();
	assert_true(export_of(0) != 0 && export_of(1) != 0);
	(void)stop_broker(SIGKILL);
	memset(personal->sessions, 0, sizeof(personal->sessions));
	keep_session(personal, 0x1234, WIRE_SIDE_IMPORT, 0, usb->domid, digest);
	untouched[0] = export_of(0);
	scene.tracer = tracer;
}

/* ---- steps of an attach and a detach fail ------------------------------------------------------------------------- */

enum how { REFUSES, SILENT, DIES, CUT_BEFORE, CUT_INSTEAD, CUT_AFTER, N_HOWS };
static const char *const how_names[N_HOWS] = {
	[REFUSES] = "refuses",         /* FAILED */
	[SILENT] = "silent",           /* does nothing, says nothing */
	[DIES] = "dies",               /* its streams with it */
	[CUT_BEFORE] = "cut-before",   /* the channel breaks: it did not hear */
	[CUT_INSTEAD] = "cut-instead", /* it did it, and the answer is lost */
	[CUT_AFTER] = "cut-after",     /* after the answer */
};

static struct {
	struct agent *agent;
	enum wire_type order;
	enum how how;
	bool set;
} trap;

static bool spring(struct agent *agent, const struct wire_message *order)
{
	if (!check_order(agent, order))
		return false;
	if (!trap.set || agent != trap.agent || order->type != trap.order)
		return true;
	trap.set = false;
	if (trap.how == SILENT)
		return false;
	if (trap.how == REFUSES) {
		say_failed(agent, order->id,
			   order->type == WIRE_EXPORT ? order->EXPORT.session : order->IMPORT.session);
		return false;
	}
	cut.agent = agent;
	cut.dies = trap.how == DIES;
	agent->ended = trap.how != CUT_AFTER; /* it cannot say anything any more */
	return trap.how == CUT_INSTEAD || trap.how == CUT_AFTER;
}

static void fail_step(struct agent *agent, enum wire_type order, enum how how)
{
	bool attaching = order == WIRE_EXPORT || order == WIRE_IMPORT;
	bool second_lives = agent == work || how == REFUSES || how == SILENT;
	const char *reply;

	(void)printf("# %s, %s\n", how_names[how], wire_type_name(order));
	check_attach(SECOND, "7-1");
	if (!attaching)
		(void)ask("admin.vm.device.usb.Attach", STICK, "work", "");
	untouched[0] = 0;
	untouched[1] = second_lives ? export_of(1) : 0;
	trap.agent = agent;
	trap.order = order;
	trap.how = how;
	trap.set = true;
	reply = ask(attaching ? "admin.vm.device.usb.Attach" : "admin.vm.device.usb.Detach", STICK, "work", "");
	if (trap.set)
		fail_msg("the agent was never asked: %s", reply);
	if (attaching && how != CUT_AFTER && reply[0] != '2')
		fail_msg("it failed, and the user was told: %s", reply);
	check_untouched("for another's failure");
	if (!attaching && how == SILENT) { /* locked until its qube's word is there, or its end */
		if (agent == usb && !shows("admin.vm.device.usb.Available", "sys-usb", "_state='locked'"))
			fail_msg("nobody confirmed the end, and the device is not locked: %s", reply);
		cut.agent = agent;
		cut.dies = true;
		untouched[1] = agent == usb ? 0 : untouched[1];
	}
	WAIT_FOR(usb->state == WIRE_IN_READY && work->state == WIRE_IN_READY && is_settled(), SETTLED_USEC);
	if (!is_settled())
		fail_msg("not undone: %u, %u, %u run", n_sessions(usb), n_sessions(work), n_sessions(personal));
	if (attaching && how != CUT_AFTER && export_of(0) != 0)
		fail_msg("the attach failed, and its stream runs");
	check_untouched("for another's failure");
	check_attach(STICK, "1-2");
	if (shows_attached("personal", "1-2"))
		(void)ask("admin.vm.device.usb.Detach", STICK, "personal", "");
	WAIT_FOR(is_settled(), SETTLED_USEC);
}

static void run_failing(const char *name)
{
	enum how how = 0;

	while (how < N_HOWS && strcmp(name, how_names[how]) != 0)
		how++;
	assert_true(how < N_HOWS);
	start_broker();
	step_agents();
	scene.on_order = spring;
	fail_step(usb, WIRE_EXPORT, how);
	fail_step(work, WIRE_IMPORT, how);
	if (how != REFUSES) { /* nobody may refuse a STOP */
		fail_step(usb, WIRE_STOP, how);
		fail_step(work, WIRE_STOP, how);
	}
	end_broker();
	check_end(true, true);
	memset(untouched, 0, sizeof(untouched));
	untouched[1] = export_of(1);
}

/* What runs the broker, as words before its own; NULL: nothing does. */
static const char *const *make_tracer(char **options, int n_options)
{
	static const char *words[40] = {"strace", "-D", "-q", "-f", "-s", "4096", "-o"};
	static char preload[512], log[128], when[64];
	const char *bin = getenv("BIN");
	size_t n = 7;

	starved = n_options == 1 && strncmp(options[0], "starve:", 7) == 0;
	if (starved) {
		(void)snprintf(preload, sizeof(preload), "LD_PRELOAD=%s/starve.so", bin ? bin : "build/gcc/bin");
		(void)snprintf(log, sizeof(log), "QDB_STARVE_LOG=%s", path_of("trace"));
		(void)snprintf(when, sizeof(when), "QDB_STARVE=%s", options[0] + 7);
		memcpy(words, (const char *[]){"env", preload, log, when, NULL}, 5 * sizeof(words[0]));
		return words;
	}
	words[n++] = strdup(path_of("trace"));
	for (int i = 0; i < n_options; i++) {
		words[n++] = options[i];
		killed = killed || strstr(options[i], "SIGKILL");
		untaken = untaken || strstr(options[i], "inject=ftruncate");
	}
	return n_options > 0 ? words : NULL;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "";
	bool recovery = strcmp(mode, "recovery") == 0;
	char backend[96];

	if (argc < 3 || argc > 30 || (!recovery && strcmp(mode, "life") != 0 && strncmp(mode, "failing:", 8) != 0)) {
		(void)fprintf(stderr, "usage: crash-driver DIRECTORY life|recovery|failing:HOW "
				      "[STRACE-OPTION...|starve:WHEN]\n");
		return 2;
	}
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* strace outlives the broker for a moment */
	(void)snprintf(scene.directory, sizeof(scene.directory), "%s", argv[1]);
	assert_int_equal(mkdir(path_of("state"), 0700), 0);
	assert_int_equal(mkdir(path_of("qubes"), 0700), 0);
	assert_int_equal(mkdir(path_of("policy.d"), 0700), 0);
	write_file("policy.d/50-test.policy", "usb * @anyvm @anyvm allow\n");
	(void)snprintf(backend, sizeof(backend), "socket:%s", scene.directory);
	assert_int_equal(channel_backend_new_from_text(backend, &scene.backend), 0);
	scene.on_order = check_order;
	scene.tracer = make_tracer(argv + 3, argc - 3);
	if (!killed)
		step_usec = 3 * USEC_PER_SEC / 2;
	add_agents();
	if (recovery)
		prepare_recovery();
	if (strncmp(mode, "failing:", 8) == 0)
		run_failing(mode + 8);
	else
		run_traced(recovery);
	judge();
	assert_int_equal(stop_broker(SIGTERM), 0);
	while (wait(NULL) > 0)
		;
	return 0;
}
