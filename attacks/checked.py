"""An attack that checks its images and labels, keeps the caller's random state, and leaves the model as it was."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from attacks.expectation import ExpectedLogits
from attacks.guarded_model import GuardedModel, undisturbed
from attacks.later_checks import check
from attacks.saving.leaving import build_saving
from attacks.spec import AttackSpec, ImageAttack


@dataclass(frozen=True, eq=False)
class CheckedAttack:
    """A torchattacks attack on `model`, called on images [N, C, H, W] in [0, 1] and labels int64 [N].

    It returns images of the same shape, dtype and device, in [0, 1], within eps of those given in the norm of `spec`,
    detached. Afterwards the model's modes, parameters, .grad, requires_grad and BatchNorm statistics are as they were,
    also after an exception. It may be called under no_grad and inference_mode, and on an empty batch.

    Give the bare module, on the images' device, and not its DistributedDataParallel wrapper, which would wait for
    gradients of parameters. Tensors that the model uses without registering them are not protected from CW and FAB.
    Within `checked_later` what a device has to be asked for is judged after the attack.

    spec: what to run; `settings` is the same as plain JSON values.
    build: makes the attack from a model; None is spec.build.
    saves_passes: leave out those whose outcome is known (attacks/saving/saving_model.py). The same images fall, and
    each is returned as what fooled it first, which need not be what the attack would have ended with.
    """

    model: nn.Module
    spec: AttackSpec
    build: Callable[[nn.Module], ImageAttack] | None = None
    saves_passes: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that repeats this attack, as plain JSON values."""
        return self.spec.as_dict()

    @property
    def stages(self) -> tuple[Self, ...]:
        """Return the parts as attacks of their own, where each seeds itself: in turn they find what they find together.

        The others draw one after the other from one generator, and are one stage.
        """
        parts = self.spec.parts
        if self.build is not None or not all("seed" in part.arguments for part in parts):
            return (self,)
        return tuple(replace(self, spec=replace(self.spec, parts=(part,))) for part in parts)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The attacked images [N, C, H, W]; ValueError if the images or labels are not as described above."""
        largest_label = _check_batch(images, labels)
        self._check_precision(images)
        if images.numel() == 0:
            return images.detach().clone()
        with undisturbed(self.model, self.spec.statistics), _randomness(self.spec.seed), _gradients_on():
            attacked_model = self.model if self.spec.draws == 1 else ExpectedLogits(self.model, self.spec.draws)
            guarded = GuardedModel(attacked_model, images, largest_label, self.spec.num_classes)
            attack = self._build(guarded)
            # PGDL2 and Square view their images as rows
            start = images.detach().clone(memory_format=torch.contiguous_format)
            attacked = attack(start, labels.clone())
        guarded.check_gradients()
        return attacked.detach()  # APGD's results require grad

    def _build(self, model: nn.Module) -> ImageAttack:
        if self.build is not None:
            return self.build(model)
        return build_saving(self.spec, model) if self.saves_passes else self.spec.build(model)

    def _check_precision(self, images: Tensor) -> None:
        if images.dtype == torch.float64 and any(part.class_name == "FAB" for part in self.spec.parts):
            raise ValueError(
                f"expected float32 images for {self.spec.name}, found {images.dtype}; FAB, a part of it, computes in "
                "float32: convert the model and the images with .float(), or choose another attack"
            )


def check_images(images: Tensor) -> None:
    """Raise ValueError unless images are float32 or float64 [N, C, H, W] with every pixel in [0, 1]."""
    _check_kind(images)
    if images.numel():
        _check_range(*torch.stack(images.detach().aminmax()).tolist())


def _check_batch(images: Tensor, labels: Tensor) -> Tensor:
    """Raise ValueError unless images are such, and labels int64 [N], none negative; return the largest label [].

    Whether labels are classes of the model is checked against its logits. A device is waited for once, or later.
    """
    _check_kind(images)
    if labels.dtype != torch.int64:
        raise ValueError(f"expected int64 labels, found {labels.dtype}; classes are numbered, not one-hot: use .long()")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"expected labels [{len(images)}], one an image, found shape {tuple(labels.shape)}")
    if not images.numel():
        return labels.new_zeros(())
    smallest, largest = labels.aminmax()
    check(torch.stack([end.double() for end in (*images.detach().aminmax(), smallest)]), _check_ends)
    return largest


def _check_ends(read: Sequence[float]) -> None:
    """Raise ValueError unless pixels and labels lie where they may: least and largest pixel, and least label."""
    low, high, smallest = read
    _check_range(low, high)
    if smallest < 0:
        raise ValueError(f"expected labels of at least 0, found {int(smallest)}; leave unlabelled images out")


def _check_kind(images: Tensor) -> None:
    if images.ndim != 4:
        raise ValueError(f"expected images [N, C, H, W], found shape {tuple(images.shape)}; one image is images[None]")
    if images.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"expected float32 or float64 images, found {images.dtype}; divide bytes by 255, and leave half precision "
            "to autocast: near 1 a bfloat16 pixel moves in steps of 1/256"
        )


def _check_range(low: float, high: float) -> None:
    """Raise ValueError unless all pixels lie in [0, 1], by the least and the largest: both NaN if any pixel is."""
    if not (low >= 0 and high <= 1):
        found = f"a minimum of {_shown(low)}" if low < 0 else f"a maximum of {_shown(high)}"
        raise ValueError(f"expected images in [0, 1], found {found}; put normalisation inside the network")


def _shown(value: float) -> str:
    """Three digits, or all of them where three would round an excess away: 2.64, but 1.0000001192092896."""
    short = f"{value:.3g}"
    return repr(value) if 0 <= float(short) <= 1 else short


@contextmanager
def _randomness(seed: int | None) -> Iterator[None]:
    """Seeded for the duration, then the caller's random state again; seed None is the caller's own generator.

    APGD, FAB and Square call torch.manual_seed, which seeds every CUDA device: all are kept once CUDA is in use. Before
    that nothing has been drawn, and to keep a state would take memory on every device.
    """
    if seed is None:
        yield
        return
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        yield


@contextmanager
def _gradients_on() -> Iterator[None]:
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield
