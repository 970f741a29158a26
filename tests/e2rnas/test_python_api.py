"""The Python API: the method in ten lines, in run folders that the command line goes on with."""

import doctest

import numpy as np
import pytest
from sklearn.datasets import load_digits

import e2rnas
from e2rnas import arrays
from e2rnas.cli import command_line

SMALL = {
    "search": {
        "channels": 2,
        "layers": 3,
        "derived_channels": 4,
        "derived_layers": 3,
        "epochs": 1,
        "batch_size": 20,
        "selection": {"candidates": 1, "pool": None, "finalists": 1, "epochs": 1},
    },
    "attack": {"steps": 1},
    "retrain": {"channels": 4, "layers": 3, "batch_size": 24, "attack": {"steps": 2}},
    "fabric": {"accelerator": "cpu"},
}


def digits():
    found = load_digits()
    pixels, labels = np.round(found.images * (255 / 16)).astype(np.uint8), found.target
    return pixels[:80], labels[:80], pixels[80:160], labels[80:160]


@pytest.mark.parametrize("module", [arrays, command_line])
def test_the_examples_in_docstrings_run(module):
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0


def test_the_ten_lines_run_and_the_command_line_goes_on_with_their_folder(tmp_path, call_script):
    folder = tmp_path / "mine"
    train_x, train_y, test_x, test_y = digits()
    given = {"preset": "demo", "objectives": {"parameters": (2500, 4000)}, **SMALL}
    data = e2rnas.images(train_x, train_y, test_x, test_y)
    run = e2rnas.search(folder, data=data, **given)
    assert set(run.genotype.cells) == {"normal", "reduction"}
    assert run.cost["parameters"] > 0
    assert run.history[0]["objectives"]
    assert run.retrain(epochs=1).training["held_back_accuracy"] >= 0
    found = run.evaluate(["fgsm", "pgd-20"], eps=0.1)
    assert [row.attack for row in found] == ["clean", "fgsm", "pgd-20"]
    assert "pgd-20" in str(found)
    assert "genotype_darts.py" in run.export("darts")

    again = e2rnas.search(folder, data=data, **given)
    assert again.genotype == run.genotype
    status, out, err = call_script("evaluate", f"run={folder}")
    assert (status, "pgd-20" in out) == (0, True), err
    with pytest.raises(ValueError, match=r"retrain\.epochs"):
        run.retrain(epochs=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train_x": np.zeros((3, 8, 8, 2))}, r"train_x: expected images \[N, H, W\] or \[N, H, W, 3\]"),
        ({"train_x": np.full((3, 8, 8), 7.0)}, r"train_x: expected uint8 or numbers in \[0, 1\], found 7 to 7"),
        ({"test_y": [0, 1]}, "test_y: expected 3 labels, found 2"),
        ({"test_y": [0, 1, 9]}, "test_y: expected classes up to 2, found 9"),
        ({"train_y": [0.5, 1, 2]}, "train_y: expected whole numbers from 0"),
    ],
)
def test_arrays_that_are_no_images_are_refused_with_what_was_expected(change, says):
    arguments = {
        "train_x": np.zeros((3, 8, 8)),
        "train_y": [0, 1, 2],
        "test_x": np.zeros((3, 8, 8)),
        "test_y": [0, 1, 2],
    }
    with pytest.raises(ValueError, match=says):
        e2rnas.images(**{**arguments, **change})


def test_a_setting_that_is_unknown_is_a_value_error_in_plain_words(tmp_path):
    with pytest.raises(ValueError, match=r"unknown key seach.epochs; did you mean search.epochs\?"):
        e2rnas.search(tmp_path / "run", seach={"epochs": 3})
