"""Export: the cell in the layouts of other projects, and the trained network as weights, graphs and a model card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attacks import evaluation_attack
from pipeline.data import ImageSet
from pipeline.errors import RunError
from pipeline.export.cell import CELL_FORMS, JSON, LAYOUTS, PICTURES, can_say, cell_files
from pipeline.export.graph import (
    GRAPHS,
    Probes,
    check_onnx_installed,
    check_repeatable,
    checked_graph,
    is_repeatable,
    trace,
)
from pipeline.export.model_card import CARD_FILE, evaluated_of, model_card
from pipeline.networks.description import TrainedNetwork
from pipeline.networks.genotype_reference import cell_of, check_cell, load_genotype
from pipeline.networks.network_files import as_safetensors, load_network
from pipeline.runs.files import write_atomically, write_json
from pipeline.runs.progress import Bar, progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.runs.stored_stages import ONNX_FILE
from pipeline.settings import Experiment
from search_space import Genotype

STAGE = "export"
EXPORT_FORMAT_VERSION = 1
WEIGHTS = "safetensors"
PARITY_ATTACK = "pgd-20"
ATTACKED_AT_ONCE = 32  # images: gradients of a large network take much memory

Written = dict[str, dict[str, Any]]
"""Name of a file -> its bytes and sha256 and, of a graph, how near it comes to the network."""


@dataclass(frozen=True)
class Exported:
    """What leaves: a cell and, where the run folder has one, the network that was trained of it."""

    name: str
    genotype: Genotype
    trained: TrainedNetwork | None


def find(folder: Path, reference: str | None) -> Exported:
    """Return the cell that `reference` names, or that of the run folder, and the network that the folder holds.

    Raises RunError when there is neither, or the network is that of another cell than `reference`.
    """
    trained = load_network(folder) if (folder / "network.json").exists() else None
    if trained:
        check_cell(folder, trained, reference)
    if reference is None and trained:
        return Exported(trained.description.name, trained.network.genotype, trained)
    name, genotype = cell_of(folder, reference)
    return Exported(name, genotype, trained)


def forms_of(asked: Sequence[str] | None, exported: Exported) -> tuple[str, ...]:
    """Return the forms that are asked for or, where None, all that fit but those that the search writes.

    Raises RunError, before any work, when one cannot be made.
    """
    if asked is None:
        return _fitting(exported)
    networks = [form for form in asked if form not in CELL_FORMS]
    if networks and exported.trained is None:
        raise RunError(f"export.formats has {', '.join(networks)}: network.json does not exist; run retrain.py first")
    if "onnx" in asked:
        check_onnx_installed()
    if set(asked) & set(GRAPHS):
        check_repeatable(exported.genotype)
    return tuple(dict.fromkeys(asked))


def _fitting(exported: Exported) -> tuple[str, ...]:
    layouts = [layout for layout in LAYOUTS if layout != JSON and can_say(layout, exported.genotype)]
    graphs = list(GRAPHS) if is_repeatable(exported.genotype) else []
    networks = [WEIGHTS, *graphs] if exported.trained else []
    return forms_of((*layouts, *networks), exported)


def needs_images(forms: Sequence[str]) -> bool:
    """Return whether one of the forms is a graph, which is checked on test images."""
    return bool(set(forms) & set(GRAPHS))


def export(
    folder: Path, experiment: Experiment, exported: Exported, forms: Sequence[str], test: ImageSet | None
) -> Written:
    """Write each form's files and export.json into the run folder: all of them or, when one is refused, none.

    forms: from `forms_of`.  test: images on which graphs are compared with the network, clean and under PGD-20; needed
    where `needs_images` says so. Raises RunError when a graph's logits or labels are not the network's, when the cell
    has no place in a layout, or when a file of another cell stands in the folder.
    """
    contents: dict[str, bytes] = {}
    for form in forms:
        if form in CELL_FORMS:
            contents |= cell_files(form, exported.genotype)
    _check_same_cell(folder, exported.genotype, contents)
    with exclusive(folder, STAGE):
        parities: dict[str, dict[str, Any]] = {}
        if exported.trained is not None and WEIGHTS in forms:
            contents |= _weights(folder, exported.trained)
        if exported.trained is not None and test is not None and needs_images(forms):
            graphs = [form for form in forms if form in GRAPHS]
            for name, (content, parity) in _graphs(graphs, exported.trained, test, experiment).items():
                contents[name], parities[name] = content, parity
        return _write(folder, exported.name, contents, parities)


def _check_same_cell(folder: Path, genotype: Genotype, files: Mapping[str, bytes]) -> None:
    """genotype.json and the pictures are the search's own files too."""
    theirs = folder / LAYOUTS[JSON][0]
    replaced = [name for name in files if name == theirs.name or name.endswith(PICTURES)]
    if replaced and theirs.exists() and load_genotype(str(theirs))[1] != genotype:
        raise RunError(f"{theirs} is of another cell, whose {', '.join(replaced)} would be lost; choose another run=")


def _weights(folder: Path, trained: TrainedNetwork) -> dict[str, bytes]:
    card = model_card(trained.description, evaluated_of(folder, trained), trained.state_sha256)
    return {
        "network.safetensors": as_safetensors(trained.network, trained.description),
        CARD_FILE: card.encode(),
    }


def _graphs(
    forms: Sequence[str], trained: TrainedNetwork, test: ImageSet, experiment: Experiment
) -> dict[str, tuple[bytes, dict[str, Any]]]:
    network = trained.network.cpu().eval()
    chosen = test.take(torch.arange(min(len(test), experiment.export.images)))
    batches = -(-len(chosen) // ATTACKED_AT_ONCE)
    with progress_bar(STAGE, batches + len(forms)) as bar:
        probes = _probes(trained, chosen, experiment, bar)
        program = trace(network, probes.clean)
        files = {}
        for form in forms:
            content, parity = checked_graph(form, network, program, probes)
            files[GRAPHS[form][0]] = content, parity | {"state_sha256": trained.state_sha256}
            bar.advance(form)
    return files


def _probes(trained: TrainedNetwork, images: ImageSet, experiment: Experiment, bar: Bar) -> Probes:
    classes = len(trained.description.class_names)
    attack = evaluation_attack(
        PARITY_ATTACK, trained.network, eps=experiment.evaluate.eps, num_classes=classes, seed=experiment.seed
    )
    clean, attacked = [], []
    for batch, labels in images.batches(ATTACKED_AT_ONCE):
        clean.append(batch)
        attacked.append(attack(batch, labels))
        bar.advance(f"{PARITY_ATTACK} on {sum(map(len, attacked))} images")
    return Probes(torch.cat(clean), torch.cat(attacked), attack.settings)


def _write(folder: Path, name: str, contents: Mapping[str, bytes], parities: Mapping[str, dict[str, Any]]) -> Written:
    files: Written = {}
    for file, content in contents.items():
        write_atomically(folder / file, content)
        files[file] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        if file in parities:
            files[file]["parity"] = parities[file]
    if "network.onnx" in parities:
        write_json(folder / ONNX_FILE, parities["network.onnx"])  # what the report shows
    write_json(
        folder / "export.json", {"format": "export", "version": EXPORT_FORMAT_VERSION, "name": name, "files": files}
    )
    return files
