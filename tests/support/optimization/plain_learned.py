"""An oracle for learned optimizers: their description, one element and one tensor at a time, in NumPy."""

import math

import numpy as np
import torch


def plain_rms(values):
    return math.sqrt(np.mean(np.square(values)))


def plain_mlp_step(w, time, values):
    hidden = np.maximum(w["input.weight"] @ np.concatenate([values, time]) + w["input.bias"], 0)
    hidden = np.maximum(w["hidden.weight"] @ hidden + w["hidden.bias"], 0)
    return w["output.weight"] @ hidden + w["output.bias"]


def plain_mlp(w, params, rows):
    decays = [0.1, 0.5, 0.9, 0.99, 0.999, 0.9999]
    params = [p.copy() for p in params]
    momenta = [[np.zeros_like(p) for _ in decays] for p in params]
    for t, (gradients, _, _) in enumerate(rows):
        time = [math.tanh(t / 10 ** (k / 2) - 1) for k in range(11)]
        for i, g in enumerate(gradients):
            momenta[i] = [d * m + (1 - d) * g for d, m in zip(decays, momenta[i], strict=True)]
            columns = [c / (plain_rms(c) + 1e-5) for c in (g, params[i], *momenta[i])]
            moved = params[i].copy()
            for at in np.ndindex(g.shape):
                a, b = plain_mlp_step(w, time, np.array([c[at] for c in columns]))
                moved[at] -= 1e-3 * a * math.exp(1e-3 * b)
            params[i] = moved
    return params


