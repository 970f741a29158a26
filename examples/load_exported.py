"""Classify with an exported network, given torch and safetensors alone: python load_exported.py network.safetensors.

Everything that rebuilds the network stands in the header of network.safetensors, so this file can be copied into any
application. It knows cells of two inputs (DARTS and its relatives); for cells of NAS-Bench-201 use network.onnx.
"""

import json
import sys

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn import functional as F


def conv(inputs, outputs, kernel, stride=1, padding=0, dilation=1, groups=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)


def relu_conv_norm(c_in, c_out):
    return nn.Sequential(nn.ReLU(), conv(c_in, c_out, 1), nn.BatchNorm2d(c_out))


class FactorizedReduce(nn.Module):
    """Halves the resolution: two 1x1 convolutions of every second pixel, the second shifted by one."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.even = conv(inputs, outputs // 2, 1)
        self.odd = conv(inputs, outputs - outputs // 2, 1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = F.relu(x)
        shifted = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(x[:, :, ::2, ::2]), self.odd(shifted[:, :, ::2, ::2])], dim=1))


def depthwise(channels, kernel, stride, dilation=1):
    padding = dilation * (kernel - 1) // 2
    return [
        nn.ReLU(),
        conv(channels, channels, kernel, stride, padding, dilation, groups=channels),
        conv(channels, channels, 1),
        nn.BatchNorm2d(channels),
    ]


def separable(kernel):
    return lambda c, stride: nn.Sequential(*depthwise(c, kernel, stride), *depthwise(c, kernel, 1))


def dilated(kernel):
    return lambda c, stride: nn.Sequential(*depthwise(c, kernel, stride, dilation=2))


def square(kernel):
    return lambda c, stride: nn.Sequential(nn.ReLU(), conv(c, c, kernel, stride, kernel // 2), nn.BatchNorm2d(c))


def rows_and_columns(c, stride):
    across, down = conv(c, c, (1, 7), (1, stride), (0, 3)), conv(c, c, (7, 1), (stride, 1), (3, 0))
    return nn.Sequential(nn.ReLU(), across, down, nn.BatchNorm2d(c))


class Zeros(nn.Module):
    """No connection."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


OPERATIONS = {
    "none": lambda c, stride: Zeros(stride),
    "max_pool_3x3": lambda c, stride: nn.MaxPool2d(3, stride, padding=1),
    "avg_pool_3x3": lambda c, stride: nn.AvgPool2d(3, stride, padding=1, count_include_pad=False),
    "skip_connect": lambda c, stride: nn.Identity() if stride == 1 else FactorizedReduce(c, c),
    "sep_conv_3x3": separable(3),
    "sep_conv_5x5": separable(5),
    "sep_conv_7x7": separable(7),
    "dil_conv_3x3": dilated(3),
    "dil_conv_5x5": dilated(5),
    "conv_7x1_1x7": rows_and_columns,
    "nor_conv_1x1": square(1),
    "nor_conv_3x3": square(3),
}


class Cell(nn.Module):
    """States 0 and 1 are the outputs of the two cells before; each node is a sum of operations on earlier states."""

    def __init__(self, cell, channels, before, last, reduction, after_reduction):
        super().__init__()
        self.nodes, self.concat = cell["nodes"], cell["concat"]
        first = FactorizedReduce if after_reduction else relu_conv_norm
        self.inputs = nn.ModuleList([first(before, channels), relu_conv_norm(last, channels)])
        edges = [edge for edges in self.nodes for edge in edges]
        unknown = [name for name, _ in edges if name not in OPERATIONS]
        if unknown:
            raise ValueError(f"expected operations out of {', '.join(OPERATIONS)}, found {unknown[0]!r}")
        self.operations = nn.ModuleList(
            OPERATIONS[name](channels, 2 if reduction and source < 2 else 1) for name, source in edges
        )

    def forward(self, before, last):
        states = [self.inputs[0](before), self.inputs[1](last)]
        operations = iter(self.operations)
        for edges in self.nodes:
            states.append(sum(next(operations)(states[source]) for _, source in edges))
        return torch.cat([states[state] for state in self.concat], dim=1)


class Network(nn.Module):
    """Images [N, channels, height, width], float in [0, 1] -> logits [N, classes]."""

    def __init__(self, description):
        super().__init__()
        genotype, channels, layers = (description[key] for key in ("genotype", "channels", "layers"))
        if "nasbench201" in genotype:
            raise ValueError("expected a normal and a reduction cell, found a cell of NAS-Bench-201; use network.onnx")
        self.normalize = nn.Module()
        for name in ("mean", "std"):
            self.normalize.register_buffer(name, torch.tensor(description[name]).view(1, -1, 1, 1))
        before = last = 3 * channels
        self.stem = nn.Sequential(conv(description["in_channels"], last, 3, padding=1), nn.BatchNorm2d(last))
        self.cells, after_reduction = nn.ModuleList(), False
        for layer in range(layers):
            reduction = layer in (layers // 3, 2 * layers // 3)
            channels *= 2 if reduction else 1
            cell = genotype["reduction" if reduction else "normal"]
            self.cells.append(Cell(cell, channels, before, last, reduction, after_reduction))
            before, last, after_reduction = last, len(cell["concat"]) * channels, reduction
        self.classifier = nn.Module()
        self.classifier.linear = nn.Linear(last, len(description["class_names"]))

    def forward(self, images):
        before = last = self.stem((images - self.normalize.mean) / self.normalize.std)
        for cell in self.cells:
            before, last = last, cell(before, last)
        return self.classifier.linear(last.mean(dim=(2, 3)))


def load(path):
    """The network of a network.safetensors, in evaluation mode, and its description: class_names, image_size, ..."""
    with safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get("network")
        if header is None:
            raise ValueError("expected a network in the header, found none; export it with scripts/export.py")
        description = json.loads(header)
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    network = Network(description).eval()
    network.load_state_dict(weights)  # strict: every weight has its place
    return network, description


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"error: expected one file, found {len(sys.argv) - 1}: python load_exported.py network.safetensors")
    try:
        network, about = load(sys.argv[1])
    except (OSError, SafetensorError, ValueError) as error:
        sys.exit(f"error: {sys.argv[1]}: {error}")
    images = torch.rand(2, about["in_channels"], about["image_size"], about["image_size"])  # yours, in [0, 1]
    with torch.no_grad():
        for probabilities in network(images).softmax(dim=1):
            print(f"{about['class_names'][int(probabilities.argmax())]}: {float(probabilities.max()):.1%}")
