"""Settings of the training of learned optimizers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from learned_optimizers import ARCHITECTURES
from learned_optimizers.meta_training.choices import SHAPES, Estimator
from learned_optimizers.tasks import TASK_FAMILIES, TRAINED_ON, buckets
from pipeline.settings.base import AtLeastTwo, Count, CountOrZero, OneOf, Positive, Processes, Seed, Settings, UpToOne


class ImitationSettings(Settings):
    """What comes before outer training: theta learns the steps of a teacher, by regression."""

    steps: CountOrZero = Field(0, description="steps of fitting the teacher; 0 for outer training alone")
    teacher: Annotated[str, OneOf(SHAPES)] = Field(
        "squashed",
        description="momentum over its rms over the tensor, as it is or through tanh; its rate is swept on the "
        "training tasks and falls over the horizon",
    )
    learning_rate: Positive = Field(0.01, description="learning rate of the fit's Adam; a cosine lowers it to 0")


class MetaSettings(Settings):
    """Outer training of a learned optimizer, on tasks that are drawn from families."""

    architecture: Annotated[str, OneOf(ARCHITECTURES)] = Field("mlp", description="what is trained")
    families: tuple[Annotated[str, OneOf(TASK_FAMILIES)], ...] = Field(TRAINED_ON, description="of tasks, each once")
    tasks: Count = Field(16, description="tasks to draw from in each bucket of a family (a shape of its networks)")
    task_seed: Seed = Field(0, description="random seed of the tasks themselves")
    horizon: Count = Field(200, description="inner steps of a whole training")
    imitate: ImitationSettings = ImitationSettings()
    full: bool = Field(False, description="unroll whole trainings; else ever longer truncations, one after another")
    first_length: Count = Field(20, description="inner steps of a truncation at first; each is times U(.8, 1.2)")
    last_length: Count = Field(50, description="inner steps of a truncation after the ramp")
    ramp: UpToOne = Field(0.5, description="part of the outer steps over which truncations grow")
    estimator: Estimator = Field(
        "merged",
        description="es, rp (through the unroll), both merged by variance, or persistent es",
    )
    pairs: AtLeastTwo = Field(8, description="antithetic pairs of a stream, each with its own task")
    streams: Count = Field(6, description="buckets that take part in an outer step, at most; they take turns")
    sigma: Positive = Field(0.01, description="standard deviation of the perturbation of the meta-parameters")
    steps: Count = Field(500, description="outer steps")
    trainer: str | None = Field(
        None,
        min_length=1,
        description="takes the outer steps: a shipped name or a theta.safetensors; null is Adam",
    )
    learning_rate: Positive = Field(3e-3, description="learning rate of the outer Adam; a cosine lowers it")
    final_rate: UpToOne = Field(0.1, description="learning rate at the end of the cosine, as a part of the first")
    clip: Positive = Field(0.1, description="largest value of an element of the gradient")
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

    @property
    def streams_a_step(self) -> int:
        """As many as are asked for and as there are buckets."""
        return min(self.streams, len(buckets(self.families)))
