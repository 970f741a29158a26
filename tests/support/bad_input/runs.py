"""Run folders whose files are damaged or do not belong together, and the cases that read them.

A case is (script, overrides, what the line says, what is done to the run folder before). {mine} is a copy of a finished
run of the digits, which `run=` names unless the overrides do; {files}/<name> is one of FILES, {sets}/<name> of SETS.
"""

import torch
from safetensors.torch import save

from pipeline.runs.checkpoints import digest
from tests.support.bad_input.networks import DESCRIPTION, NETWORKS, instead, of_bytes, of_json
from tests.support.bad_input.sets import DATA, WHOLE


def removed(*names):
    """Take files out of the run folder."""

    def spoil(folder):
        for name in names:
            (folder / name).unlink()

    return spoil


def holds(name, content):
    """Let a file hold something else."""
    return of_bytes(name, lambda _: content if isinstance(content, bytes) else content.encode())


def both(*spoils):
    def spoil(folder):
        for each in spoils:
            each(folder)

    return spoil


def new(name, content):
    """A file that no finished run of a search and a retraining has."""

    def spoil(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)

    return spoil


def only_checkpoints(stage, change):
    """An unfinished run, with checkpoints that are whole but of other content."""

    def spoil(folder):
        (folder / {"search": "search.json", "retrain": "network.json"}[stage]).unlink()
        for path in (folder / "checkpoint").glob(f"{stage}-*.ckpt"):
            content = torch.load(path, weights_only=True)
            change(content)
            torch.save(content, path)
            path.rename(path.with_name(path.name[: path.name.rindex("-")] + f"-{digest(path.read_bytes())}.ckpt"))

    return spoil


OF_NETWORKS = [  # test_bad_files has the messages
    (script, "", NETWORKS[what][2], NETWORKS[what][0])
    for script, names in {
        "evaluate": (
            "truncated weights",
            "weights cut in the header",
            "empty weights",
            "a header beyond the file",
            "no weights",
            "a folder as weights",
            "pickled weights",
            "weights by torch.save",
            "a wrong shape",
            "no JSON",
            "a wrong type",
            "more weights than the file has",
        ),
        "export": (
            "whole numbers as weights",
            "a missing tensor",
            "a tensor too many",
            "weights that are not numbers",
            "weights without end",
            "absurd channels",
            "another version",
            "means of other channels",
            "a network that sees no image",
        ),
        "retrain": (
            "a header that is too short",
            "weights that lead to themselves",
            "classes without number",
            "a list",
        ),
        "report": (
            "no text",
            "deep JSON",
            "a folder as description",
            "a field too many",
            "a missing field",
            "a mean that is not a number",
            "an unknown operation",
            "a cell that cannot be built",
        ),
    }.items()
    for what in names
]

NO_NETWORK = removed(DESCRIPTION)
NO_RESULT = removed("search.json")
G = "genotype.json"

