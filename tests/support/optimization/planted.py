"""Optimizers whose mechanisms are known, to be found again."""

import torch


class Planted(torch.optim.Optimizer):
    """Rate `lr`, times decay^t, on momenta of gradients that are clipped, then divided by their running size."""

    def __init__(self, params, lr=0.3, momenta=(0.0,), clip=None, decay=1.0, second=None, eps=1e-2):
        super().__init__(params, {"lr": lr})
        self.momenta, self.clip, self.decay, self.second, self.eps = momenta, clip, decay, second, eps

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for param in group["params"]:
                self._move(param, group["lr"])

    def _move(self, param, lr):
        state, gradient = self.state[param], param.grad
        if not state:
            state["step"] = 0
            state.update({f"momentum {k}": torch.zeros_like(param) for k in range(len(self.momenta))})
            if self.second is not None:
                state["square"] = torch.zeros_like(param)
        if self.clip is not None:
            gradient = gradient.clamp(-self.clip, self.clip)
        if self.second is not None:
            size = (state["square"] + self.eps).sqrt()
            state["square"] = self.second * state["square"] + (1 - self.second) * gradient**2
            gradient = gradient / size
        for k, momentum in enumerate(self.momenta):
            state[f"momentum {k}"] = momentum * state[f"momentum {k}"] + gradient
            param -= lr * self.decay ** state["step"] / len(self.momenta) * state[f"momentum {k}"]
        state["step"] += 1


class Counting(torch.optim.SGD):
    """Keeps what its state does not show."""

    calls = 0

    def step(self, closure=None):
        self.calls += 1
        self.param_groups[0]["lr"] = 0.1
        for param in self.param_groups[0]["params"]:
            param.data -= 0.01 * self.calls**2 * param.grad


class Normed(torch.optim.Optimizer):
    """Divides by the norm of the tensor, so that its elements see one another."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for param in self.param_groups[0]["params"]:
            param -= self.param_groups[0]["lr"] * param.grad / (param.grad.norm() + 1)
