/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See range.h. */
#include "proxies/camera/range.h"

#define PERCENT (CONTROL_OF_PERCENT - 1)

bool range_has(const struct range *range, int32_t setting)
{
	return range->step > 0 && setting >= range->min && setting <= range->max;
}

bool range_setting(const struct range *range, enum camera_control control, uint8_t value, int32_t *ret_setting)
{
	int64_t n_steps, setting = value - 1;

	if (!range_has(range, range->min))
		return false;
	if (control != CONTROL_POWER_LINE) {
		n_steps = ((int64_t)range->max - range->min) / range->step;
		setting = range->min + (n_steps * setting + PERCENT / 2) / PERCENT * range->step;
	}
	if (!range_has(range, (int32_t)setting))
		return false;
	*ret_setting = (int32_t)setting;
	return true;
}
