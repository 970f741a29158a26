"""Digits on disk, and data sets that are cached in a folder of their own."""

import datasets
import fsspec
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.support.images.streamed_sets import FEATURES


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of its own, and a network that nobody touches."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    opened = fsspec.filesystem

    def local(protocol, *args, **kwargs):
        assert protocol not in ("http", "https", "ftp", "s3"), protocol
        return opened(protocol, *args, **kwargs)

    monkeypatch.setattr(fsspec, "filesystem", local)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was touched"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Digits as a local folder of PNG files in parquet shards."""
    place, digits = tmp_path_factory.mktemp("streamed") / "digits", load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    for name, rows in (("train", np.arange(400)), ("test", np.arange(400, 500))):
        content = {"img": [Image.fromarray(pixels[row]) for row in rows], "label": digits.target[rows].tolist()}
        table = datasets.Dataset.from_dict(content, features=FEATURES)
        for shard in range(2):  # a table of several files
            table.shard(2, shard, contiguous=True).to_parquet(place / f"{name}-{shard:05}-of-00002.parquet")
    return place
