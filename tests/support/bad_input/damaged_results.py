"""Run folders whose results are damaged (search.json, metrics.jsonl, what else a report reads), and their cases.

A case is as in runs.py.
"""

import torch
from safetensors.torch import save

from tests.support.bad_input.damages import NO_RESULT, both, holds, new
from tests.support.bad_input.networks import DESCRIPTION, of_bytes, of_json

OF_DAMAGED_RESULTS = [
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
