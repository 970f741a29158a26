"""Any folder of images: what is read of it and how it is converted, what is refused, and that nothing leads outside."""

import io
import json
import os
import shutil
import zipfile
from types import SimpleNamespace

import datasets
import fsspec
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from pipeline.data import UnreadableImageError, huggingface
from pipeline.data import load as load_data
from pipeline.data.decoding import decoded
from pipeline.settings import DataSettings
from tests.support.bad_input_sets import of_folders

# the library leaves lists of images open
pytestmark = pytest.mark.filterwarnings("ignore:.*FileIO:pytest.PytestUnraisableExceptionWarning")

SIZE = 8
PIXELS = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
COLOUR, GREY = Image.fromarray(PIXELS), Image.fromarray(PIXELS[..., 0])
SIXTEEN = PIXELS[..., 0].astype(np.uint16) * 200 + 77
PLACES = [f"{part}/{name}/{number}.png" for part in ("train", "test") for name in ("cat", "dog") for number in (0, 1)]
LAYOUT = "expected a folder for every class, train/<class>/*.png and test/<class>/*.png; found "
HUB = "hf://datasets/some/set@0/"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """A cache of its own, and a network that nobody touches."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    opened = fsspec.filesystem

    def local(protocol, *args, **kwargs):
        assert protocol not in ("http", "https", "ftp", "s3"), protocol
        return opened(protocol, *args, **kwargs)

    monkeypatch.setattr(fsspec, "filesystem", local)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was touched"))


def load(folder, **settings):
    return load_data(DataSettings(source="huggingface", path=str(folder), **settings))


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def folders(root, image=COLOUR, **others):
    """Two classes of two images in both splits; some of PLACES hold other content."""
    of_folders(*((place, encoded(image)) for place in PLACES))(root)
    for place, content in others.items():
        (root / place).write_bytes(content if isinstance(content, bytes) else encoded(content))
    return root


def parquet(root, images, labels=(0, 1) * 2, feature=None):
    """The same four rows in both splits; an image is {"bytes": ..., "path": ...}."""
    features = datasets.Features({"image": datasets.Image(), "label": feature or datasets.ClassLabel(names=["a", "b"])})
    made = datasets.Dataset.from_dict({"image": [None] * len(labels), "label": list(labels)}, features=features)
    column = pyarrow.array(list(images), datasets.Image().pa_type)
    table = made.data.table.set_column(0, "image", column)
    root.mkdir()
    for part in ("train", "test"):
        pyarrow.parquet.write_table(
            table.replace_schema_metadata(made.data.table.schema.metadata), root / f"{part}.parquet"
        )
    return root


def inline(*contents):
    return [{"bytes": content, "path": None} for content in contents]


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
    "another size": (COLOUR.resize((9, 9)), "is [3, 9, 9], channels, height and width; expected [3, 8, 8]"),
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


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program named gs on the path that leaves a mark where it is called."""
    program, mark = tmp_path / "bin" / "gs", tmp_path / "ran"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # look for it anew
    return mark


@pytest.mark.parametrize("streaming", [False, True])
def test_ghostscript_is_not_called_for_an_image_in_postscript(tmp_path, ghostscript, streaming):
    root = parquet(tmp_path / "set", inline(encoded(GREY), EPS, encoded(GREY), EPS))
    with pytest.raises(ValueError, match=r"image 1 of split train cannot be decoded: expected PNG, JPEG"):
        load(root, streaming=streaming, workers=0)
    assert not ghostscript.exists()


