"""Files that are no meta-parameters of a learned optimizer, and the cases that meet them, as in files.py."""

import torch
from safetensors.torch import save

from learned_optimizers import new_theta


def theta(change):
    tensors = {name: tensor.clone() for name, tensor in new_theta("mlp", generator=torch.Generator()).tensors.items()}
    header = {"learned_optimizer/1": "mlp"}
    change(tensors, header)
    return save(tensors, header)


def first_of(tensors):
    return next(iter(tensors))


THETAS = {
    "theta.safetensors": theta(lambda tensors, header: tensors.pop(first_of(tensors))),
    "more.safetensors": theta(lambda tensors, header: tensors.update(more=torch.zeros(1))),
    "nan.safetensors": theta(lambda tensors, header: tensors[first_of(tensors)].fill_(float("nan"))),
    "whole.safetensors": theta(lambda tensors, header: tensors.update(more=torch.zeros(1, dtype=torch.int64))),
    "lstm.safetensors": theta(lambda tensors, header: header.update({"learned_optimizer/1": "lstm"})),
    "nobody.safetensors": theta(lambda tensors, header: header.clear()),
}

OF_THETAS = [
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
    (
        "analyse_optimizer",
        "analyse.optimizer={files}/theta.safetensors",
        "analyse.optimizer: ... expected the meta-parameters of mlp: 1 tensors differ",
    ),
    ("analyse_optimizer", "analyse.optimizer={files}/lstm.safetensors", "expected an architecture out of mlp, "),
    (
        "analyse_optimizer",
        "analyse.optimizer=mlp analyse.architecture=gru",
        "analyse.optimizer: expected a theta of gru, found one of mlp",
    ),
    ("analyse_optimizer", "analyse.optimizer=gone.safetensors", "analyse.optimizer: gone.safetensors is no file, and"),
    ("analyse_optimizer", "analyse.optimizer=mlp analyse.arguments={lr:1}", "a learned optimizer has none"),
    ("meta_train", "meta.trainer={files}/text", "meta.trainer: ... text cannot be read as safetensors"),
]
