"""Results appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder whose files are moved into ``folder`` when the block ends well.

    If it ends badly, ``folder`` holds what it held before, and is not made if it was not there.

    :raises InputError: the folder cannot be made or written to.
    """
    made = _make(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".slsfgr-", dir=folder) as name:
            yield Path(name)
            for path in sorted(Path(name).iterdir()):
                path.replace(folder / path.name)
    except PermissionError as error:
        raise InputError(f"{folder}: cannot be written to; choose another folder.") from error
    finally:
        for path in made:
            # Whatever we made and did not fill goes again, the deepest folder first.
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Give a temporary path of the same ending that is moved to ``path`` when the block ends well.

    :raises InputError: the file's folder does not exist or cannot be written to.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; make it first.")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".slsfgr-", dir=path.parent))
    except PermissionError as error:
        raise InputError(f"{path}: its folder cannot be written to; choose another.") from error
    try:
        yield scratch / path.name
        (scratch / path.name).replace(path)
    finally:
        shutil.rmtree(scratch)


def _make(folder: Path) -> list[Path]:
    """Make a folder and its parents; those that were missing, the deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder}: is a file, or lies below one; choose another folder.") from error
    except PermissionError as error:
        raise InputError(f"{folder}: cannot be made; choose another folder.") from error
    return missing
