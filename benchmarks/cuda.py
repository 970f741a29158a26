"""What is claimed about CUDA, measured on one GPU in at most 460 seconds.

    python benchmarks/cuda.py --out results/gpu            # every phase, on the first GPU
    python benchmarks/cuda.py --out results/gpu --phases machine steps projection
    python benchmarks/cuda.py --out results/dry --dry-run  # tiny sizes, on the CPU and on a device that is not there

The phases come in a fixed order, each within its budget of seconds. Each row is on the disk, in cuda.jsonl, before the
next is begun; cuda.md has the tables of the phases that have ended. The same command goes on after the last of them.
A dry run shows that each phase runs; its figures mean nothing. docs/about/scaling.md lists what must be installed.
"""

import sys

if __name__ == "__main__":
    from cuda_phases.command import main

    sys.exit(main(str(__doc__)))
else:
    # PyTorch asks for NVIDIA's bindings, cuda.bindings, and finds this file first in scripts of this folder
    from pkgutil import extend_path

    __path__ = extend_path([], __name__)
