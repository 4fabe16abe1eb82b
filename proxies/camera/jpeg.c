/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See jpeg.h. */
#include "proxies/camera/jpeg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <turbojpeg.h>

#include "lib/base/base.h"

struct jpeg {
	tjhandle handle;
	int width, height;
	uint8_t *chroma; /* two planes of whole resolution at most */
};

/* How the chroma of a picture lies, and so what is to be averaged to half of each side. */
static const struct subsampling {
	bool known;
	int across, down; /* of its pixels that make one of ours */
} subsamplings[TJ_NUMSAMP] = {
	[TJSAMP_420] = {true, 1, 1}, [TJSAMP_422] = {true, 1, 2},  [TJSAMP_440] = {true, 2, 1},
	[TJSAMP_444] = {true, 2, 2}, [TJSAMP_GRAY] = {true, 0, 0}, /* there is none */
};

int jpeg_new(const struct camera_mode *mode, struct jpeg **ret_jpeg)
{
	struct jpeg *jpeg = calloc(1, sizeof(*jpeg));

	if (!jpeg)
		return -ENOMEM;
	jpeg->width = mode->width;
	jpeg->height = mode->height;
	jpeg->chroma = malloc(2u * mode->width * mode->height);
	jpeg->handle = tjInitDecompress();
	if (!jpeg->chroma || !jpeg->handle) {
		(void)jpeg_free(jpeg);
		return -ENOMEM;
	}
	*ret_jpeg = jpeg;
	return 0;
}

struct jpeg *jpeg_free(struct jpeg *jpeg)
{
	if (!jpeg)
		return NULL;
	if (jpeg->handle)
		(void)tjDestroy(jpeg->handle);
	free(jpeg->chroma);
	free(jpeg);
	return NULL;
}

/* Half of each side: each pixel is the mean of `across` times `down` of the decoded ones. */
static void shrink(const uint8_t *from, int from_width, const struct subsampling *kind, uint8_t *to, int width,
		   int height)
{
	const int n = kind->across * kind->down;

	for (int y = 0; y < height; y++) {
		const uint8_t *line = from + (ptrdiff_t)y * kind->down * from_width;
		const uint8_t *below = line + (kind->down == 2 ? from_width : 0);

		for (int x = 0; x < width; x++, to++) {
			int at = x * kind->across, right = at + kind->across - 1;

			*to = (uint8_t)(n == 4            ? (line[at] + line[right] + below[at] + below[right] + 2) / 4
					: kind->down == 2 ? (line[at] + below[at] + 1) / 2
							  : (line[at] + line[right] + 1) / 2);
		}
	}
}

bool jpeg_decode(struct jpeg *jpeg, const uint8_t *untrusted_bytes, size_t len, uint8_t *frame)
{
	const int width = jpeg->width / 2, height = jpeg->height / 2;
	uint8_t *u = frame + (size_t)jpeg->width * (size_t)jpeg->height, *v = u + (size_t)width * (size_t)height;
	uint8_t *planes[3] = {frame, u, v};
	int strides[3] = {jpeg->width, width, width};
	int has_width, has_height, subsampling, colours, chroma_width;
	const struct subsampling *kind;

	if (tjDecompressHeader3(jpeg->handle, untrusted_bytes, len, &has_width, &has_height, &subsampling, &colours) <
		    0 ||
	    has_width != jpeg->width || has_height != jpeg->height || subsampling < 0 || subsampling >= TJ_NUMSAMP ||
	    !subsamplings[subsampling].known || (colours != TJCS_YCbCr && colours != TJCS_GRAY))
		return false;
	kind = &subsamplings[subsampling];
	chroma_width = width * kind->across;
	if (kind->across * kind->down > 1) {
		planes[1] = jpeg->chroma;
		planes[2] = jpeg->chroma + (size_t)chroma_width * (size_t)(height * kind->down);
		strides[1] = strides[2] = chroma_width;
	}
	if (tjDecompressToYUVPlanes(jpeg->handle, untrusted_bytes, len, planes, jpeg->width, strides, jpeg->height,
				    TJFLAG_LIMITSCANS) < 0 &&
	    tjGetErrorCode(jpeg->handle) == TJERR_FATAL)
		return false;
	if (kind->across == 0)
		memset(u, 0x80, 2u * (size_t)width * (size_t)height);
	if (kind->across * kind->down > 1) {
		shrink(planes[1], chroma_width, kind, u, width, height);
		shrink(planes[2], chroma_width, kind, v, width, height);
	}
	return true;
}
