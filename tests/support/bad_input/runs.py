"""Run folders whose files are damaged or do not belong together, and the cases that read them.

A case is (script, overrides, what the line says, what is done to the run folder before). {mine} is a copy of a finished
run of the digits, which `run=` names unless the overrides do; {files}/<name> is one of FILES, {sets}/<name> of SETS.
"""

from tests.support.bad_input.damaged_genotypes import OF_DAMAGED_GENOTYPES
from tests.support.bad_input.damaged_results import OF_DAMAGED_RESULTS
from tests.support.bad_input.damages import NO_NETWORK, NO_RESULT, only_checkpoints
from tests.support.bad_input.networks import NETWORKS
from tests.support.bad_input.sets import DATA, WHOLE

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

OF_OTHER_IMAGES = [
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
]

OF_OTHER_SETTINGS = [
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
]

OF_RUNS = [*OF_OTHER_IMAGES, *OF_OTHER_SETTINGS, *OF_DAMAGED_GENOTYPES, *OF_DAMAGED_RESULTS]
