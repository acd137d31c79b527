"""A report in one line."""

from slicer.i18n import tr as _


def resultLine(report):
    """Say how good a result is and what it took: likeness before and after, folding, seconds, device."""
    parts = []
    if report.get("dice_after") is not None:
        parts.append(_("Dice {dice_before:.2f} → {dice_after:.2f}"))
    elif "similarity_after" in report:
        parts.append(_("Similarity {similarity_before:.2f} → {similarity_after:.2f}"))
    if "folding_percent" in report:
        parts.append(_("folding {folding_percent:.2g} %"))
    if "seconds" in report:
        parts.append(_("{seconds[total]:.1f} s"))
    parts.append("{device}")
    return " · ".join(parts).format(**report)
