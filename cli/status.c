// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the streams move: once, or on a terminal again each second, with the rates in between, until it is interrupted. The
 * figures are the source's, or the target's while the source has said nothing; both are only what those qubes say.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cli/command.h"
#include "lib/base/clock.h"

#define CELL_MAX 64u
#define LINE_MAX_BYTES (DESCRIPTION_TEXT + 8u * CELL_MAX)
#define NO_RATE UINT64_MAX

enum column { QUBE, DEVICE, SINCE, LEFT, TO_QUBE, FROM_QUBE, IN_USE, COLUMNS };

struct row {
	char cells[COLUMNS][CELL_MAX];
	char description[DESCRIPTION_TEXT]; /* last, for it may be long */
};

static const char *const header[COLUMNS] = {"QUBE", "DEVICE", "SINCE", "LEFT", "TO QUBE", "FROM QUBE", "IN USE"};

static const struct stream_side *side_of(const struct stream *stream)
{
	return stream->source.at_usec ? &stream->source : &stream->target;
}

/* The same stream a moment ago; NULL: there was none, or it has begun anew. */
static const struct stream *find_before(const struct inventory *before, const struct stream *stream)
{
	for (size_t i = 0; i < before->n_streams; i++) {
		const struct stream *other = &before->streams[i];

		if (strcmp(other->backend, stream->backend) == 0 && strcmp(other->port, stream->port) == 0 &&
		    strcmp(other->qube, stream->qube) == 0 && other->since <= stream->since)
			return other;
	}
	return NULL;
}

/* Bytes in a second since then; NO_RATE: not known. What says nothing new moves nothing. */
static uint64_t rate_of(const struct stream_side *now, const struct stream_side *before, uint64_t bytes,
			uint64_t bytes_before)
{
	if (!before || !before->at_usec || !now->at_usec || bytes < bytes_before || now->at_usec < before->at_usec)
		return NO_RATE;
	return now->at_usec == before->at_usec ? 0
					       : (uint64_t)((double)(bytes - bytes_before) * USEC_PER_SEC /
							    (double)(now->at_usec - before->at_usec));
}

static void bytes_text(uint64_t bytes, char text[16])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double number = (double)bytes;
	size_t unit = 0;

	while (number >= 1000 && unit + 1 < ARRAY_SIZE(units)) {
		number /= 1024;
		unit++;
	}
	(void)snprintf(text, 16, unit && number < 100 ? "%.1f %s" : "%.0f %s", number, units[unit]);
}

static void moved_text(uint64_t bytes, uint64_t rate, char text[CELL_MAX])
{
	char total[16], per_second[16];

	bytes_text(bytes, total);
	bytes_text(rate == NO_RATE ? 0 : rate, per_second);
	if (rate == NO_RATE)
		(void)snprintf(text, CELL_MAX, "%s", total);
	else
		(void)snprintf(text, CELL_MAX, "%s (%s/s)", total, per_second);
}

static void time_text(uint64_t seconds, char text[CELL_MAX])
{
	if (seconds < 60)
		(void)snprintf(text, CELL_MAX, "%" PRIu64 "s", seconds);
	else if (seconds < 3600)
		(void)snprintf(text, CELL_MAX, "%" PRIu64 "m", seconds / 60);
	else
		(void)snprintf(text, CELL_MAX, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
}

static const struct device *device_of(const struct state *state, const struct stream *stream)
{
	return inventory_find(&state->inventory, stream->backend, stream->port, NULL);
}

static bool is_muted(const struct device *device)
{
	return device && device->muted[0];
}

static void make_row(struct state *state, const struct stream *stream, const struct inventory *before, struct row *row)
{
	const struct device *device = device_of(state, stream);
	const struct stream *other = find_before(before, stream);
	const struct stream_side *now = side_of(stream), *then = other ? side_of(other) : NULL;

	*row = (struct row){0};
	(void)snprintf(row->cells[QUBE], CELL_MAX, "%s", stream->qube);
	(void)snprintf(row->cells[DEVICE], CELL_MAX, "%s:%s", stream->backend, stream->port);
	time_text(stream->since, row->cells[SINCE]);
	if (stream->time_left)
		time_text(stream->time_left, row->cells[LEFT]);
	if (device)
		inventory_describe(device, &state->ids, row->description);
	if (!now->at_usec) {
		for (unsigned int column = TO_QUBE; column < COLUMNS; column++)
			(void)strcpy(row->cells[column], "?");
		return;
	}
	moved_text(now->bytes_to_target, rate_of(now, then, now->bytes_to_target, then ? then->bytes_to_target : 0),
		   row->cells[TO_QUBE]);
	moved_text(now->bytes_from_target,
		   rate_of(now, then, now->bytes_from_target, then ? then->bytes_from_target : 0),
		   row->cells[FROM_QUBE]);
	(void)strcpy(row->cells[IN_USE], is_muted(device) ? "muted" : now->in_use ? "yes" : "no");
}

/* What of a line a terminal has room for, so that it stays one line. */
static int line_width(void)
{
	struct winsize size = {0};

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return (int)LINE_MAX_BYTES;
	return size.ws_col;
}

/* How many rows a view has room for that is printed over itself: it must not scroll. */
static size_t rows_of_screen(void)
{
	struct winsize size = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row < 4)
		return SIZE_MAX;
	return size.ws_row - 3u; /* the header, how many there are more, the cursor's own */
}

