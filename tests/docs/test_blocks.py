"""Every block of code in the README and the pages runs, or is checked for what it is."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})(?P<kind>[^\n]*)\n(?P<text>.*?)^(?P=fence)[ ]*$", re.M | re.S
)

# Small versions of what a command would do with all data.
FEW = {
    "qm9": ["--data.train_molecules=8", "--data.val_molecules=4"],
    "dynamics": ["--data.train_systems=8", "--data.val_systems=4", "--data.test_systems=4"],
    "md17": ["--data.source=Springs", "--data.train_frames=8", "--data.val_frames=4"],
    "shapes": ["--data.train_clouds=8", "--data.val_clouds=4", "--data.test_clouds=4"],
}


def blocks():
    """Page, kind and text of every fenced block."""
    for page in PAGES:
        for found in FENCE.finditer(page.read_text()):
            yield page, found["kind"].strip(), found["text"]


def commands():
    """Page and words of every command, with lines that end on a backslash joined."""
    for page, kind, text in blocks():
        if kind in ("", "console", "sh"):
            lines = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
            if any(line.startswith("$ ") for line in lines):  # What is printed is beside it.
                lines = [line for line in lines if line.startswith("$ ")]
            for line in lines:
                line = line.removeprefix("$ ")
                if line:
                    yield page, shlex.split(line, comments=True)


def test_every_block_is_of_a_kind_that_is_tested():
    # {doctest} runs with pytest; what Sphinx makes of the code and the results, when it builds.
    made = (
        "doctest|toctree|eval-rst|include|literalinclude|results|laws|parts|groups|settings"
        "|choices|configs|literature|group-speed|errors|errors-elsewhere"
    )
    known = rf"|console|sh|bash|python|yaml|\{{({made})\}}.*"
    assert not [(page.name, kind) for page, kind, _ in blocks() if not re.fullmatch(known, kind)]


def test_every_command_is_one_that_there_is():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page, words in commands():
        program = words[0].removeprefix(".venv/bin/")
        if program == "make":
            assert {word for word in words[1:] if word.isalpha() and word.islower()} <= targets, (
                page
            )
        elif program == "python":
            script = words[1] if words[1] != "-m" else None
            assert script is None or (ROOT / script).is_file(), (page.name, words)
        else:
            assert program in ("lie-attention", "pip", "torchrun"), (page.name, words)


def test_scripts_are_bash():
    for page, kind, text in blocks():
        if kind == "bash":
            checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
            assert checked.returncode == 0, (page.name, checked.stderr)


def fits():
    found = {}
    for page, words in commands():
        program = words[0].removeprefix(".venv/bin/")
        # What needs a run or a database is tested below.
        elsewhere = {"--resume", "--print_config", "--task"}
        own = "charges.yaml" in words
        if (program, words[1]) == ("lie-attention", "fit") and not (elsewhere & set(words) or own):
            found.setdefault(tuple(words[1:]), page.stem)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("words", fits(), ids=" ".join)
def test_a_training_that_is_shown_takes_a_step(lie_attention, words):
    config = words[words.index("--config") + 1].removeprefix("tasks/configs/")
    few = FEW[config.partition("/")[0]]
    # Further processes would be started by the command line of the tests.
    alone = "--trainer.devices=1", "--trainer.strategy=auto"
    short = "--trainer.fast_dev_run=true", "--trainer.enable_progress_bar=false"
    lie_attention(*words, *few, *alone, *short)


@pytest.mark.slow
def test_what_is_shown_for_a_finished_run_works(lie_attention, tmp_path):
    run = tmp_path / "runs/NAME"
    few = [word for word in FEW["shapes"] if "val" not in word]
    lie_attention(
        "fit", "--config", "shapes/quick.yaml", "--run", run, *few, "--data.val_clouds=4",
        "--trainer.max_epochs=1",
    )  # fmt: skip
    for command, option in (("test", "--run"), ("predict", "--run"), ("fit", "--resume")):
        wanted = [command, option, "runs/NAME"]
        shown = [words[1:] for _, words in commands() if words[1:] == wanted]
        assert shown
        for words in shown:
            lie_attention(*words)


def shown(*start):
    """What follows the program, in the one command that begins with these words."""
    every = [[words[0].removeprefix(".venv/bin/"), *words[1:]] for _, words in commands()]
    (words,) = {tuple(words[1:]) for words in every if (*words[: len(start)],) == start}
    return list(words)


@pytest.mark.slow
def test_molecular_dynamics_that_is_shown_runs(lie_attention):
    pytest.importorskip("ase")
    words = shown("lie-attention", "md")
    run = words[words.index("--run") + 1]
    lie_attention(
        "fit", "--config", "md17/quick.yaml", "--run", run, *FEW["md17"], "--data.test_frames=4",
        "--trainer.max_epochs=1",
    )  # fmt: skip
    # Hardly trained, so that bonds break in time.
    few = "--steps=20", "--equilibration=20", "--interval=5", "--timestep=0.01"
    with pytest.raises(SystemExit) as left:
        lie_attention(*words, *few)
    assert left.value.code == 0
    assert (Path(run) / "md/md.json").is_file()


@pytest.mark.slow
def test_pictures_that_are_shown_are_drawn(lie_attention):
    animation = shown("lie-attention", "plot", "dynamics", "animation")
    data_efficiency = shown("lie-attention", "plot", "dynamics", "data-efficiency")
    lie_attention(
        "fit", "--config", "dynamics/quick.yaml", "--run", animation[animation.index("--run") + 1],
        *FEW["dynamics"], "--trainer.max_epochs=1",
    )  # fmt: skip
    for words in (
        animation,
        # Shown for the folder of the project.
        [*data_efficiency, "--results", str(ROOT / "results/dynamics/data_efficiency.json")],
        shown("lie-attention", "plot", "shapes"),
    ):
        with pytest.raises(SystemExit) as left:
            lie_attention(*words)
        assert left.value.code == 0
    assert {path.suffix for path in Path().rglob("*") if path.is_file()} >= {".gif", ".png"}


@pytest.mark.slow
def test_the_grid_that_is_shown_runs(lie_attention):
    words = shown("lie-attention", "ablate", "--config", "tasks/configs/md17/quick.yaml")
    place = words.index("--config") + 1
    words[place] = str(ROOT / words[place])
    words[words.index("--grid.seed_everything") + 1] = "[0]"
    words[words.index("--trainer.max_epochs") + 1] = "1"
    with pytest.raises(SystemExit) as left:
        lie_attention(*words, *FEW["md17"], "--data.test_frames=4")
    assert left.value.code == 0
    results = Path(words[words.index("--folder") + 1]) / "results.json"
    assert len(json.loads(results.read_text())["rows"]) == 3


@pytest.mark.slow
def test_the_training_on_a_database_that_is_shown_takes_a_step(lie_attention):
    pytest.importorskip("ase")
    from ase.build import molecule
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect

    words = shown("lie-attention", "fit", "--task", "molecules")
    with connect(words[words.index("--data.path") + 1]) as database:
        for name in 4 * ["CH3CH2OH", "H2O", "NH3", "CH3Cl", "CH3SH", "CF4"]:
            atoms = molecule(name)
            atoms.calc = SinglePointCalculator(atoms, energy=-len(atoms))
            database.write(atoms)
    few = "--data.val_molecules=4", "--data.test_molecules=4", "--data.batch_size=4"
    lie_attention(*words, *few, "--trainer.fast_dev_run=true")


@pytest.mark.slow
@pytest.mark.usefixtures("lie_attention")
def test_torchrun_that_is_shown_trains():
    words = ["torchrun", *shown("torchrun", "--nnodes")]
    # One machine and two processes, on the CPU.
    for option, value in {
        "--nnodes": "1", "--nproc-per-node": "2", "--rdzv-endpoint": "localhost:0",
        "--trainer.num_nodes": "1", "--trainer.devices": "2",
    }.items():  # fmt: skip
        words[words.index(option) + 1] = value
    place = words.index("lie-attention")
    words[place : place + 1] = [sys.executable, "-m", "tasks.commands.main"]
    few = [*FEW["qm9"], "--data.test_molecules=4", "--data.batch_size=4", "--trainer.max_epochs=1"]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words[1:], *few],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=True,
    )
    assert (Path(words[words.index("--run") + 1]) / "metrics.json").is_file()


@pytest.mark.slow
def test_the_script_of_slurm_starts_a_training_and_goes_on_with_it(lie_attention, capsys):
    """``srun`` stands for what would run the command, and writes it down."""
    (script,) = [text for _, kind, text in blocks() if kind == "bash" and "srun" in text]

    def submit():
        srun = 'srun() { shift; printf "%s\\n" "$@" > words.txt; }\n'
        subprocess.run(["bash", "-e"], input=srun + script, text=True, check=True)
        program, *words = Path("words.txt").read_text().splitlines()
        assert program == "lie-attention"
        return words

    with pytest.raises(SystemExit) as left:
        lie_attention(*submit(), "--print_config")
    assert left.value.code == 0
    understood = yaml.safe_load(capsys.readouterr().out)
    assert (understood["trainer"]["num_nodes"], understood["run"]) == (2, "runs/eight")
    Path("runs/eight").mkdir(parents=True)
    Path("runs/eight/config.yaml").touch()
    assert submit()[:3] == ["fit", "--resume", "runs/eight"]


def path_of_own_task(content):
    return str(content.get("data", {}).get("source", "")).startswith("my_task.")


def test_a_task_of_ones_own_is_as_short_as_it_says_and_runs(lie_attention, monkeypatch, capsys):
    page = ROOT / "docs/write_your_own_task.md"
    (source,) = [text for at, kind, text in blocks() if at == page and kind == "python"]
    (config,) = [text for at, kind, text in blocks() if at == page and kind == "yaml"]
    assert len((source + config).splitlines()) < 60
    Path("my_task.py").write_text(source)
    Path("charges.yaml").write_text(config)
    monkeypatch.syspath_prepend(Path.cwd())
    few = ["--data.source.count=120", "--data.val_clouds=10", "--data.test_clouds=30"]
    few.append("--trainer.enable_progress_bar=false")
    for at, words in commands():
        if at == page and words[0] == "lie-attention":
            given = words[1:]
            if "--trainer.max_epochs" in given:
                given[given.index("--trainer.max_epochs") + 1] = "2"
            elif given[0] == "fit":
                given.append("--trainer.max_epochs=1")
            lie_attention(*given, *(few if given[0] == "fit" and "--resume" not in given else []))
    metrics = json.loads(Path("runs/charges/metrics.json").read_text())
    assert len(metrics["history"]) == 2
    assert metrics["equivariance/error"] < 1e-10
    assert len(Path("runs/charges/predictions.csv").read_text().splitlines()) == 31
    assert {"learning_curve.png", "parity.png"} <= {p.name for p in Path("runs/charges").iterdir()}


@pytest.mark.slow
def test_yaml_is_accepted(lie_attention, tmp_path, capsys):
    for page, kind, text in blocks():
        if kind == "yaml":
            path = tmp_path / "shown.yaml"
            content = yaml.safe_load(text)
            if path_of_own_task(content):
                continue
            if "grid" in content:
                from tasks.studies import Study

                (tmp_path / content["config"]).write_text("task: md17")
                path.write_text(text)
                assert Study.read(path).runs, page
            else:
                path.write_text(text)
                with pytest.raises(SystemExit) as left:
                    lie_attention("fit", "--config", path, "--print_config")
                assert left.value.code == 0
                capsys.readouterr()


@pytest.mark.slow
def test_python_of_the_pages_runs(lie_attention, tmp_path, monkeypatch):
    pytest.importorskip("ase")
    from ase.build import molecule
    from ase.io import write

    lie_attention(
        "fit", "--config", "md17/quick.yaml", "--run", "runs/ethanol", *FEW["md17"],
        "--data.test_frames=4", "--trainer.max_epochs=1", "--model.learning_rate=1e-6",
    )  # fmt: skip
    write("ethanol.xyz", molecule("CH3CH2OH"))
    ran = [
        exec(compile(text, page.name, "exec"), {})
        for page, kind, text in blocks()
        if kind == "python" and page.name != "README.md"  # tests/test_readme.py
    ]
    assert ran