OUTSIDE = {  # a path in a table, {outside} a folder beside the set, and what is said of it
    "/etc/hostname": "leads to /etc/hostname, outside of the set",
    "{outside}/secret.png": "leads to {outside}/secret.png, outside of the set",
    "../outside/secret.png": "leads to {outside}/secret.png, outside of the set",
    "http://127.0.0.1:9/1.png": "is an address; expected",
    "https://localhost/1.png": "is an address; expected",
    "hf://datasets/some/set/1.png": "is an address; expected",
    "file:///etc/hostname": "is an address; expected",
    "zip://secret.png::{outside}/secret.zip": "leads to {outside}/secret.zip, outside of the set",
    "zip://1.png::http://localhost/1.zip": "is an address; expected",
    "train.parquet": "cannot be decoded: expected PNG",
    "nothing.png": "cannot be read: ",
    ".": "cannot be read: ",
    "a\0b": "cannot be read: ",
}


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_in_a_table_is_followed_to_files_of_the_set_alone(tmp_path, path):
    outside = tmp_path / "outside"
    outside.mkdir()
    GREY.save(outside / "secret.png")
    with zipfile.ZipFile(outside / "secret.zip", "w") as archive:
        archive.write(outside / "secret.png", "secret.png")
    rows = [*inline(encoded(GREY), encoded(GREY)), {"bytes": None, "path": path.format(outside=outside)}]
    root = parquet(tmp_path / "set", [*rows, *inline(encoded(GREY))])
    with pytest.raises(ValueError) as caught:
        load(root)
    assert f") {OUTSIDE[path].format(outside=outside)}" in str(caught.value)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["bytes and a path", "bytes"])
def test_images_in_a_table_of_another_program_are_found_by_their_type(tmp_path, kind, streaming):
    (root := tmp_path / "set").mkdir()
    content = encoded(COLOUR)
    images = [content] * 4 if kind == "bytes" else inline(*[content] * 4)
    table = pyarrow.table({"image": pyarrow.array(images), "label": ["cat", "dog"] * 2})
    if kind != "bytes":
        table = table.set_column(0, "image", table["image"].cast(datasets.Image().pa_type))
    for part in ("train", "test"):
        pyarrow.parquet.write_table(table, root / f"{part}.parquet")
    data = load(root, streaming=streaming, workers=0)
    assert data.class_names == ("cat", "dog")
    assert np.array_equal(data.test.kept().images[3].permute(1, 2, 0).numpy(), PIXELS)


def test_a_path_in_a_table_is_followed_to_files_of_the_set(tmp_path):
    rows = [{"bytes": None, "path": "images/0.png"}, {"bytes": None, "path": str(tmp_path / "set/images/0.png")}]
    root = parquet(tmp_path / "set", [*rows, *rows])
    (root / "images").mkdir()
    COLOUR.save(root / "images" / "0.png")
    (tmp_path / "link").symlink_to(root)
    assert torch.equal(load(root).train.images, load(tmp_path / "link").train.images)
    assert np.array_equal(load(root).train.images[0].permute(1, 2, 0).numpy(), PIXELS)


