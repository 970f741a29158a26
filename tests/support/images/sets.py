"""Small sets of images, written as folders and tables."""

import io
import json

import numpy as np
from PIL import Image

from pipeline.data import load as load_data
from pipeline.settings import DataSettings
from tests.support.bad_input.sets import of_folders

SIZE = 8


PIXELS = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


COLOUR, GREY = Image.fromarray(PIXELS), Image.fromarray(PIXELS[..., 0])


PLACES = [f"{part}/{name}/{number}.png" for part in ("train", "test") for name in ("cat", "dog") for number in (0, 1)]


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"


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
