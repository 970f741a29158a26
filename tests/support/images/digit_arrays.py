"""The digits as arrays."""

import numpy as np
from sklearn.datasets import load_digits


def digits(train=144, test=64):
    found = load_digits()
    pixels, labels = np.round(found.images * (255 / 16)).astype(np.uint8), found.target
    parts = slice(train), slice(train, train + test)
    return [values[part] for part in parts for values in (pixels, labels)]
