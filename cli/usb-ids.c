/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See usb-ids.h. The file's lines: "vvvv  Vendor", "<tab>pppp  Product", "C cc  Class", "<tab>ss  Subclass",
 * "<tab><tab>pp  Protocol". It is mapped, if a name is asked for at all,
 * with a table of where each vendor and class begins: a long list needs many names.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/usb-ids.h"
#include "lib/base/base.h"
#include "lib/base/text.h"

#define FILE_ENV "QDB_USB_IDS"
#define FILE_MAX (16u * 1024u * 1024u)
#define UNKNOWN_KIND "USB device"
#define CLASS_HEADS 0x10000
#define HEADS (CLASS_HEADS + 0x100)

static const char *const places[] = {
	"/usr/share/hwdata/usb.ids",
	"/usr/share/misc/usb.ids",
	"/var/lib/usbutils/usb.ids",
};

/* DeviceCategory of Qubes' device_protocol.py, as far as USB goes: the most exact pattern counts, '*' is any digit. */
static const struct {
	const char *pattern, *name;
} categories[] = {
	{"u02****", "Network"},
	{"ue0****", "Network"},
	{"u03**01", "Keyboard"},
	{"u03**02", "Mouse"},
	{"u03****", "Input"},
	{"u07****", "Printer"},
	{"u06****", "Camera"},
	{"u0e****", "Camera"},
	{"u01****", "Audio"},
	{"u10****", "Multimedia"},
	{"u08****", "USB_Storage"},
	{"ue00101", "Bluetooth"},
	{"u0b****", "Smart_Card_Readers"},
	{"m******", "Microphone"},
	{"s******", "Speaker"}, /* ours */
};

/* Names that say nothing: then the wider one is taken, as Qubes does. */
static const char *const empty_names[] = {
	"none", "no subclass", "unused", "undefined", "vendor specific subclass", "vendor specific class",
};

/*
 * Mapped, not read: of 700 KiB a few pages are looked at. Who may write the file can end us by shortening it, which
 * packages do not do: they put a new one in its place.
 */
static bool map_file(const char *path, struct usb_ids *ids)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	void *text;

	if (fd < 0 || fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) || stat.st_size == 0 || stat.st_size > FILE_MAX)
		return false;
	text = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (text == MAP_FAILED)
		return false;
	ids->text = text;
	ids->len = (size_t)stat.st_size;
	return true;
}

/* The place in the table of heads of a line "vvvv  ..." or "C cc  ..."; -1: it is neither. */
static int head_of(const char *line, size_t len)
{
	bool is_class = len > 6 && line[0] == 'C' && line[1] == ' ';
	int number = 0;

	for (size_t i = is_class ? 2 : 0; i < 4; i++) {
		int digit = i < len ? text_hex_digit(line[i]) : -1;

		if (digit < 0)
			return -1;
		number = 16 * number + digit;
	}
	return len > 6 && line[4] == ' ' && line[5] == ' ' ? number + (is_class ? CLASS_HEADS : 0) : -1;
}

static void note_heads(struct usb_ids *ids)
{
	const char *end = ids->text + ids->len,
		   *at = memchr(ids->text, '\n', ids->len); /* the first line is a remark */

	while (at && at + 1 < end) {
		int head = head_of(at + 1, (size_t)(end - at - 1));

		if (head >= 0 && !ids->heads[head])
			ids->heads[head] = (uint32_t)(at - ids->text) + 1;
		at = memchr(at + 1, '\n', (size_t)(end - at - 1));
	}
}

/* False: there is no file. */
static bool is_read(struct usb_ids *ids)
{
	const char *own = getenv(FILE_ENV);

	if (ids->asked)
		return ids->heads != NULL;
	ids->asked = true;
	if (own)
		(void)map_file(own, ids);
	for (size_t i = 0; i < ARRAY_SIZE(places) && !own && !ids->len; i++)
		(void)map_file(places[i], ids);
	ids->heads = ids->len ? calloc(HEADS, sizeof(*ids->heads)) : NULL;
	if (ids->heads)
		note_heads(ids);
	return ids->heads != NULL;
}

void usb_ids_deinit(struct usb_ids *ids)
{
	free(ids->heads);
	if (ids->text)
		(void)munmap(ids->text, ids->len);
	*ids = (struct usb_ids){0};
}

