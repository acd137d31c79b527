"""Writing results so that they appear complete or not at all."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError

# Written to find out whether the disk is full, in bytes: more than the buffer of any writer.
PROBE = 1 << 20


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder whose files are moved into ``folder`` when the block ends without an error.

    After an error, ``folder`` holds what it held before, and is not created if it did not exist.

    :raises InputError: the folder cannot be created or written to.
    :raises OSError: the disk is full.
    """
    created = _create(folder)
    try:
        with _staging_folder(folder, folder) as staging:
            yield staging
            _publish(staging, folder)
    finally:
        for path in created:
            # Folders that we created and did not fill are removed, the deepest first.
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Give a temporary path with the same name that is moved to ``path`` when the block ends without an error.

    Other files that the block writes beside it, such as the voxels of an .mhd header, are moved with it.

    :raises InputError: the file's folder does not exist or cannot be written to.
    :raises OSError: the disk is full.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; create it first.")
    with _staging_folder(path.parent, path) as staging:
        yield staging / path.name
        _publish(staging, path.parent)


def _create(folder: Path) -> list[Path]:
    """Create a folder and its parents; return those that did not exist, the deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder}: is a file, or lies below one; choose another folder.") from error
    except PermissionError as error:
        raise InputError(f"{folder}: cannot be created; choose another folder.") from error
    return missing


@contextmanager
def _staging_folder(parent: Path, output: Path) -> Iterator[Path]:
    """Give a temporary folder, named after this process, and remove it in the end.

    :param output: what an error is about.
    """
    _remove_leftovers(parent)
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".slsfgr-{platform.node()}-{os.getpid()}-", dir=parent))
    except PermissionError as error:
        raise InputError(f"{output}: cannot be written to; choose another folder.") from error
    try:
        yield staging
    except PermissionError as error:
        raise InputError(f"{output}: cannot be written to; choose another folder.") from error
    except OSError as error:
        if error.filename is None or staging in Path(error.filename).parents:
            error.filename = str(output)
        raise
    except (RuntimeError, InputError):
        # SimpleITK does not say why it could not write a file.
        _require_space(staging, output)
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, folder: Path) -> None:
    """Move every file of the temporary folder to its place."""
    _require_space(staging)
    for path in sorted(staging.iterdir()):
        path.replace(folder / path.name)


def _require_space(staging: Path, output: Path | None = None) -> None:
    """Raise an error if the disk is full: not every writer of SimpleITK does, and the files are then incomplete."""
    probe = staging / ".probe"
    try:
        probe.write_bytes(bytes(PROBE))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(output or probe)) from error
    finally:
        probe.unlink(missing_ok=True)


def _remove_leftovers(parent: Path) -> None:
    """Remove what killed runs on this machine left in a folder; what a running process owns stays."""
    pattern = re.compile(rf"\.slsfgr-{re.escape(platform.node())}-(\d+)-\w+")
    for path in parent.glob(".slsfgr-*"):
        match = pattern.fullmatch(path.name)
        if match and not _is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    """Return whether a process of this machine is running. On Windows, where asking may end it, always True."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # It is another user's.
    return True
