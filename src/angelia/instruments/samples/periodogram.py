"""Periodogram: the light curve of a pulsating source with Poisson noise, and its Lomb-Scargle periodogram."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.time import Time
from astropy.timeseries import LombScargle

from angelia.products.output import Output

MOST_BINS = 20_000
MOST_FREQUENCIES = 50_000
_SECONDS, _HOURS = 86_400.0, 24.0
"""In a day."""


def run(values: Mapping[str, Any], out: Output) -> None:
    """Times in MJD (UTC), rates in counts a second. ValueError where the observation has fewer than 16 bins or more than 20,000."""
    begin, end = (Time(values[name], format="isot", scale="utc").mjd for name in ("T1", "T2"))
    width = values["time_bin"] / _SECONDS
    count = int((end - begin) / width)
    if not 16 <= count <= MOST_BINS:
        raise ValueError(f"from T1 to T2 there are {count} bins; 16 to {MOST_BINS} make a periodogram")
    out.progress(0.1, "makes the light curve")
    times = begin + (np.arange(count) + 0.5) * width
    counts = _observed(times - begin, values)
    rates, errors = counts / values["time_bin"], np.sqrt(np.maximum(counts, 1.0)) / values["time_bin"]
    units = {"TIME": "d", "TIMEDEL": "s", "RATE": "count / s", "ERROR": "count / s"}
    columns = {"TIME": times, "TIMEDEL": np.full(count, values["time_bin"]), "RATE": rates, "ERROR": errors}
    out.light_curve(
        "light curve", columns, units, {"OBJECT": values["src_name"], "TIMESYS": "UTC", "MJDREF": 0.0}, f"Light curve of {values['src_name']}"
    )
    out.progress(0.4, "looks for the period")
    _search(times, rates, errors, out)
    out.progress(1.0, "done")


def _observed(elapsed: Any, values: Mapping[str, Any]) -> Any:
    """Counts in each bin of a source that pulsates, in days since the begin."""
    phases = 2 * np.pi * elapsed * _HOURS / values["period"]
    expected = values["rate"] * values["time_bin"] * (1 + values["amplitude"] * np.sin(phases))
    return np.random.default_rng(values["seed"]).poisson(np.maximum(expected, 0.0)).astype(float)


def _search(times: Any, rates: Any, errors: Any, out: Output) -> None:
    """Frequencies from one period in the whole observation to that of two bins."""
    length, step = times[-1] - times[0], times[1] - times[0]
    highest, lowest = 0.5 / step, 1.0 / length
    frequencies = np.linspace(lowest, highest, min(MOST_FREQUENCIES, 5 * len(times)))
    search = LombScargle(times - times[0], rates, errors)
    power = search.power(frequencies)
    best = int(np.argmax(power))
    columns = {"FREQUENCY": frequencies, "POWER": power}
    out.spectrum("periodogram", columns, {"FREQUENCY": "1 / d"}, {}, "Lomb-Scargle periodogram")
    false_alarm = float(search.false_alarm_probability(power[best], maximum_frequency=highest)) if power[best] < 1 else 0.0
    found = {
        "period_hours": _HOURS / frequencies[best],
        "power": power[best],
        "false_alarm_probability": false_alarm,
    }
    out.json("best period", found, title="The best period")
