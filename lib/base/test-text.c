// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The escape corpus (CL11, CL12, CL16, CF12): whatever bytes come in, only printable ASCII comes out, and one '_'
 * stands for one thing.
 */
#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

/* An exact copy on the heap, so that a sanitizer sees each byte read beyond the end. */
static void *exact_copy(const void *bytes, size_t len)
{
	void *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	return copy;
}

#define CASE(in, out)                   \
	{                               \
		in, sizeof(in) - 1, out \
	}
static const struct {
	const char *in;
	size_t len;
	const char *out;
} corpus[] = {
	CASE("", ""),
	CASE("Rig Stick", "Rig Stick"),
	CASE("  padded \t ", "padded _"),
	CASE("     ", ""),
	CASE("a  b", "a  b"),
	CASE("\x1b[2J\x1b[31mred", "_[2J_[31mred"),
	CASE("\x1b]52;c;cm0gLXJm\x07", "_]52;c;cm0gLXJm_"),
	CASE("\x1bPq\x1b\\", "_Pq_\\"),
	CASE("safe\rEVIL\b\b\x7f", "safe_EVIL___"),
	CASE("two\nlines<3>", "two_lines<3>"),
	CASE("nul\0nul", "nul_nul"),
	CASE("\xc2\x9b"
	     "31m",
	     "_31m"), /* C1 CSI as UTF-8 */
	CASE("\x9b"
	     "31m",
	     "_31m"), /* C1 CSI as a byte */
	CASE("\xe2\x80\xae"
	     "gpj.exe",
	     "_gpj.exe"),                         /* U+202E right-to-left override */
	CASE("\xe2\x81\xa6x\xe2\x81\xa9", "_x_"), /* U+2066, U+2069 isolates */
	CASE("wo\xe2\x80\x8brk", "wo_rk"),        /* U+200B zero width space */
	CASE("\xef\xbb\xbf"
	     "bom",
	     "_bom"), /* U+FEFF */
	CASE("\xd0\xb0"
	     "dmin",
	     "_dmin"),                              /* Cyrillic a */
	CASE("\xf0\x9f\x98\x80", "_"),              /* U+1F600 */
	CASE("\xc0\xaf\xc1\xbf", "____"),           /* overlong '/' and DEL */
	CASE("\xe0\x80\xaf", "___"),                /* overlong, three bytes */
	CASE("\xf0\x80\x80\xaf", "____"),           /* overlong, four bytes */
	CASE("\xed\xa0\x80\xed\xb0\x80", "______"), /* surrogates */
	CASE("\xf4\x90\x80\x80", "____"),           /* above U+10FFFF */
	CASE("\xf8\x88\x80\x80\x80", "_____"),      /* five-byte form */
	CASE("\x80\xbf", "__"),                     /* lone continuation bytes */
	CASE("end\xe2\x80", "end__"),               /* truncated at the end */
	CASE("end\xf0\x9f\x98", "end___"),
	CASE("\xe2\x28\xa1", "_(_"), /* a sequence that breaks off */
	CASE("\xff\xfe", "__"),
	CASE("<b>&amp;%n%s$(rm)", "<b>&amp;%n%s$(rm)"), /* markup is the sinks' business */
};
#undef CASE

static void test_corpus(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(corpus); i++) {
		_cleanup_free_ void *in = exact_copy(corpus[i].in, corpus[i].len);
		char out[64];
		size_t n = text_make_safe(in, corpus[i].len, out, sizeof(out));

		assert_string_equal(out, corpus[i].out);
		assert_int_equal(n, strlen(out));
	}
}

static void test_cut(void **state)
{
	static const struct {
		const char *in;
		size_t size;
		const char *out;
	} cases[] = {
		{"abc", 1, ""},    {"abc", 2, "a"}, {"abc", 4, "abc"}, {"ab  c", 4, "ab"}, {"\xc2\x9b\xc2\x9b", 2, "_"},
		{"  abc", 3, "ab"}};
	char guard[2] = "#";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *out = malloc(cases[i].size);

		assert_non_null(out);
		(void)text_make_safe(cases[i].in, strlen(cases[i].in), out, cases[i].size);
		assert_string_equal(out, cases[i].out);
	}
	assert_int_equal(text_make_safe("abc", 3, guard, 0), 0);
	assert_int_equal(guard[0], '#');
}

static void test_long(void **state)
{
	enum { LONG = 65536 };
	_cleanup_free_ uint8_t *in = malloc(LONG);
	_cleanup_free_ char *out = malloc(LONG + 1);
	uint32_t x = 2463534242u;

	(void)state;
	assert_non_null(in);
	assert_non_null(out);
	for (int round = 0; round < 8; round++) {
		for (size_t i = 0; i < LONG; i++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			in[i] = (uint8_t)(round & 1 ? x : x | 0x80);
		}
		assert_true(text_make_safe(in, LONG, out, LONG + 1) <= LONG);
		assert_true(text_is_printable(out));
		assert_int_equal(text_make_safe(in, LONG, out, LIMIT_TEXT + 1), LIMIT_TEXT);
	}
}

