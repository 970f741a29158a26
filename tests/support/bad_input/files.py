"""Files that are no genotype, network, theta or module, settings that do not fit, and the cases that meet them.

A case is (script, overrides, what the line says); {files}/<name> is one of FILES, {sets}/<name> of SETS.
"""

import pickle

import torch
from safetensors.torch import save

from learned_optimizers import new_theta
from tests.support.bad_input.networks import Planted

NASBENCH = "|nor_conv_3x3~0|+|none~0|skip_connect~1|"


def theta(change):
    tensors = {name: tensor.clone() for name, tensor in new_theta("mlp", generator=torch.Generator()).tensors.items()}
    header = {"learned_optimizer/1": "mlp"}
    change(tensors, header)
    return save(tensors, header)


def first_of(tensors):
    return next(iter(tensors))


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
    "theta.safetensors": theta(lambda tensors, header: tensors.pop(first_of(tensors))),
    "more.safetensors": theta(lambda tensors, header: tensors.update(more=torch.zeros(1))),
    "nan.safetensors": theta(lambda tensors, header: tensors[first_of(tensors)].fill_(float("nan"))),
    "whole.safetensors": theta(lambda tensors, header: tensors.update(more=torch.zeros(1, dtype=torch.int64))),
    "lstm.safetensors": theta(lambda tensors, header: header.update({"learned_optimizer/1": "lstm"})),
    "nobody.safetensors": theta(lambda tensors, header: header.clear()),
    "layer.safetensors": save({"weight": torch.zeros(3, 3), "bias": torch.zeros(10)}),
    "its_exit.py": b"import sys\nsys.exit(0)\n",
    "its_lines.py": b"raise KeyError('one\\ntwo')\n",
    "its_models.py": (
        b"from torch import nn\n"
        b"def linear(classes=10):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
        b"def layer():\n    return nn.Linear(64, 10)\n"
        b"def pair():\n    module = linear()\n    module.forward = lambda x: (x, x)\n    return module\n"
    ),
}

