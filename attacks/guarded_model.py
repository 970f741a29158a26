"""The model under attack: left exactly as it was, and watched for outputs that no attack can use."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from attacks.later_checks import check
from attacks.spec import BatchNormStatistics

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@contextmanager
def undisturbed(model: nn.Module, statistics: BatchNormStatistics) -> Iterator[None]:
    """For the duration, every module in eval mode and no parameter asking for a gradient; then all as it was.

    statistics: "running", BatchNorm normalises as in eval mode; "batch", with the statistics of the batch at hand, the
    running ones untouched. Modules are given back their own mode one by one, as a search freezes some of them.
    """
    with ExitStack() as stack:
        stack.enter_context(_in_eval_mode(model))
        stack.enter_context(_frozen(model))
        if statistics == "batch":
            stack.enter_context(_batch_statistics(model))
        yield


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No graph is kept for the weights, and a backward pass, as in CW and FAB, adds nothing to their .grad."""
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, requires_grad in flags:
            parameter.requires_grad_(requires_grad)


@contextmanager
def _batch_statistics(model: nn.Module) -> Iterator[None]:
    """Without running statistics BatchNorm uses the batch's in eval mode too, and has none to move."""
    norms = [module for module in model.modules() if isinstance(module, _BATCH_NORMS)]
    running = [(norm, norm.running_mean, norm.running_var) for norm in norms]
    try:
        for norm in norms:
            norm.running_mean = norm.running_var = None
        yield
    finally:
        for norm, mean, variance in running:
            norm.running_mean, norm.running_var = mean, variance


class GuardedModel(nn.Module):
    """The model as torchattacks sees it: the same logits, in the images' precision, and a refusal where they mislead.

    sign(NaN) is 0 in torch: a model whose gradient is NaN would return its images untouched and look robust.
    The first logits are checked at once; gradients are checked on the device and read once, by `check_gradients`. Both
    are read later within `checked_later`.
    """

    def __init__(self, model: nn.Module, images: Tensor, largest_label: Tensor, num_classes: int | None = None) -> None:
        super().__init__()
        # torchattacks takes its device from the first parameter: the images' own, so that it moves nothing.
        self.anchor = nn.Parameter(images.new_zeros(()), requires_grad=False)
        self.model = model
        self.shape = (len(images), num_classes)
        self.largest_label = largest_label
        self.unseen = True
        self.gradients_finite = torch.ones((), dtype=torch.bool, device=images.device)

    def train(self, mode: bool = True) -> Self:
        """Nothing: torchattacks may not choose the model's mode, `undisturbed` does."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, C, H, W]."""
        logits: Tensor = self.model(images)
        if self.unseen:
            self._check_logits(logits)
            self.unseen = False
        if images.requires_grad and torch.is_grad_enabled() and not logits.requires_grad:
            raise ValueError(
                "expected logits with a gradient to the images, found none, as under torch.no_grad or after argmax; "
                "the model would look robust: choose an attack that needs none, such as square"
            )
        if images.requires_grad:
            # An attack may itself step to NaN (FAB divides by sums of gradients): that is not the model's doing.
            excused = ~images.detach().isfinite().all()
            images.register_hook(lambda gradient: self._watch(gradient, excused))  # type: ignore[no-untyped-call]
        return logits.to(images.dtype)

    def _watch(self, gradient: Tensor, excused: Tensor) -> Tensor:
        self.gradients_finite &= gradient.isfinite().all() | excused
        return gradient.contiguous()  # PGDL2 views it as rows, which that of a model in channels_last does not allow

    def check_gradients(self) -> None:
        """Raise FloatingPointError if any gradient so far was not finite."""
        check(self.gradients_finite, _judge_gradients)

    def _check_logits(self, logits: Any) -> None:
        images, num_classes = self.shape
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != images:
            found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"expected logits [{images}, classes] from the model, found {found}; "
                "a model with other outputs, such as an auxiliary head, must return its logits alone in eval mode"
            )
        classes = logits.shape[1]
        if num_classes not in (None, classes):
            raise ValueError(f"expected {num_classes} logits, found {classes}; pass num_classes={classes}")
        values = torch.stack([self.largest_label.double(), logits.isnan().any().double()])
        check(values, partial(_judge_logits, classes))


def _judge_logits(classes: int, read: Sequence[float]) -> None:
    """Raise where labels are no classes or logits are NaN: the largest label, and whether any logit is NaN."""
    largest_label, has_nan = read
    if largest_label >= classes:
        raise ValueError(
            f"expected labels in [0, {classes - 1}] for {classes} logits, found {int(largest_label)}; "
            "build the model with as many classes as the data has"
        )
    if has_nan:
        raise FloatingPointError("expected finite logits, found NaN; the weights have diverged or the images overflow")


def _judge_gradients(read: Sequence[float]) -> None:
    """Raise FloatingPointError unless all gradients were finite."""
    if not all(read):
        raise FloatingPointError(
            "expected finite gradients at the images, found NaN or infinite ones; the attack would have left its "
            "images in place and the model would look robust: look for a division by 0 or a root of 0 in it"
        )