static void print_cells(const char *const cells[COLUMNS], const char *description, const size_t widths[COLUMNS],
			const char *end)
{
	char line[LINE_MAX_BYTES];
	size_t len = 0;

	for (unsigned int column = 0; column < COLUMNS; column++)
		if (widths[column])
			len += (size_t)snprintf(line + len, sizeof(line) - len, "%-*s  ", (int)widths[column],
						cells[column]);
	(void)snprintf(line + len, sizeof(line) - len, "%s", description);
	printf("%.*s%s\n", line_width(), line, end);
}

/* `end` comes before each end of a line. */
static void print_rows(const struct row *rows, size_t n, bool with_header, const char *end)
{
	size_t widths[COLUMNS] = {0};

	for (size_t i = 0; i < n; i++)
		for (unsigned int column = 0; column < COLUMNS; column++)
			if (strlen(rows[i].cells[column]) > widths[column])
				widths[column] = strlen(rows[i].cells[column]);
	for (unsigned int column = 0; column < COLUMNS && with_header; column++)
		if (widths[column] && strlen(header[column]) > widths[column])
			widths[column] = strlen(header[column]);
	if (with_header && n)
		print_cells(header, "DESCRIPTION", widths, end);
	for (size_t i = 0; i < n; i++) {
		const char *cells[COLUMNS];

		for (unsigned int column = 0; column < COLUMNS; column++)
			cells[column] = rows[i].cells[column];
		print_cells(cells, rows[i].description, widths, end);
	}
}

static bool is_shown(const struct options *options, const struct stream *stream)
{
	return is_named(options, stream->qube) || is_named(options, stream->backend);
}

static struct json_object *side_object(const struct stream_side *side)
{
	struct json_object *object;

	if (!side->at_usec)
		return NULL;
	object = json_out_object();
	json_out_add(object, "bytes_to_qube", json_out_number(side->bytes_to_target));
	json_out_add(object, "bytes_from_qube", json_out_number(side->bytes_from_target));
	json_out_add(object, "in_use", json_out_bool(side->in_use));
	return object;
}

static void show_status_json(const struct state *state)
{
	struct json_object *array = json_out_array();

	for (size_t i = 0; i < state->inventory.n_streams; i++) {
		const struct stream *stream = &state->inventory.streams[i];
		struct json_object *object;

		if (!is_shown(&state->options, stream))
			continue;
		object = json_out_object();
		json_out_add(object, "class", json_out_text(stream->class));
		json_out_add(object, "backend", json_out_text(stream->backend));
		json_out_add(object, "port", json_out_text(stream->port));
		json_out_add(object, "qube", json_out_text(stream->qube));
		json_out_add(object, "since_seconds", json_out_number(stream->since));
		json_out_add(object, "left_seconds", stream->time_left ? json_out_number(stream->time_left) : NULL);
		json_out_add(object, "muted", json_out_bool(is_muted(device_of(state, stream))));
		json_out_add(object, "by_backend", side_object(&stream->source));
		json_out_add(object, "by_qube", side_object(&stream->target));
		json_out_append(array, object);
	}
	json_out_document(array);
}

/* -1, or the exit code. */
static int show_status(struct state *state, const struct inventory *before, bool with_header, const char *end)
{
	_cleanup_free_ struct row *rows = calloc(state->inventory.n_streams + 1, sizeof(*rows));
	size_t n = 0, n_shown;

	if (!rows)
		return runtime_error(state, "out of memory");
	for (size_t i = 0; i < state->inventory.n_streams; i++)
		if (is_shown(&state->options, &state->inventory.streams[i]))
			make_row(state, &state->inventory.streams[i], before, &rows[n++]);
	n_shown = end[0] && n > rows_of_screen() ? rows_of_screen() : n;
	print_rows(rows, n_shown, with_header, end);
	if (n_shown < n)
		printf("and %zu more%s\n", n - n_shown, end);
	if (!n && with_header)
		printf("nothing is attached%s\n", end);
	return -1;
}

static int read_status(struct state *state)
{
	int r = inventory_read_all(&state->options, &state->ids, &state->inventory);

	if (r < 0 && !state->inventory.whole)
		return runtime_error(state, "what answers at %s does not tell of streams", state->options.socket_path);
	return r;
}

/* Until it is interrupted, or something goes wrong. */
static int show_live(struct state *state)
{
	struct inventory before = {0};
	int r = -1;

	printf("\x1b[2J");
	while (r < 0) {
		printf("\x1b[H"); /* over what is there: no flicker */
		r = show_status(state, &before, true, "\x1b[K");
		printf("\x1b[J");
		if (r >= 0 || fflush(stdout) != 0)
			break;
		inventory_deinit(&before);
		before = state->inventory;
		state->inventory = (struct inventory){0};
		(void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
		r = read_status(state);
	}
	inventory_deinit(&before);
	return r < 0 ? EXIT_DONE : r;
}

int run_status(struct state *state)
{
	static const struct inventory nothing = {0};
	bool on_terminal = isatty(STDOUT_FILENO);
	int r = read_status(state);

	if (r < 0)
		r = check_names(state);
	if (r >= 0)
		return r;
	if (state->options.json) {
		show_status_json(state);
		return EXIT_DONE;
	}
	if (on_terminal && !state->options.once)
		return show_live(state);
	r = show_status(state, &nothing, on_terminal, "");
	return r < 0 ? EXIT_DONE : r;
}
