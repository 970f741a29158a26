"""What is found out about a network before it is attacked: whether it has gradients to follow, and whether it draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, EvaluationAttack, ExpectedLogits, undisturbed
from pipeline.compute.seeds import stream_seed
from pipeline.data import ImageSet
from pipeline.errors import RunError
from pipeline.settings import EvaluateSettings

Gradient = Literal["found", "zero", "none"]

FOLLOWED = 8  # images, and as many of noise, at which a gradient is looked for
PASS_ROUNDING = 1e-5  # by which two passes of one computation may differ on an accelerator


@dataclass(frozen=True)
class Probed:
    """A network in evaluation mode, and what attacks must know of it.

    gradient: of the logits to the images; "zero" where every one that was tried is, "none" where the graph is cut.
    draws: passes over the same images that a figure is the mean of; more than 1 where two passes differ.
    """

    network: nn.Module
    name: str = "the network"
    gradient: Gradient = "found"
    draws: int = 1

    @property
    def expected(self) -> nn.Module:
        """Return the network, or the mean of its logits where it draws."""
        return self.network if self.draws == 1 else ExpectedLogits(self.network, self.draws)

    def check_gradient(self, attacks: Sequence[str | EvaluationAttack]) -> None:
        """Raise RunError where one of the attacks asked for follows gradients and there are none.

        Other names than of EVALUATION_ATTACKS, such as a setting that asks for several, count as such.
        """
        named = {attack if isinstance(attack, str) else attack.label: _follows_gradient(attack) for attack in attacks}
        needing = [name for name, follows in named.items() if follows]
        if self.gradient != "none" or not needing:
            return
        others = [name for name in named if name not in needing]
        raise RunError(
            f"{self.name}: its logits have no gradient to the images, as under torch.no_grad or after argmax, and "
            f"would look robust; {', '.join(needing)} {'need' if len(needing) > 1 else 'needs'} one"
            + (f", {', '.join(others)} {'do' if len(others) > 1 else 'does'} not" if others else "")
            + f"; attacks without are {', '.join(name for name in EVALUATION_ATTACKS if not _follows_gradient(name))}"
        )


def _follows_gradient(attack: str | EvaluationAttack) -> bool:
    found = EVALUATION_ATTACKS.get(attack) if isinstance(attack, str) else attack
    return found is None or found.follows_gradient


def probe(network: nn.Module, images: ImageSet, *, name: str, settings: EvaluateSettings, fabric: Fabric) -> Probed:
    """Look at the network, in evaluation mode and on the images' device, with the first batch of images.

    Raises RunError when it cannot take such a batch, or its logits of one are NaN, which argmax takes for a class.
    """
    inputs, _ = next(images.batches(settings.batch_size))
    with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []), fabric.autocast():
        torch.manual_seed(stream_seed(0, "probe"))
        is_random = _is_random(network, inputs, name)
        gradient = _gradient(network, inputs[:FOLLOWED])
    return Probed(network, name, gradient, settings.draws if is_random else 1)


@torch.no_grad()
def _is_random(network: nn.Module, images: Tensor, name: str) -> bool:
    """Return whether two passes over the same images differ, with generators that go on between them."""
    try:
        first, second = network(images), network(images)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise RunError(
            f"{name}: a batch {list(images.shape)} raised {type(error).__name__}: {' '.join(str(error).split())}; "
            "a graph of a fixed or bounded number of images has to be exported with a dynamic one, or "
            "evaluate.batch_size lowered"
        ) from error
    if first.isnan().any():
        raise RunError(f"{name}: its logits of test images are NaN: its weights have diverged, or it divides by zero")
    return not torch.allclose(first, second, rtol=PASS_ROUNDING, atol=PASS_ROUNDING)


def _gradient(network: nn.Module, images: Tensor) -> Gradient:
    """Probe the gradient of a random sum of the logits: their plain sum has none in a network that ends in softmax."""
    tried = torch.cat([images, torch.rand_like(images)]).requires_grad_()
    with torch.inference_mode(mode=False), torch.enable_grad(), undisturbed(network, "running"):
        logits: Tensor = network(tried)
        if not logits.requires_grad:
            return "none"
        weighed = (logits * torch.randn_like(logits)).sum()
        gradient: Tensor | None = torch.autograd.grad(weighed, tried, allow_unused=True)[0]
    if gradient is None:
        return "none"
    return "found" if gradient.any() else "zero"
