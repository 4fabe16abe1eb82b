/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both engines, back to back, between a client and a device that judge every byte: random schedules of everything that a
 * driver can do, UNLINK races in all orders, in steps of any size. At the end nothing may be left anywhere.
 */
#include "tests/unit.h"

#include "proxies/usb/test-model.h"

#define SCHEDULES 100000u

static struct model *model;

static int set_up(void **state)
{
	(void)state;
	model = calloc(1, sizeof(*model));
	return model ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	model_free(model);
	return 0;
}

static uint32_t random_length(struct model_random *r)
{
	if (model_chance(r, 90))
		return model_random(r, 600);
	return model_random(r, model_chance(r, 5) ? 150000 : 9000);
}

static void random_control(struct model *m)
{
	struct model_random *r = &m->random;

	switch (model_random(r, 12)) {
	case 0:
		client_submit_control(&m->client, 0x80, 6, 0x0100, 0, model_chance(r, 30) ? 64 : 18);
		break;
	case 1:
		client_submit_control(&m->client, 0x80, 6, (uint16_t)(0x0200 + model_random(r, 3)), 0,
				      (uint16_t)model_random(r, 300));
		break;
	case 2:
		client_submit_control(&m->client, 0x80, 6, (uint16_t)(0x0300 + model_random(r, 5)), 0x0409,
				      (uint16_t)model_random(r, 256));
		break;
	case 3:
		client_submit_control(&m->client, 0x00, 9, (uint16_t)model_random(r, 4), 0, 0);
		break;
	case 4:
	case 5:
		client_submit_control(&m->client, 0x01, 11, (uint16_t)model_random(r, 3), (uint16_t)model_random(r, 3),
				      0);
		break;
	case 6:
		client_submit_control(&m->client, 0x02, 1, 0, model_chance(r, 50) ? 0x81 : 0x02, 0);
		break;
	case 7:
		client_submit_control(&m->client, 0x21, 9, 0x0200, 0, (uint16_t)model_random(r, 100));
		break;
	case 8:
		client_submit_control(&m->client, 0x00, model_chance(r, 50) ? 5 : 7, 1, 0, 0);
		break;
	case 9:
		client_submit_control(&m->client, 0x23, 3, 4, 1, 0);
		break;
	default:
		client_submit_control(&m->client, 0xc0, 1, 0, 0, (uint16_t)model_random(r, 4200));
		break;
	}
}

static void random_unlink(struct model *m)
{
	uint32_t from = model_random(&m->random, MODEL_URBS);

	for (uint32_t i = 0; i < MODEL_URBS; i++) {
		struct model_urb *urb = &m->client.urbs[(from + i) % MODEL_URBS];

		if (urb->in_flight && !urb->unlinking) {
			(void)client_unlink(&m->client, urb);
			return;
		}
	}
}

/* vhci_hcd's own race: the UNLINK goes out before its SUBMIT. */
static void early_unlink(struct model *m)
{
	struct model_stream tail = {0};
	size_t before = m->client.sends.end;
	size_t submit_len;

	client_submit(&m->client, 0x81, 64);
	if (m->client.sends.end <= before)
		return;
	submit_len = USBIP_HEADER;
	for (size_t i = 0; i < MODEL_URBS; i++) {
		struct model_urb *urb = &m->client.urbs[i];

		if (!urb->in_flight || urb->seqnum != m->client.seqnum)
			continue;
		stream_put(&tail, m->client.sends.bytes + m->client.sends.end - submit_len, submit_len);
		m->client.sends.end -= submit_len;
		(void)client_unlink(&m->client, urb);
		stream_put(&m->client.sends, tail.bytes, submit_len);
		free(tail.bytes);
		return;
	}
}

static void random_step(struct model *m)
{
	static const uint8_t addresses[] = {0x81, 0x81, 0x02, 0x02, 0x83, 0x84, 0x05};
	struct model_random *r = &m->random;
	uint32_t dice = model_random(r, 100);

	if (dice < 25)
		client_submit(&m->client, addresses[model_random(r, ARRAY_SIZE(addresses))], random_length(r));
	else if (dice < 35)
		random_control(m);
	else if (dice < 43)
		random_unlink(m);
	else if (dice < 44)
		early_unlink(m);
	else if (dice < 65 && m->device.n_held > 0)
		device_end(&m->device, model_random(r, (uint32_t)m->device.n_held));
	else
		(void)model_move(m, true);
}

static void assert_empty(const struct model *m)
{
	assert_int_equal(m->fault, 0);
	assert_int_equal(client_in_flight(&m->client), 0);
	assert_int_equal(m->core.index.n_used, 0);
	assert_int_equal(m->core.in_flight, 0);
	assert_int_equal(m->core.n_unlinks, 0);
	assert_int_equal(m->core.n_submitted, 0);
	assert_int_equal(m->filter.urb_index.n_used, 0);
	assert_int_equal(m->filter.unlink_index.n_used, 0);
	assert_int_equal(m->filter.in_flight, 0);
	assert_true(import_filter_deadline(&m->filter) == UINT64_MAX);
	assert_true(export_core_deadline(&m->core) == UINT64_MAX);
	assert_int_equal(m->device.configuration, m->core.state.configuration ? m->core.state.configuration->value : 0);
	assert_memory_equal(m->device.alternates, m->core.state.alternates, sizeof(m->device.alternates));
}

