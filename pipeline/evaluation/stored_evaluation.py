"""robustness.json: the figures of every protocol, tied to the weights that were measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from lightning_fabric import Fabric
from pydantic import AfterValidator, Discriminator, Field, NonNegativeInt, Tag, field_serializer, model_validator

from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CLEAN, Accuracy
from pipeline.evaluation.gradient_masking import Verdict
from pipeline.networks.description import NetworkDescription
from pipeline.networks.user_module import ForeignDescription
from pipeline.presentation.words import counted, shown
from pipeline.runs.files import keep_beside, read_json, write_json
from pipeline.runs.schemas import Digest, Environment, Schema, checked, may_be_same
from pipeline.settings import HOW_IMAGES_ARE_READ, DataSettings, EvaluateSettings, Experiment

ROBUSTNESS_FILE = "robustness.json"
STAGE = "evaluate"
VERSION = 2

NEEDED_SIZES = ("parameters", "conv_linear_macs")
SECTIONS = ("attacks", "sweep", "check_rows", "corruptions")
"""The lists of accuracies of a protocol."""

WHAT_IS_TRIED = (
    *("attacks", "starts", "sweep", "sweep_attack", "checks", "surrogate", "corruptions", "models", "transfer_attack"),
)
WHOSE = ("model", "model_arguments", "weights")
"""Settings that say which rows there are, and of which network; on all others every row depends."""

HOW_IT_BEGINS = ("replace", "verify")
"""Settings on which no figure depends, and which are not kept."""

T = TypeVar("T")


def _kind(network: Any) -> Any:
    """Return the `format` of a description, parsed or not; only the project's own were once without one."""
    if isinstance(network, Mapping):
        return network.get("format", "network")
    return getattr(network, "format", "network")


Description = Annotated[
    Annotated[NetworkDescription, Tag("network")] | Annotated[ForeignDescription, Tag("module")],
    Discriminator(_kind),
]


class Protocol(Schema):
    """The settings of an evaluation: those on which all its figures depend, and what was tried."""

    seed: NonNegativeInt
    data: DataSettings
    evaluate: EvaluateSettings
    precision: str = "32-true"

    @classmethod
    def of(cls, experiment: Experiment) -> Self:
        """Return the protocol that the settings ask for."""
        return cls(
            seed=experiment.seed,
            data=experiment.data,
            evaluate=experiment.evaluate.model_copy(update=dict.fromkeys(HOW_IT_BEGINS, False)),
            precision=experiment.fabric.precision,
        )

    @field_serializer("data")
    def _which_images(self, data: DataSettings) -> dict[str, Any]:
        return data.model_dump(mode="json", exclude=set(HOW_IMAGES_ARE_READ))

    @field_serializer("evaluate")
    def _how(self, evaluate: EvaluateSettings) -> dict[str, Any]:
        return evaluate.model_dump(mode="json", exclude=set(HOW_IT_BEGINS))

    @property
    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""
        return self.model_dump(mode="json")

    @property
    def key(self) -> dict[str, Any]:
        """Return the settings on which all figures depend, as JSON holds them."""
        plain = self.plain
        for name in (*WHAT_IS_TRIED, *WHOSE):
            del plain["evaluate"][name]
        return plain

    def joined(self, later: Self) -> Self:
        """Those of `later`, with what these tried too: with them one evaluation finds the rows of both."""
        before, now = self.evaluate, later.evaluate
        tried: dict[str, Any] = {
            name: (*getattr(before, name), *(each for each in getattr(now, name) if each not in getattr(before, name)))
            for name in ("attacks", "corruptions")
        }
        if not now.sweep or now.sweep_attack == before.sweep_attack:
            radii = {*before.sweep, *now.sweep}
            tried |= {"sweep": tuple(sorted(radii)), "sweep_attack": before.sweep_attack if radii else now.sweep_attack}
        if before.checks and not now.checks:
            tried |= {"checks": True, "surrogate": before.surrogate}
        return later.model_copy(update={"evaluate": now.model_copy(update=tried)})


def protocol_in_words(protocol: Protocol, images: int) -> str:
    """Write the settings on which figures depend most: "ε = 8/255 in Linf, 40 test images, seed 0"."""
    evaluate = protocol.evaluate
    radius = f"ε\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{shown('eps', evaluate.eps)} in {evaluate.norm}"
    return f"{radius}, {counted(images, 'test image')}, seed {protocol.seed}"


class Classes(Schema):
    """Names of the classes, and the test images of each."""

    names: tuple[str, ...]
    images: tuple[NonNegativeInt, ...]

    @model_validator(mode="after")
    def _are_as_many(self) -> Self:
        if len(self.names) != len(self.images):
            raise ValueError(f"expected images of each of {len(self.names)} classes, found {len(self.images)} counts")
        return self


def _has_sizes(cost: dict[str, int]) -> dict[str, int]:
    missing = [name for name in NEEDED_SIZES if name not in cost]
    if missing:
        raise ValueError(f"expected {', '.join(NEEDED_SIZES)}; {', '.join(missing)} missing")
    return cost


MeasuredCost = Annotated[dict[str, NonNegativeInt], AfterValidator(_has_sizes)]
"""Size of a network: parameters, multiply-accumulates of an image and, where they were counted, those of thop."""


