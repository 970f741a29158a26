"""What is shipped is found by its name, says what it is, and is what the results say of it."""

import json
from statistics import mean

import pytest

import e2rnas
from analytic_continuation.unrolled import model_files
from e2rnas.zoo import NETWORKS
from learned_optimizers.theta import shipped as shipped_optimizers
from pipeline.evaluation.stored_evaluation import protocol_in_words, read_robustness
from pipeline.networks.network_files import load_network
from pipeline.networks.shipped_cells import RESNET
from pipeline.presentation.words import percent
from search_space import PUBLISHED, Network, network_cost
from tests.support.scripts import ROOT
from tests.support.slowly import slowly

RESULTS = json.loads((ROOT / "benchmarks/results/supernet_choice/comparison_digits.json").read_text())
TRAINED = ("robust-digits-searched-1", "robust-digits-resnet-8")
SEARCHED = {f"digits-{cell['name']}": cell for cell in RESULTS["cells"] if cell["kind"] == "searched"}


@pytest.mark.parametrize("name", SEARCHED)
def test_a_cell_that_was_found_is_that_of_the_comparison_with_its_figures(name):
    genotype, cell = e2rnas.load(name), SEARCHED[name]
    assert json.loads(genotype.to_json()) == cell["genotype"]
    cost = network_cost(genotype, channels=8, layers=3, in_channels=1, image_size=8)
    assert (cost.parameters, cost.conv_linear_macs) == (cell["parameters"], cell["macs"])
    accuracies = cell["accuracies"]["pgd-20"]
    said = f"{100 * mean(accuracies):.1f} % under pgd-20, mean of {len(accuracies)} trainings; {cost.parameters:,} p"
    assert said in e2rnas.shipped()[name]


def test_all_that_is_shipped_is_named_once_and_loads():
    known = e2rnas.shipped()
    names = [*PUBLISHED, RESNET, *SEARCHED, *TRAINED, *shipped_optimizers(), *model_files.shipped()]
    assert sorted(known) == sorted(names)
    assert e2rnas.load("DARTS_V2") == PUBLISHED["DARTS_V2"].genotype
    assert e2rnas.load("general").architecture == "general"
    assert e2rnas.load("gaussians").num_parameters > 1000


@pytest.mark.parametrize(("name", "hint"), [("DARTS_V3", "did you mean DARTS_V"), ("zzzz", "expected one of ")])
def test_an_unknown_name_is_refused_in_one_line(name, hint):
    with pytest.raises(ValueError, match=f"nothing is shipped as '{name}'; {hint}"):
        e2rnas.load(name)


def test_shipped_networks_are_small_together():
    assert {path.name for path in NETWORKS.iterdir()} == set(TRAINED)
    assert sum(path.stat().st_size for path in NETWORKS.rglob("*") if path.is_file()) < 2e6


@pytest.mark.parametrize("name", TRAINED)
def test_a_card_speaks_of_the_weights_beside_it_and_has_all_figures(name):
    trained, (evaluation,) = load_network(NETWORKS / name), read_robustness(NETWORKS / name / "robustness.json")
    assert trained.description.is_training_of(trained.state_sha256)
    assert evaluation.is_of(trained.description, trained.state_sha256)
    card = e2rnas.card(name)
    assert card.accuracies.attacks == evaluation.attacks
    assert [row.attack for row in card.accuracies] == ["clean", "pgd-20", "autoattack"]
    assert card.protocol == protocol_in_words(evaluation.settings, 360)
    assert str(card).startswith(f"---\npipeline_tag: image-classification\n---\n\n# {name}\n")
    assert f'e2rnas.load("{name}")' in str(card)
    assert f"python scripts/retrain.py \\\n  run=runs/{name} \\\n  genotype={card.description.name} " in str(card)
    for row in evaluation.attacks:
        assert f"| {row.attack} | {percent(row.accuracy)} |".replace("\N{NO-BREAK SPACE}", " ") in str(card)
    said = f"{100 * card.accuracies['autoattack'].accuracy:.1f} % under autoattack"
    assert said in e2rnas.shipped()[name]


@pytest.mark.parametrize("name", [TRAINED[-1], *slowly(*TRAINED[:-1])])
def test_a_shipped_network_has_the_figures_of_its_card(name):
    network, card = e2rnas.load(name), e2rnas.card(name)
    assert isinstance(network, Network)
    assert not network.training
    found = e2rnas.evaluate(network, "digits", attacks=["pgd-20"], eps=0.1)
    for attack in ("clean", "pgd-20"):
        # arithmetic in another order can turn an image that lies on the border
        assert abs(found[attack].right - card.accuracies[attack].right) <= 1


def test_what_has_no_card_is_refused_in_one_line():
    with pytest.raises(ValueError, match="'DARTS_V2' is no trained network and has no card; expected one of robust-"):
        e2rnas.card("DARTS_V2")
    with pytest.raises(ValueError, match="nothing is shipped as 'robust-digits-resnet-9'; did you mean robust-digits-"):
        e2rnas.card("robust-digits-resnet-9")
