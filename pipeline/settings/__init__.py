"""Every setting of every stage: its type, its range, its default and what it means.

The models are immutable and refuse unknown keys. A number may be written as a fraction, such as "8/255".
"""

from pipeline.settings.attack import AttackSettings, SearchAttackSettings
from pipeline.settings.base import Channels, Layers, OneOf, Settings
from pipeline.settings.compute import FabricSettings, LoggerSettings
from pipeline.settings.continuation.measurement import GreenSettings, SpectrumSettings
from pipeline.settings.continuation.training import ContinuationTrainingSettings
from pipeline.settings.data import HOW_IMAGES_ARE_READ, DataSettings
from pipeline.settings.evaluation import EvaluateSettings, ExportSettings, PushSettings
from pipeline.settings.experiment import Experiment
from pipeline.settings.learned_optimizers.analysis import AnalyseSettings
from pipeline.settings.learned_optimizers.meta_training import MetaSettings
from pipeline.settings.objectives import BalanceSettings, ObjectiveSettings, PreferenceSettings
from pipeline.settings.search import (
    DiagnosticsSettings,
    GuardSettings,
    ImplicitSettings,
    RelaxationSettings,
    SearchSettings,
    SelectionSettings,
)
from pipeline.settings.space import SpaceSettings
from pipeline.settings.studies import ComparisonSettings, ParetoSettings, StudySettings, TabulateSettings
from pipeline.settings.training import RetrainSettings, WeightOptimizerSettings

__all__ = [
    "HOW_IMAGES_ARE_READ",
    "AnalyseSettings",
    "AttackSettings",
    "BalanceSettings",
    "Channels",
    "ComparisonSettings",
    "ContinuationTrainingSettings",
    "DataSettings",
    "DiagnosticsSettings",
    "EvaluateSettings",
    "Experiment",
    "ExportSettings",
    "FabricSettings",
    "GreenSettings",
    "GuardSettings",
    "ImplicitSettings",
    "Layers",
    "LoggerSettings",
    "MetaSettings",
    "ObjectiveSettings",
    "OneOf",
    "ParetoSettings",
    "PreferenceSettings",
    "PushSettings",
    "RelaxationSettings",
    "RetrainSettings",
    "SearchAttackSettings",
    "SearchSettings",
    "SelectionSettings",
    "Settings",
    "SpaceSettings",
    "SpectrumSettings",
    "StudySettings",
    "TabulateSettings",
    "WeightOptimizerSettings",
]
