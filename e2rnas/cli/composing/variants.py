"""An experiment with some overrides more: what a study's searches are made of."""

from __future__ import annotations

from collections.abc import Sequence

from e2rnas.cli.app import validated
from e2rnas.cli.composing import remembered
from e2rnas.cli.composing.composition import composed
from e2rnas.cli.composing.config_errors import Refused
from pipeline.runs.settings_record import leaves
from pipeline.settings import Experiment


def variant(experiment: Experiment, overrides: Sequence[str], where: str) -> Experiment:
    """Return the experiment with what the overrides give, groups such as relaxation=gdas among them.

    where: the setting that the overrides stand in, for errors. Raises ValueError.
    """
    try:
        config = composed(overrides)
        remembered.put(config, dict(leaves(experiment)), overrides)
        return validated(config)
    except Refused as refused:
        raise ValueError(f"{where}: {refused}") from refused
