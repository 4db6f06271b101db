"""The table of errors beside published ones, from files of results and folders of runs."""

import json
from pathlib import Path

import pytest

from tasks.provenance import FIELDS

PUBLISHED = [
    {"system": "Theirs", "split": "lietransformer", "homo": 33.0, "cv": 0.035},
    {"system": "Later", "split": "110k", "homo": 15.0},
]
ROW = {
    "network": "SE3-Distance",
    "target": "homo",
    "split": "lietransformer",
    "train_molecules": 100_000,
    "mae": 31.25,
    "unit": "meV",
    "equivariance": "exact",
    "equivariance_error": 1e-15,
    "seconds": 600.0,
    "device": "cpu",
}
METRICS = {
    "network": "T3-RelativePose",
    "target": "homo, cv",
    "split": "lietransformer",
    "train/molecules": 1000,
    "homo/mae": 200.5,
    "homo/unit": "meV",
    "cv/mae": 0.5,
    "cv/unit": "cal/(mol K)",
    "equivariance/kind": "exact",
    "equivariance/error": 1e-15,
    "train/seconds": 12.5,
    "device": "cpu",
}
ORIGIN = {
    "command": "lie-attention fit --config qm9/quick.yaml",
    "commit": "1a2b3c4",
    "date": "2026-01-01",
    "machine": "another",
    "cpu_seconds": 11.5,
}
METRICS["provenance"] = ORIGIN


@pytest.fixture
def table(lie_attention, tmp_path, capsys):
    def run(*args):
        Path("published.json").write_text(json.dumps({"rows": PUBLISHED}))
        lie_attention("test", "--table", *args, "--published", "published.json")

    def printed(*args):
        with pytest.raises(SystemExit) as left:
            run(*args)
        assert left.value.code == 0
        return capsys.readouterr().out

    return printed


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_results_stand_beside_those_of_the_same_split(table, lie_attention):
    Path("results.json").write_text(json.dumps({"rows": [ROW]}))
    Path("run").mkdir()
    Path("run/metrics.json").write_text(json.dumps(METRICS))
    lines = table("results.json", "run", "--output", "all.json").splitlines()
    assert "split lietransformer (100,000 training molecules)" in lines[0]
    header = cells(lines[2])
    homo, cv = header.index("homo / meV"), header.index("cv / cal/(mol K)")
    assert len(header) == 13
    found = {cells(line)[0]: cells(line) for line in lines[4:7]}
    assert list(found) == ["Theirs", "**SE3-Distance**", "**T3-RelativePose** (1,000 molecules)"]
    assert [row[homo] for row in found.values()] == ["33", "31.2", "200"]
    assert [row[cv] for row in found.values()] == ["0.035", "", "0.5"]
    assert not any("Later" in line for line in lines)
    written = json.loads(Path("all.json").read_text())
    assert written.keys() == {"notes", "rows"}
    assert written["rows"][0] == ROW | dict.fromkeys(FIELDS, "unknown")
    assert [set(row) for row in written["rows"]] == [set(ROW) | set(FIELDS)] * 3
    # A row says where its own run comes from, whatever collects it.
    assert {name: written["rows"][1][name] for name in FIELDS} == ORIGIN | {"version": "unknown"}
    assert written["rows"][2]["mae"] == METRICS["cv/mae"]
    assert written["rows"][2]["train_molecules"] == 1000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["there is no file", "have been tested"]),
        ("text", ["holds no results of QM9"]),
        (json.dumps({"rows": [{**ROW, "mae": "small"}]}), ["mae", "'small'"]),
        (json.dumps({"rows": [{**ROW, "split": "mine"}]}), ["'mine'"]),
        (json.dumps({"target": "homo"}), ["KeyError"]),
    ],
    ids=["none", "text", "no number", "split", "other task"],
)
def test_files_without_results_are_refused(refusal, content, words):
    if content is not None:
        Path("results.json").write_text(content)
    message = refusal("test", "--table", "results.json")
    for word in words:
        assert word in message


def test_the_published_errors_are_those_of_the_literature(lie_attention, capsys):
    """A few cells, copied from the papers by hand, of the file that comes with the project."""
    Path("results.json").write_text(json.dumps({"rows": [ROW, {**ROW, "split": "110k"}]}))
    with pytest.raises(SystemExit):
        lie_attention("test", "--table", "results.json")
    lines = capsys.readouterr().out.splitlines()
    header = cells(lines[2])
    for system, target, error in (
        ("LieTransformer-T3 + SO3 aug", "alpha / bohr^3", "0.082"),
        ("LieTransformer-SE3", "zpve / meV", "3.55"),
        ("Equiformer", "homo / meV", "15"),
    ):
        (line,) = [line for line in lines if cells(line)[0] == system]
        assert cells(line)[header.index(target)] == error
