"""All settings together, and the refusals that concern several stages."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipeline.settings.attack import SearchAttackSettings
from pipeline.settings.base import Seed, Settings
from pipeline.settings.compute import FabricSettings, LoggerSettings
from pipeline.settings.continuation.measurement import GreenSettings, SpectrumSettings
from pipeline.settings.continuation.training import ContinuationTrainingSettings
from pipeline.settings.data import DataSettings
from pipeline.settings.evaluation import EvaluateSettings, ExportSettings, PushSettings
from pipeline.settings.learned_optimizers.analysis import AnalyseSettings
from pipeline.settings.learned_optimizers.meta_training import MetaSettings
from pipeline.settings.objectives import ObjectiveSettings
from pipeline.settings.search import SearchSettings
from pipeline.settings.space import SpaceSettings
from pipeline.settings.studies import ComparisonSettings, ParetoSettings, StudySettings, TabulateSettings
from pipeline.settings.training import RetrainSettings, WeightOptimizerSettings


class Experiment(Settings):
    """All that a script is told."""

    run: str = Field("runs/search", min_length=1, description="run folder: every stage reads and writes here")
    genotype: str | None = Field(
        None,
        description="shipped name, NAS-Bench-201 string, file (genotypes.py:NAME too) or run; null: `run`'s",
    )
    compare: tuple[str, ...] = Field((), description="report: other run folders to set beside this one")
    seed: Seed = Field(0, description="random seed of the whole run")
    data: DataSettings = DataSettings()
    space: SpaceSettings = SpaceSettings()
    objectives: ObjectiveSettings = ObjectiveSettings()
    attack: SearchAttackSettings = SearchAttackSettings()
    weight_optimizer: WeightOptimizerSettings = WeightOptimizerSettings()
    search: SearchSettings = SearchSettings()
    retrain: RetrainSettings = RetrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    export: ExportSettings = ExportSettings()
    push: PushSettings = PushSettings()
    comparison: ComparisonSettings = ComparisonSettings()
    pareto: ParetoSettings = ParetoSettings()
    tabulate: TabulateSettings = TabulateSettings()
    study: StudySettings = StudySettings()
    meta: MetaSettings = MetaSettings()
    analyse: AnalyseSettings = AnalyseSettings()
    green: GreenSettings = GreenSettings()
    spectrum: SpectrumSettings = SpectrumSettings()
    continuation_training: ContinuationTrainingSettings = ContinuationTrainingSettings()
    fabric: FabricSettings = FabricSettings()
    logger: LoggerSettings = LoggerSettings()

    @model_validator(mode="after")
    def _processes_share_batches(self) -> Self:
        for name, size in (("search", self.search.batch_size), ("retrain", self.retrain.batch_size)):
            if size % self.fabric.devices:  # gradients are means over processes: their shares must be equal
                raise ValueError(f"{name}.batch_size={size} cannot be shared evenly by {self.fabric.devices} processes")
        return self

    @model_validator(mode="after")
    def _finalists_have_epochs_left(self) -> Self:
        selection = self.search.selection
        if selection.finalists > 1 and selection.epochs >= self.retrain.epochs:
            raise ValueError(
                f"search.selection.epochs={selection.epochs} leaves nothing of retrain.epochs={self.retrain.epochs} "
                "to finalists; lower it, or set search.selection.finalists=1"
            )
        return self

    @model_validator(mode="after")
    def _partial_channels_have_two_inputs(self) -> Self:
        if self.search.partial_channels > 1 and self.space.inputs == 1:
            raise ValueError("search.partial_channels is for the DARTS family of cells; this space has one input")
        return self

    @model_validator(mode="after")
    def _single_paths_are_attacked_anew(self) -> Self:
        if self.search.relaxation.paths is not None and self.attack.carry_over:
            raise ValueError(
                "attack.carry_over goes on with an attack on the mixture, and search.relaxation.paths attacks another "
                "cell in each step; use another attack"
            )
        return self

    @model_validator(mode="after")
    def _a_step_can_be_unrolled(self) -> Self:
        if self.search.order == "unrolled" and self.weight_optimizer.name != "sgd":
            raise ValueError(
                "search.order=unrolled looks through a step of sgd; use weight_optimizer=sgd or order=first"
            )
        return self

    @model_validator(mode="after")
    def _a_learned_optimizer_has_no_decay(self) -> Self:
        if self.weight_optimizer.name == "learned" and self.search.order in ("neumann", "cg"):
            raise ValueError(
                f"search.order={self.search.order} reads the learning rate and weight decay of the weights, which "
                "weight_optimizer=learned has not; use weight_optimizer=sgd or order=first"
            )
        if self.weight_optimizer.name == "learned" and self.search.guard.action == "rollback":
            raise ValueError(
                "search.guard.action=rollback raises the weight decay of the weights, which weight_optimizer=learned "
                "has not; use weight_optimizer=sgd or action=stop"
            )
        return self

    @model_validator(mode="after")
    def _what_is_differenced_does_not_change(self) -> Self:
        search = self.search
        if search.order != "first" and search.hessian == "finite_difference" and "noise" in self.space.operations:
            raise ValueError(
                "search.hessian=finite_difference subtracts gradients under two draws of the operation noise; use exact"
            )
        return self

    @model_validator(mode="after")
    def _weights_have_a_minimum_to_stay_at(self) -> Self:
        order, optimizer = self.search.order, self.weight_optimizer
        if order in ("neumann", "cg") and optimizer.name == "adamw" and optimizer.weight_decay > 0:
            raise ValueError(
                f"search.order={order} needs weight decay that is part of the loss; that of adamw is not: use "
                "weight_optimizer.weight_decay=0, weight_optimizer=sgd or order=first"
            )
        if order != "neumann" and self.search.implicit.step is not None:
            raise ValueError(f"search.implicit.step is that of order=neumann; order={order} has none")
        return self
