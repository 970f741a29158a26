"""Sweeps: each job in a folder of its own, the same files by every launcher; optuna reads no test image."""

import importlib.util
import json

import pytest
import yaml

from e2rnas.cli.app import compose_experiment
from e2rnas.cli.composing.config_errors import reason
from e2rnas.cli.programs import main_of
from pipeline.evaluation.stored_evaluation import read_robustness
from tests.support.scripts import SMALL_CELL, TINY, finish_script, run_script

SMALL = (*TINY, "space.nodes=1", "search.epochs=1", "retrain.epochs=1", "retrain.attack.steps=1")
RESULTS = ("alphas.safetensors", "genotype.json")


def needs(module):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"needs {module}")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What a search of each seed writes without a sweep."""
    folder = tmp_path_factory.mktemp("alone")
    for seed in (0, 1):
        finish_script("search", *SMALL, f"seed={seed}", f"run={folder / str(seed)}")
    return {seed: [(folder / str(seed) / name).read_bytes() for name in RESULTS] for seed in (0, 1)}


def results(folder):
    return [(folder / name).read_bytes() for name in RESULTS]


def test_the_jobs_of_a_sweep_have_folders_of_their_own_named_by_what_is_varied(alone, tmp_path, call_script):
    status, out, err = call_script("search", "-m", *SMALL, "seed=0,1", f"run={tmp_path / 'sweep'}")
    assert status == 0, err
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"seed=0", "seed=1", "multirun.yaml"}
    assert all(results(tmp_path / "sweep" / f"seed={seed}") == found for seed, found in alone.items())
    assert err.splitlines() == [f"job {seed}: {tmp_path / 'sweep' / f'seed={seed}'}" for seed in (0, 1)]
    assert str(tmp_path / "sweep" / "seed=1" / "genotype.json") in out


def test_a_repeated_sweep_finds_its_jobs_finished(tmp_path, call_script):
    command = ("retrain", "--multirun", *SMALL, SMALL_CELL, "attack.eps=8/255,0.1", f"run={tmp_path}")
    assert call_script(*command)[0] == 0
    folder = tmp_path / "attack.eps=8_255"  # a fraction names no folder in a folder
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
    assert call_script(*command)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"} == written


@pytest.mark.slow
def test_a_glob_of_options_is_a_sweep(tmp_path, call_script):
    status, _, err = call_script(
        "retrain", "-m", *SMALL, SMALL_CELL, "guard=glob(s*)", "seed=0,1", f"run={tmp_path / 'it is'}"
    )
    assert status == 0, err
    assert {path.name for path in (tmp_path / "it is").iterdir() if path.is_dir()} == {
        f"guard=skips_rollback,seed={seed}" for seed in (0, 1)
    }


@pytest.mark.slow
def test_an_experiment_that_is_varied_gives_no_other_folder(tmp_path, monkeypatch, call_script):
    monkeypatch.chdir(tmp_path)
    small = (*SMALL, "search.selection.candidates=1", "search.warm_up=0", "evaluate.images=null")
    status, _, err = call_script("retrain", "-m", "experiment=demo,collapse", SMALL_CELL, *small)
    assert status == 0, err
    assert {path.name for path in (tmp_path / "runs/demo").iterdir() if path.is_dir()} == {
        "experiment=demo",
        "experiment=collapse",
    }


@pytest.mark.slow
def test_folders_that_the_user_names_stay_as_they_are(tmp_path, monkeypatch, call_script):
    monkeypatch.chdir(tmp_path)
    status, _, err = call_script("search", "-m", *SMALL, "seed=3,4", "run=mine/s${seed}")
    assert status == 0, err
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"s3", "s4"}


def test_a_job_that_cannot_be_done_leaves_the_others_alone_and_the_sweep_ends_in_1(tmp_path, call_script):
    status, _, err = call_script("retrain", "-m", *SMALL, SMALL_CELL, "retrain.batch_size=90,20", f"run={tmp_path}")
    assert status == 1
    assert "job 0: error: retrain.batch_size=90 is larger than the " in err
    assert "Traceback" not in err
    assert (tmp_path / "retrain.batch_size=20" / "network.json").exists()
    assert not (tmp_path / "retrain.batch_size=90").exists()


@pytest.mark.slow
def test_a_report_over_a_sweep_makes_one_group_of_its_seeds(tmp_path, call_script):
    seeds = (*SMALL, "seed=0,1,2", f"run={tmp_path}")
    assert call_script("retrain", "-m", *seeds, SMALL_CELL)[0] == 0
    assert call_script("evaluate", "-m", *seeds)[0] == 0
    status, out, err = call_script("report", f"run={tmp_path}")
    assert status == 0, err
    accuracies = [
        read_robustness(tmp_path / f"seed={seed}" / "robustness.json")[0].attacks[0].accuracy for seed in (0, 1, 2)
    ]
    assert f"{sum(accuracies) / 3:.1%}"[:-1] in out
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "seed=2" / "report.html").exists()


@pytest.mark.slow
@needs("hydra_plugins.hydra_joblib_launcher")
def test_jobs_side_by_side_on_one_machine_write_what_each_alone_does(alone, tmp_path, call_script):
    status, _, err = call_script(
        "search", "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *SMALL, "seed=0,1", f"run={tmp_path}"
    )
    assert status == 0, err
    assert all(results(tmp_path / f"seed={seed}") == found for seed, found in alone.items())


@pytest.mark.slow
@needs("hydra_plugins.hydra_submitit_launcher")
def test_submitit_starts_the_jobs_of_a_sweep(alone, tmp_path):
    """Its executor for the local machine, which does all that SLURM's does but for the queue."""
    status, _, err = run_script("search", "-m", "hydra/launcher=submitit_local", *SMALL, "seed=1,7", f"run={tmp_path}")
    assert status == 0, err
    assert results(tmp_path / "seed=1") == alone[1]
    assert (tmp_path / "seed=7" / "genotype.json").exists()
    assert list((tmp_path / ".submitit").glob("*/*_0_log.out"))


