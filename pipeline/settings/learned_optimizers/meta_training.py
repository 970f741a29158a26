"""Settings of the training of learned optimizers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from learned_optimizers import ARCHITECTURES
from learned_optimizers.architectures.registry import COMPONENT_WISE
from learned_optimizers.meta_training.choices import SHAPES, Estimator, Refresh
from learned_optimizers.tasks import TASK_FAMILIES, TRAINED_ON, buckets
from pipeline.settings.base import (
    AtLeastTwo,
    Count,
    CountOrZero,
    NotNegative,
    Number,
    OneOf,
    Positive,
    Processes,
    Seed,
    Settings,
    UpToOne,
)

MOST_MEMBERS = 1000  # each is a theta in memory and a training of its own
MOST_DRAWS = 100  # all are in memory until they are scored
LEAST_MEMBERS = 2
LARGEST_FACTOR = 1000.0


class ImitationSettings(Settings):
    """What comes before outer training: theta learns the steps of a teacher, by regression."""

    steps: CountOrZero = Field(0, description="steps of fitting the teacher; 0 for outer training alone")
    teacher: Annotated[str, OneOf(SHAPES)] = Field(
        "squashed",
        description="momentum over its rms over the tensor, as it is or through tanh; its rate is swept on the "
        "training tasks and falls over the horizon",
    )
    learning_rate: Positive = Field(0.01, description="learning rate of the fit's Adam; a cosine lowers it to 0")


class PopulationSettings(Settings):
    """Learned optimizers that train one another, and are judged every `meta.judge_every` outer steps."""

    members: Annotated[int, Field(ge=0, le=MOST_MEMBERS)] = Field(
        0, description="optimizers that train one another; 0 for one that Adam or meta.trainer trains"
    )
    init_scale: Annotated[Number, Field(ge=1, le=LARGEST_FACTOR)] = Field(
        3.0, description="each random theta is multiplied by a factor of its own, log-uniform from 1 to this"
    )
    draws: Annotated[int, Field(ge=1, le=MOST_DRAWS)] = Field(
        1, description="random thetas that are drawn for each member and scored on the tasks that judge; the best begin"
    )
    trainers: tuple[CountOrZero, ...] | None = Field(
        None, description="who trains each member at first, by number; null for a random permutation"
    )
    best: Count = Field(2, description="members that are copied and train others, after each judgement")
    exploited: CountOrZero = Field(3, description="worst members, each replaced by a copy of one of the best")
    refresh: Refresh = Field(
        "best",
        description="after a judgement, snapshots of trainers become those of the best members, or of each one's own "
        "trainer as it is then, or stay as they are (none)",
    )
    noise: NotNegative = Field(0.0, description="standard deviation of what is added to a copy's theta")
    sigma_factor: Annotated[Number, Field(ge=1, le=LARGEST_FACTOR)] = Field(
        1.5, description="a copy's sigma is multiplied by a factor that is log-uniform between 1 / this and this"
    )
    new_trainer: UpToOne = Field(0.5, description="probability that a copy's trainer is drawn anew from the best")

    @model_validator(mode="after")
    def _has_members_to_select_from(self) -> Self:
        if self.members == 0:
            return self
        if self.members == 1:
            raise ValueError(f"meta.population.members=1: expected at least {LEAST_MEMBERS}, or 0 for no population")
        if self.best + self.exploited > self.members:
            raise ValueError(
                f"meta.population.best={self.best} and exploited={self.exploited}: expected together at most "
                f"meta.population.members={self.members}"
            )
        trainers = range(self.members) if self.trainers is None else self.trainers
        if len(trainers) != self.members or max(trainers) >= self.members:
            raise ValueError(
                f"meta.population.trainers={list(trainers)}: expected {self.members} members, out of 0 to "
                f"{self.members - 1}"
            )
        return self


class MetaSettings(Settings):
    """Outer training of a learned optimizer, on tasks that are drawn from families."""

    architecture: Annotated[str, OneOf(ARCHITECTURES)] = Field("mlp", description="what is trained")
    families: tuple[Annotated[str, OneOf(TASK_FAMILIES)], ...] = Field(TRAINED_ON, description="of tasks, each once")
    tasks: Count = Field(16, description="tasks to draw from in each bucket of a family (a shape of its networks)")
    task_seed: Seed = Field(0, description="random seed of the tasks themselves")
    horizon: Count = Field(200, description="inner steps of a whole training")
    least_horizon: Count | None = Field(
        None,
        description="inner steps of the shortest training, others are log-uniform up to meta.horizon; null for "
        "meta.horizon alone; backprop alone",
    )
    imitate: ImitationSettings = ImitationSettings()
    full: bool = Field(False, description="unroll whole trainings; else ever longer truncations, one after another")
    first_length: Count = Field(20, description="inner steps of a truncation at first; each is times U(.8, 1.2)")
    last_length: Count = Field(50, description="inner steps of a truncation after the ramp")
    ramp: UpToOne = Field(0.5, description="part of the outer steps over which truncations grow")
    estimator: Estimator = Field(
        "merged",
        description="es, rp (through the unroll), both merged by variance, persistent es, or backprop: through whole "
        "trainings by theta as it is, whose loss is 1 at the start",
    )
    pairs: AtLeastTwo = Field(
        8, description="antithetic pairs of a stream, each with its own task; of backprop, trainings of a step"
    )
    streams: Count = Field(6, description="buckets that take part in an outer step, at most; they take turns")
    sigma: Positive = Field(0.01, description="standard deviation of the perturbation of the meta-parameters")
    steps: Count = Field(500, description="outer steps")
    trainer: str | None = Field(
        None,
        min_length=1,
        description="takes the outer steps: a shipped name or a theta.safetensors; null is Adam",
    )
    learning_rate: Positive = Field(3e-3, description="learning rate of the outer Adam; a cosine lowers it")
    epsilon: Positive = Field(1e-8, description="epsilon of the outer Adam; backprop alone")
    penalty: NotNegative = Field(0.0, description="times the norm of theta, is added to the outer loss; backprop alone")
    final_rate: UpToOne = Field(0.1, description="learning rate at the end of the cosine, as a part of the first")
    clip: Positive = Field(
        0.1, description="largest value of an element of the gradient; of backprop, norm of a training's gradient"
    )
    cap: Positive = Field(2.0, description="largest loss that counts; 1 is where a task's training starts")
    late: UpToOne = Field(
        0.0, description="weight of late losses of a training: 0 all alike, 1 in proportion to the inner step"
    )
    logarithmic: bool = Field(
        False, description="count the logarithm of losses, so that half of a low one is worth that of a high one"
    )
    outer_batches: Count = Field(5, description="batches of outer validation data after each inner step")
    judged_tasks: Count = Field(2, description="tasks of each bucket that choose the best step and train nothing")
    judge_every: Count = Field(50, description="outer steps from one judgement and checkpoint to the next")
    population: PopulationSettings = PopulationSettings()
    processes: Processes | None = Field(None, description="that share the streams of a step; null for one a core")
    executor: Literal["processes", "ray"] = Field("processes", description="what runs them; ray has to be installed")

    @field_validator("families")
    @classmethod
    def _are_named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) != len(names):
            raise ValueError(f"expected families of tasks, each once: {', '.join(TASK_FAMILIES)}")
        return names

    @model_validator(mode="after")
    def _truncations_fit(self) -> Self:
        if not self.full and max(self.first_length, self.last_length) > self.horizon:
            raise ValueError(
                f"meta.first_length={self.first_length} and meta.last_length={self.last_length}: expected at most "
                f"meta.horizon={self.horizon}"
            )
        if self.full and self.estimator == "pes":
            raise ValueError("meta.estimator=pes is for truncations; whole trainings (meta.full=true) need es")
        return self

    @model_validator(mode="after")
    def _backpropagation_is_through_whole_trainings(self) -> Self:
        if self.estimator == "backprop" and not self.full:
            raise ValueError("meta.estimator=backprop goes through whole trainings; set meta.full=true")
        if self.least_horizon is not None and (self.estimator != "backprop" or self.least_horizon > self.horizon):
            raise ValueError(
                f"meta.least_horizon={self.least_horizon}: expected at most meta.horizon={self.horizon}, and "
                "meta.estimator=backprop"
            )
        if self.estimator == "backprop" and self.trainer is not None:
            raise ValueError("meta.estimator=backprop is for Adam; leave out meta.trainer, or use another estimator")
        return self

    @model_validator(mode="after")
    def _single_steps_can_be_imitated(self) -> Self:
        if self.imitate.steps and self.architecture in COMPONENT_WISE:
            raise ValueError(
                f"meta.imitate.steps={self.imitate.steps}: {self.architecture} cannot imitate single steps, since its "
                "state depends on what it learns; use 0"
            )
        return self

    @model_validator(mode="after")
    def _a_population_has_no_other_trainer(self) -> Self:
        if not self.population.members:
            return self
        if self.estimator not in ("es", "pes"):
            raise ValueError(f"meta.estimator={self.estimator}: members of a population are trained by es or pes")
        if self.trainer is not None or self.imitate.steps:
            wrong = f"meta.trainer={self.trainer}" if self.trainer else f"meta.imitate.steps={self.imitate.steps}"
            raise ValueError(f"{wrong}: members of a population train one another, and nothing else does; leave it out")
        if self.logarithmic:
            raise ValueError("meta.logarithmic needs the loss that an Adam reaches, and a population has none")
        return self

    @property
    def streams_a_step(self) -> int:
        """As many as are asked for and as there are buckets."""
        return min(self.streams, len(buckets(self.families)))
