/* SPDX-License-Identifier: GPL-2.0-or-later */
/* To what a camera's control is set for a value of lib/base/controls.h. Its range is the device's word: it may be any. Pure. */
#pragma once

#include "lib/base/controls.h"

struct range {
	int32_t min, max, step;
};

/*
 * Of per cent the place in the range, on the nearest step from its beginning; of words the item of that number, as V4L2 has them in
 * the menu. False: the range is none, or has no such item. `value` is not 0.
 */
bool range_setting(const struct range *range, enum camera_control control, uint8_t value, int32_t *ret_setting);

/* False also when the range is none. */
bool range_has(const struct range *range, int32_t setting);
