"""Files that can always be made again: where they lie, how they are written, how damage is seen.

All files of the tasks are written by :func:`write_atomic` into folders of :func:`make_folder`, so
that :func:`writing_only_below` can say where they may be.

A cached file is a plain ``.npz`` archive, which any numpy can open. Its archive comment, the last
bytes of the file, holds a format version and the SHA-256 of all that stands before the digest. A
reader therefore sees a flipped byte, a truncation or an old format before it parses anything.
"""

import hashlib
import inspect
import io
import logging
import os
import secrets
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "LIE_ATTENTION_CACHE"

_DIGEST = 64  # hexadecimal digits of a SHA-256

_allowed: ContextVar[tuple[tuple[Path, ...], ...]] = ContextVar("_allowed", default=())
"""Of each :func:`writing_only_below` that holds, the folders."""


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


@contextmanager
def writing_only_below(*folders: str | Path) -> Iterator[None]:
    """Let files be written below some folders only, as where the settings are somebody else's.

    Holds for :func:`write_atomic`, :func:`make_folder` and whatever uses them, in this thread and
    in processes that are forked from it. Within another such block both hold.

    Args:
        folders: The folders, which need not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as run, writing_only_below(run):
        ...     write_atomic(Path("elsewhere.txt"), b"")
        Traceback (most recent call last):
        PermissionError: elsewhere.txt is not written: files may be written below ... only
    """
    token = _allowed.set((*_allowed.get(), tuple(Path(f).expanduser().resolve() for f in folders)))
    try:
        yield
    finally:
        _allowed.reset(token)


def check_writable(path: str | Path) -> None:
    """Refuse a file that would lie where nothing may be written.

    Args:
        path: The file. Where it is a link, the link is what would be replaced.

    Raises:
        PermissionError: :func:`writing_only_below` names other folders, or a link leads from one of
            them to the path.
    """
    _check(path, Path(path).parent)


def _check(path: str | Path, parent: Path) -> None:
    parent = Path.cwd() / parent
    for folders in _allowed.get():
        if not any(_leads_below(parent, folder) for folder in folders):
            named = " and ".join(map(str, folders)) or "no folder"
            raise PermissionError(f"{path} is not written: files may be written below {named} only")


def _leads_below(parent: Path, folder: Path) -> bool:
    """Whether a folder is another one or below it, with no link on the way from there."""
    try:
        found = parent.resolve()
    except RuntimeError:  # Links that go round in a circle.
        return False
    if not found.is_relative_to(folder):
        return False
    # The outermost one, as a link further down may lead back to it.
    starts = [place for place in (*reversed(parent.parents), parent) if place.resolve() == folder]
    return not starts or folder / parent.relative_to(starts[0]) == found


def make_folder(folder: str | Path) -> None:
    """Make a folder, and those that it is in, where they do not exist.

    Args:
        folder: The folder.

    Raises:
        PermissionError: See :func:`check_writable`.
        OSError: It cannot be made.
    """
    _check(folder, Path(folder))
    Path(folder).mkdir(parents=True, exist_ok=True)


def check_name(setting: str, name: str) -> None:
    """Refuse a name that could lead elsewhere as a part of a path.

    Args:
        setting: What to call it in the message.
        name: The name.

    Raises:
        ValueError: It is empty, starts with a dot, or has a separator of folders or a control
            character.

    Example:
        >>> check_name("molecule", "ethanol")
        >>> check_name("molecule", "../x")
        Traceback (most recent call last):
        ValueError: molecule: '../x' is no name; a name is not empty, does not start with a dot...
    """
    if not name.strip() or name[0] == "." or not name.isprintable() or set(name) & set("/\\"):
        raise ValueError(
            f"{setting}: {name!r} is no name; a name is not empty, does not start with a dot, and "
            "has no slash, backslash or control character"
        )


def write_atomic(path: Path, data: bytes | bytearray) -> None:
    """Write a file so that a reader sees all of the old content or all of the new.

    The bytes go to a temporary file of a unique name in the same folder, are flushed to the disk,
    and take the place of ``path`` in one step, so that writers at the same time do not meet. Where
    ``path`` is a link, the file takes its place, and what it leads to stays as it is.

    Args:
        path: The file. Its folder is made where it does not exist.
        data: The whole content.

    Raises:
        PermissionError: See :func:`check_writable`.
        OSError: The folder or the file cannot be written. Whatever stood at ``path`` still does.
    """
    check_writable(path)
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


def keep_arrays(
    path: Path,
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    version: int,
    otherwise: str,
    setting: str,
) -> None:
    """Write arrays as :func:`save_arrays` does; where they cannot be written, warn and go on.

    Args:
        path: The file.
        arrays: The arrays by name.
        version: The format version.
        otherwise: What it means that they cannot be kept.
        setting: The setting that names another folder.
    """
    try:
        save_arrays(path, arrays, version=version)
    except OSError as error:
        logger.warning(
            "the cache %s cannot be written (%s), so %s; name a folder that can be, by %s or the "
            "environment variable %s",
            path,
            error.strerror or error,
            otherwise,
            setting,
            CACHE_VARIABLE,
        )


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
    except NotADirectoryError as error:  # What should be its folder is a file.
        raise FileNotFoundError(f"there is no file {path}") from error
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


def source_digest(made_by: type) -> str | None:
    """A digest of the source of a class: of itself, its bases, and the modules they stand in.

    A cached file of what a class makes is found by it, so that another class of the same name, or
    the same class with another law, does not get that file.

    Args:
        made_by: The class.

    Returns:
        A hexadecimal SHA-256; None where a part of the source cannot be had, as for a class that
        was typed in, so that nothing is known of what it makes.

    Example:
        >>> from tasks.systems import Planets, Springs
        >>> source_digest(Springs) == source_digest(Springs) != source_digest(Planets)
        True
    """
    found = hashlib.sha256()
    for each in inspect.getmro(made_by):
        if each.__module__.partition(".")[0] in sys.stdlib_module_names:
            continue
        try:
            file = inspect.getsourcefile(sys.modules[each.__module__])
            module = Path(file or "").read_bytes()
            text = f"{each.__module__}.{each.__qualname__}\n{inspect.getsource(each)}"
        except (OSError, TypeError, KeyError):
            return None
        for part in (text.encode(), module):
            found.update(hashlib.sha256(part).digest())
    return found.hexdigest()
