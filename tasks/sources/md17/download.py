"""The public archive of revised MD17, fetched once into the cache."""

from __future__ import annotations

import bz2
import logging
import os
import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import pooch
from tqdm import tqdm

from tasks.cache import CACHE_VARIABLE, check_writable, make_folder

logger = logging.getLogger(__name__)

ADDRESSES: Final = (
    "https://figshare.com/ndownloader/files/23950376",
    "https://archive.materialscloud.org/records/pfffs-fff86/files/rmd17.tar.bz2",
)
"""Where the archive is: on figshare, article 12672038, and on the Materials Cloud."""

SHA256: Final = "cddeea2ec2c4b22a9de16a9a65a3eeedac5b29da9c99c20bbff0153912bf922b"
"""Of its 1,066,301,513 bytes."""

_WANTED: Final = {
    "npz_data": re.compile(r"rmd17_\w+\.npz"),
    "splits": re.compile(r"index_(train|test)_0[1-5]\.csv"),
}


def fetch_archive(cache: Path) -> Path:
    """Give the folder of the archive, which is downloaded where it is not there yet.

    The download is checked against a SHA-256 and unpacked to one side, so that the folder is whole
    or is not there. The archive itself, 1.1 GB, is not kept.

    Args:
        cache: The folder that the archive's folder is to be in.

    Returns:
        A folder with ``npz_data`` and ``splits``.

    Raises:
        OSError: No address can be reached, or the folder cannot be written.
        ValueError: What came is not the archive.
    """
    folder = cache / "rmd17"
    if folder.is_dir():
        return folder
    try:
        make_folder(cache)
        check_writable(folder)
    except OSError as error:
        raise OSError(
            f"the archive of rMD17 cannot be kept in {cache} ({error.strerror or error}); name a "
            "folder that can be written by --data.source.cache_dir or the environment variable "
            f"{CACHE_VARIABLE}, or the folder of an archive by --data.source.folder"
        ) from error
    archive = _download(cache)
    with tempfile.TemporaryDirectory(prefix=".rmd17-", dir=cache) as made:
        unpacked = Path(made) / "rmd17"
        _unpack(archive, unpacked)
        try:
            os.replace(unpacked, folder)
        except OSError:
            if not folder.is_dir():  # Else another process was first.
                raise
    archive.unlink(missing_ok=True)
    return folder


def _download(cache: Path) -> Path:
    pooch.get_logger().setLevel(logging.WARNING)
    failures = []
    for address in ADDRESSES:
        try:
            return Path(
                pooch.retrieve(
                    address,
                    known_hash=f"sha256:{SHA256}",
                    fname="rmd17.tar.bz2",
                    path=cache,
                    downloader=pooch.HTTPDownloader(progressbar=True, chunk_size=2**20),
                )
            )
        except OSError as error:  # What requests raises is one.
            failures.append(f"{address}: {error}")
        except ValueError as error:
            failures.append(f"{address}: not the archive, its SHA-256 is another ({error})")
    raise OSError(
        f"the archive of rMD17 cannot be downloaded. {' '.join(failures)} Download rmd17.tar.bz2 "
        "by hand, unpack it, and name its folder: --data.source.folder FOLDER; or make frames with "
        "--data.source XTB."
    )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the files that are wanted under names of our own choosing; paths are not followed."""
    try:
        found = _copy_members(archive, folder)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive} is truncated or damaged: {error}") from error
    if not found:
        raise ValueError(f"{archive} has no file rmd17_MOLECULE.npz.")


def _copy_members(archive: Path, folder: Path) -> int:
    """Copy the files that are wanted; return how many molecules there are."""
    found = 0
    with (
        bz2.open(archive) as content,
        tarfile.open(fileobj=content, mode="r:") as members,
        tqdm(desc="unpacking rMD17", unit=" files", disable=None) as bar,
    ):
        for member in members:
            name = Path(member.name).name
            for kind, pattern in _WANTED.items():
                if member.isfile() and pattern.fullmatch(name):
                    make_folder(folder / kind)
                    source = members.extractfile(member)
                    assert source is not None
                    with (folder / kind / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
                    bar.update()
                    found += kind == "npz_data"
    return found
