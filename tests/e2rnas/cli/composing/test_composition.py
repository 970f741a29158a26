"""Configurations that are put together quickly are those that Hydra alone composes."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from e2rnas.cli.app import Refused, composed
from e2rnas.cli.composing import composition
from e2rnas.cli.composing.groups import CONF
from tests.support.scripts import TINY


def composed_by_hydra(overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    return OmegaConf.to_container(config, resolve=False)


@pytest.mark.parametrize(
    "overrides",
    [
        [*TINY, "experiment=paper", "run='a b'"],
        ["attack=fgsm", "attack.eps=${evaluate.eps}", "evaluate.eps=4/255", "attack.eps=8/255"],  # the last one counts
        ["objectives.preferences={macs:2}", "objectives.preferences={robustness:3}"],  # merged
        ["attack.eps=0.5", "attack={eps:0.25}"],
        ["search.epochs=3", "+evaluate.unknown=1", "~seed"],
        ["+experiment=demo"],
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=3", "seed=3"],
    ],
)
def test_a_configuration_is_the_one_that_hydra_composes(overrides):
    try:
        expected = composed_by_hydra(overrides)
    except Exception:
        with pytest.raises(Refused):
            composed(overrides)
        return
    for _ in range(2):  # made, and kept
        assert OmegaConf.to_container(composed(overrides), resolve=False) == expected


@pytest.mark.parametrize("guard", ["robust_darts", "robust_darts_rollback"])
def test_a_guard_brings_what_it_reads_also_where_the_experiment_measures_nothing(guard):
    assert composed(["experiment=demo"]).search.diagnostics.iterations == 0
    for overrides in (["experiment=demo", f"guard={guard}"], [f"guard={guard}", "experiment=demo"]):
        assert composed(overrides).search.diagnostics.iterations > 0
    assert (
        composed(["experiment=demo", f"guard={guard}", "search.diagnostics.iterations=7"]).search.diagnostics.iterations
        == 7
    )


def test_plain_values_need_no_second_composition(monkeypatch):
    composed(["objectives=robust", "search.epochs=3"])
    monkeypatch.setattr(composition, "compose", None)
    assert composed(["search.epochs=4", "objectives=robust", "run=there"]).search.epochs == 4


def test_what_is_done_to_a_configuration_is_not_found_in_the_next():
    first = composed(["seed=5"])
    before = OmegaConf.to_container(composed([]), resolve=False)
    first.search.epochs = 12345
    first.objectives.names.append("another")
    assert OmegaConf.to_container(composed([]), resolve=False) == before


def test_files_of_the_users_own_may_change_between_two_configurations(tmp_path):
    file = tmp_path / "recipe" / "mine.yaml"
    file.parent.mkdir()
    for epochs in (3, 5):
        file.write_text(f"# @package retrain\nepochs: {epochs}\n")
        config = composed([f"hydra.searchpath=[file://{tmp_path}]", "recipe=mine"])
        assert config.retrain.epochs == epochs
