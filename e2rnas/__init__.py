"""The front door: the Python API of the whole method. The command line is `e2rnas.cli`, and makes the same run folders.

import e2rnas

data = e2rnas.images(train_x, train_y, test_x, test_y)
run = e2rnas.search("runs/mine", preset="demo", data=data, objectives={"parameters": (18e3, 26e3)})
run.retrain(epochs=10)
print(run.evaluate(["pgd-20", "autoattack"], eps=0.1))
run.export("onnx")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e2rnas.arrays import GivenImages, images
    from e2rnas.run import Run, search

__all__ = ["GivenImages", "Run", "images", "search"]
_MODULES = {"GivenImages": "e2rnas.arrays", "images": "e2rnas.arrays", "Run": "e2rnas.run", "search": "e2rnas.run"}


def __getattr__(name: str) -> Any:
    """Import a part of the API when it is asked for: the command line starts without PyTorch."""
    if name not in _MODULES:
        raise AttributeError(f"module e2rnas has no attribute {name!r}; expected one of {', '.join(__all__)}")
    return getattr(importlib.import_module(_MODULES[name]), name)