static void test_names(void **state)
{
	static const struct {
		const char *text;
		bool qube, port, mic, speaker, webcam;
	} cases[] = {
		{"mic-01abcdef", true, false, true, false, false},
		{"mic-01abcdeF", true, false, false, false, false},
		{"mic-01abcde", true, false, false, false, false},
		{"mic-01abcdef0", true, false, false, false, false},
		{"mic01abcdef", true, false, false, false, false},
		{"mic0", true, false, false, false, false},
		{"mi", true, false, false, false, false},
		{"mic-", true, false, false, false, false},
		{"mic", true, false, true, false, false},
		{"speaker-01abcdef", true, false, false, true, false},
		{"speaker-01abcdeF", true, false, false, false, false},
		{"speaker-01abcde", true, false, false, false, false},
		{"speaker-01abcdef0", true, false, false, false, false},
		{"speaker-", true, false, false, false, false},
		{"webcam-01abcdef", true, false, false, false, true},
		{"webcam-01abcdeF", true, false, false, false, false},
		{"webcam-01abcde", true, false, false, false, false},
		{"webcam-", true, false, false, false, false},
		{"speakermic-01abcdef", true, false, false, false, false},
		{"work", true, false, false, false, false},
		{"sys-usb", true, false, false, false, false},
		{"a.b_c-9", true, false, false, false, false},
		{"", false, false, false, false, false},
		{"9work", false, false, false, false, false},
		{"-work", false, false, false, false, false},
		{"../etc", false, false, false, false, false},
		{"a/b", false, false, false, false, false},
		{"a b", false, false, false, false, false},
		{"a\n", false, false, false, false, false},
		{"a\xc3\xa9", false, false, false, false, false},
		{"abcdefghijklmnopqrstuvwxyz01234", true, false, false, false, false},
		{"abcdefghijklmnopqrstuvwxyz012345", false, false, false, false, false},
		{"1-2", false, true, false, false, false},
		{"12-2.4.1", false, true, false, false, false},
		{"1", false, false, false, false, false},
		{"1-", false, false, false, false, false},
		{"-1", false, false, false, false, false},
		{"1-2.", false, false, false, false, false},
		{"1-.2", false, false, false, false, false},
		{"1-2..3", false, false, false, false, false},
		{"1.2-3", false, false, false, false, false},
		{"1-2-3", false, false, false, false, false},
		{"1-2:1.0", false, false, false, false, false},
		{"1-2/..", false, false, false, false, false},
		{"1-1.1.1.1.1.1.1.1.1.1.1.1.1.1.1", false, true, false, false, false},
		{"1-1.1.1.1.1.1.1.1.1.1.1.1.1.1.12", false, false, false, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = exact_copy(cases[i].text, strlen(cases[i].text) + 1);

		assert_int_equal(text_is_qube_name(text), cases[i].qube);
		assert_int_equal(text_is_usb_port(text), cases[i].port);
		assert_int_equal(text_is_mic_port(text), cases[i].mic);
		assert_int_equal(text_is_speaker_port(text), cases[i].speaker);
		assert_int_equal(text_is_webcam_port(text), cases[i].webcam);
	}
}

/* What udev's path_id builtin says of the same folders, but for SuperSpeed. */
static void test_paths(void **state)
{
	static const struct {
		const char *syspath;
		bool super_speed;
		const char *path;
	} cases[] = {
#define PCI "/sys/devices/pci0000:00/0000:00:04.0"
		{PCI "/usb1/1-1/1-1.2", false, "pci-0000:00:04.0-usb-0:1.2"},
		{PCI "/usb12/12-1/12-1.2", false,
		 "pci-0000:00:04.0-usb-0:1.2"}, /* the number of the bus is not in it */
		{PCI "/usb2/2-1", false, "pci-0000:00:04.0-usb-0:1"},
		{PCI "/usb2/2-1", true, "pci-0000:00:04.0-usbv3-0:1"},
		{"/sys/devices/pci0000:00/0000:00:1c.0/0000:3c:00.0/usb4/4-3/4-3.1/4-3.1.4", true,
		 "pci-0000:3c:00.0-usbv3-0:3.1.4"},
		{"/sys/devices/platform/dummy_hcd.0/usb5/5-1", false, "platform-dummy_hcd.0-usb-0:1"},
		{"/sys/devices/platform/soc/a600000.usb/xhci-hcd.1.auto/usb1/1-1", false,
		 "platform-xhci-hcd.1.auto-usb-0:1"},
		{"/sys/devices/pci0000:00/usb1/1-1", false, "platform-pci0000:00-usb-0:1"},
		{PCI "/usb2/1-1", false, ""}, /* not the bus of that port */
		{PCI "/usb1/1-1:1.0", false, ""},
		{PCI "/usb1", false, ""},
		{"/sys/bus/usb/devices/1-1", false, ""}, /* not a folder but a link to one */
		{"/usb1/1-1", false, ""},
		{"usb1/1-1", false, ""},
		{"1-1", false, ""},
		{"", false, ""},
		{"/sys/devices/a b/usb1/1-1", false, ""},
		{"/sys/devices/-x/usb1/1-1", false, "platform--x-usb-0:1"},
		{"/sys/devices/x\x1b[2J/usb1/1-1", false, ""},
		{"/sys/devices/01234567890123456789012345678901234567890123456789012345678901/usb1/1-1", false,
		 "platform-01234567890123456789012345678901234567890123456789012345678901-usb-0:1"},
		{"/sys/devices/012345678901234567890123456789012345678901234567890123456789012/usb1/1-1", false, ""},
#undef PCI
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *syspath = exact_copy(cases[i].syspath, strlen(cases[i].syspath) + 1);
		_cleanup_free_ char *path = malloc(LIMIT_PATH_TEXT);

		text_usb_path(syspath, cases[i].super_speed, path);
		assert_string_equal(path, cases[i].path);
		assert_int_equal(text_is_path(path), path[0] != '\0');
	}
	assert_false(text_is_path(".x"));
	assert_false(text_is_path("x y"));
	assert_false(text_is_path("x/y"));
	assert_false(text_is_path("x\n"));
}

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int r;
		uint64_t value;
	} cases[] = {
		{"0", 10, 0, 0},
		{"10", 10, 0, 10},
		{"11", 10, -EINVAL, 0},
		{"05", 10, -EINVAL, 0}, /* DI04 */
		{" 5", 10, -EINVAL, 0},
		{"5 ", 10, -EINVAL, 0},
		{"+5", 10, -EINVAL, 0},
		{"-1", 10, -EINVAL, 0},
		{"", 10, -EINVAL, 0},
		{"0x1", 10, -EINVAL, 0},
		{"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
		{"18446744073709551616", UINT64_MAX, -EINVAL, 0},
		{"99999999999999999999999", UINT64_MAX, -EINVAL, 0},
		{"65536", UINT16_MAX, -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 77;

		assert_int_equal(text_to_u64(cases[i].text, cases[i].max, &value), cases[i].r);
		assert_true(value == (cases[i].r ? 77 : cases[i].value));
	}
}

static void test_interface_code(void **state)
{
	static const uint8_t code[3] = {0x08, 0x06, 0xff};
	char text[8];

	(void)state;
	text_interface_code('u', code, text);
	assert_string_equal(text, "u0806ff");
}

/* One call is one line of printable ASCII, whatever the arguments hold (CL12). */
static void test_log(void **state)
{
	static const char hostile[] = "a\nb\x1b[2J\xc2\x9b<0>x\r";
	char line[2048];
	int pair[2], saved;
	ssize_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	saved = dup(STDERR_FILENO);
	assert_true(saved >= 0);
	assert_true(dup2(pair[0], STDERR_FILENO) >= 0);
	errno = ENOSPC;
	log_error("x %s: %m", hostile);
	assert_int_equal(errno, ENOSPC);
	log_notice("%01000d", 7);
	log_debug("not shown");
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	(void)close(pair[0]);
	n = recv(pair[1], line, sizeof(line) - 1, 0);
	assert_true(n > 0);
	line[n] = '\0';
	assert_string_equal(line, "<3>qdb: x a_b_[2J_<0>x_: No space left on device\n");
	n = recv(pair[1], line, sizeof(line) - 1, 0);
	assert_int_equal(n, 512);
	assert_int_equal(line[511], '\n');
	assert_true(recv(pair[1], line, sizeof(line), MSG_DONTWAIT) < 0); /* the debug line did not come */
	(void)close(pair[1]);
}

/* Times as the policy and the options of an attach have them, and back. */
static void test_seconds(void **state)
{
	static const struct {
		const char *text;
		uint32_t seconds; /* 0: it is none */
		const char *shown;
	} cases[] = {
		{"1s", 1, "1s"},
		{"90s", 90, "90s"},
		{"60s", 60, "1m"},
		{"30m", 1800, "30m"},
		{"2h", 7200, "2h"},
		{"120m", 7200, "2h"},
		{"168h", 604800, "168h"},
		{"604800s", 604800, "168h"},
		{"169h", 0, NULL},
		{"604801s", 0, NULL},
		{"0s", 0, NULL},
		{"", 0, NULL},
		{"s", 0, NULL},
		{"5", 0, NULL},
		{"5d", 0, NULL},
		{"-5s", 0, NULL},
		{" 5s", 0, NULL},
		{"5 s", 0, NULL},
		{"05s", 0, NULL},
		{"5S", 0, NULL},
		{"1h30m", 0, NULL},
		{"00000001s", 0, NULL},
		{"99999999999999999999s", 0, NULL},
	};
	char shown[TEXT_SECONDS];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t seconds = 77;

		assert_int_equal(text_to_seconds(cases[i].text, &seconds), cases[i].seconds ? 0 : -EINVAL);
		assert_int_equal(seconds, cases[i].seconds ? cases[i].seconds : 77);
		if (!cases[i].seconds)
			continue;
		text_of_seconds(seconds, shown);
		assert_string_equal(shown, cases[i].shown);
	}
	text_of_seconds(0, shown);
	assert_string_equal(shown, "");
	text_of_seconds(UINT64_MAX, shown);
	assert_string_equal(shown, "18446744073709551615s");
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		uint16_t width, height; /* 0: it is none */
	} cases[] = {
		{"1280x720", 1280, 720},
		{"16x16", 16, 16},
		{"4096x4096", 4096, 4096},
		{"16x4096", 16, 4096},
		{"", 0, 0},
		{"x", 0, 0},
		{"1280", 0, 0},
		{"1280x", 0, 0},
		{"x720", 0, 0},
		{"1280X720", 0, 0},
		{"1280x720x30", 0, 0},
		{"1280 x720", 0, 0},
		{" 1280x720", 0, 0},
		{"1280x720 ", 0, 0},
		{"+1280x720", 0, 0},
		{"1280x-720", 0, 0},
		{"01280x720", 0, 0},
		{"1281x720", 0, 0},
		{"1280x721", 0, 0},
		{"14x720", 0, 0},
		{"1280x14", 0, 0},
		{"4098x720", 0, 0},
		{"1280x4098", 0, 0},
		{"0x0", 0, 0},
		{"12345678x720", 0, 0},
		{"66816x720", 0, 0},
		{"1280x66256", 0, 0},
		{"18446744073709551632x16", 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint16_t width = 7, height = 9;

		assert_int_equal(text_to_size(cases[i].text, &width, &height), cases[i].width ? 0 : -EINVAL);
		assert_int_equal(width, cases[i].width ? cases[i].width : 7);
		assert_int_equal(height, cases[i].width ? cases[i].height : 9);
	}
	/* what a refusal says is what holds */
	assert_non_null(strstr(TEXT_SIZE_FORM, "16 to 4096"));
	assert_true(text_is_side(16) && !text_is_side(15) && !text_is_side(14) && text_is_side(4096) &&
		    !text_is_side(4097) && !text_is_side(4098) && !text_is_side(0) && !text_is_side(UINT64_MAX));
}

