"""Decoding an image file, which may come from anyone, into 32×32 RGB."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

IMAGE_SIZE = 32
MAX_PIXELS = 50_000_000  # a file of a few kilobytes can claim gigabytes of pixels

# Pillow is told these formats and no others. Left to guess, it hands PostScript, whatever the file is called,
# to Ghostscript, which runs it.
_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".ppm": "PPM",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
SUFFIXES = tuple(_FORMATS)
"""Endings (lower case) of the files that count as images."""


def decode_image(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Decode one image; of an animation, the first frame.

    An image of another size is brought to 32×32 (bilinear, antialiased), one of another mode (grey, palette,
    alpha) to RGB.

    Args:
        data: the file's content, in any format that `SUFFIXES` stands for, whichever the name's suffix is.
        name: what to call it in an error.

    Returns:
        uint8 [3, 32, 32].

    Raises:
        ValueError: corrupt, of another format, or of more than `MAX_PIXELS` pixels.
    """
    formats = tuple(dict.fromkeys(_FORMATS.values()))
    try:
        with Image.open(io.BytesIO(data), formats=formats) as file:
            if file.width * file.height > MAX_PIXELS:  # only the header has been read so far
                raise ValueError(
                    f"{file.width}×{file.height} pixels, at most {MAX_PIXELS:,} in all are allowed"
                )
            image = file.convert("RGB")
    except UnidentifiedImageError as error:
        allowed = ", ".join(formats)
        raise ValueError(f"image {name} cannot be decoded, it is corrupt or none of {allowed}") from error
    except Exception as error:  # Pillow raises many for broken files: OSError, SyntaxError, ValueError, …
        raise ValueError(f"image {name} cannot be decoded, it is corrupt or too large: {error}") from error
    if image.size != (IMAGE_SIZE, IMAGE_SIZE):
        image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).transpose(2, 0, 1)
