"""Compare the learned sequence of convex problems with fully connected networks, and draw what its stages do.

    python benchmarks/continuation_network.py                    # trains seven small networks, minutes of one core
    python benchmarks/continuation_network.py --steps 4000

All see one kind of data: 32 fermionic Matsubara frequencies at beta times half the window = 80, noise 1e-4 to 1e-2 of
the largest value, the norm known. A fully connected network gets the data in the basis of the kernel's singular
vectors, each divided by its noise and damped where the noise is larger, so that it need not learn the whitening.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import record
import torch
from matplotlib import rc_context
from network_parts.fully_connected import FullyConnected
from network_parts.simulations import Pool
from network_parts.stage_picture import draw_stages, stage_errors
from torch import Tensor, nn

from analytic_continuation.training.batches import Batch
from analytic_continuation.training.network_training import l1_error
from analytic_continuation.unrolled.model_files import load_model
from analytic_continuation.unrolled.network import UnrolledNetwork
from pipeline.presentation.style import STYLE
from pipeline.runs.progress import progress_bar

NAME = "continuation_network"
CHANNELS = (2, 4, 8)
WIDTHS = (32, 128, 512, 1024)
BATCH = 40
RATES = {"learned sequence": 2e-3, "fully connected": 1e-3}


@dataclass(frozen=True)
class Trained:
    """A network of a kind and size after its training. error: mean L1 error on spectra that did not train."""

    kind: str
    size: int
    parameters: int
    steps: int
    error: float
    seconds: float


def densities_of(network: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    """Return the densities of all stages, of which a fully connected network has one."""
    found = network(batch.problems)
    return found if isinstance(found, tuple) else tuple(found.densities)


def trained(network: nn.Module, kind: str, size: int, steps: int, pool: Pool, tell: Callable[[str], None]) -> Trained:
    """Train by Adam, whose rate a cosine lowers to nothing, on the L1 error, and less on that of earlier stages."""
    parameters = [each for name, each in network.named_parameters() if not name.startswith("error.")]
    optimizer = torch.optim.Adam(parameters, lr=RATES[kind], betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    started = time.process_time()
    for step in range(steps):
        batch = pool.batch(step, BATCH)
        *earlier, last = [l1_error(density, batch.densities).mean() for density in densities_of(network, batch)]
        loss = last + 0.3 * sum(earlier)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        tell(f"{kind} {size} | L1 error {last.item():.3f}")
    seconds = time.process_time() - started
    with torch.no_grad():
        errors = [l1_error(densities_of(network, one)[-1], one.densities) for one in pool.judging]
    count = sum(each.numel() for each in parameters)
    return Trained(kind, size, count, steps, torch.cat(errors).mean().item(), seconds)


def contestants(steps: int, more: int) -> Iterator[tuple[str, int, int, Callable[[], nn.Module]]]:
    """Yield kind, size, steps and how to make each network; fully connected ones get `more` times as many steps."""
    for channels in CHANNELS:
        yield "learned sequence", channels, steps, lambda channels=channels: UnrolledNetwork(channels=channels)
    for width in WIDTHS:
        yield "fully connected", width, more * steps, lambda width=width: FullyConnected(width)


def verdict(rows: list[Trained]) -> str:
    """Say with how many weights a fully connected network is as good as each learned sequence."""
    lines = []
    for ours in (row for row in rows if row.kind == "learned sequence"):
        equal = [row for row in rows if row.kind == "fully connected" and row.error <= ours.error]
        smallest = min(equal, key=lambda row: row.parameters, default=None)
        told = f"- {ours.parameters:,} weights of the learned sequence reach an error of {ours.error:.3f}; "
        if smallest is None:
            best = min((row for row in rows if row.kind == "fully connected"), key=lambda row: row.error)
            told += f"no fully connected network does: the best has {best.error:.3f} with {best.parameters:,}."
        else:
            told += f"the smallest fully connected one that does has {smallest.parameters:,} ({smallest.error:.3f})."
        lines.append(told)
    return "\n".join(lines)


def report(rows: list[Trained], of_stages: list[tuple[int, float, float]]) -> str:
    """Tables of networks and of stages."""
    networks = record.table(
        ["network", "channels or width", "weights", "steps", "L1 error", "training, s"],
        [
            [row.kind, str(row.size), f"{row.parameters:,}", f"{row.steps:,}", f"{row.error:.3f}", f"{row.seconds:.0f}"]
            for row in rows
        ],
    )
    rows_of_stages = [[str(number), f"{error:.3f}", f"{rho:.1f}"] for number, error, rho in of_stages]
    lead = (__doc__ or "").split("\n\n")[-1].strip().replace("\n", " ")
    return "\n\n".join(
        [
            f"{lead} Errors are integrals of |A - exact| on {Pool.JUDGED} mixtures of Gaussians that did not train, of "
            "one seed. Seconds are of one core.",
            *(networks, verdict(rows)),
            "## Stages",
            "Error after each stage of the network that is shipped, on the same data:",
            record.table(["stage", "L1 error", "median log10 rho"], rows_of_stages),
        ]
    )


def main() -> None:
    """Train, measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=800, help="of the learned sequences, a batch of 40 each")
    parser.add_argument("--more", type=int, default=4, help="times as many steps of the fully connected networks")
    parser.add_argument("--spectra", type=int, default=4000, help="that train; noise is drawn anew in each step")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pool, asked = Pool(arguments.seed, arguments.spectra), list(contestants(arguments.steps, arguments.more))
    rows, total = [], sum(steps for _, _, steps, _ in asked)
    with progress_bar(NAME, total, show=True) as bar:
        for kind, size, steps, make in asked:
            torch.manual_seed(arguments.seed)
            rows.append(trained(make(), kind, size, steps, pool, bar.advance))
    model = load_model()
    with rc_context(STYLE):
        picture = draw_stages(model, np.random.default_rng(arguments.seed))
    text = report(rows, stage_errors(model, pool.judging))
    record.write(NAME, "The network of analytic continuation", text, [picture])


if __name__ == "__main__":
    main()
