"""An oracle for the general optimizer: its description, one element and one tensor at a time, in NumPy."""

import math

import numpy as np


def rms(values):
    return math.sqrt(np.mean(np.square(values)))


def bounded(value, bound=3.0):
    return min(max(value, -bound), bound)


class PlainTensor:
    """Running means of one tensor's gradient, and what its steps are made of."""

    momentum_decays, square_decays = (0.5, 0.9, 0.99), (0.99, 0.999)

    def __init__(self, param):
        self.param, self.steps, self.first_size = param.copy(), 0, rms(param)
        self.momenta = [np.zeros_like(param) for _ in self.momentum_decays]
        self.squares = [np.zeros_like(param) for _ in self.square_decays]
        first, others = (param.shape[0] if param.ndim else 1), math.prod(param.shape[1:])
        self.narrow, self.wide = min(first, others), max(first, others)
        self.has_kernel = math.prod(param.shape[2:]) > 1

    def see(self, g):
        self.steps += 1
        self.g, t = g, self.steps
        before = self.momenta[1]
        self.momenta = [d * m + (1 - d) * g for d, m in zip(self.momentum_decays, self.momenta, strict=True)]
        self.squares = [d * v + (1 - d) * g**2 for d, v in zip(self.square_decays, self.squares, strict=True)]
        self.corrected = [m / (1 - d**t) for d, m in zip(self.momentum_decays, self.momenta, strict=True)]
        corrected = [v / (1 - d**t) for d, v in zip(self.square_decays, self.squares, strict=True)]
        self.mean_square = np.mean(corrected)  # over elements and both decays
        self.element_square = (corrected[0] + corrected[1]) / 2
        self.signals = [rms(m) / math.sqrt(self.mean_square) for m in self.corrected]
        fast, slow = self.corrected[1:]
        self.own = [
            *(math.log(s) + typical for s, typical in zip(self.signals, (0.5, 1.0, 1.5), strict=True)),
            np.mean(g * before / (1 - 0.9**t)) / (rms(g) * rms(fast)),
            np.mean(fast * slow) / (rms(fast) * rms(slow)),
            0.5 * math.log(np.mean(corrected[0]) / np.mean(corrected[1])),
            math.log(rms(g) / math.sqrt(self.mean_square)),
            math.log((rms(self.param) + 1e-18) / self.least_size()),
        ]

    def least_size(self):
        if self.narrow == 1:
            return 0.2
        return self.first_size or 0.5 / math.sqrt(self.wide)

    def reference(self):
        return max(rms(self.param), self.least_size())

    def shape_features(self):
        sides = [math.log(side) / 3 - 1 for side in (self.narrow, self.wide)]
        return [*sides, float(self.narrow == 1), float(self.has_kernel)]

    def change(self):
        spectral = 0.3 if self.narrow == 1 else 1 / math.sqrt(self.narrow) + 1 / math.sqrt(self.wide)
        of_time = (1 - math.exp(-self.steps / 10)) ** 2 / math.sqrt(1 + self.steps / 100)
        return 0.15 * math.sqrt(spectral) * of_time * min(self.signals[1], 1.0)

    def direction(self, w, said, at):
        root = math.sqrt(self.element_square[at] + 1e-4 * self.mean_square)
        newest, middle, slowest = (bounded(m[at] / root, 10) for m in (self.g, self.corrected[1], self.corrected[2]))
        size = abs(self.param[at]) / (rms(self.param) + 1e-18)
        seen = [x / (1 + x) for x in (abs(newest), abs(middle), abs(slowest), size)]
        seen += [x / (1 + abs(x)) for x in (newest * middle, middle * slowest)]
        seen.append(math.log(root / math.sqrt(self.mean_square)) / 2)
        hidden = np.maximum(w["input.weight"] @ seen + w["input.bias"], 0)
        hidden = np.maximum(w["hidden.weight"] @ hidden + w["hidden.bias"], 0)
        factor, of_newest, of_slowest = np.tanh(w["output.weight"] @ hidden + said)
        ahead = 0.9 * middle + 0.1 * newest
        return math.exp(factor) * ahead + 0.5 * of_newest * newest + 0.5 * of_slowest * slowest


def loss_trend(losses):
    """How far the faster running mean is above the slower one, in mean distances of a loss from the slower one."""
    fast = slow = spread = 0.0
    for count, loss in enumerate(losses, start=1):
        slow += max(1 / count, 0.01) * (loss - slow)
        fast += max(1 / count, 0.1) * (loss - fast)
        spread += max(1 / count, 0.01) * (abs(loss - slow) - spread)
    return (fast - slow) / spread if spread else 0.0


def brake(losses):
    """The restraint after these losses, times how far the last one is above the slower mean and the first."""
    fast = slow = 0.0
    restraint, calm = 0.01, True
    for count, loss in enumerate(losses, start=1):
        if loss > 1.5 * max(losses[0], fast):
            restraint, calm = max(0.01, 0.4 * restraint), False
        else:
            restraint = min(1.0, restraint * (1.25 if calm else 1.05))
        slow += max(1 / count, 0.01) * (loss - slow)
        fast += max(1 / count, 0.1) * (loss - fast)
    return restraint * min(1.0, slow / losses[-1]) * min(1.0, losses[0] / losses[-1])


def plain_general(w, params, rows):
    tensors, losses = [PlainTensor(p) for p in params], []
    for gradients, loss, _ in rows:
        losses.append(loss)
        for tensor, g in zip(tensors, gradients, strict=True):
            tensor.see(g)
        around = np.mean([tensor.own[:5] for tensor in tensors], axis=0)
        for tensor in tensors:
            time = [math.log(1 + tensor.steps) / 3 - 1, math.exp(-tensor.steps / 30)]
            seen = [*tensor.own, *around, *time, loss_trend(losses), *tensor.shape_features()]
            hidden = np.tanh(w["tensor.input.weight"] @ [bounded(x) for x in seen] + w["tensor.input.bias"])
            first, *said = w["tensor.output.weight"] @ hidden + w["tensor.output.bias"]
            change = min(0.2, tensor.change() * brake(losses) * math.exp(math.tanh(first)))
            direction = np.zeros_like(tensor.param)
            for at in np.ndindex(direction.shape):
                direction[at] = tensor.direction(w, said, at)
            tensor.param = tensor.param - change * tensor.reference() * direction / rms(direction)
    return [tensor.param for tensor in tensors]
