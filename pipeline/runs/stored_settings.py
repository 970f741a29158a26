"""The settings that stages keep beside their results, read by the settings' own models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pipeline.runs.schemas import PlainGenotype, Schema, checked
from pipeline.settings import (
    ContinuationTrainingSettings,
    DataSettings,
    EvaluateSettings,
    MetaSettings,
    ObjectiveSettings,
    ParetoSettings,
    RetrainSettings,
    SearchAttackSettings,
    SearchSettings,
    SpaceSettings,
    WeightOptimizerSettings,
)


class StageSettings(Schema):
    """All that the result of some stage depends on; what an older file does not name is as by default.

    precision, processes, synchronised_statistics: fabric.precision, fabric.devices and the key of the same name.
    """

    seed: Annotated[int, Field(ge=0, lt=2**64)]
    data: DataSettings = DataSettings()
    weight_optimizer: WeightOptimizerSettings = WeightOptimizerSettings()
    space: SpaceSettings = SpaceSettings()
    objectives: ObjectiveSettings = ObjectiveSettings()
    attack: SearchAttackSettings = SearchAttackSettings()
    search: SearchSettings = SearchSettings()
    retrain: RetrainSettings = RetrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    pareto: ParetoSettings = ParetoSettings()
    meta: MetaSettings = MetaSettings()
    continuation_training: ContinuationTrainingSettings = ContinuationTrainingSettings()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    processes: Annotated[int, Field(ge=1, le=10**6)] = 1
    synchronised_statistics: bool = False
    genotype: PlainGenotype | None = None


def settings_of_stage(plain: dict[str, Any]) -> StageSettings:
    """Stored settings as their models. Raises RunError that names the key where they are no settings."""
    return checked(plain, StageSettings, "expected settings of a stage")


def _are_settings(plain: dict[str, Any]) -> dict[str, Any]:
    settings_of_stage(plain)
    return plain


PlainSettings = Annotated[dict[str, Any], AfterValidator(_are_settings)]
"""Settings as they are stored: compared and shown as they are, and read by `settings_of_stage`."""