OF_FILES = [
    # run folders that cannot be
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
    # genotypes
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
    # meta-parameters
    (
        "search",
        "weight_optimizer=learned weight_optimizer.theta=best",
        "weight_optimizer.theta: best is no file, and no",
    ),
    (
        "search",
        "weight_optimizer=learned weight_optimizer.theta={files}/text",
        "weight_optimizer.theta: ... text cannot be",
    ),
    ("search", "weight_optimizer=learned weight_optimizer.theta={files}", "weight_optimizer.theta: ... is no file"),
    (
        "retrain",
        "genotype=RACL weight_optimizer=learned weight_optimizer.theta={files}/pickle",
        "pickle cannot be read as safe",
    ),
    (
        "search",
        "weight_optimizer=learned weight_optimizer.theta={files}/theta.safetensors",
        "1 tensors differ ... found None",
    ),
    (
        "search",
        "weight_optimizer=learned weight_optimizer.theta={files}/more.safetensors",
        "the first is more (expected None",
    ),
    (
        "search",
        "weight_optimizer=learned weight_optimizer.theta={files}/nan.safetensors",
        "expected finite floating-point",
    ),
    (
        "search",
        "weight_optimizer=learned weight_optimizer.theta={files}/whole.safetensors",
        "expected finite ... in more",
    ),
    (
        "search",
        "weight_optimizer=learned weight_optimizer.theta={files}/lstm.safetensors",
        "an architecture out of mlp, hierarchical",
    ),
    (
        "search",
        "weight_optimizer=learned weight_optimizer.theta={files}/nobody.safetensors",
        "expected an optimizer's header",
    ),
    ("meta_train", "meta.trainer=best", "meta.trainer: best is no file, and no shipped optimizer (there are: "),
    ("meta_train", "meta.trainer={files}/text", "meta.trainer: ... text cannot be read as safetensors"),
    # modules of others
    (
        "evaluate",
        "evaluate.model=resnet",
        "evaluate.model=resnet: expected package.module:factory, as in models.resnet:build",
    ),
    ("evaluate", "evaluate.model=its_models:", "evaluate.model=its_models:: expected package.module:factory"),
    ("evaluate", "evaluate.model=:linear", "evaluate.model=:linear: expected package.module:factory"),
    ("evaluate", "'evaluate.model=\"its_models:linear()\"'", "expected package.module:factory"),
    (
        "evaluate",
        "evaluate.model=no.such.module:f",
        "importing no.such.module raised ModuleNotFoundError: No module named",
    ),
    ("evaluate", "evaluate.model=..its_models:linear", "importing ..its_models raised "),
    ("evaluate", "evaluate.model=its_exit:f", "importing its_exit raised SystemExit"),
    ("evaluate", "evaluate.model=its_lines:f", "importing its_lines raised KeyError: ... one\\ntwo"),
    (
        "evaluate",
        "evaluate.model=its_models:big",
        "evaluate.model=its_models:big: its_models has no function or class big",
    ),
    ("evaluate", "evaluate.model=math:pi", "evaluate.model=math:pi: math has no function or class pi"),
    ("evaluate", "evaluate.model=math:sqrt", "evaluate.model=math:sqrt: calling it with {} raised TypeError"),
    ("evaluate", "evaluate.model=builtins:dict", "expected a torch.nn.Module, it returned dict"),
    ("evaluate", "evaluate.model=its_models:layer", "an image [1, 1, 8, 8] of digits raised RuntimeError"),
    (
        "evaluate",
        "evaluate.model=its_models:pair",
        "expected logits [1, 10] of an image [1, 1, 8, 8] of digits, found tuple",
    ),
    (
        "evaluate",
        "evaluate.model=its_models:linear evaluate.model_arguments={classes:9}",
        "expected logits [1, 10] ... found [1, 9]",
    ),
    (
        "evaluate",
        "evaluate.model=its_models:linear evaluate.model_arguments={width:9}",
        "calling it with {'width': 9} raised TypeErr",
    ),
    (
        "evaluate",
        "evaluate.model=its_models:linear evaluate.weights=gone.safetensors",
        "gone.safetensors does not exist",
    ),
    ("evaluate", "evaluate.model=its_models:linear evaluate.weights={files}/text", "text cannot be read"),
    (
        "evaluate",
        "evaluate.model=its_models:layer evaluate.weights={files}/layer.safetensors",
        "does not fit the module of its_models:layer: 1 tensors differ, the first is weight (expected fractions (10,",
    ),
    ("evaluate", "evaluate.models=[its_models:linear,{files}]", "network.json does not exist"),
    (
        "evaluate",
        "evaluate.models=[its_models:linear,linear]",
        "evaluate.models: linear is neither a run folder nor package",
    ),
    (
        "evaluate",
        "evaluate.models=[its_models:linear,{colour}]",
        "trained on photographs with channels 3; digits has 1",
    ),
    (
        "evaluate",
        "evaluate.model=its_models:linear evaluate.checks=true evaluate.surrogate={files}",
        "network.json does not exist",
    ),
    (
        "evaluate",
        "evaluate.model=its_models:linear evaluate.checks=true evaluate.surrogate={colour}",
        "with channels 3; digits has 1",
    ),
    # settings that do not fit the images or the machine
    (
        "search",
        "objectives.parameters=[1,2]",
        "no cell of this space meets objectives.parameters=[1, 2] ... reachable, each alone",
    ),
    (
        "search",
        "objectives.macs=[1e9,null]",
        "no cell of this space meets ... objectives.macs=[1,000,000,000, null] ... reachable",
    ),
    (
        "search",
        "search.batch_size=60",
        "search.batch_size=60 is larger than a part of the training set (40 images for weights, 40",
    ),
    (
        "search",
        "search.alpha_split=0.1",
        "search.batch_size=20 is larger than a part of the training set (70 images for weights, 10",
    ),
    ("search", "data.limit=5000", "data.limit=5000 asks for more than the 1437 images there are"),
    ("search", "data.test_limit=5000", "data.test_limit=5000 asks for more than the 360 images there are"),
    ("search", "data.cutout=8", "data.cutout=8 covers images of 8 pixels a side"),
    ("retrain", "genotype=DARTS_V2 data.cutout=9", "data.cutout=9 covers images of 8 pixels a side"),
    (
        "search",
        "fabric.accelerator=cuda fabric.devices=20 retrain.batch_size=20",
        "fabric asks for 20 CUDA devices; this machine has ",
    ),
    (
        "search",
        "search.relaxation.auxiliary_skip=1 space.operations=[sep_conv_3x3,none] objectives.names=[accuracy] "
        "objectives.parameters=[null,null] objectives.macs=[null,null]",
        "auxiliary skip is added to skip_connect, which is not among the space's operations",
    ),
    (
        "retrain",
        "genotype=DARTS_V2 retrain.batch_size=96",
        "retrain.batch_size=96 is larger than the 70 training images",
    ),
    (
        "retrain",
        "genotype=DARTS_V2 retrain.held_back=0.01",
        "retrain.held_back=0.01 splits off none of 80 images ... raise retrain.held_back",
    ),
    (
        "compare",
        "retrain.parameters=3000",
        "a comparison sets retrain.parameters itself, for the published cells; leave it null",
    ),
    (
        "compare",
        "retrain.channels=5",
        "search.derived_channels=4 ... retrain.channels=5 ... a comparison needs them the same",
    ),
    (
        "compare",
        "objectives.parameters=[null,4000]",
        "random cells of the same size need both bounds: objectives.parameters=[",
    ),
    ("compare", "objectives.parameters=[1,2]", "no cell of this space meets objectives.parameters=[1, 2]"),
    ("compare", "retrain.batch_size=96", "retrain.batch_size=96 is larger than the 70 training images"),
    ("compare", "search.batch_size=60", "search.batch_size=60 is larger than a part of the training set"),
    ("compare", "evaluate.images=41", "evaluate.images=41 asks for more than the 40 test images there are"),
    (
        "pareto",
        "pareto.bounds=[[1,2]]",
        "point 000 of the walk: no cell of this space meets objectives.parameters=[1, 2]",
    ),
    (
        "pareto",
        "pareto.bounds=[[5,3]]",
        "point 000 of the walk: objectives.parameters: lower bound 5 is above upper bound 3",
    ),
    (
        "pareto",
        "pareto.walk=preferences pareto.preferences=[[1,2]]",
        "expected numbers for accuracy, robustness, ... found [1",
    ),
    ("pareto", "pareto.walk=preferences objectives.names=[accuracy,parameters,macs]", "objectives.names needs both"),
    (
        "pareto",
        "pareto.published=[NASNet]",
        "pareto.published=NASNet: the genotype is not one of the space: 2 cells of 2 inputs",
    ),
    (
        "pareto",
        "pareto.held_back=0.7",
        "search.batch_size=20 is larger than the ... images that pareto.held_back=0.7 leaves",
    ),
    (
        "pareto",
        "pareto.retrain=true retrain.parameters=3000",
        "pareto.retrain with retrain.parameters gives all points one",
    ),
    ("pareto", "pareto.retrain=true evaluate.attacks=[cw]", "pareto.retrain needs an Linf attack in evaluate.attacks"),
    ("pareto", "pareto.retrain=true evaluate.images=41", "evaluate.images=41 asks for more than the 40 test images"),
    (
        "demo",
        "evaluate.images=null retrain.batch_size=96",
        "retrain.batch_size=96 is larger than the 70 training images",
    ),
    (
        "demo",
        "evaluate.images=null objectives.parameters=[1,2]",
        "no cell of this space meets objectives.parameters=[1, 2]",
    ),
    ("demo", "evaluate.images=41", "evaluate.images=41 asks for more than the 40 test images there are"),
]
