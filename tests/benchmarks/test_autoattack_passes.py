"""The comparison of passes counts what went through, and misses no image that falls."""

import argparse

import autoattack_passes
import torch

from pipeline.data import Images
from tests.support.images.digits_network import digits, trained_network

BUDGET = argparse.Namespace(steps=2, queries=20, eps=0.09, seed=7)


def test_the_rows_of_a_network_count_what_its_parts_did():
    pixels, labels = digits()
    images = Images(pixels[-40:], labels[-40:])
    row, parts = autoattack_passes.compared("small", trained_network(), images, BUDGET)
    found = dict(zip(autoattack_passes.HEADER, row, strict=True))
    assert found["superset"] == "yes"
    assert int(found["fall, here"]) == sum(int(part[3]) for part in parts) > 0
    assert int(found["passes, here"].replace(",", "")) == sum(int(part[4].replace(",", "")) for part in parts)
    assert 0 < float(found["part"]) < 1
    assert [part[1] for part in parts] == ["APGD", "APGDT", "FAB", "Square"]


def test_only_images_that_are_right_are_attacked():
    pixels, labels = digits()
    network = trained_network()
    inputs, right = autoattack_passes.right_images(network, Images(pixels[:200], labels[:200]))
    assert 0 < len(inputs) < 200 or len(inputs) == 200
    assert torch.equal(network(inputs).argmax(1), right)
