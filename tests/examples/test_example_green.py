"""The shipped Green's function is what its script makes, and the lines and the command of the documents continue it."""

import re
import runpy

import numpy as np

from tests.support.scripts import ROOT

EXAMPLES = ROOT / "examples"
DOCUMENT = ROOT / "docs" / "how_to" / "continuation.md"


def test_the_shipped_file_is_what_its_script_writes(tmp_path):
    script = tmp_path / "make_green.py"
    script.write_text((EXAMPLES / "make_green.py").read_text())
    runpy.run_path(str(script), run_name="__main__")
    written = [np.loadtxt(folder / "green.txt") for folder in (tmp_path, EXAMPLES)]
    np.testing.assert_allclose(*written, atol=2e-8)


def test_the_lines_of_the_document_find_the_spectrum_of_the_example(monkeypatch):
    (lines,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len([line for line in lines.splitlines() if line and "import" not in line]) == 5
    monkeypatch.chdir(ROOT)
    names = {}
    exec(compile(lines, str(DOCUMENT), "exec"), names)  # noqa: S102 - it is ours
    truth = runpy.run_path(str(EXAMPLES / "make_green.py"))["spectrum"]
    spectrum = names["spectrum"]
    error = np.abs(spectrum.values - truth(spectrum.omega)).sum() / np.abs(truth(spectrum.omega)).sum()
    assert error < 0.35
    assert spectrum.chi_squared_per_point > 0.3


def test_the_command_of_the_document_continues_the_example(monkeypatch, call_script, tmp_path):
    (words,) = re.findall(r"^    python scripts/continue_spectrum.py (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    monkeypatch.chdir(ROOT)
    status, out, err = call_script("continue_spectrum", *words.split(), f"run={tmp_path / 'run'}")
    assert (status, err) == (0, "")
    assert "highest peak at -1.2" in out or "highest peak at -1.1" in out
