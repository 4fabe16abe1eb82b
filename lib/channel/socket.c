// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The back-end `socket`: for development and tests without a hypervisor. It copies what can be seen of libxenvchan: two
 * rings in shared memory, which stay readable after the other end has died, and wake-ups that are sent only when they
 * were asked for. So the capacity, the states and the order of events are those of the back-end `xen`.
 *
 *     DIRECTORY/<server>-<service, / as ->.ring   a page of indices, then both rings; complete when it has this name
 *     DIRECTORY/<server>-<service, / as ->.sock   the connection: its bytes are wake-ups, its end is the peer's end
 *
 * Who is who is what the address says: all ends belong to one user, and nobody here defends against the other beyond
 * what libxenvchan does (indices, sizes), but for SIGBUS when a peer truncates the file.
 *
 * Invariants: one client in the life of a server; the fd is an epoll set, so that it stays the same when the listening
 * socket is replaced by the connection, for poll and for epoll alike.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/base/base.h"
#include "lib/channel/backend.h"

#define PAGE 4096u
#define NAME_SIZE sizeof(((struct sockaddr_un *)NULL)->sun_path)

/* One ring's indices: free running, their difference is what is unread. */
struct ring_shared {
	_Atomic uint32_t prod;
	_Atomic uint32_t cons;
	_Atomic uint32_t wake_reader; /* the reader asked to be woken by the next write */
	_Atomic uint32_t wake_writer; /* the writer asked to be woken by the next read */
};

/* The first page of the file. */
struct shared {
	uint32_t client_domid;
	uint32_t size_to_server, size_to_client;
	_Atomic uint32_t claimed; /* by the one client */
	_Atomic uint32_t server_closed, client_closed;
	struct ring_shared to_server, to_client;
};
_Static_assert(sizeof(struct shared) <= PAGE, "indices fit into a page");

struct ring {
	struct ring_shared *shared;
	uint8_t *bytes;
	uint32_t size;
};

/* A server's file in memory, with the sizes that were checked. */
struct mapping {
	struct shared *shared; /* NULL: none */
	uint32_t to_server, to_client;
};

struct socket_channel {
	struct channel base;
	bool is_server;
	bool peer_gone; /* the connection has ended */
	int listener;   /* server before the client came, else -1 */
	int connection; /* -1 before */
	struct mapping map;
	struct ring read, write;
	char ring_path[NAME_SIZE], socket_path[NAME_SIZE]; /* server: to be removed at the end; else empty */
};

struct socket_backend {
	struct channel_backend base;
	char directory[NAME_SIZE];
};

static struct socket_channel *socket_of(const struct channel *channel)
{
	return (struct socket_channel *)(uintptr_t)channel; /* `base` is its first member */
}

/* Unread bytes; `otherwise` when the peer wrote nonsense. */
static uint32_t ring_used(const struct ring *ring, uint32_t otherwise)
{
	uint32_t untrusted_used = atomic_load(&ring->shared->prod) - atomic_load(&ring->shared->cons);

	return untrusted_used <= ring->size ? untrusted_used : otherwise;
}

static uint32_t ring_free(const struct ring *ring)
{
	return ring->size - ring_used(ring, ring->size);
}

static void ring_put(struct ring *ring, const uint8_t *bytes, uint32_t len)
{
	uint32_t prod = atomic_load_explicit(&ring->shared->prod, memory_order_relaxed);
	uint32_t at = prod & (ring->size - 1), first = ring->size - at < len ? ring->size - at : len;

	memcpy(ring->bytes + at, bytes, first);
	memcpy(ring->bytes, bytes + first, len - first);
	atomic_store(&ring->shared->prod, prod + len);
}

static void ring_get(struct ring *ring, uint8_t *bytes, uint32_t len)
{
	uint32_t cons = atomic_load_explicit(&ring->shared->cons, memory_order_relaxed);
	uint32_t at = cons & (ring->size - 1), first = ring->size - at < len ? ring->size - at : len;

	memcpy(bytes, ring->bytes + at, first);
	memcpy(bytes + first, ring->bytes, len - first);
	atomic_store(&ring->shared->cons, cons + len);
}

