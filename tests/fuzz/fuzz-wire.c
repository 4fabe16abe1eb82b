// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A whole dialogue as input (CF24): the first byte chooses the direction, the rest is the stream, decoded with the
 * state that the messages before left. Oracle: what is decoded encodes to the same bytes, and decoding each shorter
 * prefix of a good frame asks for more. The frame is copied to an exact heap block, so reads beyond it are seen.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/wire/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum wire_direction direction;
	enum wire_states state = WIRE_IN_NEW;

	if (size == 0)
		return 0;
	direction = data[0] & 1 ? WIRE_TO_AGENT : WIRE_TO_BROKER;
	data++;
	size--;
	for (;;) {
		size_t len = size < LIMIT_FRAME ? size : LIMIT_FRAME, used = 0, ignored;
		_cleanup_free_ uint8_t *copy = malloc(len ? len : 1);
		struct wire_message message, other;
		uint8_t frame[LIMIT_FRAME];
		int r;

		if (!copy)
			abort();
		memcpy(copy, data, len);
		r = wire_decode(copy, len, direction, state, &message, &used);
		if (r != 0)
			break;
		if (used < WIRE_HEADER || used > len)
			abort();
		if (wire_encode(&message, frame) != used || memcmp(frame, copy, used) != 0)
			abort();
		if (wire_decode(copy, used - 1, direction, state, &other, &ignored) != WIRE_MORE)
			abort();
		if (wire_type_name(message.type)[0] == 'u')
			abort();
		state = wire_next_state(state, message.type, direction);
		if (!state || (state & (state - 1)))
			abort();
		data += used;
		size -= used;
	}
	return 0;
}