/* As if the texts had been put together, whatever comes behind: a port's dot sorts before the colon, a qube's not. */
static void test_compare(void **state)
{
	static const char *const texts[] = {"", "1", "1-2", "1-2.1", "1-2.10", "1-20", "a", "a-b", "a.b", "ab", "\xff"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(texts); k++) {
			for (const char *end = ":+ "; *end; end++) {
				char left[16], right[16];
				int ours = text_compare_ended(texts[i], texts[k], *end), theirs;

				(void)snprintf(left, sizeof(left), "%s%c", texts[i], *end);
				(void)snprintf(right, sizeof(right), "%s%c", texts[k], *end);
				theirs = strcmp(left, right);
				assert_true((ours < 0) == (theirs < 0) && (ours > 0) == (theirs > 0));
			}
		}
	}
	assert_true(text_compare_ended("1-2", "1-2.1", ':') > 0 && text_compare_ended("1-2", "1-2.1", '+') < 0);
}

static void test_hex_digit(void **state)
{
	static const char digits[] = "0123456789abcdef";

	(void)state;
	for (int c = CHAR_MIN; c <= CHAR_MAX; c++) {
		const char *at = c ? strchr(digits, c) : NULL;

		assert_int_equal(text_hex_digit((char)c), at ? at - digits : -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_corpus), cmocka_unit_test(test_cut),     cmocka_unit_test(test_long),
		cmocka_unit_test(test_names),  cmocka_unit_test(test_numbers), cmocka_unit_test(test_interface_code),
		cmocka_unit_test(test_log),    cmocka_unit_test(test_paths),   cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_size),   cmocka_unit_test(test_compare), cmocka_unit_test(test_hex_digit),
	};

	(void)unsetenv("QDB_DEBUG");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
