"""Files that are no genotype, network, theta or module, and the cases that meet them.

A case is (script, overrides, what the line says); {files}/<name> is one of FILES, {sets}/<name> of SETS.
"""

import pickle

from tests.support.bad_input.meta_parameters import OF_THETAS, THETAS
from tests.support.bad_input.modules import MODULES, OF_MODULES
from tests.support.bad_input.networks import Planted

NASBENCH = "|nor_conv_3x3~0|+|none~0|skip_connect~1|"

FILES = {
    "text": b"hello",
    "empty": b"",
    "pickle": pickle.dumps(Planted()),
    "none.py": b"x = 3\n",
    "syntax.py": b"def f(:\n",
    "code.py": b"import os\nos.mkdir('ran')\n",
    "two.py": "A = Genotype({0})\nB = Genotype({0})\n".format(
        "normal=[], normal_concat=[], reduce=[], reduce_concat=[]"
    ).encode(),
    "odd.py": b"A = Genotype(normal=[('skip_connect', 0)], normal_concat=[2], reduce=[], reduce_concat=[2])\n",
    "keys.py": b"A = Genotype(normal=[], reduce=[])\n",
    "range.py": b"A = Genotype(normal=range(10**9), normal_concat=[], reduce=[], reduce_concat=[])\n",
    "operation.txt": b"|conv_9x9~0|",
    "bars.txt": b"|none~0",
    "late.txt": b"|skip_connect~1|",
    "nasbench.txt": NASBENCH.encode(),
    "network of nothing.txt": b"|none~0|+|none~0|none~1|",
    **THETAS,
    **MODULES,
}

OF_RUN_FOLDERS = [
    ("search", "run={files}/text", "run= ... text cannot be made a folder: File exists"),
    ("search", "run={files}/text/run", "run= ... text/run cannot be made a folder: Not a directory"),
    ("retrain", "genotype=DARTS_V2 run={files}/text", "run= ... text cannot be made a folder: File exists"),
    ("meta_train", "run={files}/text/run", "run= ... text/run cannot be made a folder: Not a directory"),
    ("evaluate", "run={files}/text", "text/network.json ... "),
    ("report", "run={files}/text", "text holds nothing to report, nor do folders in it; looked for genotype.json"),
    (
        "export",
        "run={files}/text",
        "text holds no cell yet: search one (python scripts/search.py run=",
    ),
    ("report", "run={files}", "holds nothing to report, nor do folders in it; looked for genotype.json, network.json"),
    ("report", "run=nowhere", "nowhere holds nothing to report, nor do folders in it"),
    ("evaluate", "", "network.json does not exist"),
    ("export", "", "run=run holds no cell yet: search one (python scripts/search.py run=run), or give a published one"),
    (
        "retrain",
        "",
        "run=run holds no cell yet: search one (python scripts/search.py run=run), or give a published one",
    ),
    ("search", "run=" + 300 * "x", "File name too long"),
    ("retrain", "run=" + 300 * "x", "File name too long"),
    ("report", "run=" + 300 * "x", "File name too long"),
    ("export", "run=" + 300 * "x", "File name too long"),
]

OF_GENOTYPES = [
    ("retrain", "genotype=DARTS_V9", "genotype=DARTS_V9 is no published cell and no file; did you mean DARTS_V2?"),
    ("retrain", "genotype=", "run=run holds no cell yet"),
    ("retrain", "genotype={files}", "is not a published name ... or a finished run"),
    ("retrain", "genotype={files}/text", "text: a genotype file holds JSON; this is not"),
    ("cells", "genotype={files}/pickle", "pickle is not text in UTF-8"),
    (
        "retrain",
        "genotype={files}/none.py",
        "none.py: expected Python text with NAME = Genotype(normal=..., ...) at its top level; there is none",
    ),
    ("retrain", "genotype={files}/syntax.py", "syntax.py: expected Python text; this is not"),
    ("retrain", "genotype={files}/code.py:A", "code.py: expected Python text with NAME = Genotype( ... there is none"),
    (
        "export",
        "genotype={files}/two.py",
        "two.py: the file holds several genotypes; write :NAME behind its path, out of A, B",
    ),
    (
        "export",
        "genotype={files}/two.py:C",
        "two.py: the file holds no genotype C; write :NAME behind its path, out of A, B",
    ),
    ("cells", "genotype={files}/two.py:A", "two.py: A in line 1: normal cell: a cell needs at least one node"),
    (
        "cells",
        "genotype={files}/odd.py",
        "odd.py: A in line 1: normal cell: expected two edges a node, found 1 edges",
    ),
    (
        "cells",
        "genotype={files}/keys.py",
        "keys.py: A in line 1: expected the fields normal, normal_concat, ... found ['normal', 'reduce']",
    ),
    ("cells", "genotype={files}/range.py", "range.py: ... nothing is executed"),
    ("retrain", "genotype={files}/gone.py:A", "gone.py:A is not a published name"),
    ("retrain", "genotype={files}/operation.txt", "operation.txt: unknown operation 'conv_9x9'; known are"),
    ("retrain", "genotype={files}/bars.txt", "bars.txt: expected a string such as |nor_conv_3x3~0|"),
    ("retrain", "genotype={files}/late.txt", "late.txt: node 1 reads state 1; only states 0 to 0 come before it"),
    ("retrain", "'genotype=\"|none~0\"'", "genotype=|none~0: expected a string such as |nor_conv_3x3~0|"),
    ("retrain", "genotype={files}/network\\ of\\ nothing.txt", "leads through none or noise"),
    ("retrain", "genotype=DARTS_V2 retrain.parameters=3", "with one channel the network already has"),
    ("cells", "genotype=DARTS_V2 retrain.parameters=3", "with one channel the network already has"),
    (
        "export",
        "genotype={files}/nasbench.txt export.formats=[darts]",
        "export.formats has darts: ... fits json, nasbench201",
    ),
]

OF_FILES = [*OF_RUN_FOLDERS, *OF_GENOTYPES, *OF_THETAS, *OF_MODULES]
