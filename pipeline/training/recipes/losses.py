"""Losses of the recipes. Each is a function of what a network gives for a batch, clean and attacked:

    loss(forward, images, attacked, labels, beta, smoothing) -> the loss [], and the outputs learned with their labels

images, attacked: [N, C, H, W] in [0, 1].  labels: int64 [N].  beta: weight of what the attack may change.
smoothing: part s of a label that all K classes share, 0 <= s < 1: the cross entropy of the label becomes that of
1 - s + s / K for it and s / K for every other class (Szegedy et al. 2016); 0 is the plain one. What else a loss holds,
TRADES's divergence and MART's margin and doubt, is as it would be without.
The outputs are those whose accuracy is the training accuracy, and whose auxiliary head learns too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F


class Outputs(NamedTuple):
    """Of one pass: logits [N, classes] of the classifier, and of the auxiliary head where there is one."""

    logits: Tensor
    auxiliary: Tensor | None = None


Forward = Callable[[Tensor], Outputs]
BatchLoss = Callable[[Forward, Tensor, Tensor, Tensor], tuple[Tensor, Outputs]]
"""A recipe's loss with its numbers chosen: of forward, images, attacked and labels alone."""


def standard(
    forward: Forward, images: Tensor, attacked: Tensor, labels: Tensor, beta: float, smoothing: float = 0.0
) -> tuple[Tensor, Outputs]:
    """Cross entropy of the clean images."""
    outputs = forward(images)
    return F.cross_entropy(outputs.logits, labels, label_smoothing=smoothing), outputs


def adversarial(
    forward: Forward, images: Tensor, attacked: Tensor, labels: Tensor, beta: float, smoothing: float = 0.0
) -> tuple[Tensor, Outputs]:
    """Cross entropy of the attacked images (Madry et al. 2018)."""
    outputs = forward(attacked)
    return F.cross_entropy(outputs.logits, labels, label_smoothing=smoothing), outputs


def trades(
    forward: Forward, images: Tensor, attacked: Tensor, labels: Tensor, beta: float, smoothing: float = 0.0
) -> tuple[Tensor, Outputs]:
    """CE(clean) + beta KL(clean || attacked) (Zhang et al. 2019, eq. 5).

    Smoothing is that of the first term; the second compares two outputs and reads no label (as Wang et al. 2023).
    """
    clean, robust = forward(images), forward(attacked)
    cross_entropy = F.cross_entropy(clean.logits, labels, label_smoothing=smoothing)
    return cross_entropy + beta * divergence(clean.logits, robust.logits).mean(), clean


def mart(
    forward: Forward, images: Tensor, attacked: Tensor, labels: Tensor, beta: float, smoothing: float = 0.0
) -> tuple[Tensor, Outputs]:
    """BCE(attacked) + beta KL(clean || attacked) (1 - p(label | clean)) (Wang et al. 2020, eq. 11).

    Images that are classified wrong without an attack weigh most in the second term. Smoothing is that of the cross
    entropy within BCE; the margin to the likeliest other class and 1 - p(label) go by the label itself.
    """
    clean, robust = forward(images), forward(attacked)
    doubt = 1 - clean.logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    boosted = boosted_cross_entropy(robust.logits, labels, smoothing)
    losses = boosted + beta * divergence(clean.logits, robust.logits) * doubt
    return losses.mean(), robust


def divergence(clean: Tensor, attacked: Tensor) -> Tensor:
    """KL(clean || attacked) of the classes' probabilities: logits [N, classes] twice -> [N], in nats."""
    return F.kl_div(attacked.log_softmax(dim=1), clean.log_softmax(dim=1), reduction="none", log_target=True).sum(dim=1)


def boosted_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log p(label) - log(1 - p(likeliest other class)): logits [N, classes] -> [N] (Wang et al. 2020, eq. 8).

    smoothing: of the label in the first term.
    1 - p is the sum of the other classes' probabilities, so that its logarithm is finite when p rounds to 1.
    """
    is_label = F.one_hot(labels, logits.shape[1]).bool()
    rival = logits.masked_fill(is_label, -float("inf")).argmax(dim=1, keepdim=True)
    without_rival = logits.scatter(1, rival, -float("inf")).logsumexp(dim=1)
    cross_entropy = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return cross_entropy + logits.logsumexp(dim=1) - without_rival
