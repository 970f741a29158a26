"""The front door: the Python API of the whole method. The command line is `e2rnas.cli`, and makes the same run folders.

import e2rnas

data = e2rnas.images(train_x, train_y, test_x, test_y)
run = e2rnas.search("runs/mine", preset="demo", data=data, objectives={"parameters": (18e3, 26e3)})
run.retrain(epochs=10)
print(run.evaluate(["pgd-20", "autoattack"], eps=0.1))
run.export("onnx")
"""

from typing import TYPE_CHECKING

from on_demand import exports

if TYPE_CHECKING:
    from e2rnas.arrays import GivenImages, images
    from e2rnas.run import Run, search
else:
    __getattr__ = exports(__name__, __file__)

__all__ = ["GivenImages", "Run", "images", "search"]
