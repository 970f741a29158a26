"""Ship a trained network with its card, which says how it was made and what was measured. The two that are shipped:

    python scripts/retrain.py experiment=comparison seed=0 data.limit=null genotype=digits-searched-1 \
        run=runs/robust-digits-searched-1
    python scripts/retrain.py experiment=comparison seed=0 data.limit=null genotype=ResNet retrain.parameters=24000 \
        run=runs/robust-digits-resnet-8

and for each of the two folders:

    python scripts/evaluate.py run=runs/robust-digits-resnet-8 evaluate.attacks=[pgd-20,autoattack]
    python benchmarks/ship_network.py runs/robust-digits-resnet-8                            # under the folder's name

Writes e2rnas/networks/<name>/: network.json, network.safetensors, robustness.json and model_card.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from e2rnas.zoo import NETWORKS
from pipeline.errors import RunError
from pipeline.evaluation.stored_evaluation import ROBUSTNESS_FILE, write_robustness
from pipeline.export.model_card import CARD_FILE, Evaluated, evaluated_of, model_card
from pipeline.networks.network_files import load_network
from pipeline.report.reproduction import stages
from pipeline.report.run_reader import read_run
from pipeline.runs.files import LARGEST_WEIGHTS, read_bytes, write_atomically

NEEDED = ("pgd-20", "autoattack")
LARGEST_TOGETHER = 2 * 10**6  # bytes of all networks that the package ships
LOADING = """\
`e2rnas.load("{name}")` returns the network, which takes images [N, {channels}, {size}, {size}], float in [0, 1], and
`e2rnas.card("{name}").accuracies` the figures above."""


def ship(folder: Path, name: str, target: Path = NETWORKS, *, replace: bool = False) -> Path:
    """Write a trained and evaluated network under a name; return the path of its card.

    Raises RunError, before anything is written, where the folder holds no network, or no figures of it under NEEDED, or
    where another is shipped under the name, or all together would be too large.
    """
    trained = load_network(folder)
    evaluated = evaluated_of(folder, trained)
    measured = {row.attack for each in evaluated.protocols[:1] for row in each.attacks}
    if missing := [attack for attack in NEEDED if attack not in measured]:
        raise RunError(f"{folder} has no figures of its network under {', '.join(missing)}; run evaluate.py first")
    place = target / name
    if place.exists() and not replace:
        raise RunError(f"{place} exists; choose another --name, or --replace it")
    weights = read_bytes(folder / "network.safetensors", LARGEST_WEIGHTS)
    others = sum(path.stat().st_size for path in target.rglob("*.safetensors") if path.parent != place)
    if others + len(weights) > LARGEST_TOGETHER:
        raise RunError(
            f"{name} has {len(weights):,} bytes, others {others:,}; at most {LARGEST_TOGETHER:,} are shipped"
        )
    description = trained.description
    commands = "\n".join(str(stage["command"]) for stage in stages(read_run(folder), ()) if stage["name"] != "report")
    sections = {
        "How to load it": LOADING.format(name=name, channels=description.in_channels, size=description.image_size),
        "How to repeat it": f"```bash\n{commands}\n```",
    }
    card = model_card(
        description, Evaluated(evaluated.protocols[:1]), trained.state_sha256, title=name, sections=sections
    )
    place.mkdir(parents=True, exist_ok=True)
    write_atomically(place / "network.safetensors", weights)
    write_robustness(place / ROBUSTNESS_FILE, evaluated.protocols[:1])
    write_atomically(place / CARD_FILE, card)
    write_atomically(place / "network.json", read_bytes(folder / "network.json", LARGEST_WEIGHTS))  # last: all is there
    return place / CARD_FILE


def main() -> None:
    """Read the command line and ship."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="run folder of a trained and evaluated network")
    parser.add_argument("--name", help="under which it is shipped; the folder's name without it")
    parser.add_argument("--replace", action="store_true", help="overwrite the network that has this name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        print(ship(arguments.folder, arguments.name or arguments.folder.resolve().name, replace=arguments.replace))
    except (RunError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
