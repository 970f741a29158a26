"""Modules of others that cannot be judged, their files, and the cases that meet them, as in files.py."""

import torch
from safetensors.torch import save

MODULES = {
    "layer.safetensors": save({"weight": torch.zeros(3, 3), "bias": torch.zeros(10)}),
    "its_exit.py": b"import sys\nsys.exit(0)\n",
    "its_lines.py": b"raise KeyError('one\\ntwo')\n",
    "its_models.py": (
        b"from torch import nn\n"
        b"def linear(classes=10):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
        b"def layer():\n    return nn.Linear(64, 10)\n"
        b"def nan():\n    return nn.Sequential(linear(), nn.Threshold(1e9, float('nan')))\n"
        b"def pair():\n    module = linear()\n    module.forward = lambda x: (x, x)\n    return module\n"
    ),
}

OF_MODULES = [
    (
        "evaluate",
        "evaluate.model=resnet",
        "evaluate.model=resnet: expected package.module:factory, as in models.resnet:build",
    ),
    ("evaluate", "evaluate.model=its_models:", "evaluate.model=its_models:: expected package.module:factory"),
    ("evaluate", "evaluate.model=its_models.py:linear", "expected package.module:factory, as in its_models:linear"),
    ("evaluate", "evaluate.model=./its/models.py:linear", "expected package.module:factory, as in its.models:linear"),
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
        "evaluate.model=its_models:nan",
        "its logits of test images are NaN: its weights have diverged, or it divides by zero",
    ),
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
    ("analyse_optimizer", "analyse.optimizer=Ada", "analyse.optimizer: Ada is no class of torch.optim (there are: "),
    ("analyse_optimizer", "analyse.optimizer=LBFGS", "analyse.optimizer: LBFGS() makes no step on a vector's gradient"),
    (
        "analyse_optimizer",
        "analyse.optimizer=SGD analyse.arguments={rate:1}",
        "analyse.optimizer: making it with {'rate': 1} raised TypeError: ",
    ),
    (
        "analyse_optimizer",
        "analyse.optimizer=its_models:big",
        "its_models:big: its_models has no function or class big",
    ),
    (
        "analyse_optimizer",
        "analyse.optimizer=builtins:list",
        "analyse.optimizer: builtins:list: expected a torch.optim.Optimizer, found list",
    ),
    ("analyse_optimizer", "analyse.optimizer=its_exit:f", "its_exit:f: importing its_exit raised SystemExit"),
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
]
