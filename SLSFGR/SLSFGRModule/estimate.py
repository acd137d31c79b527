"""What a run will take: time, from earlier runs on this computer, and memory."""

import os
import time
from functools import lru_cache

import slicer
from slicer.i18n import tr as _

from .library import importLibrary

SETTING = "SLSFGR/SecondsFactor"  # how much longer a run took here than on the computer of the estimates
MOST = 1000.0
FRESH_SECONDS = 5.0  # on a Mac a program must be asked, and the panel asks for each node that is added


@lru_cache(maxsize=1)
def _freeMemory(_period):
    return importLibrary("SLSFGRLib.runtime.memory").available_memory()


def estimateText(pairs, transform, mode):
    """Return a sentence on the time and the memory that the registration of some pairs of volumes needs.

    :param transform, mode: by their names in the library.
    """
    costs = [_costs(pair.nodes, transform, mode) for pair in pairs]
    low, high = (_factor() * sum(cost.seconds[index] for cost in costs) for index in (0, 1))
    memory, free = max(cost.memory for cost in costs), _freeMemory(time.monotonic() // FRESH_SECONDS)
    duration = _duration(high)
    if _duration(low) != duration:
        duration = _("{low} to {high}").format(low=_duration(low), high=duration)
    text = _("About {time}, {memory:.1f} GB of memory").format(time=duration, memory=memory / 1e9)
    if free is None:
        return text + "."
    text = _("{text} ({free:.1f} GB are free).").format(text=text, free=free / 1e9)
    return text if memory <= free else text + " " + _("Close other programs for a more exact result.")


def learnFrom(report, pair):
    """Remember how fast this computer was, for the next estimate.

    :param report: of the registration of a pair; that of a segmentation teaches nothing.
    """
    transform = report.get("transform")
    if transform:
        costs = _costs(pair.nodes, transform, report["mode"])
        factor = report["seconds"]["total"] / max(costs.seconds[0], 0.1)
        slicer.app.userSettings().setValue(SETTING, min(max(factor, 1.0 / MOST), MOST))


def _costs(volumeNodes, transform, mode):
    images = [(node.GetImageData().GetDimensions(), node.GetSpacing()) for node in volumeNodes]
    return importLibrary("SLSFGRLib.registration.costs").expected_costs(images, transform, mode)


def _factor():
    """Return how much longer a run takes here than on two cores of a slow server."""
    try:
        return float(slicer.app.userSettings().value(SETTING))
    except (TypeError, ValueError):  # there was no run yet
        return (2.0 / min(os.cpu_count() or 2, 8)) ** 0.5  # a guess: not all of the work is done in parallel


def _duration(seconds):
    """Return a duration in words, with one or two digits."""
    if seconds >= 100:
        return _("{count} min").format(count=max(2, round(seconds / 60)))
    return _("{count} s").format(count=max(1, round(seconds) if seconds < 20 else 10 * round(seconds / 10)))