@pytest.mark.slow
@needs("hydra_plugins.hydra_ray_launcher")
def test_ray_starts_the_jobs_of_a_sweep(alone, tmp_path):
    status, _, err = run_script(
        "search",
        "-m",
        "hydra/launcher=ray",
        "+hydra.launcher.ray.init.num_cpus=2",
        *SMALL,
        "seed=0,1",
        f"run={tmp_path}",
    )
    assert status == 0, err
    assert all(results(tmp_path / f"seed={seed}") == found for seed, found in alone.items())


@pytest.mark.slow
@needs("hydra_plugins.hydra_optuna_sweeper")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of optuna 2
def test_optuna_looks_for_the_highest_accuracy_on_held_back_images(tmp_path, call_script):
    study = ("hydra/sweeper=optuna", f"hydra.sweeper.storage=sqlite:///{tmp_path / 'study.db'}")
    tuned = ("hydra.sweeper.study_name=rates", "weight_optimizer.learning_rate=tag(log,interval(1e-3,1e-1))")
    for trials in (2, 1):  # the second command goes on with the study of the first
        status, _, err = call_script(
            "retrain", "-m", *study, *tuned, f"hydra.sweeper.n_trials={trials}", *SMALL, "data.limit=120",
            SMALL_CELL, f"run={tmp_path / 'tuned'}",
        )  # fmt: skip
        assert status == 0, err
    accuracies = {
        path.parent.name: json.loads(path.read_text())["training"]["held_back_accuracy"]
        for path in (tmp_path / "tuned").glob("*/network.json")
    }
    found = yaml.safe_load((tmp_path / "tuned" / "optimization_results.yaml").read_text())
    assert len(accuracies) == 3
    assert found["best_value"] == max(accuracies.values())
    rate = found["best_params"]["weight_optimizer.learning_rate"]
    assert accuracies[f"weight_optimizer.learning_rate={rate}"] == found["best_value"]


