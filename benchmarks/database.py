"""A database of molecules that is read as it is trained on: memory, and molecules a second.

    python benchmarks/database.py [--molecules 1000000] [--folder FOLDER]

makes databases of ASE, SQLite and LMDB, of made-up molecules of the sizes of QM9. For each, one
process makes the index, and another trains for some steps and reads batches as a training does.
Seconds are of the processor, which other work on the machine leaves alone. Peak memory is of the
whole process, half a GB of it torch and other libraries. ``mapped_mb`` is what of it is mapped from
files, libraries and LMDB, which the system takes back when it needs it.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pytorch_lightning as pl
import torch
from _processes import digits
from _results import stamped, write
from ase import Atoms
from ase.db import connect
from ase.io.jsonio import encode
from tqdm import tqdm

from attention import LieTransformer, SharedLocationMLP, Sum
from liegroups import SE3, Distance
from tasks.provenance import processor_seconds
from tasks.sources.databases import Database
from tasks.training import Model

_SUFFIXES = {"SQLite": ".db", "LMDB": ".aselmdb"}
_TARGET = {"target": "energy_ev", "unit": "eV"}
_STEPS, _BATCHES = 20, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="Where to keep the databases.")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps({"index": index, "train": train}[given.case[0]](Path(given.case[1]))))
        return
    rows = []
    with TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, suffix in _SUFFIXES.items():
            path = folder / f"molecules-{given.molecules}{suffix}"
            if not path.exists():
                unfinished = path.with_name(f"unfinished{suffix}")
                unfinished.unlink(missing_ok=True)
                {"SQLite": make_sqlite, "LMDB": make_lmdb}[name](unfinished, given.molecules)
                unfinished.rename(path)
            row = {"database": name, "molecules": given.molecules}
            row["file_mb"] = round(path.stat().st_size / 2**20)
            started = processor_seconds()
            for case in ("index", "train"):
                row |= run(case, path)
            row["cpu_seconds"] = round(processor_seconds() - started, 1)
            rows.append(stamped(row))
    notes = (
        "Made-up molecules of 9 to 27 atoms of H, C, N, O and F, 18 on average. One process and "
        "one thread; a network of 128 features and 4 layers, batches of 96. Seconds and rates by "
        "the processor's clock."
    )
    print(write("qm9/database", rows, notes))


def run(case: str, path: Path) -> dict[str, Any]:
    """A case in a process of its own, as peak memory is that of a process."""
    settings = {"OMP_NUM_THREADS": "1", "LIE_ATTENTION_CACHE": str(path.parent)}
    found = subprocess.run(
        [sys.executable, __file__, "--case", case, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings},
        check=True,
    )
    return json.loads(found.stdout.splitlines()[-1])


# ---- cases -------------------------------------------------------------------------------------


def index(path: Path) -> dict[str, Any]:
    start = process_time()
    data = Database(str(path), **_TARGET)
    data.prepare_data()
    return {
        "index_seconds": digits(process_time() - start),
        "index_peak_mb": round(_memory_mb("VmHWM")),
    }


def train(path: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    data = Database(str(path), **_TARGET)
    network = partial(
        LieTransformer,
        SE3(),
        invariant=Distance(),
        heads=32,
        kernel=partial(Sum, location=partial(SharedLocationMLP, hidden=32)),
        pooling="sum",
    )
    model = Model(network, in_features=data.in_features, kinds=data.kind_columns, point_dim=3)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=_STEPS,
        limit_val_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    loader = data.train_dataloader()
    loader.load_state_dict({"batches": len(loader), "done": _STEPS})
    batches = islice(loader, _BATCHES)
    next(batches)  # Puts the epoch in order.
    start = process_time()
    count = sum(len(batch.ids) for batch in batches)
    seconds = process_time() - start
    return {
        "training_peak_mb": round(_memory_mb("VmHWM")),
        "mapped_mb": round(_memory_mb("RssFile")),
        "molecules_read_per_second": round(count / seconds),
    }


def _memory_mb(name: str) -> float:
    """Memory of this process; the peak that ``resource`` gives is also that of who started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


# ---- databases ---------------------------------------------------------------------------------


def molecules(count: int) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Elements and positions: atoms near the points of a grid."""
    random = np.random.default_rng(0)
    grid = 1.5 * np.stack(np.meshgrid(*[np.arange(4.0)] * 3), -1).reshape(-1, 3)
    elements = random.choice([1, 6, 7, 8, 9], 2**20, p=[0.51, 0.35, 0.06, 0.07, 0.01])
    for size in tqdm(random.integers(9, 28, count), disable=None):
        places = grid[random.permutation(len(grid))[:size]]
        start = random.integers(len(elements) - size)
        yield elements[start : start + size], places + random.normal(0, 0.1, places.shape)


def make_sqlite(path: Path, count: int) -> None:
    """The rows that ASE would write, which takes it some minutes for a million, all at once."""
    with connect(path, use_lock_file=False) as database:
        database.write(Atoms("H"), energy_ev=1.0)
        database.delete([1])
        number = database.write(Atoms("H"), energy_ev=1.0)
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT * FROM systems WHERE id=?", (number,))
        names = [column[0] for column in found.description]
        pattern = dict(zip(names, found.fetchone(), strict=True))
        connection.execute("DELETE FROM systems")
        connection.execute("DELETE FROM number_key_values")

        def rows() -> Iterator[list[Any]]:
            for place, (charges, positions) in enumerate(molecules(count), 1):
                row = pattern | {
                    "id": place,
                    "unique_id": f"{place:032x}",
                    "numbers": charges.astype(np.int32).tobytes(),
                    "positions": positions.tobytes(),
                    "key_value_pairs": json.dumps({"energy_ev": float(charges.sum())}),
                    "natoms": len(charges),
                }
                yield list(row.values())

        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO systems VALUES ({marks})", rows())


def make_lmdb(path: Path, count: int) -> None:
    """The rows that ASE would write, for which it looks through all numbers each time."""
    import lmdb
    from ase_db_backends.aselmdb import encode_key, encode_object

    environment = lmdb.open(str(path), map_size=2**40, subdir=False, lock=False, map_async=True)
    with environment.begin(write=True) as transaction:
        for place, (charges, positions) in enumerate(molecules(count), 1):
            row = {
                "numbers": charges,
                "positions": positions,
                "cell": np.zeros((3, 3)),
                "pbc": np.zeros(3, bool),
                "unique_id": f"{place:032x}",
                "ctime": 0.0,
                "mtime": 0.0,
                "user": "",
                "key_value_pairs": {"energy_ev": float(charges.sum())},
                "data": {},
            }
            transaction.put(encode_key(str(place)), encode_object(encode(row)))
        transaction.put(encode_key("nextid"), encode_object(encode(count + 1)))
    environment.close()


if __name__ == "__main__":
    main()
