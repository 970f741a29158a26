"""Modules that users bring: compiled, scripted and exported ones are measured, and counted where that is possible."""

import json
import warnings

import pytest
import torch
from torch import nn

from pipeline.export.graph import trace, write_torch_export
from pipeline.networks.network_files import load_network
from pipeline.networks.state_digest import state_sha256
from pipeline.runs.files import read_json
from search_space.cost.network_cost import module_cost
from tests.support.runs import exported
from tests.support.scripts import TINY
from tests.support.slowly import slowly

IMAGES = torch.zeros(1, 1, 8, 8)


class Transformer(nn.Module):
    """A TransformerEncoder of two layers on patches of 2x2 pixels."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 2, 2)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        return self.head(self.encoder(self.stem(images).flatten(2).transpose(1, 2)).mean(dim=1))


class OneWeight(nn.Module):
    """An operation of one weight [rows, columns] on images as rows."""

    def __init__(self, multiply, rows, columns):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(rows, columns))
        self.multiply = multiply

    def forward(self, images):
        return self.multiply(images.flatten(1), self.weight)


def convolutional():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)]
    return nn.Sequential(*layers)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def scripted():
    return torch.jit.script(convolutional())


def traced():
    return torch.jit.trace(convolutional().eval(), IMAGES)


def frozen():
    return torch.jit.freeze(torch.jit.script(convolutional().eval()))


def compiled():
    return torch.compile(convolutional(), backend="eager")


def exported_graph(path):
    return torch.export.load(path).module()


def test_attention_is_counted_with_its_projections_and_products():
    sizes = module_cost(Transformer().eval(), IMAGES).sizes
    patches, dim, wide, layers = 16, 16, 32, 2
    projections = patches * (4 * dim * dim + 2 * dim * wide)
    assert patches * dim * 4 + layers * projections + dim * 10 == 66_720
    assert sizes["conv_linear_macs"] == 66_720 + layers * 2 * patches * patches * dim == 83_104


@pytest.mark.parametrize("training", [False, True])
def test_counting_leaves_the_kernels_and_the_module_as_they_were(training):
    module = Transformer().train(training)
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    module_cost(module, IMAGES)
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == before
    assert module.training is training
    assert not module._forward_hooks


@pytest.mark.parametrize(
    ("module", "macs"),
    [
        (nn.MultiheadAttention(16, 4, batch_first=True), 16 * 4 * 16 * 16 + 2 * 16 * 16 * 16),
        (nn.LSTM(16, 8, batch_first=True), 16 * 4 * (16 * 8 + 8 * 8)),
    ],
)
def test_fused_kernels_are_counted_as_what_they_multiply(module, macs):
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, images):
            rows = images.expand(1, 4, 8, 8).reshape(1, 16, 16)
            return self.module(*([rows] * (3 if isinstance(module, nn.MultiheadAttention) else 1)))[0]

    assert module_cost(Sequence().eval(), IMAGES).sizes["conv_linear_macs"] == macs


@pytest.mark.parametrize(
    ("multiply", "macs"),
    [
        (lambda rows, weight: rows @ weight, 640),
        (lambda rows, weight: torch.einsum("ni,ij->nj", rows, weight), 640),
        (lambda rows, weight: (weight.T @ rows[0])[None], 640),
        (lambda rows, weight: torch.addmv(weight[0], weight.T, rows[0])[None], 640),
        (lambda rows, weight: torch.bmm(rows[None], weight[None])[0], 640),
        (lambda rows, weight: torch.dot(rows[0], weight[:, 0]).expand(1, 10), 64),
    ],
)
def test_every_way_to_multiply_is_counted(multiply, macs):
    assert module_cost(OneWeight(multiply, 64, 10), IMAGES).sizes["conv_linear_macs"] == macs


def run_evaluate(call_script, folder, *overrides, attacks="[fgsm]"):
    chosen = ["data.limit=null", f"run={folder}", f"evaluate.attacks={attacks}", *overrides]
    return call_script("evaluate", *TINY, *chosen)


def model(name, **arguments):
    given = ", ".join(f"{key}: {json.dumps(str(value))}" for key, value in arguments.items())
    return [f"evaluate.model={__name__}:{name}", *([f"evaluate.model_arguments={{{given}}}"] if given else [])]


def rights(folder):
    return [row["right"] for row in read_json(folder / "robustness.json")["protocols"][-1]["attacks"]]


PLAIN = {"parameters": 2618, "parameters_with_auxiliary_head": 2618, "conv_linear_macs": 4864}


@pytest.mark.parametrize(
    ("factory", "cost", "reason"),
    [
        *slowly(*((name, PLAIN, "thop's MACs: counting raised RuntimeError") for name in ("scripted", "traced"))),
        ("frozen", None, "parameters: its weights are constants"),
        ("compiled", PLAIN, "thop's MACs: counting raised KeyError"),
    ],
)
def test_compiled_and_scripted_modules_are_measured_and_what_cannot_be_counted_is_left_out(
    factory, cost, reason, tmp_path, call_script
):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        status, out, err = run_evaluate(call_script, tmp_path / "theirs", *model(factory))
    assert status == 0, err
    assert f"not counted of its size: {reason}" in out.splitlines()
    assert read_json(tmp_path / "theirs" / "robustness.json")["protocols"][-1]["cost"] == cost
    assert run_evaluate(call_script, tmp_path / "plain", *model("convolutional"))[0] == 0
    assert rights(tmp_path / "theirs") == rights(tmp_path / "plain")
    status, out, err = call_script("report", *TINY, f"run={tmp_path / 'theirs'}")
    assert status == 0, err
    page = (tmp_path / "theirs" / "report.html").read_text()
    assert "not counted" in page
    status, out, err = call_script("report", *TINY, f"run={tmp_path}")
    assert status == 0, err
    assert (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_an_exported_network_is_as_robust_as_the_network_itself(tmp_path, call_script):
    description = exported.write_network(tmp_path / "run")
    network = load_network(tmp_path / "run").network
    write_torch_export(trace(network, torch.zeros(2, 1, 8, 8)), tmp_path / "network.pt2")
    status, out, err = run_evaluate(
        call_script, tmp_path / "theirs", *model("exported_graph", path=tmp_path / "network.pt2"), attacks="[fgsm,cw]"
    )
    assert status == 0, err
    assert "thop's MACs: it holds no module that thop knows" in out
    cost = read_json(tmp_path / "theirs" / "robustness.json")["protocols"][-1]["cost"]
    own = description.cost()
    assert cost == {
        "parameters": own["parameters"],
        "parameters_with_auxiliary_head": own["parameters"],
        "conv_linear_macs": own["conv_linear_macs"],
    }
    chosen = ["data.test_limit=40", "evaluate.eps=0.1", "evaluate.attacks=[fgsm,cw]", "fabric.accelerator=cpu"]
    status, _, err = call_script("evaluate", f"run={tmp_path / 'run'}", *chosen)
    assert status == 0, err
    assert rights(tmp_path / "theirs") == rights(tmp_path / "run")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_frozen_modules_are_told_apart_by_their_constants():
    def digest(value):
        module = convolutional().eval()
        module[0].weight.data[0] = value
        return state_sha256(torch.jit.freeze(torch.jit.script(module)))

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


@torch.library.custom_op("of_a_test::multiplied", mutates_args=())
def multiplied(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rows @ weight


def test_an_operator_of_another_library_is_not_counted_as_nothing():
    cost = module_cost(OneWeight(lambda rows, weight: multiplied(rows, weight), 64, 10), IMAGES)
    assert cost.sizes is None
    assert cost.reasons == ("MACs: PyTorch's counter does not see into of_a_test.multiplied",)
