"""The optimizer that is taken apart: a learned one, a class of torch.optim, or a user's own by import path."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from learned_optimizers import load_theta
from learned_optimizers.analysis import StepFunction, theta_function, torch_function
from learned_optimizers.theta import shipped
from pipeline.errors import RunError
from pipeline.presentation.words import shown
from pipeline.settings.learned_optimizers.analysis import AnalyseSettings

KEY = "analyse.optimizer"


def load_function(settings: AnalyseSettings) -> StepFunction:
    """Read the optimizer that the settings name as a function of one element.

    Raises RunError, a line, where there is none of that name, it cannot be made, or it is no such function.
    """
    name = settings.optimizer
    try:
        if ":" in name:
            return torch_function(_maker(settings, _imported(name)), _label(settings))
        if name in shipped() or name.endswith(".safetensors") or Path(name).is_file():
            return _learned(settings)
        return torch_function(_maker(settings, _class(name)), _label(settings))
    except (FileNotFoundError, ValueError) as error:
        raise RunError(f"{KEY}: {error}") from error


def _learned(settings: AnalyseSettings) -> StepFunction:
    theta = load_theta(settings.optimizer)
    if settings.architecture not in (None, theta.architecture):
        raise RunError(f"expected a theta of {settings.architecture}, found one of {theta.architecture}")
    if settings.arguments:
        raise RunError("analyse.arguments are of a class or a factory; a learned optimizer has none")
    path = Path(settings.optimizer)
    return theta_function(theta, path.stem if path.suffix else settings.optimizer)


def _label(settings: AnalyseSettings) -> str:
    """Write it as a call: SGD(lr=0.3, momentum=0.9)."""
    given = ", ".join(f"{key}={shown(key, value)}" for key, value in (settings.arguments or {}).items())
    return f"{settings.optimizer.rpartition(':')[2]}({given})"


def _class(name: str) -> Callable[..., Any]:
    found = getattr(torch.optim, name, None)
    if not (inspect.isclass(found) and issubclass(found, Optimizer)) or found is Optimizer:
        names = (each for each, value in vars(torch.optim).items() if inspect.isclass(value))
        known = sorted(
            each for each in names if issubclass(getattr(torch.optim, each), Optimizer) and each != "Optimizer"
        )
        raise RunError(
            f"{name} is no class of torch.optim (there are: {', '.join(known)}), no shipped learned optimizer (there "
            f"are: {', '.join(shipped())}), and no file"
        )
    return found


def _imported(reference: str) -> Callable[..., Any]:
    """Import `package.module:factory`; this runs the user's code, at the user's word."""
    module_name, _, name = reference.partition(":")
    if not module_name or not name.isidentifier():
        raise RunError(f"{reference}: expected package.module:factory, as in optimizers.mine:Mine")
    try:
        found: Any = getattr(importlib.import_module(module_name), name, None)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise RunError(f"{reference}: importing {module_name} raised {_said(error)}") from error
    if not callable(found):
        raise RunError(f"{reference}: {module_name} has no function or class {name}")
    factory: Callable[..., Any] = found
    return factory


def _maker(settings: AnalyseSettings, factory: Callable[..., Any]) -> Callable[[list[Tensor]], Optimizer]:
    arguments = dict(settings.arguments or {})

    def make(params: list[Tensor]) -> Optimizer:
        try:
            found = factory(params, **arguments)
        except Exception as error:  # see above
            raise RunError(f"making it with {arguments} raised {_said(error)}") from error
        if not isinstance(found, Optimizer):
            raise RunError(f"{settings.optimizer}: expected a torch.optim.Optimizer, found {type(found).__name__}")
        return found

    return make


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
