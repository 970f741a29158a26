"""Sets of images on disk."""

import datasets

FEATURES = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=[*"0123456789"])})
