"""Files that can always be made again: where they lie, how they are written, how damage is seen.

A cached file is a plain ``.npz`` archive, which any numpy can open. Its archive comment, the last
bytes of the file, holds a format version and the SHA-256 of all that stands before the digest. A
reader therefore sees a flipped byte, a truncation or an old format before it parses anything.
"""

import hashlib
import io
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CACHE_VARIABLE = "LIE_ATTENTION_CACHE"

_DIGEST = 64  # hexadecimal digits of a SHA-256


class CacheError(Exception):
    """A cached file cannot be used: damaged, of another format, or unreadable."""


def cache_directory(override: str | Path | None = None) -> Path:
    """Say where cached files lie.

    Args:
        override: A folder that the user named, which wins over everything else.

    Returns:
        ``override``, else the environment variable ``LIE_ATTENTION_CACHE``, else the user's
        cache folder as the operating system has it. The folder need not exist.

    Example:
        >>> cache_directory("/scratch/data").name
        'data'
    """
    if override is not None:
        return Path(override).expanduser()
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    from platformdirs import user_cache_path  # Not needed where the folder is named.

    return user_cache_path("lie-attention")


def write_atomic(path: Path, data: bytes | bytearray) -> None:
    """Write a file so that a reader sees all of the old content or all of the new.

    The bytes go to a temporary file of a unique name in the same folder, are flushed to the disk,
    and take the place of ``path`` in one step, so that writers at the same time do not meet.

    Args:
        path: The file. Its folder is made where it does not exist.
        data: The whole content.

    Raises:
        OSError: The folder or the file cannot be written. Whatever stood at ``path`` still does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], *, version: int) -> None:
    """Write named arrays as an uncompressed ``.npz`` with a version and a checksum.

    Equal arrays give equal bytes.

    Args:
        path: The file.
        arrays: The arrays by name; object arrays are refused, so nothing is ever pickled.
        version: The format version, which :func:`load_arrays` must be given again.

    Raises:
        OSError: The file cannot be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            # a ZipInfo made by hand carries no time stamp
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = f"{_comment(version)}{'0' * _DIGEST}".encode()
    data = bytearray(buffer.getvalue())
    data[-_DIGEST:] = _digest(data)
    write_atomic(path, data)


def load_arrays(path: Path, *, version: int) -> dict[str, npt.NDArray[Any]]:
    """Read what :func:`save_arrays` wrote.

    Args:
        path: The file.
        version: The format version that the caller understands.

    Returns:
        The arrays by name.

    Raises:
        FileNotFoundError: There is no such file.
        CacheError: The file is damaged, truncated, of another version, or cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CacheError(f"{path} cannot be read: {error.strerror or error}") from error
    if data[-_DIGEST:] != _digest(data):
        raise CacheError(f"{path} is damaged or truncated: its checksum does not match")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        comment = archive.comment[:-_DIGEST].decode()
    if comment != _comment(version):
        raise CacheError(f"{path} is marked {comment!r}; expected {_comment(version)!r}")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _comment(version: int) -> str:
    return f"lie-attention cache, version {version}, sha256 "


def _digest(data: bytes | bytearray) -> bytes:
    return hashlib.sha256(memoryview(data)[:-_DIGEST]).hexdigest().encode()
