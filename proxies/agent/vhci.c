/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhci_hcd's control files: `status` (and `status.1`, `status.2`, ... one per further controller), `attach`, `detach`,
 * all in the first controller's folder. Reading and writing them does not wait for any device.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/wire/messages.h"
#include "proxies/agent/launch.h"
#include "proxies/agent/vhci.h"

#define VHCI_FOLDER "/sys/devices/platform/vhci_hcd.0/"
#define VHCI_INITSTATE "/sys/module/vhci_hcd/initstate"
#define MODPROBE_USEC (10 * USEC_PER_SEC)
#define STATUS_SIZE 8192u /* a sysfs file is one page; 62 lines of less than 66 bytes */

/* One field: up to white space. NULL at the end of the line. */
static const char *next_field(char **line)
{
	char *field = *line + strspn(*line, " \t");

	*line = field + strcspn(field, " \t");
	if (**line != '\0')
		*(*line)++ = '\0';
	return *field == '\0' ? NULL : field;
}

/* Digits of `base`, any width up to 16; leading zeros are the file's own. */
static bool to_number(const char *field, int base, uint64_t max, uint64_t *ret_value)
{
	static const char digits[] = "0123456789abcdef";

	if (field == NULL || *field == '\0' || strlen(field) > 16 || field[strspn(field, digits)] != '\0' ||
	    (base == 10 && field[strspn(field, "0123456789")] != '\0'))
		return false;
	*ret_value = strtoull(field, NULL, base);
	return *ret_value <= max;
}

/* "hs  0001 006 003 00020003 000004 1-2": hub, port, state, speed, devid, socket, bus id. */
static bool parse_line(char *line, struct vhci_port *ret_port)
{
	const char *hub = next_field(&line);
	uint64_t number, state, speed, devid;

	if (hub == NULL || (strcmp(hub, "hs") != 0 && strcmp(hub, "ss") != 0))
		return false;
	if (!to_number(next_field(&line), 10, VHCI_MAX_PORTS - 1, &number) ||
	    !to_number(next_field(&line), 10, UINT8_MAX, &state) ||
	    !to_number(next_field(&line), 10, UINT8_MAX, &speed) ||
	    !to_number(next_field(&line), 16, UINT32_MAX, &devid))
		return false;
	*ret_port = (struct vhci_port){
		.number = (uint16_t)number,
		.super = hub[0] == 's',
		.state = (uint8_t)state,
		.devid = (uint32_t)devid,
	};
	(void)next_field(&line);
	const char *busid = next_field(&line);

	if (state == VHCI_PORT_USED && busid != NULL && strlen(busid) < LIMIT_PORT_TEXT && text_is_usb_port(busid))
		(void)snprintf(ret_port->busid, sizeof(ret_port->busid), "%s", busid);
	return true;
}

void vhci_parse(struct vhci_status *status, uint8_t controller, const char *text, size_t len)
{
	while (len > 0 && status->n_ports < VHCI_MAX_PORTS) {
		const char *newline = memchr(text, '\n', len);
		size_t line_len = newline == NULL ? len : (size_t)(newline - text);
		size_t used = newline == NULL ? len : line_len + 1;
		struct vhci_port port;
		char line[128] = {0};

		if (line_len < sizeof(line)) {
			memcpy(line, text, line_len);
			if (parse_line(line, &port) && vhci_find(status, port.number) == NULL) {
				port.controller = controller;
				status->ports[status->n_ports++] = port;
			}
		}
		text += used;
		len -= used;
	}
}

const struct vhci_port *vhci_find(const struct vhci_status *status, uint16_t number)
{
	for (size_t i = 0; i < status->n_ports; i++)
		if (status->ports[i].number == number)
			return &status->ports[i];
	return NULL;
}

const struct vhci_port *vhci_choose(const struct vhci_status *status, uint8_t speed,
				    const bool reserved[VHCI_MAX_PORTS])
{
	size_t n_used[VHCI_MAX_CONTROLLERS] = {0};
	const struct vhci_port *best = NULL;
	bool super = speed >= WIRE_SPEED_SUPER;

	for (size_t i = 0; i < status->n_ports; i++)
		if (status->ports[i].state != VHCI_PORT_FREE || reserved[status->ports[i].number])
			n_used[status->ports[i].controller % VHCI_MAX_CONTROLLERS]++;
	for (size_t i = 0; i < status->n_ports; i++) {
		const struct vhci_port *port = &status->ports[i];
		size_t n = n_used[port->controller % VHCI_MAX_CONTROLLERS];

		if (port->state != VHCI_PORT_FREE || reserved[port->number] || port->super != super)
			continue;
		if (best == NULL || n < n_used[best->controller % VHCI_MAX_CONTROLLERS] ||
		    (n == n_used[best->controller % VHCI_MAX_CONTROLLERS] && port->number < best->number))
			best = port;
	}
	return best;
}

