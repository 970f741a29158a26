"""Decoding of images: formats by content, colours by what is exact or usual, and no program but Pillow's own."""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.compute.faults import first_line
from pipeline.presentation.terminal import printable

PixelArray = np.ndarray[Any, np.dtype[np.uint8]]
Conversions = Counter[str]  # "CMYK to RGB" -> number of images
GREY_MODE, COLOUR_MODE = "L", "RGB"  # of PIL's modes, those that are kept
CHANNELS = {GREY_MODE: 1, COLOUR_MODE: 3}
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # others of PIL call Ghostscript, or read further files
SEVERAL_PICTURES = "MPO"  # a camera's JPEG that carries previews behind the picture that every reader shows
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
PALETTES = ("P", "PA")
NAMES = {  # of the modes that are converted
    "1": "1-bit",
    "L": "grey",
    "LA": "grey with opaque alpha",
    "P": "palette",
    "PA": "palette with opaque alpha",
    "RGBA": "RGBA, opaque,",
    "RGBX": "RGBX",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
} | dict.fromkeys(SIXTEEN_BITS, "16-bit grey")
KEPT_AS = {GREY_MODE: "8-bit grey", COLOUR_MODE: "RGB"}


class UnreadableImageError(ValueError):
    """An image that cannot be decoded, or is not like the others."""


@dataclass(frozen=True)
class Decoded:
    """An image [C, H, W], and how its colours were converted: "CMYK to RGB", or None where they are as in the file."""

    pixels: PixelArray
    conversion: str | None


def decoded(content: bytes, channels: int | None = None, side: int | None = None) -> Decoded:
    """Decode the content of an image file.

    channels: 3 makes colour of grey, which is exact; None leaves grey images grey.
    side: pixels of the square that is cut from the middle and scaled, without aliasing; None leaves the image whole.
    Raises UnreadableImageError that says what is wrong, without a name.
    """
    with _refusals():
        image = _opened(content)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        mode = image.mode
        image = _eight_bits(image)
        if channels == CHANNELS[COLOUR_MODE]:
            image = image.convert(COLOUR_MODE)
        if side is not None:
            image = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
        pixels = np.asarray(image).reshape(image.height, image.width, CHANNELS[image.mode]).transpose(2, 0, 1)
        return Decoded(pixels, None if image.mode == mode else f"{NAMES[mode]} to {KEPT_AS[image.mode]}")


def is_colour(content: bytes) -> bool:
    """Return whether an image is kept in colour; its header tells, but for a palette. Raises UnreadableImageError."""
    with _refusals():
        return _kept_mode(_opened(content)) == COLOUR_MODE


@contextmanager
def _refusals() -> Iterator[None]:
    """What Pillow says of an image as UnreadableImageError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags that do not matter; what does is raised
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except (MemoryError, UnreadableImageError):
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise UnreadableImageError(f"is too large: {first_line(error)}") from None
        except UnidentifiedImageError:
            expected = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
            raise UnreadableImageError(f"cannot be decoded: expected {expected}, whatever its name") from None
        except Exception as error:  # Pillow and its plugins raise a dozen kinds, all of which mean the same
            raise UnreadableImageError(f"cannot be decoded: {first_line(error)}") from None


def _opened(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content), formats=FORMATS)
    if getattr(image, "is_animated", False) and image.format != SEVERAL_PICTURES:
        raise UnreadableImageError(f"has several frames ({image.format}); expected one")
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return the image in GREY or COLOUR. Raises UnreadableImageError where that is neither exact nor usual."""
    kept = _kept_mode(image)
    if _is_transparent(image):
        raise UnreadableImageError(f"has mode {image.mode} and transparent pixels; lay it on a background first")
    if image.mode in SIXTEEN_BITS:
        levels = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8))  # 65535 is 255: the nearest of its levels
    return image.convert(kept)


def _kept_mode(image: Image.Image) -> str:
    if image.mode not in NAMES and image.mode != COLOUR_MODE:
        raise UnreadableImageError(
            f"has mode {image.mode}; expected grey or RGB of 8 bits, or what becomes one of them: "
            "1-bit, 16-bit grey, palette, CMYK, YCbCr, opaque RGBA"
        )
    if image.mode in PALETTES:
        colours = np.asarray(image.convert(COLOUR_MODE))
        return GREY_MODE if (colours == colours[..., :1]).all() else COLOUR_MODE
    return GREY_MODE if image.mode in (GREY_MODE, "1", "LA", *SIXTEEN_BITS) else COLOUR_MODE


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    if image.mode in SIXTEEN_BITS:  # one of its levels is declared transparent
        return bool((np.asarray(image) == image.info["transparency"]).any())
    lowest = np.asarray(image.convert("RGBA").getchannel("A")).min()
    return bool(lowest < 255)


def say_counted(conversions: Conversions, number: int, split: str) -> None:
    """Say how many of all `number` images of a split were converted, where any were."""
    if conversions:
        counts = ", ".join(f"{count:,} {how}" for how, count in sorted(conversions.items()))
        _say(f"{conversions.total():,} of {number:,} images of split {split} were converted: {counts}")


class Announced:
    """Says of each way to convert that it is taken, the first time: images that are read as they are needed."""

    def __init__(self, split: str) -> None:
        self._split = split
        self._said: set[str] = set()

    def __call__(self, conversions: Conversions) -> None:
        """Take note of the conversions of a batch."""
        new = conversions.keys() - self._said
        if new:
            self._said |= new
            _say(f"images of split {self._split} are converted as they are read: {', '.join(sorted(new))}")


def _say(line: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the first process speaks for all
        sys.stderr.write(f"note: {printable(line)}\n")
