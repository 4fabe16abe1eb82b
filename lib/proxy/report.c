// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The reports of report.h. The receiver runs as root and the sender has read hostile data, so a report is taken
 * only when every byte of it is one that a well-behaved proxy could have sent; passed descriptors are dropped by the
 * kernel, since no room is given for them.
 */
#include "lib/proxy/report.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "lib/base/base.h"
#include "lib/proxy/datagram.h"
#include "lib/wire/messages.h"

static bool report_is_valid(const struct proxy_report *report)
{
	bool is_end = report->type == PROXY_ENDED, is_stream = report->type == PROXY_STREAM;
	bool has_speed = report->speed != 0;

	if (report->type < PROXY_LISTENING || report->type > PROXY_ENDED || report->in_use > is_stream)
		return false;
	if (!is_end && report->outcome != 0)
		return false;
	if (!is_end && !is_stream && (report->bytes_to_target != 0 || report->bytes_from_target != 0))
		return false;
	if (report->type != PROXY_READY && (has_speed || report->devid != 0))
		return false;
	return report->outcome <= OUTCOME_LAST && report->speed <= WIRE_SPEED_SUPER_PLUS &&
	       (has_speed || report->devid == 0);
}

int proxy_report_send(int fd, const struct proxy_report *report)
{
	return datagram_send(fd, report, sizeof(*report), MSG_DONTWAIT);
}

int proxy_report_receive(int fd, struct proxy_report *ret_report)
{
	struct proxy_report untrusted_report;
	int r = datagram_receive(fd, &untrusted_report, sizeof(untrusted_report));

	if (r)
		return r;
	if (!report_is_valid(&untrusted_report))
		return -EPROTO;
	*ret_report = untrusted_report;
	return 0;
}
