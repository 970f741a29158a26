"""The continuation as users run it: what it writes, that it is not done twice, and that nothing is overwritten."""

import csv
import json

import numpy as np
import pytest

from pipeline.continuation.spectrum_file import read_spectrum
from pipeline.settings import GreenSettings, SpectrumSettings
from tests.support.green import FREQUENCIES, POLE, SETTINGS, VALUES, write_green
from tests.support.runs.pages import Page
from tests.support.scripts import finish_script


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    """The run folder of a pole's Green's function, and the settings."""
    folder = tmp_path_factory.mktemp("continued")
    settings = (f"green.path={write_green(folder / 'green.txt')}", *SETTINGS, f"run={folder / 'run'}")
    finish_script("continue_spectrum", *settings)
    return folder / "run", settings


def test_the_spectrum_of_a_pole_peaks_there_and_fits_the_data(continued):
    found = read_spectrum(continued[0])
    omega, values = np.array(found.spectrum.omega), np.array(found.spectrum.values)
    assert abs(omega[values.argmax()] - POLE) <= 0.1
    assert abs(found.norm - 1) < 0.01
    assert found.chi_squared_per_point < 1
    back = np.array(found.data.back_real) + 1j * np.array(found.data.back_imaginary)
    np.testing.assert_allclose(back, VALUES, atol=3e-3)
    assert len(found.data.residuals) == 2 * len(FREQUENCIES)
    np.testing.assert_allclose(np.mean(np.square(found.data.residuals)), found.chi_squared_per_point)


def test_the_table_and_the_page_hold_the_spectrum_and_nothing_from_elsewhere(continued):
    folder, _ = continued
    rows = list(csv.DictReader((folder / "spectrum.csv").read_text().splitlines()))
    found = read_spectrum(folder)
    np.testing.assert_allclose([float(row["spectrum"]) for row in rows], found.spectrum.values, rtol=1e-9)
    page = Page((folder / "report.html").read_text())
    assert page.faults == []
    assert all(reference.startswith(("#", "data:")) for reference in page.references)
    assert {path.name for path in (folder / "figures").iterdir()} == {
        *("spectrum.png", "spectrum-data.png", "spectrum-residuals.png")
    }


def test_the_same_again_computes_nothing_and_the_report_draws_it_again(continued, call_script):
    folder, settings = continued
    before = files_of(folder)
    for script, overrides in (("continue_spectrum", settings), ("report", (f"run={folder}",))):
        status, out, err = call_script(script, *overrides)
        assert (status, err) == (0, "")
        assert str(folder / "report.html") in out
        assert files_of(folder) == before


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("spectrum.n_points=91", "holds a run with other settings (spectrum.n_points was 81, is 91)"),
        ("green.path={other}", "holds the spectrum of other data; choose another run="),
    ],
)
def test_another_continuation_is_not_written_over_it(continued, call_script, tmp_path, override, says):
    folder, settings = continued
    other = write_green(tmp_path / "other.txt", values=VALUES + 1e-3)
    before = files_of(folder)
    status, out, err = call_script("continue_spectrum", *settings, override.format(other=other))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert files_of(folder) == before


def test_the_same_data_at_another_place_are_the_same(continued, call_script, tmp_path):
    folder, settings = continued
    before = files_of(folder)
    status, _, err = call_script("continue_spectrum", *settings, f"green.path={write_green(tmp_path / 'moved.txt')}")
    assert (status, err) == (0, "")
    assert files_of(folder) == before


def test_a_damaged_spectrum_is_one_line(continued, call_script, tmp_path):
    content = json.loads((continued[0] / "spectrum.json").read_text())
    content["spectrum"]["values"].pop()
    (tmp_path / "spectrum.json").write_text(json.dumps(content))
    status, _, err = call_script("report", f"run={tmp_path}")
    assert (status, err.count("\n")) == (2, 1)
    assert "expected as many values, and as many ends of the band, as frequencies" in err


def test_a_self_energy_says_its_constant_part(call_script, tmp_path):
    path = write_green(tmp_path / "sigma.txt", values=0.5 + VALUES)
    overrides = (*SETTINGS, "green.self_energy=true", "green.constant=0.5", f"run={tmp_path / 'run'}")
    status, out, err = call_script("continue_spectrum", f"green.path={path}", *overrides)
    assert (status, err) == (0, "")
    assert "self-energy: constant part 0.5 ± 0" in out


def test_settings_name_what_the_package_has():
    from analytic_continuation import ALIASES, ALPHA_RULES, KERNELS, METHODS

    def choices(model, key):
        return set(model.model_json_schema()["properties"][key].get("enum", []))

    kernels = GreenSettings.model_json_schema()["properties"]["kernel"]["anyOf"][0]["enum"]
    assert set(kernels) == set(KERNELS)
    assert choices(SpectrumSettings, "method") == set(METHODS)
    assert choices(SpectrumSettings, "alpha_rule") == set(ALPHA_RULES)
    for alias, kernel in ALIASES.items():
        assert GreenSettings(kernel=alias).kernel == kernel
