"""Write HDF5 files of text and numbers, with large arrays compressed.

SimpleITK writes HDF5 without compression, and the library needs nothing beyond torch, numpy and SimpleITK. So this
module writes the few structures that such a file needs, by the HDF5 file format specification, version 3.0: those that
every HDF5 library since version 1.8 (2008) reads. Numbers are little-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

# An address that is not in use.
NOWHERE = 0xFFFFFFFFFFFFFFFF
SUPERBLOCK_BYTES = 96
# What messages of an object header hold: section IV.A.2 of the specification.
DATASPACE, LINK_INFO, DATATYPE, FILL_VALUE, LINK, LAYOUT, GROUP_INFO, FILTERS = 1, 2, 3, 5, 6, 8, 10, 11
# Vectors of a deflated block at least, and of blocks at most: as many as one node of the index may have.
BLOCK, MOST_BLOCKS = 65536, 64
# The index's node has room for so many entries, each a key of 24 bytes and an address, and a last key.
NODE_BYTES = 24 + MOST_BLOCKS * (24 + 8) + 24
# Text lies in a heap of at least this size.
HEAP_BYTES = 4096
# Of deflate, which takes its statistics from 8,192 bytes at a time (docs/develop/experiments.md).
LEVEL, MEMORY_LEVEL = 6, 7
# By the bytes of a number: the bits of its exponent and of its fraction, and the bias of its exponent. The one of 16
# bits holds fractions as they are: with an exponent of 0, which has the value 1 - 1, a number is not normalised.
FLOATS = {2: (2, 13, 1), 4: (8, 23, 127), 8: (11, 52, 1023)}
FRACTIONS = 2**13

Tree = Mapping[str, "Tree | str | np.ndarray"]


def write_hdf5(tree: Tree, path: Path) -> None:
    """Write a file of groups (mappings) that hold texts and arrays of floats of 32 or 64 bits, or :func:`fractions`.

    An array of vectors, (N, C), is stored as one row of numbers. Arrays of more than one block are compressed.

    :raises OSError: the file cannot be written.
    """
    with path.open("wb") as stream:
        stream.write(bytes(SUPERBLOCK_BYTES))
        root = _write_group(tree, stream)
        end = stream.tell()
        stream.seek(0)
        stream.write(_superblock(root, end))


def fractions(numerators: np.ndarray) -> np.ndarray:
    """Return numbers of 16 bits that :func:`write_hdf5` stores as floats: multiples of 1 / :data:`FRACTIONS`.

    Their bytes change as smoothly as the numbers do, so they deflate better than IEEE's of 16 bits.

    :param numerators: whole numbers, below :data:`FRACTIONS` in size.
    :returns: unsigned 16-bit, of the same shape: the sign, and the numerator's size.
    """
    return np.abs(numerators).astype(np.uint16) | (numerators < 0).astype(np.uint16) << 15


def _superblock(root: int, end: int) -> bytes:
    """Return the start of the file: version 0, the sizes of addresses and lengths, the root group and the end."""
    head = b"\x89HDF\r\n\x1a\n" + bytes((0, 0, 0, 0, 0, 8, 8, 0)) + struct.pack("<HHI", 4, 16, 0)
    return head + struct.pack("<QQQQ", 0, NOWHERE, end, NOWHERE) + struct.pack("<QQ", 0, root) + bytes(24)


def _write_group(tree: Tree, stream: BinaryIO) -> int:
    """Write a group and all that it holds; return its address."""
    links = []
    for name, value in tree.items():
        write = _write_group if isinstance(value, Mapping) else _write_text if isinstance(value, str) else _write_array
        address = write(value, stream)
        links.append((LINK, bytes((1, 0, len(name))) + name.encode("ascii") + struct.pack("<Q", address)))
    info = (LINK_INFO, bytes(2) + struct.pack("<QQ", NOWHERE, NOWHERE))
    return _write_object([info, (GROUP_INFO, bytes(2)), *links], stream)


def _write_text(text: str, stream: BinaryIO) -> int:
    """Write a dataset of one text of variable length, as ITK does; return its address."""
    data = text.encode("ascii")
    entry = struct.pack("<HHIQ", 1, 1, 0, len(data)) + _padded(data)
    free = HEAP_BYTES - 16 - len(entry)
    heap = b"GCOL" + struct.pack("<B3xQ", 1, HEAP_BYTES) + entry + struct.pack("<HHIQ", 0, 0, 0, free)
    where = _append(heap.ljust(HEAP_BYTES, b"\0"), stream)
    place = _append(struct.pack("<IQI", len(data), where, 1), stream)
    kind = struct.pack("<BBBBI", 0x19, 1, 0, 0, 16) + struct.pack("<BBBBIHH", 0x10, 0, 0, 0, 1, 0, 8)
    return _write_dataset(1, kind, [(LAYOUT, struct.pack("<BBQQ", 3, 1, place, 16))], stream)


def _write_array(array: np.ndarray, stream: BinaryIO) -> int:
    """Write a dataset of numbers; return its address."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    if array.nbytes > BLOCK:
        layout = _write_blocks(array, stream)
    else:
        place = _append(array.tobytes(), stream)
        layout = [(LAYOUT, struct.pack("<BBQQ", 3, 1, place, array.nbytes))]
    return _write_dataset(array.size, _float_type(array.itemsize), layout, stream)