REFUSED = {
    "a launcher that is not known": (
        ("search", "seed=0,1", "hydra.launcher._target_=os.mkdir"),
        "hydra.launcher._target_: a configuration may not name code that Hydra would run; expected hydra/launcher=",
    ),
    "a sweeper that is not known": (
        ("search", "seed=0,1", "hydra.sweeper._target_=os.mkdir"),
        "hydra.sweeper._target_: a configuration may not name code that Hydra would run; expected hydra/sweeper=basic",
    ),
    "variables that workers would start with": (
        ("search", "seed=0,1", "+hydra.job.env_set.PYTHONPATH=elsewhere"),
        "hydra.job.env_set: a configuration may not name code",
    ),
    "handlers of logs beside an empty root": (
        ("search", "seed=0,1", "+hydra.job_logging.root={}"),
        "hydra.job_logging.root: a configuration may not name code",
    ),
    "a line of its own in a job's script": (
        ("search", "seed=0,1", "+hydra.launcher.comment='a\nb'"),
        "hydra.launcher.comment: a configuration may not name code that a launcher would run",
    ),
    "what Ray does before a job": (
        ("search", "seed=0,1", "+hydra.launcher.ray.init.runtime_env.pip=[x]"),
        "hydra.launcher.ray.init.runtime_env.pip.0: a configuration may not name code that a launcher would run",
    ),
    "one folder for several jobs": (
        ("search", "seed=0,1", "run=${oc.env:HOME}/none-of-them"),
        "none-of-them is the folder of several jobs; name what is varied in it, or nothing at all",
    ),
    "commands of a shell": (
        ("search", "seed=0,1", "+hydra.launcher.setup=[ls]"),
        "hydra.launcher.setup: a configuration may not name code",
    ),
    "a function that extends the space": (
        ("search", "seed=0,1", "+hydra.sweeper.custom_search_space=os.mkdir"),
        "hydra.sweeper.custom_search_space: a configuration may not name code",
    ),
    "a store of pickles": (
        ("search", "seed=0,1", "+hydra.sweeper.storage=redis://somewhere"),
        "hydra.sweeper.storage: studies in Redis are pickles; expected sqlite:///<file>",
    ),
    "a key that Hydra has not": (
        ("search", "seed=0,1", "hydra.launcher.speed=9"),
        "unknown key hydra.launcher.speed of",
    ),
    "a mapping where there is none": (
        ("search", "seed=0,1", "hydra.sweeper.params={x:{y:1}}"),
        "an override does not fit what it is put into",
    ),
    "no sweep that can be read": (("search", "seed=choice(1,"), "seed=choice(1,: this value has to be quoted"),
    "values without end": (
        ("search", "seed=range(0,100000000)"),
        "seed is varied over more than 1,000 values; expected fewer, in several sweeps",
    ),
    "a value of the sweep": (("search", "seed=0,1", "balance=mgda,luck"), "balance=luck: expected one of "),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_sweep_that_cannot_be_done_is_refused_before_its_first_job(tmp_path, call_script, what):
    (script, *overrides), message = REFUSED[what]
    run = [] if any(override.startswith("run=") for override in overrides) else [f"run={tmp_path / 'run'}"]
    status, _, err = call_script(script, "-m", *SMALL, *run, *overrides)
    assert (status, err.count("\n")) == (2, 1), err
    assert message in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_figure_of_a_search_is_the_accuracy_that_its_cell_was_chosen_by(tmp_path, capsys):
    choice = ("search.selection.candidates=2", "search.selection.epochs=1", "data.limit=200")
    experiment = compose_experiment([*SMALL, *choice, f"run={tmp_path}"])
    figure = main_of("search")(experiment)
    tried = json.loads((tmp_path / "search.json").read_text())["selection"]
    assert figure == max(cell["accuracies"][-1] for cell in tried)
    assert main_of("search")(compose_experiment([*SMALL, f"run={tmp_path / 'unchosen'}"])) is None


@needs("hydra_plugins.hydra_optuna_sweeper")
def test_optuna_is_refused_where_the_only_figures_are_of_test_images(tmp_path, call_script):
    status, _, err = call_script("evaluate", "-m", *SMALL, "seed=0,1", "hydra/sweeper=optuna", f"run={tmp_path}")
    assert (status, err.count("\n")) == (2, 1), err
    assert "no figure for optuna to improve" in err


@needs("hydra_plugins.hydra_optuna_sweeper")
def test_a_sampler_of_optuna_may_be_chosen_and_no_other_code(call_script):
    tuned = ("search", "-m", *SMALL, "hydra/sweeper=optuna", "seed=interval(0,9)")
    status, _, err = call_script(*tuned, "hydra.sweeper.sampler._target_=os.mkdir")
    assert (status, err.count("\n")) == (2, 1), err
    assert "hydra.sweeper.sampler._target_: a configuration may not name code that Hydra would run" in err
    status, _, err = call_script(*tuned, "hydra/sweeper/sampler=cmaes")
    assert (status, "CmaEsSampler keeps pickles in its study" in err) == (2, True), err
    status, _, err = call_script(*tuned, "hydra.sweeper.sampler._target_=optuna.samplers._cmaes.pickle.loads")
    assert (status, "may not name code" in err) == (2, True), err
    assert "luck" in call_script(*tuned, "hydra/sweeper/sampler=random", "balance=luck")[2]  # the sampler was taken


@needs("hydra_plugins.hydra_optuna_sweeper")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of optuna 2
def test_a_search_that_chooses_nothing_is_not_begun_for_optuna(tmp_path, call_script):
    one = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "search.alpha_learning_rate=interval(0.01,0.1)")
    status, _, err = call_script("search", "-m", *SMALL, *one, f"run={tmp_path}")
    assert status == 1
    assert "optuna needs a figure to improve; set search.selection.candidates to 2 or more" in err
    assert not list(tmp_path.glob("search*"))


def test_a_job_in_several_processes_would_repeat_the_sweep_and_is_refused(tmp_path, call_script):
    status, _, err = call_script("search", "-m", *SMALL, "seed=0,1", "fabric.devices=2", f"run={tmp_path}")
    assert status == 1
    assert "job 1: error: a job of a sweep runs in one process, found fabric.devices=2" in err
    assert not list(tmp_path.glob("seed*"))


def test_a_launcher_that_is_not_installed_is_named_with_its_extra():
    said = "In 'config': Could not find 'hydra/launcher/submitit_slurm'\n\nAvailable options:\n\tbasic"
    assert reason(said) == "hydra/launcher=submitit_slurm is not installed; pip install -e '.[slurm]'"
