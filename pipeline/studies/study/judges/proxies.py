"""Judges that look at a network with its first weights, and train nothing (Abdelfattah et al. 2021)."""

from __future__ import annotations

import math
import sys
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks import training_attack


def synflow(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the log of the sum of |weight times slope| where all weights are absolute and every pixel is 1.

    Tanaka et al. (2020). Batch norms are left out, as they would undo the scale that is measured.
    """
    positive = deepcopy(network).double()
    for module in positive.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: inputs[0])
    weights = list(positive.parameters())
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    flow = positive(torch.ones_like(images[:1]).double()).sum()
    slopes = torch.autograd.grad(flow, weights, allow_unused=True, materialize_grads=True)
    total = sum((weight.detach() * slope).sum().item() for weight, slope in zip(weights, slopes, strict=True))
    return math.log(max(total, sys.float_info.min))


def gradient_norm(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the norm of the cross entropy's gradient in the weights, on batch statistics."""
    network.train()
    weights = list(network.parameters())
    loss = F.cross_entropy(network(images), labels)
    slopes = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return float(torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt())


def attacked_gradient_norm(network: nn.Module, images: Tensor, labels: Tensor, eps: float = 0.1) -> float:
    """Return the same on images that one step of `eps` against the network has changed."""
    attack = training_attack("fgsm", network, eps=eps, step=eps, steps=1, statistics="batch")
    return gradient_norm(network, attack(images, labels), labels)


def activation_patterns(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the log determinant of how many rectifiers answer alike to each two images (Mellor et al. 2021)."""
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        on = (output.detach().flatten(1) > 0).double()
        kernel.add_((on @ on.T + (1 - on) @ (1 - on).T).cpu())

    handles = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, nn.ReLU)]
    with torch.no_grad():
        network.train()(images)
    for handle in handles:
        handle.remove()
    return float(torch.linalg.slogdet(kernel).logabsdet)