def _write_dataset(count: int, kind: bytes, layout: list[tuple[int, bytes]], stream: BinaryIO) -> int:
    dataspace = struct.pack("<BBB5xQ", 1, 1, 0, count)
    fill = struct.pack("<BBBBI", 2, 3, 2, 1, 0)
    return _write_object([(DATASPACE, dataspace), (DATATYPE, kind), (FILL_VALUE, fill), *layout], stream)


def _float_type(size: int) -> bytes:
    """Return the description of floating point numbers of so many bytes."""
    bits, (exponent, mantissa, bias) = 8 * size, FLOATS[size]
    head = struct.pack("<BBBBI", 0x11, 0x20, bits - 1, 0, size)
    return head + struct.pack("<HHBBBBI", 0, bits, mantissa, exponent, 0, mantissa, bias)


def _write_blocks(array: np.ndarray, stream: BinaryIO) -> list[tuple[int, bytes]]:
    """Write an array in deflated blocks and their index; return the messages that describe them."""
    rows = array.reshape(len(array), -1).view(np.uint8)
    length = max(BLOCK, -(-len(rows) // MOST_BLOCKS))
    starts = range(0, len(rows), length)
    with ThreadPoolExecutor() as pool:
        blocks = list(pool.map(lambda start: _deflated(rows[start : start + length], length), starts))
    numbers = length * rows.shape[1] // array.itemsize
    entries = b"".join(
        struct.pack("<IIQQQ", len(block), 0, number * numbers, 0, _append(block, stream))
        for number, block in enumerate(blocks)
    )
    entries += struct.pack("<IIQQ", 0, 0, len(blocks) * numbers, 0)
    node = b"TREE" + struct.pack("<BBHQQ", 1, 0, len(blocks), NOWHERE, NOWHERE) + entries
    index = _append(node.ljust(NODE_BYTES, b"\0"), stream)
    # Filter 2 puts the first bytes of all vectors of a block together, then the second ones, and so on; 1 deflates.
    filters = struct.pack("<BB6x", 1, 2)
    filters += struct.pack("<HHHHI4x", 2, 0, 0, 1, rows.shape[1]) + struct.pack("<HHHHI4x", 1, 0, 0, 1, LEVEL)
    return [(FILTERS, filters), (LAYOUT, struct.pack("<BBBQII", 3, 2, 2, index, numbers, array.itemsize))]


def _deflated(rows: np.ndarray, length: int) -> bytes:
    """Return a block of vectors with its bytes sorted by their place in the vector, padded by zeros, and deflated."""
    block = np.zeros((rows.shape[1], length), np.uint8)
    block[:, : len(rows)] = rows.T
    deflate = zlib.compressobj(LEVEL, memLevel=MEMORY_LEVEL)
    return deflate.compress(block) + deflate.flush()


def _write_object(messages: list[tuple[int, bytes]], stream: BinaryIO) -> int:
    """Write an object header, version 1, with numbered messages; return its address."""
    body = b""
    for number, content in messages:
        content = _padded(content)
        body += struct.pack("<HHB3x", number, len(content), 0) + content
    return _append(struct.pack("<BBHII4x", 1, 0, len(messages), 1, len(body)) + body, stream)


def _append(data: bytes, stream: BinaryIO) -> int:
    """Write bytes at the end of the file, at an address that is a multiple of 8; return it."""
    address = stream.tell()
    stream.write(_padded(data))
    return address


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
