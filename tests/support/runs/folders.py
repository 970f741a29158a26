"""Small synthetic run folders, written with the project's own writers."""

import json
from dataclasses import asdict

import torch
from safetensors.torch import save

from pipeline.compute.environment import environment
from pipeline.evaluation.accuracy import Accuracy, wilson_interval
from pipeline.evaluation.stored_evaluation import Evaluation, Protocol, read_robustness
from pipeline.evaluation.stored_evaluation import write_robustness as write_stored
from pipeline.networks.description import NetworkDescription
from pipeline.networks.network_files import load_network, save_network
from pipeline.runs.files import write_atomically, write_json
from pipeline.runs.same_settings import plain
from pipeline.runs.schemas import checked
from pipeline.settings import Experiment
from pipeline.training.retrain import retrain_settings
from search_space import PUBLISHED, SearchSpace

GENOTYPE = PUBLISHED["DARTS_V2"].genotype
STEPS_PER_EPOCH = 3
BOUNDS = {"parameters": [100.0, 5000.0], "macs": [None, 400_000.0]}
DERIVED = {"parameters": 4321, "conv_linear_macs": 234_567, "thop_macs": 250_000}


ONNX = {
    "images": 256,
    "batch_sizes": [1, 3, 256],
    "attack": "pgd-20",
    "largest_logit_difference": 1e-6,
    "largest_logit_difference_on_attacked_images": 1e-6,
    "labels_that_differ": 0,
    "torch": "2.6.0",
    "opset": 18,
    "onnxruntime": "1.20.0",
    "bytes": 185_745,
}


def attack_settings(name, eps=0.1):
    call = {"class": "PGD", "arguments": {"eps": eps, "alpha": eps / 4, "steps": 20}}
    return {"name": name, "attacks": [call], "norm": "Linf", "eps": eps, "restarts": 1, "seed": 0}


def accuracy(attack, right, images=200, eps=0.1):
    low, high = wilson_interval(right, images)
    settings = {} if attack == "clean" else attack_settings(attack, eps)
    return Accuracy(attack, settings, right, images, right / images, low, high, 1.5)


def write_search(folder, experiment=None, finished=True):
    experiment = experiment or Experiment()
    rows = [
        {
            "stage": "search",
            "step": step,
            "epoch": step // STEPS_PER_EPOCH,
            "objectives": {"accuracy": 2 / (step + 1), "robustness": 3 / (step + 1), "parameters": 0.1, "macs": 0.0},
            "bounds": BOUNDS,
            "balance": {
                "weights": {"accuracy": 0.5, "robustness": 0.3, "parameters": 0.2, "macs": 0.0},
                "norm": 0.5,
                "residual": 0.0,
            },
            "derived": DERIVED,
        }
        for step in range(2 * STEPS_PER_EPOCH)
    ]
    for row in rows[STEPS_PER_EPOCH - 1 :: STEPS_PER_EPOCH]:
        count = 2 + row["epoch"]
        row["diagnostics"] = {
            "weight_free": {"normal": count, "reduction": 8 - count},
            "skips": {"normal": 1, "reduction": 1},
            "entropy": 0.9,
            "eigenvalue": {"value": 0.1 * count, "residual": 0.01},
        }
    append_rows(folder, rows)
    generator = torch.Generator().manual_seed(0)
    alphas = {f"epoch_{epoch:05d}": torch.randn(SearchSpace().alpha_shape, generator=generator) for epoch in (1, 2)}
    write_atomically(folder / "alphas.safetensors", save(alphas))
    if finished:
        settings = plain(
            {name: getattr(experiment, name) for name in ("seed", "data", "space", "objectives", "search")}
        )
        bounds = {
            "parameters": {"lower": 100.0, "upper": 5000.0, "value": 4321, "violation": 0.0},
            "macs": {"lower": None, "upper": 200_000.0, "value": 234_567, "violation": 0.17},
        }
        write_json(
            folder / "search.json",
            {
                "settings": settings,
                "derived_cost": DERIVED,
                "bounds": bounds,
                "guard": [{"after": 2, "back_to": 1}],
                "seconds": 12.5,
                "environment": environment(),
            },
        )
        write_atomically(folder / "genotype.json", GENOTYPE.to_json())


def write_network(
    folder, name="searched", data="digits", channels=4, experiment=None, held_back=(0.8, 0.8), overfitted=None
):
    experiment = experiment or Experiment()
    judged = [{"epoch": epoch, "accuracy": value, "clean": 0.9} for epoch, value in enumerate(held_back, 1)]
    best = max(judged, key=lambda row: (row["accuracy"], row["epoch"]))
    description = NetworkDescription(
        name=name,
        genotype=json.loads(GENOTYPE.to_json()),
        channels=channels,
        layers=3,
        in_channels=1,
        image_size=8,
        mean=(0.3,),
        std=(0.4,),
        class_names=("zero", "one", "two"),
        data=data,
        training={
            "settings": retrain_settings(experiment, GENOTYPE),
            "best_epoch": best["epoch"],
            "held_back_accuracy": best["accuracy"],
            "held_back": {"best": best, "last": judged[-1], "gap": best["accuracy"] - held_back[-1]},
            "overfitted_in_epoch": overfitted,
            "seconds": 3.0,
            "environment": environment(),
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of the initial weights
        description = save_network(folder, description.build(), description)
    rows = [
        {
            "stage": "retrain",
            "step": step,
            "epoch": step // 2,
            "training_loss": 1 / (step + 1),
            "training_accuracy": 0.7,
        }
        | ({"held_back_accuracy": held_back[step // 2]} if step % 2 else {})
        for step in range(4)
    ]
    append_rows(folder, rows)
    return description


def evaluation_of(folder, description, accuracies, experiment=None, **more):
    """What evaluate.py would hold of the folder's weights, or of a module that a user brought."""
    has_weights = (folder / "network.safetensors").exists()
    content = {
        "state_sha256": load_network(folder).state_sha256 if has_weights else "0" * 64,
        "settings": Protocol.of(experiment or Experiment()).plain,
        "network": description.model_dump(mode="json"),
        "cost": description.cost(),
        "attacks": [asdict(result) for result in accuracies],
        "environment": environment(),
    }
    return checked(json.loads(json.dumps(content | more)), Evaluation, "this test's evaluation")


def write_robustness(folder, description, accuracies, experiment=None, **more):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "robustness.json"
    write_stored(path, [evaluation_of(folder, description, accuracies, experiment, **more), *read_robustness(path)])


def append_rows(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