/* Wakes the peer if it asked for it. A full socket is one that has wake-ups enough. */
static void wake(const struct socket_channel *socket_channel, _Atomic uint32_t *asked)
{
	if (atomic_exchange(asked, 0) != 0 && socket_channel->connection >= 0)
		(void)send(socket_channel->connection, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static enum channel_link socket_link(const struct channel *channel)
{
	const struct socket_channel *self = socket_of(channel);

	if (self->listener >= 0)
		return CHANNEL_LINK_WAITING;
	if (self->peer_gone ||
	    atomic_load(self->is_server ? &self->map.shared->client_closed : &self->map.shared->server_closed))
		return CHANNEL_LINK_DOWN;
	return CHANNEL_LINK_UP;
}

static int socket_send(struct channel *channel, const void *bytes, size_t len)
{
	struct socket_channel *self = socket_of(channel);

	if (socket_link(channel) == CHANNEL_LINK_DOWN)
		return -EPIPE;
	if (ring_free(&self->write) < len) {
		atomic_store(&self->write.shared->wake_writer, 1);
		if (ring_free(&self->write) < len)
			return 0;
	}
	ring_put(&self->write, bytes, (uint32_t)len);
	wake(self, &self->write.shared->wake_reader);
	return 1;
}

static ssize_t socket_receive(struct channel *channel, void *untrusted_bytes, size_t len)
{
	struct socket_channel *self = socket_of(channel);
	bool down = socket_link(channel) == CHANNEL_LINK_DOWN; /* before the ring, so that nothing is missed */
	uint32_t used = ring_used(&self->read, 0);

	if (used < len) {
		atomic_store(&self->read.shared->wake_reader, 1);
		used = ring_used(&self->read, 0);
	}
	if (used == 0)
		return down ? -EPIPE : 0;
	if (len > used)
		len = used;
	ring_get(&self->read, untrusted_bytes, (uint32_t)len);
	wake(self, &self->read.shared->wake_writer);
	return (ssize_t)len;
}

static size_t socket_space(const struct channel *channel, size_t wanted)
{
	const struct socket_channel *self = socket_of(channel);
	size_t space = ring_free(&self->write);

	if (space < wanted && space < self->write.size)
		atomic_store(&self->write.shared->wake_writer, 1);
	return ring_free(&self->write);
}

static bool socket_pending(const struct channel *channel)
{
	return ring_used(&socket_of(channel)->read, 0) > 0;
}

static int watch(int epoll, int operation, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(epoll, operation, fd, &event) < 0 ? -errno : 0;
}

/* The listening socket gives way to the connection. */
static int socket_accept(struct socket_channel *self)
{
	int r;

	self->connection = accept4(self->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (self->connection < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
	r = watch(self->base.fd, EPOLL_CTL_ADD, self->connection);
	if (r < 0)
		return r;
	(void)watch(self->base.fd, EPOLL_CTL_DEL, self->listener);
	(void)close(self->listener);
	self->listener = -1;
	return 0;
}

static int socket_take_wakeup(struct channel *channel)
{
	struct socket_channel *self = socket_of(channel);
	char wakeups[256];
	ssize_t n;
	int r;

	if (self->listener >= 0) {
		r = socket_accept(self);
		if (r < 0 || self->listener >= 0)
			return r;
	}
	if (self->peer_gone)
		return 0;
	do {
		n = recv(self->connection, wakeups, sizeof(wakeups), MSG_DONTWAIT);
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		self->peer_gone = true;
		return watch(self->base.fd, EPOLL_CTL_DEL, self->connection); /* one wake-up for it, not for ever */
	}
	return 0;
}

static size_t mapping_length(const struct mapping *map)
{
	return PAGE + (size_t)map->to_server + map->to_client;
}

static void cleanup_mapping(const struct mapping *map)
{
	if (map->shared)
		(void)munmap(map->shared, mapping_length(map));
}

static void socket_close(struct channel *channel)
{
	struct socket_channel *self = socket_of(channel);

	if (self->map.shared)
		atomic_store(self->is_server ? &self->map.shared->server_closed : &self->map.shared->client_closed, 1);
	cleanup_mapping(&self->map);
	if (self->socket_path[0])
		(void)unlink(self->socket_path);
	if (self->ring_path[0])
		(void)unlink(self->ring_path);
	cleanup_close(&self->connection);
	cleanup_close(&self->listener);
	cleanup_close(&self->base.fd);
}

static const struct channel_ops socket_ops = {
	.link = socket_link,
	.send = socket_send,
	.receive = socket_receive,
	.space = socket_space,
	.pending = socket_pending,
	.take_wakeup = socket_take_wakeup,
	.close = socket_close,
};

static void cleanup_channel(struct socket_channel **self)
{
	if (*self)
		channel_free(&(*self)->base);
}

/* A channel with its epoll set and nothing else. */
static int socket_channel_new(bool is_server, uint32_t write_ring, struct socket_channel **ret_channel)
{
	_cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct socket_channel *self;
	int r;

	if (epoll < 0)
		return -errno;
	self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	r = channel_init(&self->base, &socket_ops, epoll, write_ring, is_server ? CHANNEL_WAITING : CHANNEL_OPEN);
	if (r < 0) {
		free(self);
		return r;
	}
	self->base.fd = TAKE_FD(epoll);
	self->is_server = is_server;
	self->listener = -1;
	self->connection = -1;
	*ret_channel = self;
	return 0;
}

/* Gives `map` to the channel. */
static void socket_set_rings(struct socket_channel *self, struct mapping *map)
{
	uint8_t *bytes = (uint8_t *)map->shared + PAGE;
	struct ring server_ring = {&map->shared->to_server, bytes, map->to_server};
	struct ring client_ring = {&map->shared->to_client, bytes + map->to_server, map->to_client};

	self->map = TAKE(*map, (struct mapping){0});
	self->read = self->is_server ? server_ring : client_ring;
	self->write = self->is_server ? client_ring : server_ring;
}

static int make_path(const struct channel_backend *backend, const struct channel_address *address, const char *suffix,
		     char ret_path[NAME_SIZE])
{
	const struct socket_backend *self = (const struct socket_backend *)backend;
	char service[CHANNEL_SERVICE_MAX];
	int len;

	for (size_t i = 0; i < sizeof(service); i++)
		service[i] = address->service[i] == '/' ? '-' : address->service[i];
	len = snprintf(ret_path, NAME_SIZE, "%s/%u-%s%s", self->directory, address->server_domid, service, suffix);
	return len < 0 || (size_t)len >= NAME_SIZE ? -ENAMETOOLONG : 0;
}

static int unix_socket(int (*act)(int, const struct sockaddr *, socklen_t), const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un name = {.sun_family = AF_UNIX};

	if (fd < 0)
		return -errno;
	memcpy(name.sun_path, path, strlen(path));
	if (act(fd, (const struct sockaddr *)&name, sizeof(name)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Makes the file of a server under its working name and maps it. `map` has the sizes. */
static int make_shared(const char *path, uint32_t client_domid, struct mapping *map)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct shared *shared;

	if (fd < 0 || ftruncate(fd, (off_t)mapping_length(map)) < 0)
		return -errno;
	shared = mmap(NULL, mapping_length(map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		return -errno;
	shared->client_domid = client_domid;
	shared->size_to_server = map->to_server;
	shared->size_to_client = map->to_client;
	atomic_store(&shared->to_server.wake_reader, 1);
	atomic_store(&shared->to_client.wake_reader, 1);
	map->shared = shared;
	return 0;
}

static int socket_listen(struct channel_backend *backend, const struct channel_address *address,
			 const struct channel_rings *rings, struct channel **ret_channel)
{
	_cleanup_(cleanup_channel) struct socket_channel *self = NULL;
	_cleanup_(cleanup_mapping) struct mapping map = {NULL, rings->read, rings->write};
	char working_path[NAME_SIZE], ring_path[NAME_SIZE], socket_path[NAME_SIZE];
	int r;

	if (make_path(backend, address, ".new", working_path) < 0 ||
	    make_path(backend, address, ".ring", ring_path) < 0 ||
	    make_path(backend, address, ".sock", socket_path) < 0)
		return -ENAMETOOLONG;
	r = socket_channel_new(true, rings->write, &self);
	if (r < 0)
		return r;
	r = unix_socket(bind, socket_path, &self->listener);
	if (r < 0)
		return r;
	memcpy(self->socket_path, socket_path, NAME_SIZE);
	if (listen(self->listener, 1) < 0)
		return -errno;
	r = watch(self->base.fd, EPOLL_CTL_ADD, self->listener);
	if (r < 0)
		return r;
	memcpy(self->ring_path, working_path, NAME_SIZE);
	r = make_shared(working_path, address->client_domid, &map);
	if (r < 0)
		return r;
	socket_set_rings(self, &map);
	if (rename(working_path, ring_path) < 0)
		return -errno;
	memcpy(self->ring_path, ring_path, NAME_SIZE);
	*ret_channel = &TAKE_PTR(self)->base;
	return 0;
}

/* Maps a server's file: 0, CHANNEL_NOT_YET, CHANNEL_REFUSED, or a negative errno. The sizes are read once. */
static int map_shared(const char *path, struct mapping *ret_map)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct shared untrusted_head;
	struct mapping map;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? CHANNEL_NOT_YET : errno == EACCES ? CHANNEL_REFUSED : -errno;
	if (pread(fd, &untrusted_head, sizeof(untrusted_head), 0) != sizeof(untrusted_head) || fstat(fd, &st) < 0)
		return CHANNEL_REFUSED;
	map.to_server = untrusted_head.size_to_server;
	map.to_client = untrusted_head.size_to_client;
	if (!channel_ring_is_valid(map.to_server) || !channel_ring_is_valid(map.to_client) ||
	    st.st_size != (off_t)mapping_length(&map))
		return CHANNEL_REFUSED;
	map.shared = mmap(NULL, mapping_length(&map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map.shared == MAP_FAILED)
		return -errno;
	*ret_map = map;
	return 0;
}

static int socket_connect(struct channel_backend *backend, const struct channel_address *address,
			  struct channel_rings *ret_untrusted_rings, struct channel **ret_channel)
{
	_cleanup_(cleanup_channel) struct socket_channel *self = NULL;
	_cleanup_(cleanup_mapping) struct mapping map = {0};
	char ring_path[NAME_SIZE], socket_path[NAME_SIZE];
	uint32_t unclaimed = 0;
	int r;

	if (make_path(backend, address, ".ring", ring_path) < 0 ||
	    make_path(backend, address, ".sock", socket_path) < 0)
		return -ENAMETOOLONG;
	r = map_shared(ring_path, &map);
	if (r != 0)
		return r;
	r = socket_channel_new(false, map.to_server, &self);
	if (r < 0)
		return r;
	if (map.shared->client_domid != address->client_domid ||
	    !atomic_compare_exchange_strong(&map.shared->claimed, &unclaimed, 1))
		return CHANNEL_REFUSED;
	*ret_untrusted_rings = (struct channel_rings){.read = map.to_server, .write = map.to_client};
	socket_set_rings(self, &map);
	r = unix_socket(connect, socket_path, &self->connection);
	if (r < 0)
		return r == -ECONNREFUSED || r == -ENOENT ? CHANNEL_REFUSED : r; /* left behind by a killed server */
	r = watch(self->base.fd, EPOLL_CTL_ADD, self->connection);
	if (r < 0)
		return r;
	*ret_channel = &TAKE_PTR(self)->base;
	return 0;
}

static int socket_remove_leftovers(struct channel_backend *backend, const struct channel_address *address)
{
	static const char *const suffixes[] = {".ring", ".sock", ".new"};
	char path[NAME_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (make_path(backend, address, suffixes[i], path) < 0)
			return -ENAMETOOLONG;
		if (unlink(path) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

int channel_backend_new_socket(const char *directory, struct channel_backend **ret_backend)
{
	struct socket_backend *backend;
	struct stat st;

	if (stat(directory, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (strlen(directory) >= sizeof(backend->directory))
		return -ENAMETOOLONG;
	backend = calloc(1, sizeof(*backend));
	if (!backend)
		return -ENOMEM;
	backend->base = (struct channel_backend){
		.listen = socket_listen, .connect = socket_connect, .remove_leftovers = socket_remove_leftovers};
	memcpy(backend->directory, directory, strlen(directory));
	*ret_backend = &backend->base;
	return 0;
}