static void test_random_schedules(void **state)
{
	unsigned int completed = 0, unlinked = 0;

	(void)state;
	for (unsigned int seed = 1; seed <= SCHEDULES; seed++) {
		unsigned int n_steps;

		model_init(model, SAMPLE_EVERYTHING, seed);
		model->small_steps = seed & 1;
		n_steps = 10 + model_random(&model->random, 60);
		client_submit_control(&model->client, 0x80, 6, 0x0100, 0, 64);
		client_submit_control(&model->client, 0x00, 9, 1, 0, 0);
		client_submit_control(&model->client, 0x01, 11, 1, 1, 0);
		for (unsigned int i = 0; i < n_steps; i++)
			random_step(model);
		model_settle(model, true);
		assert_empty(model);
		completed += model->client.n_completed;
		unlinked += model->client.n_unlinked;
		model_deinit(model);
	}
	print_message("%u schedules, %u replies, %u unlinks\n", SCHEDULES, completed, unlinked);
}

/* UC17, RX14: a device that never answers; the 257th URB waits, then is refused here, and UNLINKs still get through. */
static void test_back_pressure(void **state)
{
	static const uint32_t lengths[] = {64, LIMIT_TRANSFER};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
		unsigned int most = lengths[k] == 64 ? LIMIT_URBS : LIMIT_IN_FLIGHT / LIMIT_TRANSFER;

		model_init(model, SAMPLE_EVERYTHING, 1);
		model->small_steps = false;
		model->device.calm = true;
		for (unsigned int i = 0; i < most + 30; i++)
			client_submit(&model->client, 0x81, lengths[k]);
		while (model_move(model, true))
			continue;
		assert_int_equal(model->device.n_held, most);
		assert_true(model->core.in_flight <= LIMIT_IN_FLIGHT);
		assert_int_equal(model->client.n_no_memory, 0);
		assert_true(import_filter_deadline(&model->filter) == model->now_usec + TIMEOUT_REFUSE_USEC);
		for (size_t i = 0; i < MODEL_URBS; i++)
			if (model->client.urbs[i].in_flight && i < most)
				assert_true(client_unlink(&model->client, &model->client.urbs[i]));
		model->now_usec += TIMEOUT_REFUSE_USEC;
		assert_int_equal(import_filter_expire(&model->filter, model->now_usec), 0);
		while (model_move(model, true))
			continue;
		assert_int_equal(model->client.n_no_memory, 30);
		model_settle(model, true);
		assert_empty(model);
		model_deinit(model);
	}
}

/* UC21: nothing is submitted after stop, and what is in flight is cancelled. */
static void test_stop(void **state)
{
	unsigned int before;

	(void)state;
	model_init(model, SAMPLE_EVERYTHING, 3);
	model->small_steps = false;
	model->device.calm = true;
	for (unsigned int i = 0; i < 20; i++)
		client_submit(&model->client, 0x81, 512);
	while (model_move(model, true))
		continue;
	before = model->device.n_submits;
	export_core_stop(&model->core);
	for (size_t i = 0; i < model->device.n_held; i++)
		assert_true(model->device.held[i].cancelled);
	for (unsigned int i = 0; i < 20; i++)
		client_submit(&model->client, 0x81, 512);
	while (model_move_commands(model) || model_feed_exporter(model))
		continue;
	while (model->device.n_held > 0)
		device_end(&model->device, 0);
	assert_int_equal(export_core_process(&model->core, model->now_usec), 0);
	assert_int_equal(model->device.n_submits, before);
	assert_int_equal(model->core.index.n_used, 0);
	model_deinit(model);
}

/* A Linux client's reset shows only as the first read of an enumeration: one reset each, none in the first. UC13 */
static void test_reset(void **state)
{
	(void)state;
	model_init(model, SAMPLE_EVERYTHING, 5);
	model->small_steps = false;
	model->device.calm = true;
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 3; i++)
			client_submit_control(&model->client, 0x80, 6, 0x0100, 0, 64);
		client_submit_control(&model->client, 0x80, 6, 0x0100, 0, 18);
		client_submit_control(&model->client, 0x00, 9, 1, 0, 0);
		client_submit(&model->client, 0x83, 64);
		model_settle(model, true);
		assert_int_equal(model->device.n_resets, round);
		client_submit_control(&model->client, 0x01, 11, 1, 1, 0);
		model_settle(model, true);
		assert_int_equal(model->device.alternates[1], 1);
	}
	assert_int_equal(model->device.n_configurations, 0);
	assert_empty(model);
	model_deinit(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_random_schedules),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
