"""The ResNet of CIFAR as a genotype: the hand-made network that searched cells are held beside."""

from __future__ import annotations

from search_space.cells.genotype import Genotype

BASIC_BLOCK = Genotype.from_nasbench201("|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|")
"""x + conv(conv(x)) with 3x3 convolutions, each behind a ReLU and before a batch norm: the residual block of two layers
in its ReLU-only pre-activation form (He et al. 2016b, fig. 4d)."""

SMALLEST_DEPTH = 8


def resnet_layers(depth: int) -> int:
    """Layers of `Network(BASIC_BLOCK, layers=...)` that make it the ResNet of so many layers with weights.

    depth: 6 n + 2, n blocks in each of three stages, whose channels double (He et al. 2016a: 20, 32, 44, 56, 110); the
    blocks that halve the resolution have a pooled shortcut, as NAS-Bench-201's. Raises ValueError for another depth.

    >>> from search_space import Network
    >>> network = Network(BASIC_BLOCK, channels=16, layers=resnet_layers(20))
    >>> sum(module.__class__.__name__ == "Conv2d" and module.kernel_size == (3, 3) for module in network.modules())
    19
    """
    if depth < SMALLEST_DEPTH or (depth - 2) % 6:
        raise ValueError(f"expected a depth of 6 n + 2, such as 8, 14 or 20, found {depth}")
    return (depth - 2) // 2
