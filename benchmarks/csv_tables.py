"""Tables that grow by rows for each case, so that a benchmark can be stopped and continued."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


def rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table; none if it does not exist yet."""
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def append(table: Path, columns: Sequence[str], *added: Sequence[object]) -> None:
    """Add rows to a table, at once."""
    header = [] if table.exists() else [columns]
    with table.open("a", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([*header, *added])
