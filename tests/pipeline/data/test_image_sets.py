"""Any folder of images: what is read of it and how it is converted, what is refused, and that nothing leads outside."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.data.decoding import decoded
from tests.support.images.sets import COLOUR, EPS, GREY, PIXELS, PLACES, SIZE, encoded, folders, load

pytestmark = pytest.mark.usefixtures("own_cache")


SIXTEEN = PIXELS[..., 0].astype(np.uint16) * 200 + 77


def transparent(mode):
    image = COLOUR.convert(mode)
    image.putpixel((1, 1), (*image.getpixel((1, 1))[:-1], 200))
    return image


def palette(image=COLOUR):
    return image.quantize(64)


CONVERTED = {  # the content of one image among others like `beside`, what it becomes, and what is said of it
    "grey among RGB": (encoded(GREY), COLOUR, GREY.convert("RGB"), "grey to RGB"),
    "1-bit": (encoded(GREY.convert("1")), GREY, GREY.convert("1").convert("L"), "1-bit to 8-bit grey"),
    "1-bit among RGB": (encoded(GREY.convert("1")), COLOUR, GREY.convert("1").convert("RGB"), "1-bit to RGB"),
    "palette": (encoded(palette()), COLOUR, palette().convert("RGB"), "palette to RGB"),
    "GIF": (encoded(palette(), "GIF"), COLOUR, palette().convert("RGB"), "palette to RGB"),
    "grey palette": (encoded(GREY.convert("P")), GREY, GREY, "palette to 8-bit grey"),
    "RGBA": (encoded(COLOUR.convert("RGBA")), COLOUR, COLOUR, "RGBA, opaque, to RGB"),
    "LA": (encoded(GREY.convert("LA")), GREY, GREY, "grey with opaque alpha to 8-bit grey"),
    "CMYK": (
        encoded(COLOUR.convert("CMYK"), "TIFF"),
        COLOUR,
        COLOUR.convert("CMYK").convert("RGB"),
        "CMYK to RGB",
    ),
    "16 bits": (
        encoded(Image.fromarray(SIXTEEN)),
        GREY,
        Image.fromarray(np.round(SIXTEEN / 257).astype(np.uint8)),
        "16-bit grey to 8-bit grey",
    ),
    "16 bits, big end first": (
        encoded(Image.fromarray(SIXTEEN.astype(">u2")), "TIFF"),
        GREY,
        Image.fromarray(np.round(SIXTEEN / 257).astype(np.uint8)),
        "16-bit grey to 8-bit grey",
    ),
}


@pytest.mark.parametrize("kind", CONVERTED)
@pytest.mark.parametrize("streaming", [False, True])
def test_an_image_of_another_kind_is_converted_and_said_once(tmp_path, capsys, kind, streaming):
    content, beside, expected, how = CONVERTED[kind]
    data = load(
        folders(tmp_path / "set", beside, **{"train/cat/0.png": content, "train/dog/1.png": content}),
        streaming=streaming,
        workers=0,
    )
    wanted = np.asarray(expected).reshape(SIZE, SIZE, -1).transpose(2, 0, 1)
    for _ in range(2):
        images = data.train.kept().images.numpy()
        assert np.array_equal(images[0], wanted)
        assert np.array_equal(images[3], wanted)
    line = (
        f"images of split train are converted as they are read: {how}"
        if streaming
        else (f"2 of 4 images of split train were converted: 2 {how}")
    )
    assert capsys.readouterr().err == f"note: {line}\n"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_formats_are_told_by_content_whatever_the_name(tmp_path, form):
    image = GREY if form == "GIF" else COLOUR
    content = encoded(image, form)
    data = load(folders(tmp_path / "set", **dict.fromkeys(PLACES, content)))
    expected = np.asarray(Image.open(io.BytesIO(content)).convert(image.mode))
    assert np.array_equal(data.train.images[0].permute(1, 2, 0).squeeze().numpy(), expected.squeeze())


def test_a_picture_that_a_camera_turned_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: a quarter turn
    assert np.array_equal(decoded(encoded(COLOUR, exif=exif)).pixels.transpose(1, 2, 0), np.rot90(PIXELS, -1))


def test_every_level_of_16_bits_becomes_the_nearest_of_8():
    levels = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    found = decoded(encoded(Image.fromarray(levels))).pixels[0]
    assert np.array_equal(found, np.round(levels / 257).astype(np.uint8))


def test_a_set_whose_first_image_alone_is_grey_is_in_colour_however_it_is_kept(tmp_path):
    root = folders(tmp_path / "set", **{"train/cat/0.png": GREY, "test/cat/0.png": GREY})
    kept, streamed = load(root), load(root, streaming=True, workers=0)
    assert kept.train.shape == kept.test.shape == streamed.train.shape == streamed.test.shape == (3, SIZE, SIZE)
    for part in ("train", "test"):
        assert torch.equal(getattr(kept, part).images, getattr(streamed, part).kept().images)
    assert kept.statistics() == streamed.statistics()


def frames(form):
    return encoded(GREY, form, save_all=True, append_images=[COLOUR.convert("L").rotate(90)])


MODE = "; expected grey or RGB of 8 bits"


REFUSED = {  # the content of train/dog/1.png, and what is said of it
    "several frames of GIF": (frames("GIF"), "has several frames (GIF); expected one"),
    "several frames of WebP": (frames("WEBP"), "has several frames (WEBP); expected one"),
    "several frames of PNG": (frames("PNG"), "has several frames (PNG); expected one"),
    "several pages": (frames("TIFF"), "has several frames (TIFF); expected one"),
    "fractions": (encoded(GREY.convert("F"), "TIFF"), "has mode F" + MODE),
    "32 bits": (encoded(GREY.convert("I"), "TIFF"), "has mode I" + MODE),
    "transparent": (transparent("RGBA"), "has mode RGBA and transparent pixels; lay it on a background first"),
    "transparent grey": (transparent("LA"), "has mode LA and transparent pixels"),
    "a transparent colour": (
        encoded(palette(), transparency=int(np.asarray(palette())[0, 0])),
        "has mode P and transp",
    ),
    "a transparent level": (encoded(Image.fromarray(SIXTEEN), transparency=int(SIXTEEN[0, 0])), "has mode I;16 and tr"),
    "too large": (encoded(Image.new("1", (10_000, 10_000))), "is too large: Image size (100000000 pixels) exceeds"),
    "far too large": (encoded(Image.new("1", (14_000, 14_000))), "is too large: Image size (196000000 pixels) exceeds"),
    "cut": (encoded(COLOUR)[:-40], "cannot be decoded: "),
    "empty": (b"", "cannot be decoded: expected PNG, JPEG, WEBP, BMP, TIFF or GIF"),
    "EPS": (EPS, "cannot be decoded: expected PNG, JPEG, WEBP, BMP, TIFF or GIF"),
    "PPM": (encoded(COLOUR, "PPM"), "cannot be decoded: expected PNG, JPEG, WEBP, BMP, TIFF or GIF"),
    "PDF": (b"%PDF-1.4\n", "cannot be decoded: expected PNG, JPEG, WEBP, BMP, TIFF or GIF"),
    "another size": (
        COLOUR.resize((9, 9)),
        "is [3, 9, 9], channels, height and width; expected [3, 8, 8], or",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_image_that_cannot_be_used_is_named_in_one_line_and_nothing_else_is_said(tmp_path, capsys, kind):
    content, says = REFUSED[kind]
    root = folders(tmp_path / "set", **{"train/dog/1.png": content})
    with pytest.raises(ValueError) as caught:
        load(root)
    assert str(caught.value).startswith(f"image 3 of split train ({root}/train/dog/1.png) {says}")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_images_of_any_shape_become_squares_of_one_size_from_their_middle(tmp_path):
    middle = np.kron(np.arange(8)[:, None] * np.ones(8, int) * 30, np.ones((8, 8))).astype(np.uint8)  # rows of 8 levels
    wide = np.hstack([np.full((64, 40), 255, np.uint8), middle, np.full((64, 40), 255, np.uint8)])
    root = folders(tmp_path / "set", GREY, **{"train/cat/0.png": Image.fromarray(wide), "train/dog/1.png": COLOUR})
    kept, streamed = load(root, image_size=16), load(root, image_size=16, streaming=True, workers=0)
    assert kept.train.shape == kept.test.shape == (3, 16, 16)
    found = kept.train.images[0, 0, :, 2:-2].float()  # bicubic scaling reads two pixels beyond the ends of the square
    assert (found == found[:, :1]).all()
    assert (found.reshape(8, 2, 12).mean(dim=(1, 2)) - 30 * torch.arange(8)).abs().max() < 2
    assert torch.equal(kept.train.images, streamed.train.kept().images)


def test_images_of_the_size_asked_for_are_not_touched(tmp_path):
    root = folders(tmp_path / "set")
    assert torch.equal(load(root, image_size=SIZE).train.images, load(root).train.images)
