// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * device-broker: the authority in dom0. Options, one instance per state directory, privileges, the event loop; what the
 * broker does is in broker/io/broker.c, how it decides in broker/core/.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "broker/io/broker.h"
#include "broker/io/keep.h"
#include "broker/io/policy-files.h"
#include "broker/io/privilege.h"
#include "lib/base/base.h"
#include "lib/base/log.h"

#define SOCKET_CHANNEL "socket:"

struct options {
	const char *channel, *state_dir, *policy_dir, *socket, *group, *user;
	const char *recover, *help, *version; /* set when given */
};

static const struct option {
	const char *name, *value, *help; /* value NULL: takes none */
	size_t offset;
} option_table[] = {
	{"--channel", "xen|socket:DIR", "how qubes are reached (xen)", offsetof(struct options, channel)},
	{"--state-dir", "DIR", "audit log and state (/var/lib/device-broker)", offsetof(struct options, state_dir)},
	{"--policy-dir", "DIR", "the policy's files (" POLICY_DIRECTORY ")", offsetof(struct options, policy_dir)},
	{"--socket", "PATH", "the API's socket (/run/device-broker/admin.sock)", offsetof(struct options, socket)},
	{"--group", "NAME", "who may use that socket (qubes)", offsetof(struct options, group)},
	{"--user", "NAME", "account to run as (qdb-broker, if there is one)", offsetof(struct options, user)},
	{"--recover", NULL, "make what is kept usable again after damage, and end", offsetof(struct options, recover)},
	{"--help", NULL, "show this", offsetof(struct options, help)},
	{"--version", NULL, "show the version", offsetof(struct options, version)},
};

static void usage(FILE *to)
{
	(void)fprintf(to, "usage: device-broker [OPTION...]\n");
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
		const struct option *option = &option_table[i];

		(void)fprintf(to, "  %s %-*s %s\n", option->name, 28 - (int)strlen(option->name),
			      option->value ? option->value : "", option->help);
	}
}

/* "--name value" or "--name=value"; 0, or 1: not understood, and stderr says what. */
static int parse_options(int argc, char **argv, struct options *options)
{
	for (int i = 1; i < argc; i++) {
		const struct option *found = NULL;
		size_t len = strcspn(argv[i], "=");
		const char *value = argv[i][len] == '=' ? argv[i] + len + 1 : NULL;

		for (size_t o = 0; o < ARRAY_SIZE(option_table) && !found; o++)
			if (strlen(option_table[o].name) == len && strncmp(option_table[o].name, argv[i], len) == 0)
				found = &option_table[o];
		if (found && found->value && !value && i + 1 < argc)
			value = argv[++i];
		if (!found || !found->value != !value || (value && value[0] == '\0')) {
			(void)fprintf(stderr, "device-broker: %s: %s\n", argv[i],
				      found ? "takes no value, or needs one" : "no such option");
			usage(stderr);
			return 1;
		}
		*(const char **)(void *)((char *)options + found->offset) = value ? value : "";
	}
	return 0;
}

/* Ours, or the account's that we are about to become. */
static bool is_our_own(uid_t owner, const char *user)
{
	const struct passwd *account = geteuid() == 0 ? getpwnam(user) : NULL;

	return owner == geteuid() || (account && account->pw_uid == owner);
}

/* ST10: refuses a directory that others could write. */
static int open_state_dir(const char *path, const char *user)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int r = -errno;

		log_error("state directory %s: %s", path, strerror(-r));
		return r;
	}
	if (!is_our_own(st.st_uid, user) || st.st_mode & 022) {
		log_error("state directory %s: it must belong to the broker's account and be writable by no other",
			  path);
		return -EPERM;
	}
	return TAKE_FD(fd);
}

