// SPDX-License-Identifier: GPL-2.0-or-later
/* One datagram per entry; the contract is in journal.h. */
#include "broker/io/journal.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

#define ENTRY_MAX 8192u /* many times what an audit record needs */

static bool append(char *entry, size_t *len, const char *text)
{
	size_t n = strlen(text);

	if (n > ENTRY_MAX - *len)
		return false;
	memcpy(entry + *len, text, n);
	*len += n;
	return true;
}

bool journal_send(int *fd, const char *socket_path, const struct journal_field *fields, size_t n_fields)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char entry[ENTRY_MAX];
	size_t len = 0;

	for (size_t i = 0; i < n_fields; i++) {
		if (!fields[i].value || !fields[i].value[0])
			continue;
		if (!append(entry, &len, fields[i].name) || !append(entry, &len, "="))
			return false;
		len += text_make_safe(fields[i].value, strlen(fields[i].value), entry + len, ENTRY_MAX - len);
		if (!append(entry, &len, "\n"))
			return false;
	}
	if (strlen(socket_path) >= sizeof(address.sun_path))
		return false;
	(void)strcpy(address.sun_path, socket_path);
	if (*fd < 0)
		*fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return false;
	return sendto(*fd, entry, len, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address,
		      sizeof(address)) >= 0;
}
