"""Layouts of sets that are not the expected one, and what labels may be."""

import shutil

import datasets
import pytest

from tests.support.bad_input.sets import of_folders
from tests.support.images.sets import COLOUR, encoded, folders, listed, load

pytestmark = pytest.mark.usefixtures("own_cache")


LAYOUT = "expected a folder for every class, train/<class>/*.png and test/<class>/*.png; found "


LAYOUTS = {  # places of images, and what is said
    "flat": (["1.png", "2.png"], "no split test, but train, with 1.png"),
    "flat in splits": (["train/1.png", "test/1.png"], "train/1.png, and no class that is in both splits"),
    "only train": (["train/cat/1.png", "train/dog/1.png"], "no split test, but train, with train/cat/1.png"),
    "only classes": (["cat/1.png", "dog/1.png"], "no split test, but train, with cat/1.png"),
    "one class": (
        ["train/cat/1.png", "test/cat/1.png"],
        "cat alone, with train/cat/1.png",
    ),
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
    assert (
        str(caught.value).replace(", of two classes or more;", ";") == f"data.path={tmp_path / 'set'}: {LAYOUT}{says}"
    )


def test_a_path_of_a_file_and_one_of_nothing_are_told_apart(tmp_path):
    (tmp_path / "file.png").write_bytes(encoded(COLOUR))
    with pytest.raises(ValueError, match=r"file\.png is not a folder; expected one, or the name of a set on the hub"):
        load(tmp_path / "file.png")
    with pytest.raises(
        ValueError, match=r"'train' of .*/nothing, which is no folder here: Couldn't find any data file"
    ):
        load(tmp_path / "nothing")


@pytest.mark.filterwarnings("ignore:The Pandas builder")
@pytest.mark.parametrize("path", ["csv", "imagefolder", "pandas"])
def test_the_name_of_a_reader_reads_nothing_of_the_current_folder(tmp_path, monkeypatch, path):
    folders(tmp_path / "set")
    (tmp_path / "set" / "train.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path / "set")
    with pytest.raises(ValueError, match=r"data\.path="):
        load(path)


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