/*
 * Finds the line "<depth tabs>key<two spaces>name" among those that follow `at`, a newline, and are at least so deep. What
 * is deeper than it follows *ret_at.
 */
static bool find_line(const struct usb_ids *ids, const char *at, size_t depth, const char *key, char *name, size_t size,
		      const char **ret_at)
{
	const char *end = ids->text + ids->len;
	char start[16];
	size_t start_len = (size_t)snprintf(start, sizeof(start), "%s  ", key);

	while (at && at + 1 < end) {
		const char *line = at + 1, *next = memchr(line, '\n', (size_t)(end - line)), *stop = next ? next : end;
		size_t tabs = 0;

		while (line < stop && *line == '\t') {
			line++;
			tabs++;
		}
		if (tabs < depth)
			return false;
		if (tabs == depth && (size_t)(stop - line) > start_len && memcmp(line, start, start_len) == 0) {
			line += start_len;
			*ret_at = stop;
			return text_make_safe(line, (size_t)(stop - line), name, size) > 0;
		}
		at = next;
	}
	return false;
}

/* The line of one of the heads. */
static bool find_head(struct usb_ids *ids, int head, const char *key, char *name, size_t size, const char **ret_at)
{
	return is_read(ids) && ids->heads[head] &&
	       find_line(ids, ids->text + ids->heads[head] - 1, 0, key, name, size, ret_at);
}

static bool find_vendor(struct usb_ids *ids, uint16_t vendor, char *name, size_t size, const char **ret_at)
{
	char key[8];

	(void)snprintf(key, sizeof(key), "%04x", vendor);
	return find_head(ids, vendor, key, name, size, ret_at);
}

bool usb_ids_vendor(struct usb_ids *ids, uint16_t vendor, char *text, size_t size)
{
	const char *at;

	text[0] = '\0';
	return find_vendor(ids, vendor, text, size, &at);
}

bool usb_ids_product(struct usb_ids *ids, uint16_t vendor, uint16_t product, char *text, size_t size)
{
	const char *at;
	char key[8];
	bool known = find_vendor(ids, vendor, text, size, &at);

	text[0] = '\0';
	(void)snprintf(key, sizeof(key), "%04x", product);
	return known && find_line(ids, at, 1, key, text, size, &at);
}

/* How many characters agree; 0: it does not match. */
static unsigned int score(const char *pattern, const char *code)
{
	unsigned int n = 0;

	for (size_t i = 0; i < 7; i++) {
		if (pattern[i] == code[i])
			n++;
		else if (pattern[i] != '*')
			return 0;
	}
	return n;
}

static bool says_something(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(empty_names); i++)
		if (strcasecmp(name, empty_names[i]) == 0)
			return false;
	return name[0] != '\0';
}

/* Subclass, then protocol, then class: the first that says something. */
static void class_name(struct usb_ids *ids, const char *code, char *text, size_t size)
{
	int high = text_hex_digit(code[1]), low = high < 0 ? -1 : text_hex_digit(code[2]);
	char key[8], protocol[128] = "", subclass[128] = "", class[128] = "";
	const char *const names[] = {subclass, protocol, class};
	const char *at;

	(void)snprintf(key, sizeof(key), "C %.2s", code + 1);
	if (low >= 0 && find_head(ids, CLASS_HEADS + 16 * high + low, key, class, sizeof(class), &at)) {
		(void)snprintf(key, sizeof(key), "%.2s", code + 3);
		if (find_line(ids, at, 1, key, subclass, sizeof(subclass), &at)) {
			(void)snprintf(key, sizeof(key), "%.2s", code + 5);
			(void)find_line(ids, at, 2, key, protocol, sizeof(protocol), &at);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (says_something(names[i])) {
			(void)snprintf(text, size, "%s", names[i]);
			return;
		}
	}
	(void)snprintf(text, size, "%s", UNKNOWN_KIND);
}

void usb_ids_kind(struct usb_ids *ids, const char *code, char *text, size_t size, bool *ret_known)
{
	const char *found = NULL;
	unsigned int best = 0;

	for (size_t i = 0; i < ARRAY_SIZE(categories); i++) {
		unsigned int n = score(categories[i].pattern, code);

		if (n > best) {
			best = n;
			found = categories[i].name;
		}
	}
	*ret_known = found != NULL;
	if (found)
		(void)snprintf(text, size, "%s", found);
	else
		class_name(ids, code, text, size);
}
