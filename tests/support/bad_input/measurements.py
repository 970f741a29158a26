"""Files of measurements that cannot be continued, and the cases that meet them, as in files.py."""

import io
import pickle
import zipfile

import numpy as np

from tests.support.bad_input.networks import Planted

BETA = 10
FREQUENCIES = np.pi / BETA * (2 * np.arange(8) + 1)
VALUES = 1 / (1j * FREQUENCIES - 1)
TIMES = np.linspace(0, BETA, 9)
G_OF_TAU = -np.exp(-TIMES) / (1 + np.exp(-BETA))


def lines(*columns):
    """Columns of numbers as text."""
    file = io.StringIO()
    np.savetxt(file, np.stack(np.broadcast_arrays(*columns), axis=1))
    return file.getvalue().encode()


def green_lines(frequencies=FREQUENCIES, values=VALUES, errors=1e-3):
    """A Green's function at Matsubara frequencies as text."""
    return lines(frequencies, values.real, values.imag, errors)


def npy(array):
    """An array as a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays):
    """Arrays as a .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def large_npz():
    """A file that says it unpacks to more than may be read, in half a megabyte."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", bytes(101 * 10**6), compresslevel=1)
    return file.getvalue()


def changed(array, value):
    """A copy whose third element is another."""
    copy = np.array(array)
    copy[2] = value
    return copy


MEASUREMENTS = {
    "green.txt": green_lines(),
    "tau.txt": lines(TIMES, G_OF_TAU, 1e-3),
    "no errors.txt": lines(FREQUENCIES, VALUES.real, VALUES.imag),
    "one column.txt": lines(FREQUENCIES),
    "six columns.txt": lines(*(6 * [FREQUENCIES])),
    "nan.txt": green_lines(values=changed(VALUES, np.nan)),
    "infinite error.txt": green_lines(errors=changed(FREQUENCIES, np.inf)),
    "no error.txt": green_lines(errors=changed(FREQUENCIES, 0)),
    "twice.txt": green_lines(frequencies=changed(FREQUENCIES, FREQUENCIES[0])),
    "few.txt": green_lines(FREQUENCIES[:3], VALUES[:3]),
    "late_times.txt": lines(TIMES + 1, G_OF_TAU, 1e-3),
    "positive.txt": lines(TIMES, -G_OF_TAU, 1e-3),
    "word.txt": b"1 2 3 4\n5 six 7 8\n",
    "short line.txt": b"1 2 3 4\n5 6 7\n",
    "comments.txt": b"# nothing else\n\n",
    "binary.dat": bytes(range(128, 256)),
    "cube.npy": npy(np.zeros((2, 2, 2))),
    "words.npy": npy(np.array(["a", "b"])),
    "objects.npy": b"\x93NUMPY\x01\x00" + npy(np.zeros(3))[8:].replace(b"'<f8'", b"'|O' ") + pickle.dumps(Planted()),
    "cut.npy": npy(np.zeros((100, 4)))[:-100],
    "names.npz": npz(x=FREQUENCIES, y=VALUES),
    "cut.npz": npz(points=FREQUENCIES, values=VALUES)[:-30],
    "large.npz": large_npz(),
    "complex points.npz": npz(points=1j * FREQUENCIES, values=VALUES, errors=np.full(8, 1e-3)),
    "other lengths.npz": npz(points=FREQUENCIES, values=VALUES, errors=np.full(7, 1e-3)),
    "negative.npz": npz(points=FREQUENCIES, values=VALUES, cov=-np.eye(8)),
    "skew.npz": npz(points=FREQUENCIES, values=VALUES, cov=np.eye(8) + np.triu(np.ones((8, 8)), 1) / 99),
    "many.npy": npy(np.ones((5001, 4))),
    "cut.h5": b"\x89HDF\r\n\x1a\n" + bytes(20),
    "covariance.txt": lines(*np.eye(5)),
}

FERMIONS = "green.kernel=fermionic_matsubara green.beta=10 spectrum.omega_max=4 spectrum.method=maxent"
IN_TIME = FERMIONS.replace("fermionic_matsubara", "fermionic_time")


def _of(name, says, settings=FERMIONS):
    return "continue_spectrum", f"'green.path=\"{{files}}/{name}\"' {settings}", says


_READ = [
    _of("no errors.txt", "no errors.txt has no error bars; estimate them as the standard deviation of the mean"),
    _of("one column.txt", "columns frequency, real part, imaginary part, error, or one error for each part; found 1"),
    _of("six columns.txt", "one error for each part; found 6 columns"),
    _of("tau.txt", "tau.txt has no error bars"),
    _of("green.txt", "have the columns point, value, error; found 4 columns", IN_TIME),
    _of("nan.txt", "nan.txt: values: expected finite numbers, found (nan"),
    _of("infinite error.txt", "errors: expected finite numbers, found inf"),
    _of("no error.txt", "errors: expected positive standard deviations, found 0"),
    _of("twice.txt", "points: expected each point once, found one twice"),
    _of("few.txt", "points: expected at least 4, found 3"),
    _of("late_times.txt", "points: expected imaginary times in 0 .. beta = 10, found 11", IN_TIME),
    _of("positive.txt", "values: expected G(tau) = -<c(tau) c^+>, which is negative, found positive ones", IN_TIME),
    _of("word.txt", "word.txt: line 2: expected a number, found 'six'"),
    _of("short line.txt", "line 2 has 3 columns; expected 4, as in those before"),
    _of("comments.txt", "comments.txt holds no numbers; expected lines of a frequency or time"),
    _of("binary.dat", "expected text in UTF-8, .npy, .npz or HDF5, found none of them"),
    _of("empty", "empty holds no numbers"),
    _of("pickle", "expected text in UTF-8, .npy, .npz or HDF5, found none of them"),
    _of("gone.txt", "gone.txt does not exist"),
    _of("", "cannot be read: expected a file, found a folder"),
    _of("cube.npy", "expected a table of lines and columns, found an array [2, 2, 2]"),
    _of("words.npy", "expected an array of numbers, found one of <U1"),
    _of("objects.npy", "expected an array of numbers, found one of object"),
    _of("cut.npy", "a .npy file of shape [100, 4] has more bytes than the"),
    _of("names.npz", "expected arrays points (or im_axis) and values (or im_data) ... found x, y"),
    _of("cut.npz", "not a whole .npz file: "),
    _of("large.npz", "unpacked it has 101,000,000 bytes; expected at most 100,000,000"),
    _of("complex points.npz", "points: expected real numbers, found imaginary parts that are not 0"),
    _of("other lengths.npz", "errors: expected 8, as many as points, found [7]"),
    _of("negative.npz", "covariance: expected a positive definite matrix, found one that is not"),
    _of("skew.npz", "covariance: expected a symmetric matrix, found another"),
    _of("many.npy", "has 5,001 points; expected at most 5,000, leave out or average some"),
    _of("cut.h5", "cut.h5: "),
]

_ASKED = [
    ("continue_spectrum", "", "green.path is missing; give it, as in green.path=green.txt"),
    _of("green.txt", "green.kernel is missing", "green.beta=10 spectrum.omega_max=4"),
    _of("green.txt", "green.beta is missing", "green.kernel=fermionic_matsubara spectrum.omega_max=4"),
    _of("green.txt", "spectrum.omega_max is missing", "green.kernel=fermionic_matsubara green.beta=10"),
    _of("green.txt", "0.314159 is no fermionic Matsubara frequency of beta = 20", f"{FERMIONS} green.beta=20"),
    _of(
        "green.txt",
        "green.kernel: Input should be 'fermionic_matsubara', 'fermionic_time', ... found 'fermions'",
        f"{FERMIONS} green.kernel=fermions",
    ),
    _of("green.txt", "green.beta: Input should be greater than 0, found -1", f"{FERMIONS} green.beta=-1"),
    _of("green.txt", "grid: expected a minimum below the maximum", f"{FERMIONS} spectrum.omega_min=5"),
    _of("green.txt", "spectrum.n_points: Input should be greater", f"{FERMIONS} spectrum.n_points=2"),
    _of("green.txt", "spectrum.method: Input should be 'learned', 'maxent'", f"{FERMIONS} spectrum.method=pade"),
    _of(
        "green.txt",
        "spectrum.model: nowhere is no file, and no shipped model (there are: gaussians)",
        f"{FERMIONS} spectrum.method=learned spectrum.model=nowhere",
    ),
    _of("green.txt", "text cannot be read", f"{FERMIONS} spectrum.method=learned spectrum.model={{files}}/text"),
    _of("green.txt", "spectrum.norm=-1: expected a number above 0", f"{FERMIONS} spectrum.norm=-1"),
    _of("green.txt", "window that holds 0", f"{FERMIONS} spectrum.grid=centred spectrum.omega_min=1"),
    _of("green.txt", "spectrum.norm: Input should be less than or equal to 1e+30", f"{FERMIONS} spectrum.norm=1e300"),
    _of("green.txt", "spectrum.omega_max: Input should be less", f"{FERMIONS} spectrum.omega_max=1e300"),
    _of("green.txt", "not finite, or above 1e100", f"{FERMIONS} spectrum.norm=1 spectrum.omega_max=1e-300"),
    _of("green.txt", "green.errors=0.1 is for files without error bars", f"{FERMIONS} green.errors=0.1"),
    _of("green.txt", "green.group names a group of an HDF5 file", f"{FERMIONS} green.group=imp"),
    _of("green.txt", "green.constant is the constant part of a self-energy", f"{FERMIONS} green.constant=1"),
    _of("tau.txt", "green.self_energy=true is for fermionic_matsubara", f"{IN_TIME} green.self_energy=true"),
    _of(
        "green.txt",
        "covariance.txt: covariance: expected real numbers [8, 8] or [16, 16], found float64 [5, 5]",
        f"{FERMIONS} green.covariance={{files}}/covariance.txt",
    ),
]

OF_MEASUREMENTS = _READ + _ASKED
