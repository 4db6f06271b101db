"""Collect the test errors of finished MD17 runs in one file of results.

python benchmarks/energies_and_forces.py RUN [RUN ...] --notes "Where and how they ran."
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import yaml
from _results import ROOT, Row, read, write

from tasks.provenance import recorded

CONFIG = "tasks/configs/md17/accurate.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--notes", default="")
    given = parser.parse_args()
    runs = given.runs or [Path("runs/ethanol")]
    if not given.runs and not runs[0].exists():
        print(f"skipped: there is no run {runs[0]}; train one by {CONFIG}")
        return
    usual = yaml.safe_load((ROOT / CONFIG).read_text())["model"]["network"]["init_args"]
    rows: list[Row] = []
    for run in runs:
        metrics = json.loads((run / "metrics.json").read_text())
        config = yaml.safe_load((run / "config.yaml").read_text())
        epochs = len(metrics["history"])
        network = config["model"]["network"]["init_args"]
        other = "".join(
            f"--model.network.{key} {str(network.get(key, False)).lower()} "
            for key, value in usual.items()
            if isinstance(value, int) and network.get(key, False) != value
        )
        rows.append(
            {
                "molecule": metrics["molecule"],
                "system": config["model"]["network"]["class_path"].rpartition(".")[2],
                "config": CONFIG,
                "split": metrics["split"],
                "train_frames": metrics["train/frames"],
                "test_frames": metrics["test/frames"],
                "energy_mae_mev": round(metrics["test/energy_mae"], 3),
                "force_mae_mev_per_angstrom": round(metrics["test/mae"], 3),
                "layers": network["layers"],
                "parameters": metrics["parameters"],
                "epochs": epochs,
                "seconds": round(metrics["train/seconds"]),
                "seed": config["seed_everything"],
                "repeat_by": f"lie-attention fit --config {CONFIG} --data.molecule "
                f"{metrics['molecule']} {other}--trainer.max_epochs {epochs} "
                "--data.source.folder FOLDER_OF_THE_ARCHIVE",
                **recorded(metrics.get("provenance", {})),
            }
        )
    made = {(row["molecule"], row["system"]) for row in rows}
    kept = [r for r in read("md17/accuracy") if (r["molecule"], r["system"]) not in made]
    print(
        write("md17/accuracy", sorted([*rows, *kept], key=lambda row: -row["epochs"]), given.notes)
    )


if __name__ == "__main__":
    main()
