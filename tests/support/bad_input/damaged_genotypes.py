"""Run folders whose genotype.json is damaged, and the cases that read it, as in runs.py."""

from tests.support.bad_input.damages import NO_NETWORK, both, holds, removed
from tests.support.bad_input.networks import instead, of_json

G = "genotype.json"

OF_DAMAGED_GENOTYPES = [
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
]