/* ST11: one broker per state directory. The fd holds the lock. */
static int take_lock(int state_dir)
{
	_cleanup_close_ int fd = openat(state_dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = -errno;
		log_error("%s",
			  r == -EWOULDBLOCK ? "another device-broker runs with this state directory" : strerror(-r));
		return r;
	}
	return TAKE_FD(fd);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info _unused_, void *userdata _unused_)
{
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

/* SIGTERM and SIGINT end the loop; what else a terminal or a careless script sends is ignored, a file limit is an error (SI01, SI02, ST07). */
static int set_up_signals(sd_event *event)
{
	static const int ignored[] = {SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ};
	sigset_t ends;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaddset(&ends, SIGINT);
	if (sigprocmask(SIG_BLOCK, &ends, NULL) < 0)
		return -errno;
	r = sd_event_add_signal(event, NULL, SIGTERM, on_signal, NULL);
	return r < 0 ? r : sd_event_add_signal(event, NULL, SIGINT, on_signal, NULL);
}

static void cleanup_event(sd_event **event)
{
	(void)sd_event_unref(*event);
}

static void cleanup_backend(struct channel_backend **backend)
{
	if (*backend)
		(void)channel_backend_free(*backend);
}

static void cleanup_broker(struct broker **broker)
{
	(void)broker_free(*broker);
}

static int run(const struct options *options)
{
	bool sockets = strncmp(options->channel, SOCKET_CHANNEL, strlen(SOCKET_CHANNEL)) == 0;
	const char *user = options->user ? options->user : "qdb-broker";
	_cleanup_close_ int state_dir = open_state_dir(options->state_dir, user);
	_cleanup_close_ int lock = state_dir < 0 ? state_dir : take_lock(state_dir);
	_cleanup_(cleanup_event) sd_event *event = NULL;
	_cleanup_(cleanup_backend) struct channel_backend *backend = NULL;
	_cleanup_(cleanup_broker) struct broker *broker = NULL;
	struct broker_config config = {
		.qubes_directory = sockets ? options->channel + strlen(SOCKET_CHANNEL) : NULL,
		.state_dir = state_dir,
		.policy_dir = options->policy_dir,
		.socket_path = options->socket,
		.group = options->group,
	};
	struct privilege_needs needs = {
		.user = user,
		.must_exist = options->user != NULL,
		.group = options->group,
		.socket_path = options->socket,
		.state_dir = state_dir,
		.xen = !sockets,
	};
	int r;

	if (lock < 0)
		return lock;
	r = sd_event_new(&event);
	if (r == 0)
		r = set_up_signals(event);
	if (r >= 0)
		r = channel_backend_new_from_text(options->channel, &backend);
	if (r < 0) {
		log_error("channel %s: %s", options->channel, strerror(-r));
		return r;
	}
	config.backend = backend;
	r = broker_new(event, &config, &broker);
	if (r == 0)
		r = privilege_drop(&needs);
	if (r == 0)
		r = broker_start(broker);
	if (r < 0)
		return r;
	log_notice("ready");
	(void)sd_notify(0, "READY=1");
	r = broker_run(broker);
	(void)sd_notify(0, "STOPPING=1");
	return r;
}

/* While no broker runs: what of the journal can be kept. */
static int recover(const struct options *options)
{
	const char *user = options->user ? options->user : "qdb-broker";
	_cleanup_close_ int state_dir = open_state_dir(options->state_dir, user);
	_cleanup_close_ int lock = state_dir < 0 ? state_dir : take_lock(state_dir);
	unsigned int n_kept = 0, n_lost = 0;
	int r = lock < 0 ? lock : keep_recover(state_dir, &n_kept, &n_lost);

	if (r == STORE_SOUND)
		(void)printf("nothing is damaged\n");
	else if (r == 0)
		(void)printf("%u records are there, %u lines were lost; the damaged file is kept beside\n", n_kept,
			     n_lost);
	else if (lock >= 0)
		log_error("what is kept could not be recovered: %s", strerror(-r));
	return r < 0 ? r : 0;
}

int main(int argc, char **argv)
{
	struct options options = {
		.channel = "xen",
		.state_dir = "/var/lib/device-broker",
		.policy_dir = POLICY_DIRECTORY,
		.socket = "/run/device-broker/admin.sock",
		.group = "qubes",
	};

	log_set_name("device-broker");
	if (parse_options(argc, argv, &options) != 0)
		return 2;
	if (options.help) {
		usage(stdout);
		return 0;
	}
	if (options.version) {
		(void)printf("device-broker %s\n", QDB_VERSION);
		return 0;
	}
	(void)close_range(3, ~0U, 0); /* SI07 */
	(void)umask(077);
	return (options.recover ? recover(&options) : run(&options)) < 0 ? 1 : 0;
}
