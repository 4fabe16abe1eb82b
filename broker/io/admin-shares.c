/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See admin-shares.h. */
#include "broker/io/admin-shares.h"

#include <string.h>

#include "broker/io/clock.h"
#include "lib/base/log.h"

static bool is_of_qube(const struct connection *connection)
{
	return connection->qube[0] != '\0';
}

static bool is_same_owner(const struct connection *a, const struct connection *b)
{
	return is_of_qube(a) ? strcmp(a->qube, b->qube) == 0 : a->uid == b->uid && !is_of_qube(b);
}

/* Those that listen (a GUI domain has one for each qube that it shows), or the others. */
static size_t count(const struct connection *like, bool listening)
{
	const struct admin *admin = like->admin;
	size_t n = 0;

	for (size_t i = 0; i < admin->n_connections; i++)
		n += (admin->connections[i]->state == LISTENING) == listening &&
		     is_same_owner(like, admin->connections[i]);
	return n;
}

static size_t count_own(const struct connection *like)
{
	return count(like, false) + count(like, true);
}

/* The oldest of its owner's in that state, but not itself; NULL: there is none. */
static struct connection *find_oldest(const struct connection *like, enum connection_state state)
{
	const struct admin *admin = like->admin;

	for (size_t i = 0; i < admin->n_connections; i++) {
		struct connection *connection = admin->connections[i];

		if (connection != like && connection->state == state && is_same_owner(like, connection))
			return connection;
	}
	return NULL;
}

static bool give_way(struct connection *connection)
{
	if (!connection)
		return false;
	log_debug("admin: " CLIENT " gives way: too many connections", CLIENT_OF(connection));
	(void)connection_free(connection);
	return true;
}

/* ---- connections -------------------------------------------------------------------------------------------------- */

bool admin_share_evict(struct admin *admin)
{
	for (size_t i = 0; i < admin->n_connections; i++)
		if (admin->connections[i]->state == READING)
			return give_way(admin->connections[i]);
	return false;
}

bool admin_share_new(struct admin *admin, uid_t uid)
{
	const struct connection like = {.admin = admin, .uid = uid};
	bool full = admin->n_connections >= LIMIT_ADMIN_CONNECTIONS;

	if ((full || count_own(&like) >= LIMIT_ADMIN_PER_UID) && give_way(find_oldest(&like, READING)))
		return true;
	return count_own(&like) < LIMIT_ADMIN_PER_UID && (!full || admin_share_evict(admin));
}

/* One connection of the qube that has most; NULL: none has more than `n_own`. */
static const struct connection *find_greediest(const struct admin *admin, size_t n_own)
{
	const struct connection *greediest = NULL;

	for (size_t i = 0; i < admin->n_connections; i++) {
		const struct connection *connection = admin->connections[i];
		size_t n = is_of_qube(connection) ? count_own(connection) : 0;

		if (n > n_own) {
			greediest = connection;
			n_own = n;
		}
	}
	return greediest;
}

/* What costs it least first. */
static bool take_from(const struct connection *one_of_them)
{
	const struct connection copy = *one_of_them, *like = &copy; /* which is none of those that may go */
	static const enum connection_state order[] = {READING, WRITING, LISTENING, VERIFYING, WAITING};
	struct connection *first = NULL;

	for (size_t i = 0; !first && i < ARRAY_SIZE(order); i++)
		first = find_oldest(like, order[i]);
	return give_way(first);
}

bool admin_share_place(const struct connection *connection)
{
	const struct admin *admin = connection->admin;
	const struct connection *greediest;
	size_t n_own = count_own(connection), n_all = 0;

	if (!is_of_qube(connection))
		return true;
	if (count(connection, false) > LIMIT_ADMIN_PER_QUBE)
		return give_way(find_oldest(connection, READING));
	for (size_t i = 0; i < admin->n_connections; i++)
		n_all += is_of_qube(admin->connections[i]);
	if (n_all <= LIMIT_ADMIN_QUBES)
		return true;
	greediest = find_greediest(admin, n_own);
	return greediest && take_from(greediest);
}

bool admin_share_listener(const struct connection *connection)
{
	return !is_of_qube(connection) || count(connection, true) < LIMIT_ADMIN_LISTENERS;
}

/* ---- replies ------------------------------------------------------------------------------------------------------ */

static bool shares(const struct connection *like, const struct connection *other, bool all)
{
	return all ? is_of_qube(like) == is_of_qube(other) : is_same_owner(like, other);
}

/* Bytes that the owner of `like`, or all qubes, or all users, have not read. */
static size_t unread(const struct connection *like, bool all)
{
	const struct admin *admin = like->admin;
	size_t len = 0;

	for (size_t i = 0; i < admin->n_connections; i++)
		if (admin->connections[i]->state == WRITING && shares(like, admin->connections[i], all))
			len += admin->connections[i]->len - admin->connections[i]->done;
	return len;
}

/* False: there is none. */
static bool drop_reply(const struct connection *like, bool all)
{
	const struct admin *admin = like->admin;

	for (size_t i = 0; i < admin->n_connections; i++) {
		struct connection *connection = admin->connections[i];

		if (connection->state != WRITING || !shares(like, connection, all))
			continue;
		if (admin_share_line(connection))
			log_notice("admin: " CLIENT " does not read its reply, and more are waiting; it is dropped",
				   CLIENT_OF(connection));
		(void)connection_free(connection);
		return true;
	}
	return false;
}

void admin_share_unread(const struct connection *reader, size_t len)
{
	static const size_t most[] = {LIMIT_ADMIN_UNREAD, LIMIT_ADMIN_UNREAD_ALL};

	for (size_t all = 0; all < ARRAY_SIZE(most); all++)
		while (unread(reader, all) + len > most[all] && drop_reply(reader, all))
			continue;
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

/* Beyond LIMIT_QUBES names that which was used longest ago is forgotten. */
static struct admin_rates *find_rates(struct admin *admin, const char *qube, uint64_t now_usec)
{
	struct admin_rates *place = &admin->rates[0];

	for (size_t i = 0; i < LIMIT_QUBES; i++) {
		struct admin_rates *rates = &admin->rates[i];

		if (strcmp(rates->qube, qube) == 0)
			return rates;
		if (rates->calls.last_usec < place->calls.last_usec)
			place = rates;
	}
	(void)strcpy(place->qube, qube);
	rate_init(&place->calls, LIMIT_ADMIN_CALLS_PER_SEC, LIMIT_ADMIN_CALLS_BURST, now_usec);
	rate_init(&place->seldom, LIMIT_ADMIN_SELDOM_PER_SEC, LIMIT_ADMIN_SELDOM_BURST, now_usec);
	rate_init(&place->lines, LIMIT_ADMIN_SELDOM_PER_SEC, LIMIT_ADMIN_SELDOM_BURST, now_usec);
	return place;
}

bool admin_share_call(struct admin *admin, const char *qube, bool seldom, uint64_t now_usec)
{
	struct admin_rates *rates = find_rates(admin, qube, now_usec);

	return rate_take(&rates->calls, 1, now_usec) && (!seldom || rate_take(&rates->seldom, 1, now_usec));
}

bool admin_share_line(const struct connection *connection)
{
	uint64_t now_usec = clock_now_usec();

	return !is_of_qube(connection) ||
	       rate_take(&find_rates(connection->admin, connection->qube, now_usec)->lines, 1, now_usec);
}
