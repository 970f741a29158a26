"""Meta-parameters as tensors, vectors and files: their sizes, derivatives, and what is refused."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.func import grad, vmap

from learned_optimizers import Theta, load_theta, new_theta
from learned_optimizers.architectures.features import Segments
from tests.support.optimization.learned_steps import NAMES, close, functional, problem, theta_of


@pytest.mark.parametrize(("name", "size"), [("mlp", 1762), ("hierarchical", 35_799)])
def test_an_architecture_has_the_published_number_of_meta_parameters(name, size):
    theta = new_theta(name, generator=torch.Generator().manual_seed(0))
    assert theta.num_parameters == size == theta.vector().numel()


def test_the_hierarchical_size_is_weights_first_messages_and_first_state():
    theta = new_theta("hierarchical", generator=torch.Generator().manual_seed(0))
    sizes = {name: tensor.numel() for name, tensor in theta.tensors.items()}
    messages = sizes["first.up"] + sizes["first.around"]
    state = sizes["first.hidden"] + sizes["first.cell"]
    weights = sum(size for name, size in sizes.items() if not name.startswith("first."))
    assert (weights, messages, state) == (35_637, 34, 128)


@pytest.mark.parametrize("name", NAMES)
def test_one_call_of_vmap_is_a_loop_over_meta_parameters_and_tasks(name):
    theta = theta_of(name)
    generator = torch.Generator().manual_seed(7)
    vectors = theta.vector() + 0.01 * torch.randn(3, theta.num_parameters, generator=generator, dtype=torch.float64)
    tasks = [problem(steps=2, shapes=((3, 4), (5,)), seed=seed) for seed in range(3)]
    rows = [[(gradients, loss, 2 * loss) for gradients, loss, _ in rows] for _, rows in tasks]

    def run(vector, params, rows):
        return functional(theta.with_vector(vector), params, rows)

    stacked_params = [torch.stack(values) for values in zip(*(params for params, _ in tasks), strict=True)]
    stacked_rows = [
        (
            [torch.stack(values) for values in zip(*(row[0] for row in at), strict=True)],
            *(torch.stack([row[place] for row in at]) for place in (1, 2)),
        )
        for at in zip(*rows, strict=True)
    ]
    found = vmap(run)(vectors, stacked_params, stacked_rows)
    for lane in range(3):
        expected = run(vectors[lane], tasks[lane][0], rows[lane])
        close([values[lane] for values in found], expected, 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_in_the_meta_parameters_is_the_difference_quotient(name):
    theta = theta_of(name)
    params, rows = problem(steps=3, shapes=((3, 4), (5,)))

    def outcome(vector):
        return sum(p.square().sum() for p in functional(theta.with_vector(vector), params, rows))

    vector = theta.vector()
    direction = torch.randn(len(vector), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    slope = grad(outcome)(vector) @ direction
    step = 1e-6
    quotient = (outcome(vector + step * direction) - outcome(vector - step * direction)) / (2 * step)
    assert slope.item() == pytest.approx(quotient.item(), rel=1e-5)


def test_sums_over_tensors_are_those_of_a_loop_and_spreading_repeats():
    sizes = [3, 1, 4]
    rows = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    segments = Segments.of(sizes, rows.device)
    expected = torch.stack([part.sum(1) for part in rows.split(sizes, dim=1)])
    torch.testing.assert_close(segments.total(rows), expected)
    repeated = torch.cat([row[:, None].expand(2, size) for row, size in zip(expected, sizes, strict=True)], dim=1)
    torch.testing.assert_close(segments.spread(expected), repeated)
    whole = Segments.of([8], rows.device)
    torch.testing.assert_close(whole.total_squares(rows), rows.square().sum(1)[None])


@pytest.mark.parametrize("name", NAMES)
def test_meta_parameters_go_through_a_file_and_a_vector(name, tmp_path):
    theta = new_theta(name, generator=torch.Generator().manual_seed(4))
    theta.save(tmp_path / "folder" / "theta.safetensors")
    loaded = load_theta(tmp_path / "folder" / "theta.safetensors")
    assert loaded.architecture == name
    assert torch.equal(loaded.vector(), theta.vector())
    assert loaded.fingerprint == theta.fingerprint
    assert theta.with_vector(theta.vector() + 1).fingerprint != theta.fingerprint
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["theta.safetensors"]


def test_a_file_that_holds_no_meta_parameters_is_refused_in_one_line(tmp_path):
    path = tmp_path / "theta.safetensors"
    theta = new_theta("mlp", generator=torch.Generator().manual_seed(0))
    theta.save(path)
    tensors, header = load_file(path), {"learned_optimizer/1": "mlp"}
    with pytest.raises(FileNotFoundError, match=r"nowhere is no file, and no shipped optimizer \(there are: "):
        load_theta("nowhere")
    refusals = [
        (tensors, {"learned_optimizer/9": "mlp"}, "expected an optimizer's header"),
        (tensors, None, "expected an optimizer's header"),
        (tensors, {"learned_optimizer/1": "tree"}, "expected an architecture out of mlp, hierarchical"),
        (tensors | {"hidden.bias": torch.zeros(3)}, header, r"hidden.bias \(expected \(32,\), found \(3,\)\)"),
        (
            {k: v for k, v in tensors.items() if k != "input.bias"},
            header,
            r"input.bias \(expected \(32,\), found None\)",
        ),
        (tensors | {"input.bias": torch.full((32,), torch.nan)}, header, "expected finite floating-point values"),
    ]
    for content, metadata, message in refusals:
        save_file(content, path, metadata)
        with pytest.raises(ValueError, match=message) as caught:
            load_theta(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        load_theta(path)
    with pytest.raises(ValueError, match=r"expected a vector \[1762\], found \[3\]"):
        theta.with_vector(torch.zeros(3))
    with pytest.raises(ValueError, match="expected an architecture out of mlp, hierarchical"):
        Theta("tree", {})


def test_an_untrained_start_is_drawn_from_the_generator_alone():
    one, two, other = (new_theta("mlp", generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.vector(), two.vector())
    assert not torch.equal(one.vector(), other.vector())
    hidden = one.tensors["hidden.weight"]
    assert hidden.std().item() == pytest.approx(1 / math.sqrt(32), rel=0.1)
