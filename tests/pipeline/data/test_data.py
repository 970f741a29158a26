"""Images come in [0, 1], balanced, split without overlap, and in an order that a seed fixes."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.data import augmentation, balanced_indices, load, split
from pipeline.settings import DataSettings


@pytest.fixture(scope="module")
def digits():
    return load(DataSettings())


def test_digits_are_the_1797_images_of_scikit_learn(digits):
    assert len(digits.train) + len(digits.test) == 1797
    assert (digits.in_channels, digits.image_size, digits.num_classes) == (1, 8, 10)
    assert digits.train.images.dtype == torch.uint8
    assert int(digits.train.images.max()) == 255
    train, test = ({image.tobytes() for image in part.images.numpy()} for part in (digits.train, digits.test))
    assert train.isdisjoint(test)


def test_batches_are_floats_in_the_unit_range_and_every_image_once(digits):
    seen = list(digits.test.batches(50))
    assert sum(len(labels) for _, labels in seen) == len(digits.test)
    assert min(images.min().item() for images, _ in seen) == 0
    assert max(images.max().item() for images, _ in seen) == 1


def test_shuffled_batches_depend_on_the_seed_alone_and_shares_make_up_the_whole(digits):
    def labels(seed, share=(0, 1)):
        return [batch for _, batch in digits.train.shuffled_batches(64, seed, share)]

    assert all(torch.equal(a, b) for a, b in zip(labels(1), labels(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(labels(1), labels(2), strict=True))
    whole, halves = labels(1), (labels(1, (0, 2)), labels(1, (1, 2)))
    for batch, first, second in zip(whole, *halves, strict=True):
        assert torch.equal(batch[0::2], first)
        assert torch.equal(batch[1::2], second)


def test_a_split_is_disjoint_complete_and_keeps_the_classes(digits):
    first, second = split(digits.train, 0.25, seed=3, key="part")
    assert len(first) + len(second) == len(digits.train)
    counts = torch.bincount(digits.train.labels)
    assert torch.equal(torch.bincount(second.labels), torch.round(0.25 * counts).long())
    again = split(digits.train, 0.25, seed=3, key="part")[1]
    assert torch.equal(second.images, again.images)


def test_balanced_indices_take_the_same_number_of_each_class():
    labels = np.repeat([0, 1, 2], [50, 7, 100])
    chosen = labels[balanced_indices(labels, 31)]
    assert sorted(np.bincount(chosen)) == [7, 12, 12]


def test_limits_give_balanced_subsets(digits):
    limited = load(DataSettings(limit=200, test_limit=100))
    assert torch.bincount(limited.train.labels).tolist() == [20] * 10
    assert torch.bincount(limited.test.labels).tolist() == [10] * 10
    with pytest.raises(ValueError, match=r"data\.limit=5000 asks for more than the 1437 images"):
        load(DataSettings(limit=5000))


def test_augmentation_stays_in_range_and_keeps_the_shape(digits):
    images, _ = next(digits.train.batches(64))
    torch.manual_seed(0)
    augmented = augmentation(DataSettings(crop_padding=2, flip=True, cutout=3), 8)(images)
    assert augmented.shape == images.shape
    assert augmented.min() >= 0
    assert augmented.max() <= 1
    assert not torch.equal(augmented, images)
    assert ((augmented - 0.5).abs() < 1e-6).flatten(1).sum(1).float().mean() > 6  # the 9 grey pixels of the cutout
    assert augmentation(DataSettings(), 8)(images) is images


def test_a_cutout_that_covers_the_image_is_refused():
    with pytest.raises(ValueError, match=r"cutout=8 covers"):
        augmentation(DataSettings(cutout=8), 8)


@pytest.fixture
def folder(tmp_path):
    """A local set in the layout of image folders: two classes, six and four images of 9x9 in colour."""
    rng = np.random.default_rng(0)
    for part, number in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            place = tmp_path / part / name
            place.mkdir(parents=True)
            for index in range(number):
                Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(place / f"{index}.png")
    return tmp_path


def test_a_local_image_folder_is_read_whole(folder):
    data = load(DataSettings(source="huggingface", path=str(folder)))
    assert data.class_names == ("cat", "dog")
    assert tuple(data.train.images.shape) == (6, 3, 9, 9)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = np.asarray(Image.open(folder / "test" / "dog" / "1.png"))
    assert np.array_equal(data.test.images[3].permute(1, 2, 0).numpy(), expected)


def test_a_local_set_can_be_limited(folder):
    data = load(DataSettings(source="huggingface", path=str(folder), limit=4, test_limit=2))
    assert torch.bincount(data.train.labels).tolist() == [2, 2]
    assert torch.bincount(data.test.labels).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "/nowhere/at/all"}, "cannot load split 'train' of data.path=/nowhere/at/all"),
        ({"train_split": "training"}, "found no split training, but train, test, with train/cat/0.png"),
        ({"label_column": "image"}, "data.label_column=image: expected one column of type ClassLabel"),
        ({"image_column": "picture"}, "data.image_column=picture: expected one column of type Image"),
        ({"limit": 7}, "data.limit=7 asks for more than the 6 images"),
        ({"test_split": "validation"}, "found no split validation, but train, test, with train/cat/0.png"),
    ],
)
def test_a_set_that_cannot_be_had_is_refused(folder, change, message):
    with pytest.raises(ValueError, match=message):
        load(DataSettings(source="huggingface", **({"path": str(folder)} | change)))


def test_images_of_different_sizes_are_refused(folder):
    Image.fromarray(np.zeros((8, 9, 3), dtype=np.uint8)).save(folder / "train" / "cat" / "1.png")
    with pytest.raises(ValueError, match=r"image 1 of split train \(.*/1.png\) is \[3, 8, 9\].*expected \[3, 9, 9\]"):
        load(DataSettings(source="huggingface", path=str(folder)))


def test_a_set_is_named_by_its_path_unless_told_otherwise(folder):
    assert load(DataSettings(source="huggingface", path=str(folder))).name == folder.name
    assert load(DataSettings(source="huggingface", path=str(folder), name="CIFAR-10 (JPEG copy)")).name.endswith(
        "copy)"
    )


def test_labels_outside_their_classes_are_refused(tmp_path):
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"img": [Image.fromarray(np.zeros((8, 8), dtype=np.uint8))] * 2, "label": [0, -1]}
    for part in ("train", "test"):
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{part}.parquet")
    with pytest.raises(ValueError, match="labels must be 0 to 1, found -1 to 0"):
        load(DataSettings(source="huggingface", path=str(tmp_path)))
