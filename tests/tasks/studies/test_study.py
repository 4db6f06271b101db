"""Studies: their files, what the command line changes of them, and what tells two apart."""

from pathlib import Path

import pytest
import yaml

from tasks.studies import Study
from tasks.studies.study import differences

CONFIG = {"task": "md17", "model": {"learning_rate": 0.001}}
INVARIANTS = {"near": "InverseDistance", "d": "Distance"}
STUDY = {
    "config": "base.yaml",
    "settings": {"trainer.max_epochs": 3},
    "grid": {
        "invariant": {"keys": "model.network.invariant", "values": INVARIANTS},
        "seed": {"keys": ["seed_everything", "data.seed"], "values": [0, 1, 2]},
    },
    "columns": {"error": "test/mae"},
    "notes": "Why  it\nis done.",
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def write(base=CONFIG, **changes):
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
        return path

    return write


def test_a_study_is_read(write):
    study = Study.read(write())
    assert study.name == "study"
    assert study.task == "md17"
    assert study.notes == "Why it is done."
    assert [run.name for run in study.runs][:4] == [
        "near-seed0",
        "near-seed1",
        "near-seed2",
        "d-seed0",
    ]
    assert study.arguments(study.runs[1]) == [
        "--config",
        str(study.config),
        "--trainer.max_epochs=3",
        "--model.network.invariant=InverseDistance",
        "--seed_everything=1",
        "--data.seed=1",
    ]


def test_an_axis_is_cut_down_changed_or_added(write):
    study = Study.read(write())
    assert [run.name for run in study.narrowed("seed", [2]).runs] == ["near", "d"]
    assert study.narrowed("seed", [2]).runs[0].settings["data.seed"] == 2
    assert study.narrowed("invariant", ["d"]).runs[0].name == "seed0"
    changed = study.narrowed("invariant", ["RadialBasis", "Distance"])
    assert changed.runs[0].settings["model.network.invariant"] == "RadialBasis"
    assert len(study.narrowed("data.molecule", ["ethanol", "aspirin"]).runs) == 12
    with pytest.raises(ValueError, match=r"grid.seed: \[3\]; accepted: some of 0, 1, 2"):
        study.narrowed("seed", [3])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grids": {}}, ["grids", "accepted: config, settings, grid"]),
        ({"grid": {}}, ["varies nothing"]),
        ({"grid": [1]}, ["grid", "mapping"]),
        ({"config": None}, ["names no config"]),
        ({"settings": {"run": "x"}}, ["run", "does not take"]),
        (
            {"settings": {"model.network.invariant": "Distance"}},
            ["model.network.invariant", "axis 'invariant'"],
        ),
        ({"grid": {"run": ["x"]}}, ["run", "no setting"]),
        ({"columns": {"seed": "test/mae"}}, ["columns", "seed", "axis"]),
    ],
)
def test_a_study_that_is_none_is_refused(write, changes, words):
    with pytest.raises(ValueError) as error:
        Study.read(write(**changes))
    for word in words:
        assert word in str(error.value)


SEEDS = {"keys": ["seed_everything", "data.seed"], "values": [0, 1, 5]}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"settings": {"trainer.max_epochs": 4}}, "trainer.max_epochs was 3, and is now 4"),
        ({"base": {**CONFIG, "task": "qm9"}}, "config.task was 'md17', and is now 'qm9'"),
        (
            {"base": {**CONFIG, "model": {"learning_rate": 0.1}}},
            "config.model.learning_rate was 0.001, and is now 0.1",
        ),
        (
            {"grid": {**STUDY["grid"], "seed": SEEDS}},
            "grid.seed.2.seed_everything was 2, and is now absent",
        ),
    ],
)
def test_two_studies_are_told_apart_by_name(write, changes, line):
    old = Study.read(write()).identity
    assert line in differences(old, Study.read(write(**changes)).identity)


def test_columns_and_notes_make_no_other_study(write):
    old = Study.read(write()).identity
    changed = Study.read(write(columns={"e": "test/energy_mae"}, notes="Other words."))
    assert differences(old, changed.identity) == []


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"study: there is no file .*none.yaml"):
        Study.read(tmp_path / "none.yaml")
    (tmp_path / "torn.yaml").write_text("grid: [1, 2")
    with pytest.raises(ValueError, match=r"study: .*torn.yaml is not a YAML file"):
        Study.read(tmp_path / "torn.yaml")
