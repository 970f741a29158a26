"""The network that a genotype describes: the one that is retrained, evaluated and exported (Liu et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.cells.genotype import Cell, Genotype
from search_space.kernels.fast_gradients import fast_gradients
from search_space.network.nasbench201 import ResidualLayer
from search_space.network.operations import (
    OPERATIONS,
    FactorizedReduce,
    NormFactory,
    batch_norm,
    concatenate,
    relu_conv_norm,
)
from search_space.network.passes import announce
from search_space.network.skeleton import CellPlan, Skeleton, plan_skeleton


class Normalize(nn.Module):
    """(images - mean) / std by channel, as the first layer: images stay in [0, 1] outside, where epsilon is defined."""

    mean: Tensor
    std: Tensor

    def __init__(self, in_channels: int, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        for name, values, default in (("mean", mean, 0.0), ("std", std, 1.0)):
            filled = [default] * in_channels if values is None else list(values)
            if len(filled) != in_channels:
                raise ValueError(f"{name} has {len(filled)} values for images of {in_channels} channels")
            self.register_buffer(name, torch.tensor(filled).view(1, in_channels, 1, 1))
        if not all(value > 0 for value in std or ()):
            raise ValueError(f"std must be positive in every channel, found {std}")

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> the same shape."""
        return (images - self.mean) / self.std


def stem(in_channels: int, stem_channels: int, norm: NormFactory) -> nn.Sequential:
    """First convolution, at the images' own resolution."""
    return nn.Sequential(nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False), norm(stem_channels))


def cell_inputs(plan: CellPlan, norm: NormFactory) -> nn.ModuleList:
    """Return what brings the outputs of the cells before to the cell's channels and resolution; one input has both."""
    if len(plan.input_channels) == 1:
        return nn.ModuleList([nn.Identity()])
    first = FactorizedReduce if plan.reduces_first_input else relu_conv_norm
    before, last = plan.input_channels
    return nn.ModuleList([first(before, plan.channels, norm), relu_conv_norm(last, plan.channels, norm)])


class Classifier(nn.Module):
    """Global average and linear layer: [N, features, H, W] -> logits [N, classes]."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(features, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """[N, features, H, W] -> [N, classes]."""
        logits: Tensor = self.linear(self.pool(features).flatten(1))
        return logits


def classifier(features: int, num_classes: int, norm: NormFactory | None) -> nn.Module:
    """A classifier, behind batch norm and ReLU where norm is given."""
    if norm is None:
        return Classifier(features, num_classes)
    return nn.Sequential(norm(features), nn.ReLU(), Classifier(features, num_classes))


class AuxiliaryHead(nn.Module):
    """Second classifier at 2/3 of the depth, for training alone: [N, features, H, W] -> logits [N, classes]."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.linear = nn.Linear(768, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """[N, features, H, W] -> [N, classes]."""
        rectified = F.relu(features)
        # DARTS pools 8x8 to 2x2 by overlapping windows of 5; other resolutions reach 2x2 by even ones
        is_8x8 = rectified.shape[2:] == (8, 8)
        pooled = F.avg_pool2d(rectified, 5, stride=3) if is_8x8 else F.adaptive_avg_pool2d(rectified, 2)
        logits: Tensor = self.linear(self.body(pooled).flatten(1))
        return logits


class NetworkCell(nn.Module):
    """One cell of a genotype; `forward` takes the outputs of the two cells before, and reads as many as it has.

    groups: of channels, each a cell of its own; more than one in networks side by side.
    """

    groups = 1

    def __init__(self, cell: Cell, plan: CellPlan, norm: NormFactory) -> None:
        super().__init__()
        self.cell, self.is_reduction = cell, plan.reduction
        self.inputs = cell_inputs(plan, norm)
        self.operations = nn.ModuleList(
            OPERATIONS[edge.operation](plan.channels, plan.stride(edge.source), norm) for edge in cell.edges
        )

    def forward(self, before: Tensor, last: Tensor, drop_probability: float) -> Tensor:
        """Outputs of the cells before -> [N, width * channels, H, W], of half the size in a reduction cell."""
        read = (before, last)[-len(self.inputs) :]
        states = [inputs(state) for inputs, state in zip(self.inputs, read, strict=True)]
        operations = iter(self.operations)
        for edges in self.cell.nodes:
            terms = [_apply(next(operations), states[edge.source], drop_probability) for edge in edges]
            states.append(sum(terms[1:], start=terms[0]))
        return concatenate([states[state] for state in self.cell.concat], self.groups)


def network_layer(genotype: Genotype, plan: CellPlan, norm: NormFactory) -> nn.Module:
    """Return what stands at one place of the stack: a cell of the genotype or a residual block."""
    if plan.residual or genotype.reduction is None:
        return ResidualLayer(plan, norm) if plan.residual else NetworkCell(genotype.normal, plan, norm)
    return NetworkCell(genotype.reduction if plan.reduction else genotype.normal, plan, norm)


def _reads_images(genotype: Genotype, skeleton: Skeleton) -> bool:
    cells = list(genotype.cells.values())
    before = last = True
    for plan in skeleton.cells:
        if not plan.residual:
            cell = cells[int(plan.reduction)]
            before, last = last, cell.passes_on(*(before, last)[-cell.inputs :])
    return last


def _apply(operation: nn.Module, state: Tensor, drop_probability: float) -> Tensor:
    output: Tensor = operation(state)
    if drop_probability == 0 or isinstance(operation, nn.Identity):
        return output
    return drop_path(output, drop_probability)


def drop_path(features: Tensor, probability: float) -> Tensor:
    """Zero whole images of a path with a probability and scale the others up to the same mean (Larsson et al. 2017)."""
    keep = features.new_empty(features.shape[0], 1, 1, 1).bernoulli_(1 - probability)
    return features * keep / (1 - probability)


def _laid_out(images: Tensor) -> Tensor:
    """Lay images out so that the CPU's depthwise convolutions are several times faster; the cells keep to it."""
    return images.contiguous(memory_format=torch.channels_last) if images.device.type == "cpu" else images


