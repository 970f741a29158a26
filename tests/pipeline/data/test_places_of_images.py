"""Where images of a set may lie: in tables, archives and folders of the set, and nowhere else."""

import json
import os
import shutil
import zipfile
from types import SimpleNamespace

import datasets
import numpy as np
import pyarrow.parquet
import pytest
import torch

from pipeline.data import UnreadableImageError, huggingface
from tests.support.images.sets import COLOUR, EPS, GREY, PIXELS, encoded, folders, load

pytestmark = pytest.mark.usefixtures("own_cache")


HUB = "hf://datasets/some/set@0/"


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