def place_of(section: str, name: str, settings: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Return what tells the rows of a protocol apart: section and name and, in a sweep, the radius."""
    return section, name, settings.get("eps") if section == "sweep" else None


class Evaluation(Schema):
    """What one protocol found on one network.

    state_sha256: of the weights that were measured; None in files of older versions, which did not say.
    cost: None where it could not be counted.  checks: None where masking was not looked for, or not to the end.
    sweep: by attack and radius, rising.
    """

    state_sha256: Digest | None = None
    settings: Protocol
    network: Description
    cost: MeasuredCost | None
    environment: Environment | None = None
    classes: Classes | None = None
    checks: Verdict | None = None
    attacks: tuple[Accuracy, ...]
    sweep: tuple[Accuracy, ...] = ()
    check_rows: tuple[Accuracy, ...] = ()
    corruptions: tuple[Accuracy, ...] = ()

    @model_validator(mode="after")
    def _rows_are_told_apart(self) -> Self:
        for section in SECTIONS:
            rows = getattr(self, section)
            seen = [place_of(section, row.attack, row.settings) for row in rows]
            if len(set(seen)) < len(seen):
                raise ValueError(f"{section}: expected each row once, found {_twice(seen)[1]!r} twice")
            for key in {"sweep": ("eps", "norm"), "corruptions": ("corruption", "severity")}.get(section, ()):
                if not all(key in row.settings for row in rows):
                    raise ValueError(f"{section}: expected settings.{key} in every row")
        if all(row.attack != CLEAN for row in self.attacks):
            raise ValueError(f"attacks: expected a row {CLEAN!r}")
        return self

    @model_validator(mode="after")
    def _rows_are_of_the_same_images(self) -> Self:
        counts = self.classes.images if self.classes else ()
        images = sum(counts) if self.classes else self.attacks[0].images
        for section, row in self.rows():
            if row.images != images:
                raise ValueError(f"{section}: expected {images} images in every row, {row.attack} has {row.images}")
            by_class = row.right_by_class
            if self.classes and by_class:
                if len(by_class) != len(counts):
                    raise ValueError(f"{section}: {row.attack} counts {len(by_class)} classes of {len(counts)}")
                if any(right > row.draws * of for right, of in zip(by_class, counts, strict=True)):
                    raise ValueError(f"{section}: {row.attack} is right on more images of a class than there are")
        return self

    def rows(self) -> Iterator[tuple[str, Accuracy]]:
        """Yield all accuracies, with the section that each is in."""
        for section in SECTIONS:
            yield from ((section, row) for row in getattr(self, section))

    def asked(self) -> Iterator[Protocol]:
        """Yield the settings of evaluations that together find all rows: the settings name one attack of a sweep."""
        evaluate = self.settings.evaluate
        radii: dict[str, list[float]] = {}
        for row in self.sweep:
            radii.setdefault(row.attack, []).append(row.settings["eps"])
        for attack in (each for each in radii if each != evaluate.sweep_attack):
            sweep = {"sweep": tuple(radii[attack]), "sweep_attack": attack}
            yield self.settings.model_copy(update={"evaluate": evaluate.model_copy(update=sweep)})
        yield self.settings

    def is_of(self, description: NetworkDescription | ForeignDescription, state_sha256: str | None) -> bool:
        """Return whether it was measured on this network with these weights; None stands for unknown ones."""
        same = self.network.model_dump(mode="json") == description.model_dump(mode="json")
        return same and self.state_sha256 == state_sha256


class RobustnessFile(Schema):
    """robustness.json. protocols: in the order in which they were last evaluated."""

    format: Literal["robustness"] = "robustness"
    version: Annotated[int, Field(ge=VERSION, le=VERSION)] = VERSION
    protocols: tuple[Evaluation, ...] = ()


def read_robustness(path: Path) -> Sequence[Evaluation]:
    """Read all that a robustness.json holds, the protocol last evaluated first; nothing where there is no file.

    Raises RunError that names the file, and the key that is not what evaluate.py writes.
    """
    if not path.exists():
        return ()
    content, wrong = read_json(path), wrong_file(path)
    if is_first_version(content):
        return (checked(_with_digest(content), Evaluation, wrong),)
    return checked(content, RobustnessFile, wrong).protocols[::-1]


def of_network(
    evaluations: Sequence[Evaluation], description: Description | None, state_sha256: str | None
) -> Sequence[Evaluation]:
    """Those that may be shown of a network with these weights; where either digest is unknown, they are taken for it.

    description: None gives none.
    """
    if description is None:
        return ()
    found = (each for each in evaluations if each.is_of(description, each.state_sha256))
    return tuple(each for each in found if may_be_same(state_sha256, each.state_sha256))


def write_robustness(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write what `read_robustness` reads."""
    write_json(path, RobustnessFile(protocols=tuple(evaluations[::-1])).model_dump(mode="json"))


def read_before(path: Path, read: Callable[[Path], Sequence[T]], *, replace: bool, fabric: Fabric) -> Sequence[T]:
    """Return what a stage adds to, in all processes alike: the content of a file or, where it is begun anew, nothing.

    Begun anew, the file is kept beside under another name. Raises RunError as `read` does.
    """
    if replace:
        if fabric.is_global_zero:
            keep_beside(path)
        return ()
    try:
        found = read(path)
    except RunError as error:
        raise RunError(f"{error}; evaluate.replace=true begins it anew and keeps the old file beside it") from None
    fabric.barrier()  # all processes have read what the first one is about to write
    return found


def wrong_file(path: Path) -> str:
    """Return how the line about a file begins that evaluate.py did not write."""
    return f"{path} is not what {STAGE}.py writes"


def is_first_version(content: Any) -> bool:
    """The first version held one protocol, and did not say that it was one."""
    return isinstance(content, dict) and "format" not in content


def _with_digest(content: dict[str, Any]) -> dict[str, Any]:
    """The first version knew the weights of a user's module alone."""
    network = content.get("network")
    known = network.get("state_sha256") if isinstance(network, dict) else None
    return {"state_sha256": known} | content


def _twice(names: Sequence[Any]) -> Any:
    return next(name for name in names if names.count(name) > 1)
