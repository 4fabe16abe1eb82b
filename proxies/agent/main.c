/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device-agent: the broker's hand in a qube. Root, small, and never on a path of data: it tells the broker which devices
 * there are, opens the one that the broker names, and starts the unprivileged proxies that carry its bytes.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/wire/messages.h"
#include "proxies/agent/agent.h"

#define DOMID_MAX 0x7fefu /* Xen: below DOMID_FIRST_RESERVED */
#define MAX_FDS 1024u     /* six per session, and the proxies inherit it */
#define EXIT_USAGE 2

struct options {
	const char *channel;
	bool has_own;
	uint16_t own;
	uint16_t roles;
	char proxy_dir[4096];
	const char *user, *sound_dir;
};

static const char usage_text[] =
	"Usage: device-agent [OPTION]...\n"
	"Tells the device broker which devices this qube has, and attaches devices of other qubes.\n"
	"\n"
	"  --channel xen|socket:DIR  how to reach other qubes (default: xen)\n"
	"  --own DOMID               this qube's domain id (default with xen: from xenstore)\n"
	"  --roles ROLE[,ROLE]       export: offer devices; import: be a target, as far as there is what it takes\n"
	"                            (default: both)\n"
	"  --proxy-dir DIR           where the proxies are (default: as installed, or beside device-agent)\n"
	"  --user NAME               the account that proxies run as (default: qdb-proxy)\n"
	"  --sound-dir DIR           where users' sound servers are, each as DIR/UID/pulse/native (default: "
	"/run/user);\n"
	"                            none: no microphones and speakers\n"
	"  --help, --version\n";

static bool set_channel(struct options *options, const char *value)
{
	options->channel = value;
	return true;
}

static bool set_own(struct options *options, const char *value)
{
	uint64_t own;

	if (text_to_u64(value, DOMID_MAX, &own) < 0)
		return false;
	options->own = (uint16_t)own;
	options->has_own = true;
	return true;
}

static bool set_roles(struct options *options, const char *value)
{
	static const struct {
		const char *text;
		uint16_t roles;
	} roles[] = {
		{"export", WIRE_ROLE_EXPORT},
		{"import", WIRE_ROLES & ~WIRE_ROLE_EXPORT},
		{"export,import", WIRE_ROLES},
		{"import,export", WIRE_ROLES},
	};

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		if (strcmp(value, roles[i].text) == 0) {
			options->roles = roles[i].roles;
			return true;
		}
	return false;
}

static bool set_proxy_dir(struct options *options, const char *value)
{
	return snprintf(options->proxy_dir, sizeof(options->proxy_dir), "%s", value) < (int)sizeof(options->proxy_dir);
}

static bool set_user(struct options *options, const char *value)
{
	options->user = value;
	return true;
}

static bool set_sound_dir(struct options *options, const char *value)
{
	options->sound_dir = strcmp(value, "none") == 0 ? NULL : value;
	return value[0] == '/' || !options->sound_dir;
}

static bool show_help(_unused_ struct options *options, _unused_ const char *value)
{
	(void)fputs(usage_text, stdout);
	exit(EXIT_SUCCESS);
}

static bool show_version(_unused_ struct options *options, _unused_ const char *value)
{
	(void)puts("device-agent " QDB_VERSION);
	exit(EXIT_SUCCESS);
}

static const struct {
	const char *name;
	int has_value;
	bool (*set)(struct options *options, const char *value);
} option_table[] = {
	{"channel", required_argument, set_channel},
	{"own", required_argument, set_own},
	{"roles", required_argument, set_roles},
	{"proxy-dir", required_argument, set_proxy_dir},
	{"user", required_argument, set_user},
	{"sound-dir", required_argument, set_sound_dir},
	{"help", no_argument, show_help},
	{"version", no_argument, show_version},
};

static bool parse_options(int argc, char **argv, struct options *options)
{
	struct option longs[ARRAY_SIZE(option_table) + 1] = {0};
	int i, c;

	for (size_t j = 0; j < ARRAY_SIZE(option_table); j++)
		longs[j] = (struct option){option_table[j].name, option_table[j].has_value, NULL, (int)j};
	while ((c = getopt_long(argc, argv, "", longs, &i)) != -1) {
		if (c == '?')
			return false;
		if (!option_table[c].set(options, optarg)) {
			(void)fprintf(stderr, "device-agent: bad value for --%s\n", option_table[c].name);
			return false;
		}
	}
	return optind == argc;
}

