"""A learned optimizer as torch.optim.Optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from learned_optimizers.architectures.base import Memory, Tensors
from learned_optimizers.architectures.batch import WEIGHTS, Batch
from learned_optimizers.architectures.features import Facts
from learned_optimizers.architectures.registry import architecture
from learned_optimizers.theta import Theta
from learned_optimizers.training_watch import BeyondTrainingWarning, TrainingWatch

HALF_DTYPES = (torch.bfloat16, torch.float16)  # too coarse for small steps and for running means
WEIGHT_DTYPES = (torch.float32, torch.float64, *HALF_DTYPES)
SHARED = "shared"  # key of a state_dict for what is no parameter's own


class LearnedOptimizer(Optimizer):
    """Parameters of any shapes, moved by trained meta-parameters; the call of torch.optim.

    lr: multiplies the learned steps, of each parameter group; 1 is what the optimizer was trained with. A learning rate
        schedule is part of what it learned.
    chunk: elements that are computed together; None for the device's own. Results differ by rounding alone. Compiled
        code (float32 on the CPU) gives as many to a thread at once.

    All groups are one set of parameters to it. Those without a gradient are left out of a step. Its state is that of
    the parameters, and in `state_dict` "shared". Parameters of float16 and bfloat16 have state in float32, their
    weights among it, from which they are rounded. Raises ValueError for parameters that are no floating-point numbers
    of 16 to 64 bits.

    Warns once, by BeyondTrainingWarning, where it goes on for more steps than theta says that it was trained for, and
    where one of the first 20 losses that it is shown is above three times the first.
    """

    def __init__(self, params: Iterable[Any], theta: Theta, *, lr: float = 1.0, chunk: int | None = None) -> None:
        if chunk is not None and chunk < 1:
            raise ValueError(f"expected chunk of at least 1 element, found {chunk}")
        super().__init__(params, {"lr": lr})
        self._equip(theta, chunk)
        self.shared = self.architecture.initial_shared(self._tensors(self._home))
        self.watch = TrainingWatch()

    def _equip(self, theta: Theta, chunk: int | None) -> None:
        """Set what is made of the meta-parameters and the parameters, and is no state of its own."""
        self.theta, self.chunk = theta, chunk
        self.architecture = architecture(theta.architecture)
        self._home = _computed(self.param_groups[0]["params"][0]).new_zeros(())  # where tensors meet
        self._memory: dict[tuple[str, str], Memory] = {}
        self._converted: dict[tuple[torch.device, torch.dtype], Tensors] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold, as those of torch's optimizers do: parameters and state, and theta beside."""
        own = {"theta": self.theta.detached(), "chunk": self.chunk, "shared": self.shared, "watch": self.watch}
        return super().__getstate__() | own

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._equip(self.theta, self.chunk)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with their own `lr`; their accumulators start at their first step."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        wrong = [parameter.dtype for parameter in group["params"] if parameter.dtype not in WEIGHT_DTYPES]
        if wrong or not 0 <= group["lr"] < float("inf"):
            del self.param_groups[-1]
            found = f"parameters of {wrong[0]}" if wrong else f"lr={group['lr']}"
            expected = "floating-point parameters of 16 to 64 bits and a finite lr of at least 0"
            raise ValueError(f"expected {expected}, found {found}")

    @torch.no_grad()
    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        loss: Tensor | float | None = None,
        valid_loss: Tensor | float | None = None,
    ) -> Any:
        """Move the parameters; returns what the closure returns.

        loss: training loss, where the architecture sees it; by default the closure's.  valid_loss: as a call of
        `observe_validation` before. Raises ValueError for sparse gradients, and FloatingPointError for a loss or
        gradient that is not finite; nothing has changed then.
        """
        returned = None
        if closure is not None:
            with torch.enable_grad():
                returned = closure()
        loss = returned if loss is None else loss
        moving = self._moving()
        shared: Tensors = self.shared
        if valid_loss is not None:
            shared = self.architecture.observe_validation(shared, self._scalar("validation loss", valid_loss))
        if moving:
            seen = None if loss is None else self._scalar("training loss", loss)
            # reading a number waits for the device
            watch = self._watched(seen.item() if seen is not None and self.watch.is_early else None)
            shared = self._move(moving, self.architecture.observe_training(shared, seen))
            self.watch = watch
        self.shared = dict(shared)
        return returned

    @torch.no_grad()
    def observe_validation(self, valid_loss: Tensor | float) -> None:
        """Show it the validation loss; no parameter changes. Raises FloatingPointError where it is not finite."""
        self.shared = self.architecture.observe_validation(self.shared, self._scalar("validation loss", valid_loss))

    def state_dict(self) -> dict[str, Any]:
        """Collect all that a resumed run needs beside theta; tensors, numbers, strings and containers of them."""
        own = {"architecture": self.theta.architecture, "theta": self.theta.fingerprint, "state": dict(self.shared)}
        own |= {"watch": self.watch.state()}
        return super().state_dict() | {SHARED: own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go back to a state. Raises ValueError where it is another optimizer's or of other parameters."""
        own = state_dict.get(SHARED)
        expected = self.theta.architecture, self.theta.fingerprint
        if own is None or (own["architecture"], own["theta"]) != expected:
            found = "no learned optimizer's" if own is None else f"that of {own['architecture']}, {own['theta'][:8]}"
            raise ValueError(f"expected the state of {expected[0]} with theta {expected[1][:8]}, found {found}")
        if set(own["state"]) != set(self.shared):
            expected_names, names = sorted(self.shared), sorted(own["state"])
            raise ValueError(f"expected the shared state {expected_names}, found {names}, as of another version")
        self._check_sizes(state_dict)
        super().load_state_dict(dict(state_dict))
        self._restore_single_precision(state_dict)
        self.shared = {name: figure.to(self._home).clone() for name, figure in own["state"].items()}
        self.watch = TrainingWatch(**own.get("watch", {}))

    def _watched(self, loss: float | None) -> TrainingWatch:
        """Warn where the next step is the first beyond what theta was trained for; return the watch after the step."""
        before, after = self.watch, self.watch.after_step(loss)
        if before.steps == self.theta.horizon:
            text = f"this learned optimizer was trained for {before.steps} steps and goes on for more"
            warnings.warn(text, BeyondTrainingWarning, stacklevel=4)
        if after.has_risen and not before.has_risen:
            text = (
                f"after {before.steps} steps of a learned optimizer the training loss is {loss:.4g}, and was "
                f"{before.first_loss:.4g} at first: it may not train what it was not trained for"
            )
            warnings.warn(text, BeyondTrainingWarning, stacklevel=4)
        return after

    def _stored_states(self, state_dict: Mapping[str, Any]) -> Iterator[tuple[int, Tensor, Mapping[str, Tensor]]]:
        """Yield the number of each parameter in a state_dict, the parameter, and its state there."""
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for number, parameter in zip(numbers, parameters, strict=False):  # their count is checked by torch
            yield number, parameter, state_dict["state"].get(number, {})

    def _restore_single_precision(self, state_dict: Mapping[str, Any]) -> None:
        """Take again what torch rounds to the dtype of parameters when it loads their state."""
        for _, parameter, state in self._stored_states(state_dict):
            if parameter.dtype in HALF_DTYPES and state:
                self.state[parameter] = {
                    name: value.to(parameter.device, torch.float32, copy=True) for name, value in state.items()
                }

    def _check_sizes(self, state_dict: Mapping[str, Any]) -> None:
        for number, parameter, state in self._stored_states(state_dict):
            for name, rows in self.architecture.accumulators.items():
                expected = (rows, parameter.numel())
                if state and (name not in state or tuple(state[name].shape) != expected):
                    found = list(state[name].shape) if name in state else "none"
                    raise ValueError(f"expected {name} of parameter {number} to be {list(expected)}, found {found}")

    def _tensors(self, like: Tensor) -> Tensors:
        """Meta-parameters in the dtype and on the device of a tensor."""
        key = like.device, like.dtype
        if key not in self._converted:
            self._converted[key] = {name: tensor.detach().to(like) for name, tensor in self.theta.tensors.items()}
        return self._converted[key]

    def _scalar(self, name: str, value: Tensor | float) -> Tensor:
        scalar = torch.as_tensor(value).detach().to(self._home).reshape(-1)
        if scalar.numel() != 1:
            raise ValueError(f"expected the {name} to be one number, found {scalar.numel()}")
        if not scalar.isfinite().all():
            raise FloatingPointError(f"the {name} is not finite")
        return scalar[0]

    def _moving(self) -> list[tuple[Tensor, float]]:
        """Return parameters with a gradient, and their rates; those of a device and dtype follow one another."""
        found = [
            (parameter, float(group["lr"]))
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and parameter.numel()
        ]
        gradients = [_computed(parameter.grad) for parameter, _ in found]
        if any(gradient.layout != torch.strided for gradient in gradients):
            raise ValueError("expected dense gradients, found a sparse one; use sparse=False where it is made")
        norms = torch._foreach_norm(gradients) if gradients else []
        if not all(torch.stack([norm.to(self._home) for norm in norms]).isfinite().tolist() if norms else ()):
            raise FloatingPointError("a gradient is not finite, or its norm overflows")
        return sorted(found, key=lambda moved: _kind(moved[0]))

    def _move(self, moving: Sequence[tuple[Tensor, float]], shared: Tensors) -> Tensors:
        """Make both passes over the parameters; return what all share after them."""
        parameters = [parameter for parameter, _ in moving]
        states = [self._state_of(parameter) for parameter in parameters]
        batches = list(self._batches(parameters, states))
        of_tensors: Tensors = {
            name: torch.stack([state[name].to(self._home) for state in states])
            for name in states[0].keys() - self.architecture.accumulators.keys() - {WEIGHTS}
        }
        facts = _facts(tuple(parameter.shape for parameter in parameters), self._home.device, self._home.dtype)
        sums = torch.cat([batch.accumulate(self._tensors(batch.like), of_tensors).to(self._home) for batch in batches])
        plan, of_tensors, shared = self.architecture.plan(self._tensors(self._home), of_tensors, shared, sums, facts)
        plan = replace(plan, tensors={**plan.tensors, "rate": self._home.new_tensor([[rate] for _, rate in moving])})
        found = [batch.step(self._tensors(batch.like), plan) for batch in batches]
        outputs = [output.to(self._home) for output in found if output is not None]
        of_tensors = self.architecture.finish(of_tensors, torch.cat(outputs) if outputs else None, facts)
        for name, rows in of_tensors.items():
            for state, row in zip(states, rows, strict=True):
                state[name] = row.to(state[name])
        return shared

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        values = _computed(parameter.detach())
        if not state:
            rows = self.architecture.accumulators.items()
            state.update({name: values.new_zeros(count, values.numel()) for name, count in rows})
            first = self.architecture.initial_of_tensors(self._tensors(values), 1)
            state.update({name: figures[0] for name, figures in first.items()})
        if parameter.dtype in HALF_DTYPES:
            exact, values = state.get(WEIGHTS, values.reshape(-1)), values.reshape(-1)
            # those that somebody else has changed are taken as they are
            state[WEIGHTS] = torch.where(exact.to(parameter.dtype) == values, exact, values)
        return state

    def _batches(self, parameters: Sequence[Tensor], states: Sequence[dict[str, Tensor]]) -> Iterator[Batch]:
        first = 0
        for kind, same in groupby(parameters, key=_kind):
            members = slice(first, first + len(list(same)))
            memory = self._memory.get(kind)
            own = parameters[members], states[members]
            batch = Batch(self.architecture, *own, members=members, chunk=self.chunk, memory=memory)
            self._memory[kind] = batch.memory
            yield batch
            first = members.stop


def _computed(values: Tensor) -> Tensor:
    """Convert to the precision that is computed in: single for half, else their own."""
    return values.float() if values.dtype in HALF_DTYPES else values


def _kind(parameter: Tensor) -> tuple[str, str]:
    return str(parameter.device), str(parameter.dtype)


@lru_cache(maxsize=16)
def _facts(shapes: tuple[tuple[int, ...], ...], device: torch.device, dtype: torch.dtype) -> Facts:
    return Facts.of(shapes, torch.empty((), device=device, dtype=dtype))
