/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See modes.h. */
#include "proxies/camera/modes.h"

#include <string.h>

#include "lib/base/base.h"

static uint32_t pixels_of(const struct camera_mode *mode)
{
	return (uint32_t)mode->width * mode->height;
}

static bool has_rate(const struct camera_mode *mode, uint32_t fps)
{
	uint64_t usec = (uint64_t)mode->interval_usec * fps;

	return usec > USEC_PER_SEC * 19 / 20 && usec < USEC_PER_SEC * 21 / 20;
}

static bool is_wished(const struct camera_mode *mode, const struct mode_wish *wish)
{
	return (wish->width == 0 || mode->width == wish->width) &&
	       (wish->height == 0 || mode->height == wish->height) && (wish->fps == 0 || has_rate(mode, wish->fps));
}

static bool is_smooth(const struct camera_mode *mode)
{
	return mode->interval_usec <= USEC_PER_SEC * 21 / 20 / MODES_FPS_SMOOTH;
}

static bool fits(const struct camera_mode *mode)
{
	return mode->width <= MODES_WIDTH && mode->height <= MODES_HEIGHT;
}

/* More is better: a small one of those that fit, a large one of those that do not, is worse. */
static int64_t size_of(const struct camera_mode *mode)
{
	return fits(mode) ? (int64_t)pixels_of(mode) : -(int64_t)pixels_of(mode);
}

/* What is faster than MODES_FPS is as good as that, but worse than that itself. */
static int64_t rate_of(const struct camera_mode *mode)
{
	const int64_t best = (int64_t)(USEC_PER_SEC * 19 / 20 / MODES_FPS);

	return mode->interval_usec >= best ? -(int64_t)mode->interval_usec
					   : -(int64_t)(2 * USEC_PER_SEC) + (int64_t)mode->interval_usec;
}

static bool is_better(const struct camera_mode *a, const struct camera_mode *b)
{
	const int64_t of_a[] = {is_smooth(a), size_of(a), rate_of(a), -(int64_t)camera_frame_bytes(a)};
	const int64_t of_b[] = {is_smooth(b), size_of(b), rate_of(b), -(int64_t)camera_frame_bytes(b)};

	for (size_t i = 0; i < ARRAY_SIZE(of_a); i++)
		if (of_a[i] != of_b[i])
			return of_a[i] > of_b[i];
	return false;
}

int modes_choose(const struct camera_hello *hello, const struct mode_wish *wish)
{
	int best = -1;

	for (int i = 0; i < hello->n_modes; i++)
		if (is_wished(&hello->modes[i], wish) && (best < 0 || is_better(&hello->modes[i], &hello->modes[best])))
			best = i;
	return best;
}

/* Only the bytes are others. */
static bool is_same_to_look_at(const struct camera_mode *a, const struct camera_mode *b)
{
	return a->width == b->width && a->height == b->height && a->interval_usec == b->interval_usec;
}

int modes_add(struct camera_hello *hello, const struct camera_mode *mode)
{
	size_t at = 0;

	if (!camera_is_mode(mode))
		return -1;
	for (size_t i = 0; i < hello->n_modes; i++) {
		if (is_same_to_look_at(&hello->modes[i], mode))
			return -1;
		if (!is_better(mode, &hello->modes[i]))
			at = i + 1;
	}
	if (at == CAMERA_MODES)
		return -1;
	if (hello->n_modes < CAMERA_MODES)
		hello->n_modes++;
	memmove(&hello->modes[at + 1], &hello->modes[at], (hello->n_modes - 1u - at) * sizeof(hello->modes[0]));
	hello->modes[at] = *mode;
	return (int)at;
}
