"""Spectrum fit: counts of a power law with a Gaussian line, and the model that fits them best."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from angelia.products.output import Output

_NAMES = ("norm", "photon index", "line flux", "line energy", "line width")
_UNITS = ("1 / (keV s)", "", "1 / s", "keV", "keV")
_NORM, _LINE_FLUX, _LINE_WIDTH = 0.05, 0.12, 0.05
"""Of the source that is made: photons a second, and the width of its line as a share of its energy."""


def run(values: Mapping[str, Any], out: Output) -> None:
    """Energies in keV, fluxes in photons a second and keV. ValueError for a band that is empty or has no line in it."""
    lowest, highest, line = values["E1_keV"], values["E2_keV"], values["line"]
    if not lowest < line < highest:
        raise ValueError("the line lies between the lowest and the highest energy")
    out.progress(0.1, "makes the spectrum")
    edges = np.geomspace(lowest, highest, values["bins"] + 1)
    widths, energies = np.diff(edges), np.sqrt(edges[:-1] * edges[1:])
    truth = (_NORM, values["photon_index"], _LINE_FLUX, line, _LINE_WIDTH * line)
    model = _model_around(line)
    expected = model(energies, *truth) * widths * values["exposure"]
    counts = np.random.default_rng(values["seed"]).poisson(expected).astype(float)
    scale = widths * values["exposure"]
    flux, error = counts / scale, np.sqrt(np.maximum(counts, 1.0)) / scale
    out.progress(0.4, "fits it")
    best, sigma, chi2 = _fitted(model, energies, flux, error, truth, (lowest, highest))
    columns = {"ENERGY": energies, "WIDTH": widths, "FLUX": flux, "ERROR": error, "MODEL": model(energies, *best)}
    per_second = "1 / (keV s)"
    units = {"ENERGY": "keV", "WIDTH": "keV", "FLUX": per_second, "ERROR": per_second, "MODEL": per_second}
    out.spectrum("spectrum", columns, units, {"OBJECT": values["src_name"], "EXPOSURE": values["exposure"]}, f"Spectrum of {values['src_name']}")
    _tell(best, sigma, chi2, len(energies) - len(best), out)
    out.progress(1.0, "done")


def _model_around(pivot: float) -> Any:
    """The power law has its norm at the `pivot`, where it hangs least on the index."""

    def model(energy: Any, norm: float, index: float, line_flux: float, line: float, width: float) -> Any:
        shape = np.exp(-0.5 * ((energy - line) / width) ** 2) / (width * np.sqrt(2 * np.pi))
        return norm * (energy / pivot) ** -index + line_flux * shape

    return model


def _fitted(model: Any, energies: Any, flux: Any, error: Any, truth: Any, band: tuple[float, float]) -> tuple[Any, Any, float]:
    """(best values, their errors, chi squared). It starts beside the truth: a fit that knew it would prove nothing."""
    start = [truth[0] * 1.5, truth[1] + 0.3, truth[2] * 0.5, truth[3] * 1.02, truth[4] * 1.5]
    start[3] = min(max(start[3], band[0]), band[1])
    limits = ([0.0, -2.0, 0.0, band[0], truth[4] / 100], [np.inf, 10.0, np.inf, band[1], band[1]])
    best, covariance = curve_fit(model, energies, flux, start, error, absolute_sigma=True, bounds=limits)
    chi2 = float(np.sum(((flux - model(energies, *best)) / error) ** 2))
    return best, np.sqrt(np.diag(covariance)), chi2


def _tell(best: Any, sigma: Any, chi2: float, free: int, out: Output) -> None:
    columns = {"PARAMETER": list(_NAMES), "VALUE": best, "ERROR": sigma, "UNIT": list(_UNITS)}
    out.table("best fit", columns, {}, {"chi2": chi2, "degrees_of_freedom": free}, "Parameters of the best fit")
    lines = [f"{name} = {value:.4g} +- {one:.2g} {unit}".rstrip() for name, value, one, unit in zip(_NAMES, best, sigma, _UNITS, strict=True)]
    out.text("summary", "\n".join([*lines, f"chi squared {chi2:.1f} for {free} degrees of freedom"]) + "\n", title="The fit in words")
