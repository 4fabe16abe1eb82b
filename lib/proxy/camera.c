/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See camera.h. */
#include "lib/proxy/camera.h"

#include <errno.h>

#include "lib/base/text.h"
#include "lib/proxy/datagram.h"

int proxy_camera_send(int fd, const struct proxy_camera *camera)
{
	return datagram_send(fd, camera, sizeof(*camera), 0);
}

int proxy_camera_receive(int fd, struct proxy_camera *ret_camera)
{
	struct proxy_camera untrusted_camera;
	int r = datagram_receive(fd, &untrusted_camera, sizeof(untrusted_camera));

	if (r)
		return r;
	if (!text_is_field(untrusted_camera.name, sizeof(untrusted_camera.name)) || !untrusted_camera.name[0])
		return -EPROTO;
	*ret_camera = untrusted_camera;
	return 0;
}
