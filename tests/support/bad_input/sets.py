"""Data sets that cannot be used, each made when a case first asks for it, and the cases that do.

A case is (script, overrides, what the line says); {sets}/<name> in its overrides is a folder of SETS.
"""

import io
import shutil
from itertools import cycle

import datasets
import pyarrow.parquet
from PIL import Image

DIGITS = tuple("0123456789")


def picture(mode="L", size=(8, 8), shade=0):
    return Image.new("L", size, shade).convert("I" if mode.startswith("I;") else mode).convert(mode)


def table(pictures, labels, names=DIGITS):
    """A set's table; labels are not checked against the names."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    made = datasets.Dataset.from_dict({"image": list(pictures), "label": list(labels)}, features=features)
    features["label"] = datasets.ClassLabel(names=list(names))
    return made.data.table.replace_schema_metadata(features.arrow_schema.metadata)


def whole(names=DIGITS, mode="L", size=(8, 8), each=4):
    """`each` images of every class."""
    labels = [label for label in range(len(names)) for _ in range(each)]
    return table((picture(mode, size, 20 * label) for label in labels), labels, names)


def of(train, test=None):
    """A set of two tables, the same one where one is given."""

    def make(folder):
        for name, part in (("train", train()), ("test", (test or train)())):
            pyarrow.parquet.write_table(part, folder / f"{name}.parquet")

    return make


def of_columns(**columns):
    """A set of ten grey images with other columns; each is a feature and ten values."""

    def make(folder):
        features = datasets.Features({name: feature for name, (feature, _) in columns.items()})
        made = datasets.Dataset.from_dict({name: values for name, (_, values) in columns.items()}, features=features)
        for name in ("train", "test"):
            pyarrow.parquet.write_table(made.data.table, folder / f"{name}.parquet")

    return make


def of_folders(*files):
    """A set in the layout of image folders. files: (path, content)."""

    def make(folder):
        for path, content in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

    return make


def png(**options):
    buffer = io.BytesIO()
    Image.frombytes("L", (8, 8), bytes(range(64))).save(buffer, "PNG", **options)
    return buffer.getvalue()


def odd(change, number=5):
    """A whole table in which one image is another."""
    labels = [label for label in range(10) for _ in range(4)]
    pictures = [picture(shade=20 * label) for label in labels]
    pictures[number] = change
    return lambda: table(pictures, labels)


def only_train(folder):
    of(whole)(folder)
    (folder / "test.parquet").unlink()


def cut(folder):
    of(whole)(folder)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-40])


IMAGES = datasets.Image(), [picture()] * 10
LABELS = datasets.ClassLabel(names=["a", "b"]), [0, 1] * 5
WORDS = datasets.Value("string"), ["a", "b"] * 5

SETS = {
    "good": of(whole),
    "colour": of(lambda: whole(mode="RGB")),
    "letters": of(lambda: whole(tuple("abcdefghij"))),
    "two": of(lambda: whole(("0", "1"), each=20)),
    "five": of(lambda: whole(DIGITS[:5])),
    "large": of(lambda: whole(size=(9, 9))),
    "no images": of_columns(pixels=(datasets.Value("string"), ["x"] * 10), label=LABELS),
    "no labels": of_columns(image=IMAGES),
    "fractions as labels": of_columns(image=IMAGES, label=(datasets.Value("float64"), [0.5, 1.5] * 5)),
    "two words as labels": of_columns(image=IMAGES, fine=WORDS, coarse=WORDS),
    "a word missing": of_columns(image=IMAGES, label=(datasets.Value("string"), ["a", "b", None, "a", "b"] * 2)),
    "lists as labels": of_columns(image=IMAGES, label=(datasets.List(LABELS[0]), [[0], [1]] * 5)),
    "two images": of_columns(left=IMAGES, right=IMAGES, label=LABELS),
    "two labels": of_columns(image=IMAGES, fine=LABELS, coarse=LABELS),
    "label -1": of(lambda: table([picture()] * 4, [0, 1, -1, 2])),
    "label 10": of(lambda: table([picture()] * 4, [0, 1, 10, 2])),
    "label missing": of(lambda: table([picture()] * 4, [0, 1, None, 2])),
    "one class": of(lambda: whole(("cat",), each=40)),
    "no class": of(lambda: table([picture()] * 40, [0] * 40, ())),
    "classes in another order": of(whole, lambda: whole(DIGITS[::-1])),
    "classes that differ": of(whole, lambda: whole(tuple("abcdefghij"))),
    "fewer classes in test": of(whole, lambda: whole(DIGITS[:9])),
    "one image a class": of(lambda: whole(each=1), whole),
    "missing images": of(odd(None)),
    "RGBA": of(odd(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))),
    "32 bits": of(odd(picture("I"))),
    "fractions": of(lambda: whole(mode="F")),
    "grey with transparency": of(odd(Image.new("LA", (8, 8), (0, 128)))),
    "several frames": of(odd({"bytes": png(save_all=True, append_images=[picture()]), "path": None})),
    "too large": of(odd(Image.new("1", (10_000, 10_000)))),
    "an image outside": of(odd({"bytes": None, "path": "/etc/hostname"})),
    "an address": of(odd({"bytes": None, "path": "http://127.0.0.1:9/1.png"})),
    "print": of(odd({"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n", "path": None})),
    "one larger": of(odd(picture(size=(9, 9)))),
    "not square": of(lambda: whole(size=(9, 8))),
    "4 x 4": of(lambda: whole(size=(4, 4))),
    "test larger": of(whole, lambda: whole(size=(9, 9))),
    "test in colour": of(whole, lambda: whole(mode="RGB")),
    "empty train": of(lambda: whole(each=0), whole),
    "empty test": of(whole, lambda: whole(each=0)),
    "only train": only_train,
    "cut": cut,
    "no image in it": of(odd({"bytes": b"no image", "path": None})),
    "half an image": of(odd({"bytes": png()[:45], "path": None})),
    "image that is not there": of(odd({"bytes": None, "path": "/nowhere.png"})),
    "empty": lambda folder: None,
    "text": of_folders(("train/a/1.txt", b"hello"), ("test/a/1.txt", b"hello")),
    "damaged files": of_folders(*((f"{part}/{name}/1.png", png()[:20]) for part in ("train", "test") for name in "ab")),
    "files without classes": of_folders(("train/1.png", png()), ("test/1.png", png())),
    "code": of_folders(("set.py", b"import os\nos.mkdir('ran')\n"), ("train.parquet", b"")),
    "table of numbers": of_folders(("train.csv", b"a,b\n1,2\n"), ("test.csv", b"a,b\n1,2\n")),
    "damaged JSON": of_folders(("train.json", b"{"), ("test.json", b"{")),
}


def make_set(folder, name):
    """Write a set of SETS; nothing is left of one that cannot be written."""
    folder.mkdir(parents=True)
    try:
        SETS[name](folder)
    except BaseException:
        shutil.rmtree(folder)
        raise


WHOLE = "data.limit=null data.test_limit=null "
DATA = "data=huggingface data.path='{sets}/%s'"
READ_ALIKE = [  # by every stage; the scripts take turns
    ("no images", "data.image_column=null: expected one column of type Image; the set has none among pixels, label"),
    (
        "no labels",
        "data.label_column=null: expected one column of type ClassLabel, of words ... the set has none among image",
    ),
    (
        "fractions as labels",
        "expected one column of type ClassLabel, of words or of whole numbers; the set has none among image, label",
    ),
    (
        "two words as labels",
        "expected one column of type ClassLabel, of words or of whole numbers; the set has fine, coarse among image",
    ),
    ("a word missing", "data.label_column=label: expected words or numbers, found none at image 2"),
    (
        "lists as labels",
        "expected one column of type ClassLabel, of words or of whole numbers; the set has none among image, label",
    ),
    ("two images", "data.image_column=null: expected one column of type Image; the set has left, right among"),
    ("two labels", "data.label_column=null: expected one column of type ClassLabel, ... has fine, coarse"),
    ("label -1", "labels must be 0 to 9, found -1 to 2"),
    ("label 10", "labels must be 0 to 9, found 0 to 10"),
    ("label missing", "labels must be 0 to 9, found none at image 2"),
    ("one class", "data.label_column=label: expected at least 2 classes, found cat"),
    ("no class", "data.label_column=label: expected at least 2 classes, found none"),
    (
        "classes in another order",
        "expected one list of classes in all files, 0, 1, ... found 9, 8, ... in ... test.parquet",
    ),
    ("classes that differ", "expected one list of classes in all files, 0, 1, ... found a, b, ... in ... test.parquet"),
    (
        "fewer classes in test",
        "expected one list of classes in all files, 0, ... 8, 9; found 0, ... 8 in ... test.parquet",
    ),
    ("missing images", "image 5 of split train is missing; expected an image"),
    ("RGBA", "image 5 ... has mode RGBA and transparent pixels; lay it on a background first"),
    ("32 bits", "image 5 ... has mode I; expected grey or RGB of 8 bits"),
    ("fractions", "image 0 ... has mode F; expected grey or RGB of 8 bits"),
    ("grey with transparency", "image 5 ... has mode LA and transparent pixels; lay it on a background first"),
    ("several frames", "image 5 ... has several frames (PNG); expected one"),
    ("too large", "image 5 ... is too large: Image size (100000000 pixels) exceeds limit of 89478485 pixels"),
    ("an image outside", "image 5 ... (/etc/hostname) leads to /etc/hostname, outside of the set"),
    ("an address", "image 5 ... (http://127.0.0.1:9/1.png) is an address; expected the content itself, or a file of"),
    ("print", "image 5 ... cannot be decoded: expected PNG, JPEG, WEBP, BMP, TIFF or GIF, whatever its name"),
    (
        "one larger",
        "image 5 ... is [1, 9, 9], channels, height and width; expected [1, 8, 8], or data.image_size",
    ),
    ("not square", "image 0 ... is 8 by 9; expected square images of at least 8 pixels a side, or data.image_size"),
    ("4 x 4", "image 0 ... is 4 by 4; expected square images of at least 8 pixels a side"),
    ("test larger", "train images are [1, 8, 8], test images [1, 9, 9]; expected the same, or data.image_size, which"),
    ("test in colour", "train images are [1, 8, 8], test images [3, 8, 8]; expected the same"),
    ("empty train", "cannot load split 'train' of data.path="),
    ("empty test", "cannot load split 'train' of data.path="),
    ("only train", "cannot load split 'test' of data.path="),
    ("cut", "cannot load split 'train' of data.path="),
    ("no image in it", "image 5 ... cannot be decoded: expected PNG, JPEG, "),
    ("half an image", "image 5 ... cannot be decoded: "),
    ("image that is not there", "image 5 ... leads to /nowhere.png, outside of the set"),
    ("empty", "cannot load split 'train' of data.path="),
    ("text", "its files are read as text; expected images in folders, or Parquet"),
    ("damaged files", "image 0 ... cannot be decoded: "),
    ("files without classes", "expected a folder for every class, train/<class>/*.png and test/<class>/*.png; found"),
    ("code", "cannot load split 'train' of data.path="),
    ("table of numbers", "expected one column of type Image; the set has none among a, b"),
    ("damaged JSON", "cannot load split 'train' of data.path="),
    ("there is none", "cannot load split 'train' of data.path="),
]
READERS = [("search", ""), ("retrain", "genotype=RACL "), ("pareto", ""), ("cells", ""), ("compare", ""), ("demo", "")]

OF_SETS = [
    (script, WHOLE + more + DATA % name, says)
    for (name, says), (script, more) in zip(READ_ALIKE, cycle(READERS), strict=False)
] + [
    ("search", WHOLE + DATA % "good" + " data.train_split=training", "cannot load split 'training' of data.path="),
    ("search", WHOLE + DATA % "good" + " data.configuration=tiny", "cannot load split 'train' of data.path= ... tiny"),
    (
        "search",
        WHOLE + DATA % "good" + " \"data.train_split='train[:0]'\"",
        "cannot load split 'train[:0]' of ... corresponds to no data",
    ),
    (
        "retrain",
        "genotype=RACL " + WHOLE + DATA % "good" + " \"data.test_split='test[:0]'\"",
        "cannot load split 'test[:0]' of ... corresponds to no data",
    ),
    (
        "search",
        WHOLE + DATA % "good" + " data.image_column=label",
        "data.image_column=label: expected one column of type Image;",
    ),
    ("search", WHOLE + DATA % "two labels" + " data.label_column=rough", "data.label_column=rough: ... fine, coarse"),
    ("search", WHOLE + DATA % "good" + " data.limit=41", "data.limit=41 asks for more than the 40 images there are"),
    (
        "search",
        WHOLE + DATA % "good" + " data.limit=40 data.test_limit=41",
        "data.test_limit=41 asks for more than the 40 images",
    ),
    (
        "search",
        WHOLE + DATA % "one image a class" + " data.limit=10",
        "search.alpha_split=0.5 splits off none of 10 images",
    ),
    (
        "retrain",
        "genotype=DARTS_V2 retrain.batch_size=4 " + WHOLE + DATA % "good",
        "retrain.held_back=0.1 splits off none of 40 images ... raise retrain.held_back, or give more images",
    ),
    *(
        (script, "genotype=DARTS_V2 evaluate.images=41", "evaluate.images=41 asks for more than the 40 test images")
        for script in ("search", "retrain")
    ),
    ("search", "data=huggingface data.path=nobody/nothing", "cannot load split 'train' of data.path=nobody/nothing: "),
    ("search", "data=huggingface data.path=../escape/..", "cannot load split 'train' of data.path=../escape/.."),
]