OF_RUNS = [
    # a network and other images
    ("evaluate", WHOLE + DATA % "colour", "trained on digits with channels 1; colour has 3", None),
    (
        "evaluate",
        WHOLE + DATA % "letters",
        "trained on digits with classes ['0', '1', ... letters has ['a', 'b', ",
        None,
    ),
    ("evaluate", WHOLE + DATA % "five", "trained on digits with classes ['0', '1', ... five has ['0', '1', ", None),
    ("evaluate", WHOLE + DATA % "large", "trained on digits with image size 8; large has 9", None),
    (
        "evaluate",
        "retrain.epochs=1 run={colour}",
        "the network was trained on photographs with channels 3; digits has 1",
        None,
    ),
    ("export", WHOLE + DATA % "letters", "trained on digits with classes ['0', '1', ... letters has ['a', 'b', ", None),
    (
        "export",
        "retrain.epochs=1 run={colour}",
        "the network was trained on photographs with channels 3; digits has 1",
        None,
    ),
    ("retrain", "data.limit=60", "holds a run with other settings (data.limit was 80, is 60)", None),
    (
        "retrain",
        WHOLE + "retrain.held_back=0.3 " + DATA % "colour",
        "was searched on digits, the command line says colour; choose another run= with genotype=",
        None,
    ),
    (
        "evaluate",
        "evaluate.images=41",
        "evaluate.images=41 asks for more than the 40 test images there are; set evaluate.images=null for all",
        None,
    ),
    (
        "evaluate",
        "retrain.epochs=1 evaluate.attacks=[apgd-t] run={two} " + WHOLE + DATA % "two",
        "expected ... classes",
        None,
    ),
    # a run and other settings
    ("search", "seed=1", "holds a run with other settings (seed was 0, is 1); use them, or choose another run=", None),
    ("search", "search.epochs=3", "other settings (search.epochs was 2, is 3); use them, or choose another run=", None),
    ("search", "space=s2", "holds a run with other settings (space.operations was ['none', 'max_pool_3x3', ", None),
    ("retrain", "retrain.channels=5", "holds a run with other settings (retrain.channels was 4, is 5)", None),
    ("retrain", "recipe=trades", "other settings ... retrain.recipe was 'pgd_at', is 'trades')", None),
    ("retrain", "genotype=DARTS_V2", "holds a run with other settings (genotype.normal.", None),
    ("search", "seed=1", "other settings (seed was 0, is 1)", NO_RESULT),
    ("retrain", "retrain.epochs=3", "other settings (retrain.epochs was 2, is 3)", NO_NETWORK),
    (
        "search",
        "",
        "checkpoint holds no state that this stage can go on from (KeyError: 'settings')",
        only_checkpoints("search", lambda c: c.pop("settings")),
    ),
    (
        "search",
        "",
        "checkpoint holds no state that this stage can go on from",
        only_checkpoints("search", lambda c: c.pop("alphas", c.pop("supernet", None))),
    ),
    (
        "retrain",
        "",
        "checkpoint holds no state that this stage can go on from",
        only_checkpoints("retrain", lambda c: c.pop("network")),
    ),
    (
        "retrain",
        "",
        "checkpoint holds no state that this stage can go on from",
        only_checkpoints("retrain", lambda c: c["network"].popitem()),
    ),
    (
        "export",
        "genotype=DARTS_V2",
        "holds a network of another cell than genotype=DARTS_V2; choose another run=",
        None,
    ),
    (
        "export",
        "genotype=DARTS_V2 export.formats=[json]",
        "is of another cell, whose genotype.json would be lost",
        NO_NETWORK,
    ),
    ("export", "export.formats=[nasbench201]", "export.formats has nasbench201: ... this cell fits json, darts", None),
    ("export", "export.formats=[onnx]", "network.json does not exist; run retrain.py first", NO_NETWORK),
    (
        "export",
        "export.formats=[darts,safetensors]",
        "export.formats has safetensors: network.json does not",
        NO_NETWORK,
    ),
    ("evaluate", "", "network.json does not exist", NO_NETWORK),
    (
        "evaluate",
        "evaluate.model=its_models:linear",
        "holds a network of its own; choose another run= for evaluate.m",
        None,
    ),
    ("pareto", "seed=1 pareto.bounds=[[2500,4000]]", "other settings ... seed was 0, is 1", None),
    # genotype.json
    ("search", "", G + ": a genotype file holds JSON; this is not: ", holds(G, "{")),
    ("search", "", G + " does not exist", removed(G)),
    ("retrain", "", G + ": a genotype file holds JSON; this is not: ", both(NO_NETWORK, holds(G, ""))),
    ("retrain", "", G + ': expected a JSON object with "format": "genotype"', both(NO_NETWORK, holds(G, "[]"))),
    (
        "retrain",
        "",
        G + ": genotype format version 1 expected, found 2",
        both(NO_NETWORK, of_json(G, lambda c: c.update(version=2))),
    ),
    (
        "retrain",
        "",
        G + ": reduction: expected an object with the keys",
        both(NO_NETWORK, of_json(G, lambda c: c.pop("reduction"))),
    ),
    (
        "retrain",
        "",
        G + ": normal cell: a cell needs at least one node",
        both(NO_NETWORK, of_json(G, lambda c: c["normal"].update(nodes=[]))),
    ),
    (
        "export",
        "",
        G + ": normal cell: unknown operation 'conv_9x9'; known are max_",
        both(NO_NETWORK, of_json(G, lambda c: c["normal"]["nodes"][0].append(["conv_9x9", 0]))),
    ),
    (
        "export",
        "",
        G + ": normal cell: node 2 reads state 7; only states 0 to 1",
        both(NO_NETWORK, of_json(G, lambda c: c["normal"]["nodes"][0].append(["noise", 7]))),
    ),
    (
        "export",
        "",
        G + ": normal cell: an edge is [operation, source], found 'noise'",
        both(NO_NETWORK, of_json(G, lambda c: c["normal"]["nodes"][0].append("noise"))),
    ),
    (
        "export",
        "",
        G + ": normal cell: an edge's source is the number of a state, found 1.5",
        both(NO_NETWORK, of_json(G, lambda c: c["normal"]["nodes"][0].append(["noise", 1.5]))),
    ),
    (
        "report",
        "",
        G + " ... reduction cell: concat names each output node once, from 2 to 3; found",
        of_json(G, lambda c: c["reduction"].update(concat=[9])),
    ),
    (
        "report",
        "",
        G + " ... reduction cell: a state is a whole number from 0 up, found '2'",
        of_json(G, lambda c: c["reduction"].update(concat=["2"])),
    ),
    ("cells", "genotype={mine}", G + " is not text in UTF-8", holds(G, b"\xff\xfe\x00")),
    (
        "cells",
        "genotype={mine}/genotype.json",
        G + ": a genotype file holds JSON; this is not",
        holds(G, "[" * 100_000),
    ),
    (
        "cells",
        "genotype={mine}",
        G + ": expected a string such as |nor_conv_3x3~0|",
        holds(G, '{"format": "genotype", "version": 1, "nasbench201": 3}'),
    ),
    (
        "cells",
        "genotype={mine}",
        G + " cannot be read: expected a file, found a folder",
        both(NO_NETWORK, instead(G, lambda path: path.mkdir())),
    ),
    # search.json, metrics.jsonl, and what else a report reads
    ("search", "", "search.json is not a JSON file", holds("search.json", "{")),
    ("search", "", "search.json is not what search.py writes: Input should be an object", holds("search.json", "[]")),
    ("search", "", "search.json is not what ... derived_cost", of_json("search.json", lambda c: c.pop("derived_cost"))),
    ("search", "", "search.json is not what ... bounds", of_json("search.json", lambda c: c.update(bounds=[3]))),
    (
        "report",
        "",
        "search.json is not what search.py writes: derived_cost: Field required",
        of_json("search.json", lambda c: c.pop("derived_cost")),
    ),
    ("report", "", "search.json is not ", of_json("search.json", lambda c: c.update(derived_cost=3))),
    ("report", "", "search.json is not ", of_json("search.json", lambda c: c.update(bounds=3))),
    ("report", "", "search.json is not ", of_json("search.json", lambda c: c.update(guard=3))),
    ("report", "", "search.json is not ", of_json("search.json", lambda c: c.update(environment=3))),
    (
        "retrain",
        "",
        "network.json: training: settings: Field required",
        of_json(DESCRIPTION, lambda c: c.update(training={})),
    ),
    (
        "report",
        "",
        "network.json: training: settings: Field required",
        of_json(DESCRIPTION, lambda c: c.update(training={"environment": 3})),
    ),
    (
        "report",
        "",
        "metrics.jsonl is not what the stages write: line 1: expected an object with a stage out of search, ",
        holds("metrics.jsonl", "3\n"),
    ),
    ("report", "", "metrics.jsonl is not text in UTF-8", holds("metrics.jsonl", b"\xff\xfe\n")),
    (
        "report",
        "",
        "metrics.jsonl is not what the stages write: line 1: epoch: Field required",
        holds("metrics.jsonl", '{"stage": "search", "step": 0}\n'),
    ),
    ("search", "", "metrics.jsonl is not what the stages write", both(NO_RESULT, holds("metrics.jsonl", "[]\n"))),
    (
        "report",
        "",
        "alphas.safetensors cannot be read as safetensors: ",
        of_bytes("alphas.safetensors", lambda content: content[:-3]),
    ),
    (
        "report",
        "",
        "alphas.safetensors is not what the stages write",
        holds("alphas.safetensors", save({"a": torch.zeros(1), "b": torch.zeros(2)})),
    ),
    (
        "report",
        "",
        "alphas.safetensors is not what the stages write",
        holds("alphas.safetensors", save({"a": torch.zeros(3)})),
    ),
    ("report", "", "robustness.json is not a JSON file", holds("robustness.json", "{")),
    ("report", "", "robustness.json is not ... settings", holds("robustness.json", "{}")),
    (
        "report",
        "",
        "robustness.json is not what evaluate.py writes",
        of_json("robustness.json", lambda c: c["protocols"][0]["attacks"][0].update(right="x")),
    ),
    (
        "report",
        "",
        "robustness.json is not what evaluate.py writes",
        of_json("robustness.json", lambda c: c["protocols"][0].update(classes=3)),
    ),
    (
        "report",
        "",
        "robustness.json is not what evaluate.py writes",
        of_json("robustness.json", lambda c: c["protocols"][0].update(checks={"verdict": "x"})),
    ),
    (
        "report",
        "",
        "robustness.json is not what evaluate.py writes",
        of_json("robustness.json", lambda c: c["protocols"][0].update(cost=3)),
    ),
    (
        "report",
        "",
        "robustness.json is not what evaluate.py writes",
        of_json("robustness.json", lambda c: c["protocols"][0].update(network=3)),
    ),
    (
        "evaluate",
        "",
        "robustness.json is not what evaluate.py writes",
        of_json("robustness.json", lambda c: c["protocols"][0]["attacks"].append(3)),
    ),
    (
        "evaluate",
        "",
        "robustness.json is not what ... begins it anew and keeps the old file beside it",
        holds("robustness.json", "[]"),
    ),
    (
        "export",
        "export.formats=[safetensors]",
        "robustness.json is not what evaluate.py writes",
        of_json("robustness.json", lambda c: c["protocols"][0].update(attacks=3)),
    ),
    (
        "report",
        "",
        "examples.safetensors cannot be read as safetensors: ",
        of_bytes("examples.safetensors", lambda content: content[:-3]),
    ),
    (
        "report",
        "",
        "examples.safetensors is not what the stages write: expected tensors clean",
        holds("examples.safetensors", save({"a": torch.zeros(1)})),
    ),
    ("report", "", "transfer.json is not ", new("transfer.json", "3")),
    (
        "report",
        "",
        "transfer.json is not ... settings: Field required",
        new("transfer.json", "{}"),
    ),
    (
        "report",
        "",
        "transfer.json is not ",
        new("transfer.json", '{"models": [3], "attack": 3, "rows": [3], "clean": [3]}'),
    ),
    ("report", "", "onnx.json is not ", new("onnx.json", "[]")),
    ("report", "", "pareto.json is not ", new("pareto.json", "[]")),
    ("report", "", "pareto.json is not ", new("pareto.json", '{"points": [3]}')),
    ("report", "compare=[{mine}/points]", "points holds nothing to report, nor do folders in it", None),
    ("report", "run={mine}/report.html", "holds nothing to report", new("report.html", "x")),
]
