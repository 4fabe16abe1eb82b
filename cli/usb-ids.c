/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See usb-ids.h. The file's lines: "vvvv  Vendor", "<tab>pppp  Product", "C cc  Class", "<tab>ss  Subclass",
 * "<tab><tab>pp  Protocol". It is held whole in memory and searched; a list needs a few dozen names at most.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/usb-ids.h"
#include "lib/base/base.h"
#include "lib/base/text.h"

#define FILE_ENV "QDB_USB_IDS"
#define FILE_MAX (16u * 1024u * 1024u)
#define UNKNOWN_KIND "USB device"

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
};

/* Names that say nothing: then the wider one is taken, as Qubes does. */
static const char *const empty_names[] = {
	"none", "no subclass", "unused", "undefined", "vendor specific subclass", "vendor specific class",
};

static bool read_file(const char *path, struct usb_ids *ids)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	ssize_t n;

	if (fd < 0 || fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) || stat.st_size > FILE_MAX)
		return false;
	ids->text = malloc((size_t)stat.st_size + 1);
	if (!ids->text)
		return false;
	ids->text[0] = '\n'; /* so that each line has one before it */
	ids->len = 1;
	while (ids->len < (size_t)stat.st_size + 1 &&
	       (n = read(fd, ids->text + ids->len, (size_t)stat.st_size + 1 - ids->len)) > 0)
		ids->len += (size_t)n;
	return true;
}

void usb_ids_init(struct usb_ids *ids)
{
	const char *own = getenv(FILE_ENV);

	*ids = (struct usb_ids){0};
	if (own) {
		(void)read_file(own, ids);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (read_file(places[i], ids))
			return;
}

void usb_ids_deinit(struct usb_ids *ids)
{
	free(ids->text);
	*ids = (struct usb_ids){0};
}

/* The block after a line that starts with `key`: deeper lines only. */
struct block {
	const char *at, *end;
};

/*
 * Finds the line "<depth tabs>key<two spaces>name" in the block; *ret_inner is what belongs to it. For depth 0 the
 * block is the file.
 */
static bool find_line(struct block block, unsigned int depth, const char *key, char *name, size_t size,
		      struct block *ret_inner)
{
	char start[16];
	int start_len = snprintf(start, sizeof(start), "\n%.*s%s  ", (int)depth, "\t\t", key);
	const char *at = memmem(block.at, (size_t)(block.end - block.at), start, (size_t)start_len), *end, *inner;

	if (!at)
		return false;
	at += start_len;
	end = memchr(at, '\n', (size_t)(block.end - at));
	if (!end)
		end = block.end;
	for (inner = end; inner < block.end;) {
		const char *next = memchr(inner + 1, '\n', (size_t)(block.end - inner - 1));
		unsigned int tabs = 0;

		while (inner + 1 + tabs < block.end && inner[1 + tabs] == '\t')
			tabs++;
		if (tabs <= depth)
			break;
		inner = next ? next : block.end;
	}
	*ret_inner = (struct block){.at = end, .end = inner};
	return text_make_safe(at, (size_t)(end - at), name, size) > 0;
}

static struct block whole(const struct usb_ids *ids)
{
	return (struct block){.at = ids->text, .end = ids->text + ids->len};
}

bool usb_ids_vendor(const struct usb_ids *ids, uint16_t vendor, char *text, size_t size)
{
	struct block inner;
	char key[8];

	text[0] = '\0';
	(void)snprintf(key, sizeof(key), "%04x", vendor);
	return ids->text && find_line(whole(ids), 0, key, text, size, &inner);
}

bool usb_ids_product(const struct usb_ids *ids, uint16_t vendor, uint16_t product, char *text, size_t size)
{
	struct block inner;
	char key[8];

	text[0] = '\0';
	(void)snprintf(key, sizeof(key), "%04x", vendor);
	if (!ids->text || !find_line(whole(ids), 0, key, text, size, &inner))
		return false;
	text[0] = '\0';
	(void)snprintf(key, sizeof(key), "%04x", product);
	return find_line(inner, 1, key, text, size, &inner);
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
static void class_name(const struct usb_ids *ids, const char *code, char *text, size_t size)
{
	char key[8], protocol[128] = "", subclass[128] = "", class[128] = "";
	const char *const names[] = {subclass, protocol, class};
	struct block inner;

	(void)snprintf(key, sizeof(key), "C %.2s", code + 1);
	if (ids->text && find_line(whole(ids), 0, key, class, sizeof(class), &inner)) {
		(void)snprintf(key, sizeof(key), "%.2s", code + 3);
		if (find_line(inner, 1, key, subclass, sizeof(subclass), &inner)) {
			(void)snprintf(key, sizeof(key), "%.2s", code + 5);
			(void)find_line(inner, 2, key, protocol, sizeof(protocol), &inner);
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

void usb_ids_kind(const struct usb_ids *ids, const char *code, char *text, size_t size, bool *ret_known)
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