/* Bytes read, or a negative errno. */
static ssize_t read_file(const char *path, char *buffer, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < size) {
		ssize_t n = read(fd, buffer + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* One that is built in has no such file. */
static bool is_being_loaded(void)
{
	char state[16] = "";

	return read_file(VHCI_INITSTATE, state, sizeof(state) - 1) > 0 && strncmp(state, "live", strlen("live")) != 0;
}

bool vhci_present(void)
{
	return access(VHCI_FOLDER "attach", F_OK) == 0 && !is_being_loaded();
}

static int write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = write(fd, text, strlen(text));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int vhci_read(struct vhci_status *ret_status)
{
	char text[STATUS_SIZE];

	ret_status->n_ports = 0;
	for (unsigned int i = 0; i < VHCI_MAX_CONTROLLERS; i++) {
		char path[sizeof(VHCI_FOLDER) + 16] = VHCI_FOLDER "status";
		ssize_t n;

		if (i > 0)
			(void)snprintf(path, sizeof(path), VHCI_FOLDER "status.%u", i);
		n = read_file(path, text, sizeof(text));
		if (n == -ENOENT)
			return i == 0 ? VHCI_ABSENT : 0;
		if (n < 0)
			return (int)n;
		vhci_parse(ret_status, (uint8_t)i, text, (size_t)n);
	}
	return 0;
}

/* Kernels before SuperSpeedPlus was known to vhci_hcd refuse it; its root hub has 5 Gbit/s in all. */
static int write_attach(uint16_t port, int fd, uint32_t devid, uint8_t speed)
{
	char line[64];
	int r;

	(void)snprintf(line, sizeof(line), "%u %d %u %u", port, fd, devid, speed);
	r = write_file(VHCI_FOLDER "attach", line);
	if (r == -EINVAL && speed == WIRE_SPEED_SUPER_PLUS)
		return write_attach(port, fd, devid, WIRE_SPEED_SUPER);
	return r;
}

int vhci_attach(int fd, uint8_t speed, uint32_t devid, bool reserved[VHCI_MAX_PORTS], uint16_t *ret_port)
{
	static struct vhci_status status; /* 100 KiB, and the agent has one thread */
	bool refused[VHCI_MAX_PORTS];
	int r = vhci_read(&status);

	if (r != 0)
		return r;
	memcpy(refused, reserved, sizeof(refused));
	for (;;) {
		const struct vhci_port *port = vhci_choose(&status, speed, refused);

		if (port == NULL)
			return VHCI_NO_PORT;
		r = write_attach(port->number, fd, devid, speed);
		if (r == 0) {
			reserved[port->number] = true;
			*ret_port = port->number;
			return 0;
		}
		if (r == -EINVAL)
			return VHCI_REFUSED;
		if (r != -EBUSY)
			return r;
		refused[port->number] = true; /* taken since the status was read */
	}
}

int vhci_detach(uint16_t port)
{
	char line[16];
	int r;

	(void)snprintf(line, sizeof(line), "%u", port);
	r = write_file(VHCI_FOLDER "detach", line);
	return r == -EINVAL ? 0 : r;
}

size_t vhci_detach_all(void)
{
	static struct vhci_status status;
	size_t n = 0;

	if (vhci_read(&status) != 0)
		return 0;
	for (size_t i = 0; i < status.n_ports; i++) {
		const struct vhci_port *port = &status.ports[i];
		/* A controller that is not ready shows its ports as connecting, with no device. */
		bool attached =
			port->state == VHCI_PORT_USED || (port->state == VHCI_PORT_CONNECTING && port->devid != 0);

		n += attached && vhci_detach(port->number) == 0;
	}
	return n;
}

bool vhci_device_exists(const char *busid)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/sys/bus/usb/devices/%s", busid);
	return busid[0] != '\0' && access(path, F_OK) == 0;
}

void vhci_prepare(void)
{
	static const char *const modprobe[] = {"/sbin/modprobe", "-q", "vhci-hcd", NULL};
	size_t n;
	int r = vhci_present() ? 0 : launch_and_wait(modprobe, MODPROBE_USEC);

	if (!vhci_present()) {
		log_notice("no vhci_hcd in this kernel (modprobe: %s): this qube takes no USB devices of others",
			   r < 0 ? strerror(-r) : "no such module");
		return;
	}
	n = vhci_detach_all();
	if (n > 0)
		log_notice("detached %zu devices that an earlier agent had left", n);
}
