"""Networks to evaluate, and modules that a user brings."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from pipeline.evaluation import evaluation_plan
from pipeline.evaluation.surrogate import train_surrogate
from tests.support.runs.evaluated import FACTORIES, images_of
from tests.support.scripts import TINY, finish_script


@pytest.fixture(scope="session")
def surrogates():
    """Surrogates by the images that trained them and by their seed, of which they are a function."""
    return {}


@pytest.fixture(autouse=True)
def _surrogate_once(surrogates, monkeypatch):
    """Train a surrogate once for all tests, which takes as long as the attacks of a verdict."""

    def found(data, device, seed):
        key = (hashlib.sha256(data.train.images.numpy().tobytes()).digest(), seed)
        if key not in surrogates:
            surrogates[key] = train_surrogate(data, device, seed)
        return surrogates[key]

    monkeypatch.setattr(evaluation_plan, "train_surrogate", found)


@pytest.fixture
def few_queries(monkeypatch):
    """Take a twentieth of the black-box queries of a verdict, for tests of everything else about it."""
    monkeypatch.setattr(evaluation_plan, "QUERIES", 50)


@pytest.fixture(scope="session")  # a process imports the module once, so that there is one for all files of tests
def theirs(tmp_path_factory):
    """A folder with a user's own module, and weights by scikit-learn that are right on most digits."""
    folder = tmp_path_factory.mktemp("theirs")
    train = images_of("train")
    fit = LogisticRegression(C=0.1, max_iter=200).fit(train[0].flatten(1), train[1])
    weights, bias = (torch.from_numpy(values).float().contiguous() for values in (fit.coef_, fit.intercept_))
    save_file({"layer.weight": weights, "layer.bias": bias}, folder / "theirs.safetensors")
    (folder / "their_models.py").write_text(f"WEIGHTS = {str(folder / 'theirs.safetensors')!r}\n{FACTORIES}")
    return folder


@pytest.fixture
def importable(theirs, monkeypatch):
    """Find the user's module by its name, as from its folder."""
    monkeypatch.syspath_prepend(theirs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder with a network of the project."""
    folder = tmp_path_factory.mktemp("runs") / "pdarts"
    finish_script("retrain", *TINY, f"run={folder}", "genotype=PDARTS", "retrain.recipe=standard")
    return folder
