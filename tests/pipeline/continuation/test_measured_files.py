"""Measured data are the same in every form in which they are written."""

import io

import numpy as np
import pytest

from pipeline.continuation.array_files import read_npz
from pipeline.continuation.green import grid_of, read_green
from pipeline.continuation.measured_files import read_measured
from pipeline.settings import GreenSettings, SpectrumSettings
from tests.support.green import BETA, ERRORS, FREQUENCIES, VALUES, write_green

COLUMNS = np.stack([FREQUENCIES, VALUES.real, VALUES.imag, ERRORS], axis=1)


def as_text(path):
    write_green(path)


def with_commas(path):
    np.savetxt(path, COLUMNS, delimiter=", ", header="frequency, real, imaginary, error")


def as_npy(path):
    with path.open("wb") as file:
        np.save(file, COLUMNS)


def as_complex_npy(path):
    with path.open("wb") as file:
        np.save(file, np.stack([FREQUENCIES, VALUES, ERRORS], axis=1))


def as_npz(path):
    with path.open("wb") as file:
        np.savez(file, points=FREQUENCIES, values=VALUES, errors=ERRORS)


def named_as_ana_cont(path):
    with path.open("wb") as file:
        np.savez_compressed(file, im_axis=FREQUENCIES, im_data=VALUES, stdev=ERRORS)


def as_hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["points"], file["values"], file["errors"] = FREQUENCIES, VALUES, ERRORS


def as_hdf5_of_triqs(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["points"], file["errors"] = FREQUENCIES, ERRORS
        file["values"] = np.stack([VALUES.real, VALUES.imag], axis=1)
        file["values"].attrs["__complex__"] = 1


FORMS = [
    *(as_text, with_commas, as_npy, as_complex_npy, as_npz, named_as_ana_cont),
    *(as_hdf5, as_hdf5_of_triqs),
]


@pytest.mark.parametrize("write", FORMS)
def test_every_form_gives_the_same_data(tmp_path, write):
    path = tmp_path / "green"
    write(path)
    found = read_measured(path, is_complex=True)
    np.testing.assert_allclose(found.points, FREQUENCIES)
    np.testing.assert_allclose(found.values, VALUES)
    np.testing.assert_allclose(found.errors, ERRORS)


def test_hdf5_without_h5py_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    path = tmp_path / "green.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match=r"HDF5 files need h5py; pip install -e '.\[hdf5\]', or write .npz"):
        read_measured(path, is_complex=True)


def settings(path, **more):
    return GreenSettings(path=str(path), kernel="freq_fermionic", beta=BETA, **more)


def test_error_bars_of_each_part_become_a_covariance(tmp_path):
    path = tmp_path / "green.txt"
    np.savetxt(path, np.column_stack([COLUMNS, 2 * ERRORS]))
    green = read_green(settings(path)).green
    np.testing.assert_allclose(np.diag(green.covariance), np.concatenate([ERRORS, 2 * ERRORS]) ** 2)


def test_one_error_bar_serves_where_the_file_has_none_and_a_covariance_before_all(tmp_path):
    path, covariance = tmp_path / "green.txt", tmp_path / "covariance.npy"
    np.savetxt(path, COLUMNS[:, :3])
    np.save(covariance, np.diag(ERRORS**2) + 1e-7)
    np.testing.assert_allclose(read_green(settings(path, errors=0.01)).green.errors, 0.01)
    found = read_green(settings(path, covariance=str(covariance))).green
    np.testing.assert_allclose(found.covariance[0, 1], 1e-7)


def test_the_constant_part_of_a_self_energy_is_found_and_its_error_is_common_to_real_parts(tmp_path):
    path = write_green(tmp_path / "sigma.txt", values=1.5 + 2 * VALUES)
    known = read_green(settings(path, self_energy=True, constant=1.5))
    np.testing.assert_allclose(known.green.values, 2 * VALUES, atol=1e-12)
    assert known.green.covariance is None
    fitted = read_green(settings(path, self_energy=True))
    assert abs(fitted.tail.constant - 1.5) < 3 * fitted.tail.error + 0.02
    assert abs(fitted.tail.weight - 2) < 3 * fitted.tail.weight_error + 0.05
    count = len(FREQUENCIES)
    np.testing.assert_allclose(fitted.green.covariance[0, 1], fitted.tail.error**2)
    np.testing.assert_allclose(fitted.green.covariance[count:, count:], np.diag(ERRORS**2))


def test_the_window_is_symmetric_for_fermions_and_starts_at_0_for_bosons():
    asked = SpectrumSettings(omega_max=6, n_points=13)
    assert (grid_of(asked, bosonic=False)[0], grid_of(asked, bosonic=True)[0]) == (-6, 0)
    centred = grid_of(SpectrumSettings(omega_max=6, omega_min=-2, n_points=41, grid="centred"), bosonic=False)
    assert (centred[0], centred[-1]) == (-2, 6)
    assert np.diff(centred).min() < 0.5 * np.diff(centred).max()


def test_an_archive_that_names_places_outside_writes_none(tmp_path):
    file = io.BytesIO()
    np.savez(file, **{"../../points": FREQUENCIES})
    assert list(read_npz(file.getvalue(), 10**6)) == ["../../points"]
    assert list(tmp_path.iterdir()) == []