def test_a_set_of_the_hub_is_read_from_what_was_downloaded_of_it_alone(tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    own, other = cache / "datasets--some--set", cache / "datasets--other--set"
    for place in (own, other):
        (place / "blobs").mkdir(parents=True)
        COLOUR.save(place / "blobs" / "0.png")
    (own / "snapshots").mkdir()
    (own / "snapshots" / "1.png").symlink_to("../blobs/0.png")
    builder = SimpleNamespace(repo_id="some/set", config=SimpleNamespace(data_files={"train": [HUB + "train/1.png"]}))
    files = huggingface.hub_files("some/set", builder)
    assert files.read(str(own / "snapshots" / "1.png")) == encoded(COLOUR)
    for path in (other / "blobs" / "0.png", "/etc/hostname", "https://localhost/1.png"):
        with pytest.raises(UnreadableImageError, match=r"outside of the set|is an address"):
            files.read(str(path))


@pytest.mark.parametrize(
    "address", ["https://localhost/1.parquet", "hf://datasets/other/set@0/1.parquet", "/etc/passwd"]
)
def test_a_set_of_the_hub_that_names_files_outside_of_it_is_refused(address):
    builder = SimpleNamespace(repo_id="some/set", config=SimpleNamespace(data_files={"train": [HUB, address]}))
    with pytest.raises(ValueError, match=f"some/set: its files are to include {address}, which is outside of the set"):
        huggingface.hub_files("some/set", builder)


def test_images_in_archives_are_read_where_a_list_names_them(tmp_path):
    listed = "file_name,label\n0.png,cat\n1.png,dog\n"
    (tmp_path / "set").mkdir()
    for part in ("train", "test"):
        with zipfile.ZipFile(tmp_path / "set" / f"{part}.zip", "w") as archive:
            archive.writestr("metadata.csv", listed)
            for number in range(2):
                archive.writestr(f"{number}.png", encoded(COLOUR))
    data = load(tmp_path / "set")
    assert np.array_equal(data.train.images[1].permute(1, 2, 0).numpy(), PIXELS)
    assert data.class_names == ("cat", "dog")


def fifo(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link(target):
    def plant(path):
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return plant


def card(**configuration):
    text = f"---\nconfigs:\n- {json.dumps({'config_name': 'default'} | configuration)}\n---\n"
    return lambda path: path.write_text(text)


KIND = " is a FIFO, a socket or a device; expected a file"
BESIDE = "; expected files of the set alone"
PLANTED = {  # a file of the set, how it is made, and what is said
    "FIFO as an image": ("train/cat/0.png", fifo, "train/cat/0.png" + KIND),
    "FIFO as a list": ("train/metadata.csv", fifo, "train/metadata.csv" + KIND),
    "FIFO as a card": ("README.md", fifo, "README.md" + KIND),
    "FIFO as the other card": (".huggingface.yaml", fifo, ".huggingface.yaml" + KIND),
    "FIFO as a table": ("train/0.parquet", fifo, "train/0.parquet" + KIND),
    "device as an image": ("train/cat/0.png", link("/dev/zero"), "train/cat/0.png leads to /dev/zero, outside of"),
    "link to a file": ("train/cat/0.png", link("/etc/hostname"), "train/cat/0.png leads to /etc/hostname, outside"),
    "link to a folder": ("train/bird", link("/etc"), "train/bird leads to /etc, outside of the set"),
    "huge image": (
        "train/cat/0.png",
        lambda path: os.truncate(path, 10**12),
        "0.png has 1,000,000,000,000 bytes; such",
    ),
    "card to a folder above": ("README.md", card(data_files="../outside/*.png"), "README.md names ../outside/*.png"),
    "card to another folder": ("README.md", card(data_dir="/etc"), "README.md names /etc" + BESIDE),
    "card to an address": (
        "README.md",
        card(data_files=[{"split": "train", "path": ["https://localhost/train.parquet"]}]),
        "README.md names https://localhost/train.parquet" + BESIDE,
    ),
    "other card to an address": (
        ".huggingface.yaml",
        lambda path: path.write_text("configs:\n- config_name: default\n  data_files: 'hf://datasets/some/set/*'\n"),
        ".huggingface.yaml names hf://datasets/some/set/*" + BESIDE,
    ),
    "damaged card": (
        "README.md",
        lambda path: path.write_text("---\nconfigs: [\n---\n"),
        "cannot load split 'train' of",
    ),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_leads_out_of_a_set_or_is_no_file_is_refused_at_once(tmp_path, kind):
    place, plant, says = PLANTED[kind]
    plant(folders(tmp_path / "set") / place)
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "set")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_card_may_name_files_of_the_set_and_hidden_folders_are_left_alone(tmp_path):
    root = folders(tmp_path / "set")
    files = [{"split": "train", "path": "test/*/*"}, {"split": "test", "path": ["train/*/*"]}]
    card(data_files=files)(root / "README.md")
    (root / ".git").mkdir()
    fifo(root / ".git" / "pipe")
    (root / ".git" / "link").symlink_to("/etc")
    assert load(root).class_names == ("cat", "dog")


def test_folders_may_be_linked_inside_a_set(tmp_path):
    root = folders(tmp_path / "set")
    shutil.copy(root / "train/cat/0.png", root / "shared.png")
    link("../../shared.png")(root / "train/cat/0.png")
    assert len(load(root).train) == 4


LAYOUTS = {  # places of images, and what is said
    "flat": (["1.png", "2.png"], "no split test, but train, with 1.png"),
    "flat in splits": (["train/1.png", "test/1.png"], "train/1.png, and no class that is in both splits"),
    "only train": (["train/cat/1.png", "train/dog/1.png"], "no split test, but train, with train/cat/1.png"),
    "only classes": (["cat/1.png", "dog/1.png"], "no split test, but train, with cat/1.png"),
    "splits in classes": (
        [f"{name}/{part}/1.png" for name in ("cat", "dog") for part in ("train", "test")],
        "cat/train/1.png, and no class that is in both splits",
    ),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_images_in_another_layout_are_told_the_expected_one(tmp_path, kind):
    places, says = LAYOUTS[kind]
    of_folders(*((place, encoded(COLOUR)) for place in places))(tmp_path / "set")
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "set")
    assert str(caught.value) == f"data.path={tmp_path / 'set'}: {LAYOUT}{says}"


def test_a_path_of_a_file_and_one_of_nothing_are_told_apart(tmp_path):
    (tmp_path / "file.png").write_bytes(encoded(COLOUR))
    with pytest.raises(ValueError, match=r"file\.png is not a folder; expected one, or the name of a set on the hub"):
        load(tmp_path / "file.png")
    with pytest.raises(ValueError, match=r"cannot load split 'train' of .*/nothing: Couldn't find any data file at"):
        load(tmp_path / "nothing")


@pytest.mark.filterwarnings("ignore:The Pandas builder")
@pytest.mark.parametrize("path", ["csv", "imagefolder", "pandas"])
def test_the_name_of_a_reader_reads_nothing_of_the_current_folder(tmp_path, monkeypatch, path):
    folders(tmp_path / "set")
    (tmp_path / "set" / "train.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path / "set")
    with pytest.raises(ValueError, match=r"data\.path="):
        load(path)


def listed(root, train, test, form="csv"):
    """A set whose labels are in lists beside the images: {image: label} of both splits."""
    for part, labels in (("train", train), ("test", test)):
        (root / part).mkdir(parents=True)
        rows = [{"file_name": f"{number}.png", "label": label} for number, label in enumerate(labels)]
        for row in rows:
            COLOUR.save(root / part / row["file_name"])
        if form == "csv":
            text = "file_name,label\n" + "".join(f"{row['file_name']},{row['label']}\n" for row in rows)
        else:
            text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (root / part / f"metadata.{form}").write_text(text)
    return root


NAMED = {  # labels of both splits, names of the classes and numbers of both
    "words": (["dog", "cat", "dog"], ["cat", "dog"], ("cat", "dog"), [1, 0, 1], [0, 1]),
    "numbers in their order": ([10, 9, 2], [9, 10], ("2", "9", "10"), [2, 1, 0], [1, 2]),
    "classes of train alone": (["a", "c", "b"], ["c"], ("a", "b", "c"), [0, 2, 1], [2]),
    "numbers below zero": ([-1, 1, 1], [1, -1], ("-1", "1"), [0, 1, 1], [1, 0]),
}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("kind", NAMED)
def test_words_and_numbers_are_labels_and_their_classes_are_in_order(tmp_path, kind, form):
    train, test, names, first, second = NAMED[kind]
    if form == "parquet":
        (tmp_path / "set").mkdir()
        for part, labels in (("train", train), ("test", test)):
            rows = {"image": [{"bytes": encoded(COLOUR), "path": None}] * len(labels), "label": labels}
            made = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
            made.to_parquet(tmp_path / "set" / f"{part}.parquet")
    else:
        listed(tmp_path / "set", train, test, form)
    data = load(tmp_path / "set")
    assert data.class_names == names
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == (first, second)


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        (["a", "b"], ["a", "c", "d"], "found c, d in split test alone"),
        ([1, 2], [1, 3], "found 3 in split test alone"),
        (["a", "a"], ["a"], "expected at least 2 classes, found a"),
        (["a", "", "b"], ["a"], "expected words or numbers, found none at image 1"),
        ([0.5, 1.5], [0.5], "expected one column of type ClassLabel, of words or of whole numbers; the set has none"),
    ],
)
def test_labels_that_cannot_be_used_are_named(tmp_path, train, test, says):
    with pytest.raises(ValueError, match=says):
        load(listed(tmp_path / "set", train, test))


def test_a_class_folder_in_test_alone_is_refused_and_one_in_train_alone_is_not(tmp_path):
    root = folders(tmp_path / "set")
    (root / "train/bird").mkdir()
    COLOUR.save(root / "train/bird/0.png")
    assert load(root).class_names == ("bird", "cat", "dog")
    shutil.move(root / "train/bird", root / "test/bird")
    with pytest.raises(ValueError, match=r"every class in split train; found bird in split test alone"):
        load(root)