class PlainHierarchical:
    """The eight points of the description, in their order."""

    decays = (0.5, 0.9, 0.99, 0.999, 0.9999)

    def __init__(self, w, params):
        self.w, self.params = w, [p.copy() for p in params]
        self.losses, self.valid_losses, self.t = [], [], 0
        self.momenta = [[np.zeros_like(p) for _ in self.decays] for p in params]
        self.squares = [[np.zeros_like(p) for _ in self.decays] for p in params]
        self.size = [1.0 for _ in params]
        self.up = [w["first.up"] for _ in params]
        self.around = w["first.around"]
        self.lstm = torch.nn.LSTMCell(52, 64, dtype=torch.float64)  # its second bias is the one too many
        parts = zip(self.lstm.parameters(), ("lstm.input", "lstm.hidden", "lstm.bias", None), strict=True)
        with torch.no_grad():
            for parameter, name in parts:
                parameter.copy_(torch.zeros_like(parameter) if name is None else torch.from_numpy(w[name]))
        self.state = [(torch.from_numpy(w["first.hidden"]), torch.from_numpy(w["first.cell"])) for _ in params]

    @staticmethod
    def corrected(values, decay):
        weights = np.array([(1 - decay) * decay ** (len(values) - 1 - i) for i in range(len(values))])
        return float(weights @ np.array(values)) / (1 - decay ** len(values))

    def loss_features(self):
        mean = self.corrected(self.losses, 0.9)
        # each loss about the mean that was known when it came
        squares = [(loss - self.corrected(self.losses[: i + 1], 0.9)) ** 2 for i, loss in enumerate(self.losses)]
        deviation = math.sqrt(self.corrected(squares, 0.9) + 1e-8)
        train = np.clip((self.losses[-1] - mean) / deviation, -5, 5)
        if not self.valid_losses:
            return [train, 0.0]
        return [train, np.clip((self.corrected(self.valid_losses, 0.95) - mean) / deviation, -5, 5)]

    def tensor_features(self, i, raw):
        def log(x):
            return np.clip(math.log(abs(x) + 1e-8), -5, 5)

        several = [np.stack(self.momenta[i]), np.stack(self.squares[i]), self.params[i]]
        shape = [*self.params[i].shape[:3], math.prod(self.params[i].shape[3:])]
        logs = [math.log(n) for n in shape]
        return [
            *(log(x.mean()) for x in several),
            *(log(x.var()) for x in several),
            log(np.linalg.norm(self.params[i].ravel())),
            log(np.linalg.norm(raw.ravel())),
            *(np.sign(x.mean()) for x in several),
            float(self.params[i].size == 1),
            *(logs + [0.0] * 4)[:4],
            *self.loss_features(),
        ]

    def step(self, gradients, loss, valid_loss):
        if valid_loss is not None:
            self.valid_losses.append(valid_loss)
        self.losses.append(loss)
        hidden = []
        for i, raw in enumerate(gradients):
            g = np.clip(raw, -10 * self.size[i], 10 * self.size[i])
            self.size[i] = 0.99 * self.size[i] + 0.01 * plain_rms(raw)
            self.momenta[i] = [d * m + (1 - d) * g for d, m in zip(self.decays, self.momenta[i], strict=True)]
            self.squares[i] = [d * v + (1 - d) * g**2 for d, v in zip(self.decays, self.squares[i], strict=True)]
            seen = torch.tensor(np.concatenate([self.tensor_features(i, raw), self.up[i], self.around]))
            with torch.no_grad():
                self.state[i] = self.lstm(seen, self.state[i])
            hidden.append(self.state[i][0].numpy())
            self.params[i] = self.moved(i, g, hidden[-1], len(gradients))
        self.around = np.mean([self.w["around.weight"] @ h + self.w["around.bias"] for h in hidden], axis=0)
        self.t += 1

    def moved(self, i, g, hidden, count):
        p = self.params[i]
        roots = [1 / np.sqrt(v + 1e-8) for v in self.squares[i]]
        rated = [m * r for m, r in zip(self.momenta[i], roots, strict=True)]
        columns = [g, p, np.log(np.abs(p) + 1e-8), *self.momenta[i], *rated, *self.squares[i], *roots]
        columns = [c / (plain_rms(c) + 1e-5) for c in columns]
        norm = 0.5 * math.log(np.sum(p**2) + 1e-20)
        common = [math.sin(self.t / (10 ** (k / 2) * math.pi)) for k in range(11)]
        common += [math.log(count) - 1, norm, math.log(p.size)]
        message = self.w["down.weight"] @ hidden + self.w["down.bias"]
        moved, messages = p.copy(), []
        for at in np.ndindex(p.shape):
            out = plain_mlp_step(self.w, np.concatenate([common, message]), np.array([c[at] for c in columns]))
            moved[at] -= 1e-3 * out[0] * math.exp(1e-3 * out[1])
            messages.append(out[2:])
        self.up[i] = np.mean(messages, axis=0)
        return moved


def plain_hierarchical(w, params, rows):
    oracle = PlainHierarchical(w, params)
    for row in rows:
        oracle.step(*row)
    return oracle.params


def plain_gru(w, params, rows):
    cell = torch.nn.GRUCell(w["input.weight"].shape[1], len(w["output"]), dtype=torch.float64)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.from_numpy(w["input.weight"]))
        cell.weight_hh.copy_(torch.from_numpy(w["hidden.weight"]))
        cell.bias_ih.copy_(torch.from_numpy(w["bias"]))
        cell.bias_hh.zero_()
    params = [torch.from_numpy(p.copy()) for p in params]
    hidden = [torch.zeros(p.numel(), len(w["output"]), dtype=torch.float64) for p in params]
    for gradients, _, _ in rows:
        for i, gradient in enumerate(gradients):
            g = torch.from_numpy(gradient).reshape(-1, 1)
            seen = g if w["input.weight"].shape[1] == 1 else torch.cat([(1 + g.abs()).log(), g.sign()], dim=1)
            with torch.no_grad():
                hidden[i] = cell(seen, hidden[i])
            params[i] = params[i] - (hidden[i] @ torch.from_numpy(w["output"])).reshape(params[i].shape)
    return [p.numpy() for p in params]
