// SPDX-License-Identifier: GPL-2.0-or-later
/* See device-class.h. */
#include "broker/io/device-class.h"

#include "lib/base/base.h"

static const struct {
	const char *name, *noun;
	uint8_t class_id;
} classes[] = {
	{"block", NULL, 0},
	{"mic", "microphone", WIRE_CLASS_MIC},
	{"speaker", "speaker", WIRE_CLASS_SPEAKER},
	{"usb", "USB device", WIRE_CLASS_USB},
	{"webcam", "camera", WIRE_CLASS_WEBCAM},
};

const char *device_class_name(uint8_t class_id)
{
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (class_id && classes[i].class_id == class_id)
			return classes[i].name;
	return NULL;
}

const char *device_class_noun(uint8_t class_id)
{
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (class_id && classes[i].class_id == class_id)
			return classes[i].noun;
	return "device";
}

int device_class_id(struct admin_span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (admin_span_is(name, classes[i].name))
			return classes[i].class_id;
	return -1;
}

const char *device_class_next(unsigned int *cursor)
{
	return *cursor < ARRAY_SIZE(classes) ? classes[(*cursor)++].name : NULL;
}
