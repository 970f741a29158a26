"""What search, retraining, export and meta-training leave as JSON, as schemas by which every reader reads it."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.runs.schemas import Cost, Count, Digest, Environment, Figure, PlainGenotype, Schema, Seconds, Share
from pipeline.runs.stored_settings import PlainSettings, StageSettings, settings_of_stage

ONNX_FILE = "onnx.json"
LINEAGE_FILE = "lineage.json"
Epoch = Annotated[int, Field(ge=1, le=10**9)]


class StoredBound(Schema):
    """A size of the derived network beside its bounds."""

    lower: Figure | None
    upper: Figure | None
    value: Count
    violation: Annotated[float, Field(ge=0, le=1e100)]


class GuardEvent(Schema):
    """The guard acted after an epoch, and went back to an earlier one; 0 is before the first."""

    after: Count
    back_to: Count


class StoredCandidate(Schema):
    """A cell that the last choice trained, its accuracy after each round, and what a predictor expects of it."""

    genotype: PlainGenotype
    accuracies: tuple[Share, ...]
    expected: Figure | None = None


class StoredEigenvalue(Schema):
    """The largest of the Hessian of the validation loss in alpha, and how far the power iteration came."""

    value: Figure
    residual: Annotated[float, Field(ge=0, le=1e300)]


class SignsOfCollapse(Schema):
    """What derived cells hold, by kind of cell, and how undecided the edges are."""

    weight_free: Annotated[dict[Literal["normal", "reduction"], Count], Field(min_length=1)]
    skips: dict[Literal["normal", "reduction"], Count] | None = None
    entropy: Figure | None = None
    eigenvalue: StoredEigenvalue | None = None


class SearchFile(Schema):
    """The content of search.json."""

    settings: PlainSettings
    derived_cost: Cost
    bounds: dict[Literal["parameters", "macs"], StoredBound]
    diagnostics: SignsOfCollapse | None = None
    guard: tuple[GuardEvent, ...]
    selection: tuple[StoredCandidate, ...] = ()
    seconds: Seconds | None = None
    environment: Environment | None = None

    @cached_property
    def asked(self) -> StageSettings:
        """Return the settings as their models."""
        return settings_of_stage(self.settings)


class JudgedCell(Schema):
    """A cell, and its accuracy under attack in a supernet."""

    genotype: PlainGenotype
    accuracy: Share


class PoolFile(Schema):
    """The content of pool.json."""

    judged: list[JudgedCell]


class HeldBackJudgement(Schema):
    """Accuracies on the images held back from training, after an epoch; as `pipeline.training.recipes.Judged`."""

    epoch: Epoch
    accuracy: Share
    clean: Share
    trained: Share | None = None


class HeldBack(Schema):
    """The judgement whose weights were kept, the last one, and what was lost between them."""

    best: HeldBackJudgement
    last: HeldBackJudgement
    gap: Annotated[float, Field(ge=-1, le=1)]


class StoredTraining(Schema):
    """What network.json says of the training, and the digest of the weights that it ended in."""

    settings: PlainSettings
    best_epoch: Epoch
    held_back_accuracy: Share
    held_back: HeldBack
    overfitted_in_epoch: Epoch | None = None
    seconds: Seconds | None = None
    environment: Environment | None = None
    state_sha256: Digest | None = None


class OnnxFile(Schema):
    """The content of onnx.json: how near the exported graph comes to the network, and the digest of its weights."""

    images: Count
    batch_sizes: tuple[Count, ...]
    attack: str
    largest_logit_difference: Figure
    largest_logit_difference_on_attacked_images: Figure
    labels_that_differ: Count
    torch: str
    opset: Count
    onnxruntime: str
    bytes: Count
    state_sha256: Digest | None = None


class ThetaJudgement(Schema):
    """Normalised losses on tasks that train nothing, after an outer step; 0 is a swept Adam's best."""

    step: Count
    mean: Figure
    last_mean: Figure
    last_median: Figure
    weighted: Figure


class ThetaFile(Schema):
    """The content of theta.json."""

    architecture: str
    parameters: Count
    settings: PlainSettings
    imitation: dict[str, Any] | None = None
    best: ThetaJudgement
    curve: tuple[ThetaJudgement, ...]
    seconds: Seconds


class ContinuationJudgement(Schema):
    """Mean L1 errors on simulations that train nothing, after a step: of all, and by decades of their noise."""

    step: Count
    error: Figure
    by_noise: dict[str, Figure]


class ContinuationFile(Schema):
    """The content of continuation.json. coverage: of the bands on what judges, by decades of noise."""

    parameters: Count
    settings: PlainSettings
    curve: Annotated[tuple[ContinuationJudgement, ...], Field(min_length=1)]
    coverage: dict[str, Share]
    seconds: Seconds


class ScalesFile(Schema):
    """The content of scales.json: what was asked, and of each bucket the losses of every task, start and best."""

    asked: dict[str, Any]
    scales: list[list[Annotated[list[Figure], Field(min_length=2, max_length=2)]]]


class StoredMutation(Schema):
    """What was changed of a copy: noise on theta, a factor on sigma, and whether its trainer was drawn anew."""

    noise: Figure
    sigma: Figure
    trainer: bool


class StoredMember(Schema):
    """A member at a judgement: its score, None where it is not finite, and with what it goes on from there.

    parent: number of the member whose theta that is, its own where it was not replaced.
    """

    score: Figure | None
    generation: Count
    parent: Count
    trainer: Count
    sigma: Figure
    mutation: StoredMutation | None


class StoredScores(Schema):
    """A judgement of all members of a population, in their order, after an outer step."""

    step: Count
    members: Annotated[tuple[StoredMember, ...], Field(min_length=2)]


class LineageFile(Schema):
    """The content of lineage.json: all that the lineage of a population is drawn from."""

    judge_every: Count
    judgements: Annotated[tuple[StoredScores, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_its_members(self) -> Self:
        count = len(self.judgements[0].members)
        for judgement in self.judgements:
            if len(judgement.members) != count:
                raise ValueError(f"expected {count} members at step {judgement.step}, found {len(judgement.members)}")
            if any(max(member.parent, member.trainer) >= count for member in judgement.members):
                raise ValueError(f"expected parents and trainers out of 0 to {count - 1} at step {judgement.step}")
        if all(member.score is None for judgement in self.judgements for member in judgement.members):
            raise ValueError("expected a finite score")
        steps = [judgement.step for judgement in self.judgements]
        if sorted(set(steps)) != steps:
            raise ValueError("expected judgements in the order of their steps")
        return self