/* audio-proxy, which dom0 has too, is beside this very program in a build tree, in ../lib/device-broker when installed. */
static void find_proxies(struct options *options)
{
	static const char *const places[] = {".", "../lib/device-broker"};
	char self[sizeof(options->proxy_dir) - 64], path[sizeof(options->proxy_dir)];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n < 0 ? 0 : n] = '\0';
	slash = strrchr(self, '/');
	if (slash != NULL)
		*slash = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s/audio-proxy", self, places[i]);
		if (access(path, X_OK) != 0)
			continue;
		(void)snprintf(options->proxy_dir, sizeof(options->proxy_dir), "%s/%s", self, places[i]);
		return;
	}
}

static void limit_resources(void)
{
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	(void)setrlimit(RLIMIT_NOFILE, &(struct rlimit){MAX_FDS, MAX_FDS});
}

static int on_signal(_unused_ sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	static bool stopping;

	if (stopping)
		return 0;
	stopping = true;
	log_notice("stopping on signal %u", info->ssi_signo);
	(void)sd_notify(false, "STOPPING=1");
	agent_stop(userdata);
	return 0;
}

/* Signals come through the loop; a broken pipe is an error of its write. */
static int prepare_signals(void)
{
	static const int ignored[] = {SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM};
	sigset_t blocked;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (signal(ignored[i], SIG_IGN) == SIG_ERR)
			return -errno;
	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGTERM);
	(void)sigaddset(&blocked, SIGINT);
	(void)sigaddset(&blocked, SIGCHLD);
	return sigprocmask(SIG_SETMASK, &blocked, NULL) < 0 ? -errno : 0;
}

static void cleanup_agent(struct agent **agent)
{
	(void)agent_free(*agent);
}

static void cleanup_publisher(struct publisher **publisher)
{
	(void)publisher_free(*publisher);
}

static void cleanup_backend(struct channel_backend **backend)
{
	(void)channel_backend_free(*backend);
}

static void cleanup_event(sd_event **event)
{
	(void)sd_event_unref(*event);
}

/* Runs until it is told to stop. 0 or a negative errno. */
static int run(const struct options *options)
{
	_cleanup_(cleanup_event) sd_event *event = NULL;
	_cleanup_(cleanup_backend) struct channel_backend *backend = NULL;
	_cleanup_(cleanup_publisher) struct publisher *publisher = NULL;
	_cleanup_(cleanup_agent) struct agent *agent = NULL;
	int r = sd_event_default(&event);

	if (r >= 0)
		r = channel_backend_new_from_text(options->channel, &backend);
	if (r >= 0)
		r = publisher_new(options->channel, options->own, &publisher);
	if (r < 0)
		return r;
	const struct agent_settings settings = {
		.event = event,
		.backend = backend,
		.publisher = publisher,
		.launch =
			{
				.proxy_dir = options->proxy_dir,
				.user = options->user,
				.channel = options->channel,
				.own = options->own,
			},
		.roles = options->roles,
		.sound_dir = options->sound_dir,
	};

	r = agent_new(&settings, &agent);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGTERM, on_signal, agent);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGINT, on_signal, agent);
	if (r >= 0)
		r = sd_event_set_watchdog(event, true);
	if (r < 0)
		return r;
	(void)sd_notify(false, "READY=1");
	return sd_event_loop(event);
}

int main(int argc, char **argv)
{
	static struct options options = {
		.channel = "xen",
		.roles = WIRE_ROLES,
		.user = "qdb-proxy",
		.sound_dir = "/run/user",
	};
	int r;

	log_set_name("device-agent");
	(void)close_range(STDERR_FILENO + 1, UINT_MAX, 0); /* an fd left open here would outlive its purpose */
	find_proxies(&options);
	if (!parse_options(argc, argv, &options)) {
		(void)fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	limit_resources();
	r = prepare_signals();
	if (r == 0 && !options.has_own)
		r = strcmp(options.channel, "xen") == 0 ? publish_xen_domid(&options.own) : -EINVAL;
	if (r < 0) {
		log_error("cannot find this qube's domain id (give --own): %s", strerror(-r));
		return EXIT_FAILURE;
	}
	r = run(&options);
	if (r < 0)
		log_error("cannot run: %s", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
