"""Every setting of every stage: its type, its range, its default and what it means.

The models are immutable and refuse unknown keys. A number may be written as a fraction, such as "8/255".
"""

from pipeline.settings.base import Channels, Layers, OneOf, Settings
from pipeline.settings.experiment import Experiment
from pipeline.settings.meta import MetaSettings
from pipeline.settings.problem import (
    HOW_IMAGES_ARE_READ,
    AttackSettings,
    BalanceSettings,
    DataSettings,
    FabricSettings,
    ObjectiveSettings,
    PreferenceSettings,
    SearchAttackSettings,
    SpaceSettings,
)
from pipeline.settings.results import (
    ComparisonSettings,
    EvaluateSettings,
    ExportSettings,
    ParetoSettings,
    RetrainSettings,
)
from pipeline.settings.searching import (
    DiagnosticsSettings,
    GuardSettings,
    ImplicitSettings,
    RelaxationSettings,
    SearchSettings,
    SelectionSettings,
    WeightOptimizerSettings,
)
from pipeline.settings.tables import TabulateSettings

__all__ = [
    "HOW_IMAGES_ARE_READ",
    "AttackSettings",
    "BalanceSettings",
    "Channels",
    "ComparisonSettings",
    "DataSettings",
    "DiagnosticsSettings",
    "EvaluateSettings",
    "Experiment",
    "ExportSettings",
    "FabricSettings",
    "GuardSettings",
    "ImplicitSettings",
    "Layers",
    "MetaSettings",
    "ObjectiveSettings",
    "OneOf",
    "ParetoSettings",
    "PreferenceSettings",
    "RelaxationSettings",
    "RetrainSettings",
    "SearchAttackSettings",
    "SearchSettings",
    "SelectionSettings",
    "Settings",
    "SpaceSettings",
    "TabulateSettings",
    "WeightOptimizerSettings",
]
