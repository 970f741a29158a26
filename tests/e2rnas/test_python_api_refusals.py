"""What the Python API refuses, in one line and with nothing left behind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import e2rnas
from tests.support.images.digit_arrays import digits

IMAGES = np.zeros((3, 8, 8))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train_x": np.zeros((3, 8, 8, 2))}, r"train_x: expected images \[N, H, W\] or \[N, H, W, 3\]"),
        ({"train_x": np.full((3, 8, 8), 7.0)}, r"train_x: expected uint8 or numbers in \[0, 1\], found 7 to 7"),
        ({"train_x": np.full((3, 8, 8), np.nan)}, r"train_x: expected uint8 or numbers in \[0, 1\], found nan to nan"),
        ({"test_x": np.full((3, 8, 8), 1 / 16)}, r"test_x: expected uint8 or multiples of 1/255, .* found 0.0625"),
        ({"test_x": np.zeros((3, 9, 9))}, r"test_x: expected images \[8, 8\] like those of train_x, found \[9, 9\]"),
        ({"test_y": [0, 1]}, "test_y: expected 3 labels, found 2"),
        ({"test_y": [0, 1, 9]}, "test_y: expected classes up to 2, found 9"),
        ({"train_y": [0.5, 1, 2]}, "train_y: expected whole numbers from 0"),
    ],
)
def test_arrays_that_are_no_images_are_refused_with_what_was_expected(change, says):
    arguments = {"train_x": IMAGES, "train_y": [0, 1, 2], "test_x": IMAGES, "test_y": [0, 1, 2]}
    with pytest.raises(ValueError, match=says):
        e2rnas.images(**{**arguments, **change})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"seach": {"epochs": 3}}, r"unknown key seach.epochs; did you mean search.epochs\?"),
        ({"search": {"epochs": 0}}, r"search.epochs: Input should be greater than 0, found 0"),
        ({"objectives": {"parameters": (1, 2)}}, "no cell of this space meets"),  # known only beside the images
        ({"run": "elsewhere"}, "run: expected none among the settings; give the folder as the first argument"),
        ({"experiment": "demo"}, "experiment: expected none among the settings; give it as preset="),
        ({"fabric": {"devices": 2}}, "fabric.devices: expected 1, found 2"),
    ],
)
def test_a_search_that_is_refused_leaves_nothing_behind(settings, says, tmp_path):
    with pytest.raises(ValueError, match=says) as refused:
        e2rnas.search(tmp_path / "new" / "run", preset="demo", data=e2rnas.images(*digits()), **settings)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_images_beside_other_files_are_taken_away_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    data = e2rnas.images(*digits())
    with pytest.raises(ValueError, match="refused"), data.kept_in(tmp_path):
        raise ValueError("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    def fail_in_training():
        (tmp_path / "metrics.jsonl").touch()
        raise ValueError("in epoch 3")

    with pytest.raises(ValueError, match="in epoch 3"), data.kept_in(tmp_path):
        fail_in_training()
    assert data.place_in(tmp_path).is_dir()


LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


TENSOR = torch.zeros(4, 1, 8, 8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": TENSOR[0]}, r"images: expected \[N, C, H, W\], found the shape \[1, 8, 8\]"),
        ({"images": TENSOR + 2}, r"images: expected uint8 or numbers in \[0, 1\], found 2 to 2; put normalisation"),
        ({"labels": [0, 1, 2]}, "labels: expected 4 whole numbers from 0, found torch.int64"),
        ({"labels": None}, "labels: expected 4 whole numbers from 0"),
        ({"labels": [0, 1, 2, 10]}, "labels: expected classes up to 9, as the module has 10 logits, found 10"),
        ({"attacks": ["pgd"]}, "evaluate.attacks.0: expected one of fgsm, .* found 'pgd'"),
        ({"attacks": "fgsm"}, r"attacks: expected a list of names, as in attacks=\['fgsm'\], found one name"),
        ({"module": "resnet18"}, "module: expected a torch.nn.Module, found str"),
        ({"eps": 8}, "evaluate.eps and sweep are radii in Linf, at most 1, found 8"),
        (
            {"module": nn.Flatten(0)},
            r"the module: expected logits \[1, classes\] of an image \[1, 1, 8, 8\], found \[64\]",
        ),
        ({"module": nn.Linear(3, 10)}, r"the module: an image \[1, 1, 8, 8\] raised RuntimeError: mat1 and mat2"),
    ],
)
def test_a_module_that_cannot_be_measured_is_refused_in_one_line(change, says):
    given = {"module": LINEAR, "images": TENSOR, "labels": [0, 1, 2, 3], "attacks": ["fgsm"], **change}
    with pytest.raises(ValueError, match=says) as refused:
        e2rnas.evaluate(**given)
    assert "\n" not in str(refused.value)


def test_a_module_is_left_in_its_mode_and_random_numbers_where_they_were():
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout()).train()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    e2rnas.evaluate(module, TENSOR, [0, 1, 2, 3], attacks=["fgsm"])
    assert torch.equal(torch.rand(2), expected)
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_images_that_are_no_data_set_are_refused_without_their_numbers(tmp_path):
    with pytest.raises(ValueError, match=r"^data: expected e2rnas\.images\(\.\.\.\), .* found a tuple$"):
        e2rnas.search(tmp_path / "run", preset="demo", data=(IMAGES, [0, 1, 2]))
    assert list(tmp_path.iterdir()) == []


def test_a_report_takes_runs_and_run_folders_by_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr("e2rnas.run.report_runs", lambda folder, others: ((folder, others), []))
    assert e2rnas.Run(tmp_path).report(e2rnas.Run(tmp_path / "a"), "runs/b") == (
        tmp_path,
        [tmp_path / "a", Path("runs/b")],
    )


def test_what_is_not_there_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"DARTS_V9 is no published cell; did you mean DARTS_V2\?"):
        e2rnas.published_cell("DARTS_V9")
    with pytest.raises(ValueError, match="holds no cell yet"):
        e2rnas.open_run(tmp_path)
    with pytest.raises(ValueError, match=r"network\.json does not exist"):
        e2rnas.load_network(tmp_path)
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        e2rnas.serach()
