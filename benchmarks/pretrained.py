"""Put trained runs into the package, as models by name.

    python benchmarks/pretrained.py NAME=RUN [NAME=RUN ...] [--folder FOLDER_OF_THE_ARCHIVE]

writes tasks/pretrained/weights/NAME.safetensors of the best weights of each run, in half precision,
with a card; the error on the first hundred molecules or frames of the test part is measured with
the weights as they are written, and a row is written to results/pretrained.json. A model that is
there already is replaced if the new one errs less.
"""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

# Beside this file is one with the name of a package that it needs: look for packages first.
sys.path.append(sys.path.pop(0))

from _results import read, write

from tasks import pretrained
from tasks.commands.export import export_run
from tasks.runs.exported import read_card
from tasks.runs.folder import RunFolder
from tasks.sources.md17 import MD17, RMD17
from tasks.sources.qm9 import QM9

_KEYS = (
    *("name", "predicts", "network", "test/mae", "unit", "test/energy_mae", "hundred/mae"),
    *("parameters", "seed", "command", "commit", "version", "date", "machine", "cpu_seconds"),
)
_HUNDRED = 100
_NOT_FOR = {
    "qm9": "Molecules with other elements than H, C, N, O and F, with more than nine heavy atoms, "
    "with fewer than eight atoms in all, of which QM9 has next to none (the HOMO of water is off "
    "by more than an electronvolt), "
    "with charges or open shells, or in other geometries than those relaxed at B3LYP/6-31G(2df,p): "
    "QM9 has none of these, and the error there is unknown. Not for decisions on health, safety or "
    "the environment.",
    "md17": "Any other molecule; broken bonds; temperatures far above 500 K, at which the frames "
    "were drawn; other levels of theory than PBE/def2-SVP.",
}


def error_of_hundred(name: str, folder: str | None = None) -> float:
    """Mean absolute error on the first hundred of the test part: of the target, or of forces."""
    card, model = pretrained.card(name), pretrained.load(name)
    data: Any
    if "molecule" in card:
        data = MD17(
            card["molecule"], RMD17(folder), test_frames=_HUNDRED, batch_size=20,
            train_frames=card["train/frames"], val_frames=50,
        )  # fmt: skip
    else:
        data = QM9(card["target"], card["split"], test_molecules=_HUNDRED, batch_size=_HUNDRED)
    data.setup("test")
    total = count = 0.0
    for batch in data.test_dataloader():
        found = model.objective.errors(model(model.cast(batch)), batch)
        total += float(found["mae"].detach().sum())
        count += len(batch.targets)
    return total / count


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--folder", help="of the archive of revised MD17")
    given = parser.parse_args()
    weights = Path(pretrained.__file__).parent / "weights"
    for name, _, run in (each.partition("=") for each in given.runs):
        path, kind = weights / f"{name}.safetensors", "md17" if "md17" in name else "qm9"
        metrics = RunFolder(run).read_metrics()
        old = read_card(path) if path.exists() else None
        if old is not None and old["test/mae"] <= metrics["test/mae"]:
            print(f"{name}: {metrics['test/mae']:.4g} is no better than {old['test/mae']:.4g}")
            continue
        command = re.sub(r"(source\.folder[= ])\S+", r"\1FOLDER", metrics["provenance"]["command"])
        card = {"name": name, "not_for": _NOT_FOR[kind], "command": command}
        export_run(Path(run), path, half=True, card=card)
        card["hundred/mae"] = error_of_hundred(
            name, given.folder
        )  # Of the weights as they are kept.
        found = export_run(Path(run), path, half=True, card=card)
        row = {key: found[key] for key in _KEYS if key in found}
        row["megabytes"] = round(path.stat().st_size / 1e6, 2)
        print(json.dumps(row), flush=True)
        others = [r for r in read("pretrained") if r["name"] != name]
        write(
            "pretrained",
            sorted([*others, row], key=lambda r: r["name"]),
            "The models of tasks.pretrained: error on the whole test part, and on its first "
            "hundred molecules or frames with the weights as they are shipped.",
        )


if __name__ == "__main__":
    main()
