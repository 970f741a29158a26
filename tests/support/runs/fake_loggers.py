"""Packages that stand in for wandb and mlflow, with as much of their interface as is called, and note each call."""

import sys
from types import ModuleType, SimpleNamespace


class FakeWandb(ModuleType):
    """A package wandb that keeps runs by their id, unless it is given a fault."""

    def __init__(self):
        super().__init__("wandb")
        self.__spec__ = SimpleNamespace(name="wandb")
        self.runs, self.Image = {}, lambda image: ("image", image.size)
        self.fault, self.Error = "", ConnectionError

    def init(self, **named):
        if self.fault:
            raise self.Error(self.fault)
        run = self.runs.setdefault(named["id"] or f"id{len(self.runs)}", WandbRun(f"id{len(self.runs)}"))
        run.begun.append(named)
        return run


class WandbRun:
    """One of its runs."""

    def __init__(self, name):
        self.id, self.begun, self.points, self.ends = name, [], [], []
        self.settings, self.summary = {}, {}
        self.config = SimpleNamespace(update=lambda found, allow_val_change: self.settings.update(found))

    def log(self, figures, step):
        self.points.append((step, figures))

    def finish(self, exit_code):
        self.ends.append(exit_code)


class FakeMlflow(ModuleType):
    """A package mlflow that keeps experiments and runs, unless it is given a fault."""

    def __init__(self):
        super().__init__("mlflow")
        self.__spec__ = SimpleNamespace(name="mlflow")
        self.entities = SimpleNamespace(
            Metric=lambda name, value, time, step: (name, value, step), Param=lambda key, value: (key, value)
        )
        self.exceptions = SimpleNamespace(MlflowException=ConnectionError)
        self.fault, self.experiments, self.runs = "", {}, {}

    def MlflowClient(self):  # noqa: N802 - its name there
        if self.fault:
            raise self.exceptions.MlflowException(self.fault)
        return self

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name):
        return self.experiments.setdefault(name, str(len(self.experiments)))

    def create_run(self, experiment, run_name, tags):
        name = f"run{len(self.runs)}"
        self.runs[name] = SimpleNamespace(
            experiment=experiment, name=run_name, tags=tags, metrics=[], params=[], pictures=[], states=[]
        )
        return SimpleNamespace(info=SimpleNamespace(run_id=name))

    def log_batch(self, run, metrics=(), params=()):
        self.runs[run].metrics += metrics
        self.runs[run].params += params

    def log_image(self, run, image, artifact_file):
        self.runs[run].pictures.append((artifact_file, image.size))

    def set_terminated(self, run, status):
        self.runs[run].states.append(status)


def install(patch, package):
    """Let a package be found as if it were installed."""
    patch.setitem(sys.modules, package.__name__, package)
    return package