class FixedWeights(Protocol):
    """What computes the logits of a network whose weights stay as they are."""

    def takes(self, images: Tensor) -> bool:
        """Return whether it does so for images [N, C, H, W], now."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits [N, classes], with a gradient to the images."""


class Network(nn.Module):
    """The network of a genotype: images [N, in_channels, H, W] in [0, 1] -> logits [N, num_classes].

    channels: of the nodes of the first cell; they double at each of the two reductions.
    layers: cells, and residual blocks where the genotype is one of NAS-Bench-201, whose networks have 16 channels, 17
    layers.
    mean, std: of the training images, by channel; normalisation is the first layer.
    norm: batch norm of so many channels; that of a supernet for a cell that is judged there.
    fixed: set by `search_space.fixed_weights`.
    drop_path_probability: of a path during training; a schedule may set it. Each side of the images is at least 8.
    Initial weights come from torch's global generator.
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int = 36,
        layers: int = 20,
        num_classes: int = 10,
        in_channels: int = 3,
        auxiliary: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        norm: NormFactory = batch_norm,
    ) -> None:
        super().__init__()
        if num_classes < 2 or in_channels < 1:
            raise ValueError(f"expected at least 2 classes and 1 channel, found {num_classes} and {in_channels}")
        skeleton = plan_skeleton(channels=channels, layers=layers, widths=genotype.widths)
        if not _reads_images(genotype, skeleton):
            raise ValueError(
                f"every way from the images to the logits of {layers} layers leads through none or noise: each image "
                "would get the same logits; choose another genotype"
            )
        self.genotype = genotype
        self.fixed: FixedWeights | None = None
        self.drop_path_probability = 0.0
        self.auxiliary_layer = skeleton.auxiliary_layer
        self.normalize = Normalize(in_channels, mean, std)
        self.stem = stem(in_channels, skeleton.stem_channels, norm)
        self.cells = nn.ModuleList(network_layer(genotype, plan, norm) for plan in skeleton.cells)
        self.classifier = classifier(skeleton.features, num_classes, norm if skeleton.normalises_features else None)
        self.auxiliary_head = AuxiliaryHead(skeleton.auxiliary_features, num_classes) if auxiliary else None
        # a supernet's batch norm has no fixed statistics; where nothing gains, asking costs a tenth of a pass
        self._has_faster_way = norm is batch_norm or any(
            isinstance(part, nn.Conv2d) and part.groups > 1 for part in self.modules()
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits alone, in every mode, so that any attack or exporter can call the network."""
        if self.fixed is not None and self.fixed.takes(images):
            announce(self, images)
            return self.fixed(images)
        logits: Tensor = self.classifier(self._cell_outputs(images)[-1])
        return logits

    def forward_with_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classifier and of the auxiliary head, both [N, num_classes]; for training."""
        if self.auxiliary_head is None:
            raise ValueError("this network has no auxiliary head; build it with auxiliary=True")
        outputs = self._cell_outputs(images)
        return self.classifier(outputs[-1]), self.auxiliary_head(outputs[self.auxiliary_layer])

    def _cell_outputs(self, images: Tensor) -> list[Tensor]:
        announce(self, images)
        drop_probability = self.drop_path_probability if self.training else 0.0
        outputs: list[Tensor] = []
        with fast_gradients() if self._has_faster_way else nullcontext():
            before = last = _laid_out(self.stem(_laid_out(self.normalize(images))))
            for cell in self.cells:
                before, last = last, cell(before, last, drop_probability)
                outputs.append(last)
        return outputs
