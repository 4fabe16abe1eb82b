/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening the node of a video device: a camera's, or the one that a target shows pictures in. */
#pragma once

/*
 * Opens /dev/NAME for reading and writing, non-blocking. It must be the character device that the folder of sysfs is about. 0 and
 * *ret_fd, or a negative errno: -ENODEV: there is no such device; -ESTALE: the node is of another one.
 */
int video_node_open(const char *syspath, const char *name, int *ret_fd);
