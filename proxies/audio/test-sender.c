/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which blocks are made of what is heard. */
#include "tests/unit.h"

#include "lib/base/base.h"
#include "proxies/audio/sender.h"

#define FRAME 4u

static void test_blocks(void **unused _unused_)
{
	struct sender core = {.on = false};
	struct audio_block block;
	uint8_t head[AUDIO_HEAD];

	assert_false(sender_block(&core, 240, FRAME, 65536, 5, head)); /* nobody wants it */
	sender_run(&core, 1, true);
	assert_true(sender_block(&core, 240, FRAME, AUDIO_HEAD + 960, 7, head));
	assert_int_equal(audio_head_read(head, &block), 0);
	assert_true(block.n_frames == 240 && block.run == 1 && block.position == 0 && block.stamp == 7);
	assert_false(sender_block(&core, 480, FRAME, AUDIO_HEAD + 1919, 8, head)); /* no room */
	assert_int_equal(core.n_left_out, 480);
	assert_true(sender_block(&core, 1, FRAME, 65536, 9, head));
	(void)audio_head_read(head, &block);
	assert_true(block.position == 720); /* what was left out counts */
	sender_run(&core, 1, false);
	assert_false(sender_block(&core, 1, FRAME, 65536, 9, head));
	sender_run(&core, 1, true); /* no longer muted: the run goes on */
	assert_true(sender_block(&core, 1, FRAME, 65536, 9, head));
	(void)audio_head_read(head, &block);
	assert_true(block.run == 1 && block.position == 721);
	sender_run(&core, 2, true);
	assert_true(sender_block(&core, 1, FRAME, 65536, 9, head));
	(void)audio_head_read(head, &block);
	assert_true(block.run == 2 && block.position == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks)};

	return cmocka_run_group_tests_name("audio-sender", tests, NULL, NULL);
}
