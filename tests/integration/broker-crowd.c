// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Many qubes for test-scale.py: their files in the directory of the `socket` channels, an agent each, devices shared
 * out among them, of which every other has no name and must be looked up in usb.ids, and one qube "target" that imports. Agents do what they are asked at once. Ends with SIGTERM.
 *
 *     broker-crowd DIR QUBES DEVICES
 */
#include "tests/integration/played-agents.h"

static struct agent crowd[LIMIT_QUBES];
static unsigned int n_devices[LIMIT_QUBES];

static void say_crowd_list(struct agent *agent, unsigned int n)
{
	struct wire_message m = {.type = WIRE_LIST_BEGIN};

	m.LIST_BEGIN.serial = 1;
	say(agent, &m);
	for (unsigned int i = 0; i < n; i++) {
		char port[LIMIT_PORT_TEXT], serial[16];

		(void)snprintf(port, sizeof(port), "1-%u", i + 1);
		(void)snprintf(serial, sizeof(serial), "S%u", i);
		say_device_of(agent, port, (uint16_t)i, 1, (uint16_t)(0x5500 + agent->domid), serial);
	}
	m = (struct wire_message){.type = WIRE_LIST_END};
	m.LIST_END.serial = 1;
	say(agent, &m);
}

int main(int argc, char **argv)
{
	unsigned int n = argc == 4 ? (unsigned int)atoi(argv[2]) : 0,
		     total = argc == 4 ? (unsigned int)atoi(argv[3]) : 0;
	char backend[96];

	if (n == 0 || n + 2 > LIMIT_QUBES || total > n * LIMIT_DEVICES)
		return 2;
	(void)snprintf(scene.directory, sizeof(scene.directory), "%s", argv[1]);
	(void)snprintf(backend, sizeof(backend), "socket:%s", scene.directory);
	if (channel_backend_new_from_text(backend, &scene.backend) != 0)
		return 1;
	for (unsigned int i = 0; i <= n; i++) {
		struct agent *agent = &scene.agents[scene.n_agents++];
		char name[16];

		(void)snprintf(name, sizeof(name), i < n ? "q%u" : "target", i);
		*agent = (struct agent){.domid = (uint16_t)(i + 1),
					.incarnation = 100 + i,
					.manners = NO_LIST,
					.patient = true,
					.nameless = i % 2};
		n_devices[i] = i < n ? total / n + (i < total % n) : 0;
		start_qube(agent->domid, name);
		listen_at_new_port(agent);
	}
	for (;;) {
		for (unsigned int i = 0; i < scene.n_agents; i++) {
			struct agent *agent = &scene.agents[i];

			if (agent->greeted && !crowd[i].greeted) {
				crowd[i].greeted = true;
				say_crowd_list(agent, n_devices[i]);
				read_channel(agent); /* what came while it spoke has woken us already */
			}
			if (agent->ended)
				return 1;
		}
		(void)serve(-1, 100);
	}
}
