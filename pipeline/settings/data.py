"""Settings of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.settings.base import (
    Count,
    ImageSize,
    Pixels,
    ProcessesOrZero,
    Settings,
)

HOW_IMAGES_ARE_READ = ("streaming", "workers")
"""Keys of DataSettings on which no result depends."""


class DataSettings(Settings):
    """Which images, and how they are augmented in training."""

    name: str | None = Field(None, description="name of the set in results; null for the last part of the path")
    source: Literal["digits", "huggingface"] = Field(
        "digits", description="digits of scikit-learn, or a Hugging Face set"
    )
    path: str | None = Field(None, description="huggingface: a local folder or the name of a set on the hub")
    configuration: str | None = Field(None, description="huggingface: the set's configuration, where it has several")
    train_split: str = Field("train", description="huggingface: the split to train on")
    test_split: str = Field("test", description="huggingface: the split that evaluation alone reads")
    image_column: str | None = Field(None, description="huggingface: null takes the only image column")
    label_column: str | None = Field(None, description="huggingface: null takes the only class label column")
    image_size: ImageSize | None = Field(
        None,
        description="huggingface: pixels a side of the square that is cut from the middle of every image and scaled; "
        "null takes images as they are, squares of one size",
    )
    limit: Count | None = Field(None, description="train on a subset of this many images, balanced over classes")
    test_limit: Count | None = Field(None, description="keep this many test images, balanced over classes")
    streaming: Literal["auto", True, False] = Field(
        "auto",
        description="huggingface: true leaves images on disk and decodes each batch as it is needed, false keeps them "
        "decoded in memory, auto streams a split above 2 GiB; the results are the same",
    )
    workers: ProcessesOrZero = Field(
        2,
        description="streaming: processes that decode ahead of what is needed; 0 decodes in the one that trains",
    )
    crop_padding: Pixels = Field(0, description="augmentation: random crop after padding by this many pixels")
    flip: bool = Field(False, description="augmentation: mirror half of the images")
    cutout: Pixels = Field(0, description="augmentation: grey square of this many pixels a side; 0 for none")

    @property
    def set_name(self) -> str:
        """The name of the set in results."""
        return "digits" if self.source == "digits" else self.name or Path(self.path or "").name

    @model_validator(mode="after")
    def _path_belongs_to_huggingface(self) -> Self:
        if (self.source == "huggingface") != (self.path is not None):
            raise ValueError("data.path names a folder or hub set and goes with data=huggingface, and only with it")
        if self.image_size is not None and self.source != "huggingface":
            raise ValueError(f"data.image_size scales images of a Hugging Face set; {self.source} are 8 by 8")
        if self.streaming is True and self.source != "huggingface":
            raise ValueError(f"data.streaming=true reads a Hugging Face set; {self.source} are in memory")
        if self.train_split == self.test_split:
            raise ValueError(
                f"data.train_split and data.test_split are both {self.test_split}: nothing would be held out"
            )
        return self
