"""A run of a stranger: whatever it names, nothing in it runs and nothing outside is touched."""

import io
import json
import pickle
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tasks.commands.main import main
from tasks.runs.checkpoint import load_model
from tasks.runs.trust import Trust
from tasks.training import Model

EVIL = """
from pathlib import Path
Path("PWNED").touch()

def run(*args, **kwargs):
    Path("PWNED").touch()

class Anything:
    def __init__(self, *args, **kwargs):
        Path("PWNED").touch()
"""

SHELL = {"class_path": "subprocess.Popen", "init_args": {"args": "touch PWNED", "shell": True}}


@pytest.fixture(scope="session")
def made():
    """The files of a run, once there is one."""
    return {}


@pytest.fixture
def run(made, config, monkeypatch, tmp_path):
    """A run in a folder beside a module that says when it is imported, and a folder to keep."""
    if not made:
        main(["fit", "--config=config.yaml", "--run=run", "--trainer.max_epochs=2"])
        made.update(
            {p.relative_to("run"): p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}
        )
    for name, content in made.items():
        Path("run", name).parent.mkdir(parents=True, exist_ok=True)
        Path("run", name).write_bytes(content)
    Path("evil.py").write_text(EVIL)
    Path("victim").mkdir()
    Path("victim/precious.txt").write_text("precious")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Path("run")
    sys.modules.pop("evil", None)


def outside():
    """Everything in the working folder but the run."""
    return {
        str(path): path.read_bytes()
        for path in sorted(Path().rglob("*"))
        if path.is_file() and path.parts[0] not in ("run", "cache", "__pycache__")
    }


def nothing_ran():
    """Neither here nor in a folder that was the working one for a while."""
    assert not list(Path().rglob("PWNED"))
    assert "evil" not in sys.modules


def attempt(*args):
    """Give a command; whatever it says."""
    with suppress(SystemExit):
        main(list(args))


def use(folder="run"):
    """All that a user does with a run that they were given."""
    attempt("test", f"--run={folder}")
    attempt("validate", f"--run={folder}")
    attempt("predict", f"--run={folder}")
    attempt("fit", f"--resume={folder}", "--trainer.max_epochs=3")


def setting(way, value):
    """Change a setting of the run."""

    def change(run):
        content = yaml.safe_load((run / "config.yaml").read_text())
        place = content
        *parts, last = way.split(".")
        for part in parts:
            place = place[part]
        place[last] = value
        (run / "config.yaml").write_text(yaml.safe_dump(content))

    return change


def in_checkpoint(edit):
    """Change the checkpoints of the run."""

    def change(run):
        for path in (run / "checkpoints").iterdir():
            content = torch.load(path, weights_only=True)
            edit(content)
            torch.save(content, path)

    return change


def hyper(name, value):
    return in_checkpoint(lambda content: content["hyper_parameters"].__setitem__(name, value))


class Payload:
    def __reduce__(self):
        return exec, ("open('PWNED', 'w').close()",)


def pickled(run):
    for path in (run / "checkpoints").iterdir():
        torch.save({"state_dict": {}, "payload": Payload()}, path)


def raw_pickle(run):
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(pickle.dumps(Payload()))


def text_added(text):
    def change(run):
        with (run / "config.yaml").open("a") as file:
            file.write(text)

    return change


def linked(name, target):
    def change(run):
        place = run / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        place.symlink_to(Path(target).resolve())

    return change


def files_of_callbacks(content):
    for state in content["callbacks"].values():
        if "dirpath" in state:
            state["dirpath"] = str(Path("victim").resolve())
            for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state[key] = str(Path("victim/precious.txt").resolve())
            state["best_k_models"] = {state["best_model_path"]: torch.tensor(1e9)}


def parts_of_files(content):
    content["parts"] = {"rows": SHELL, "counts": {}, "digests": {}, "before": torch.zeros(0)}


SURROUNDED = {"class_path": "DDPStrategy", "init_args": {"ddp_comm_state": SHELL}}
CHECKPOINT = "pytorch_lightning.callbacks.ModelCheckpoint"

ATTACKS = {
    "an object where anything goes": setting("trainer.strategy", SURROUNDED),
    "a function as a hook": setting(
        "trainer.strategy",
        {"class_path": "DDPStrategy", "init_args": {"ddp_comm_hook": "evil.run"}},
    ),
    "a callback": setting("trainer.callbacks", [{"class_path": "evil.Anything"}]),
    "a callback by its name": setting("trainer.callbacks", ["evil.Anything"]),
    "a logger": setting("trainer.logger", {"class_path": "evil.Anything"}),
    "a plugin": setting("trainer.plugins", [{"class_path": "evil.Anything"}]),
    "a profiler": setting(
        "trainer.profiler",
        {"class_path": "AdvancedProfiler", "init_args": {"dirpath": "victim", "filename": "p"}},
    ),
    "a network": setting("model.network", {"class_path": "evil.Anything"}),
    "a network by its name": setting("model.network", "evil.Anything"),
    "a network of the standard library": setting("model.network", "this.s"),
    "an invariant": setting("model.network.init_args.invariant", "evil.Anything"),
    "one of several invariants": setting(
        "model.network.init_args.invariant", ["Distance", "evil.Anything"]
    ),
    "a source": setting("data.source", {"class_path": "evil.Anything"}),
    "a nested class": setting("model.network.init_args.kernel", {"class_path": "evil.Anything"}),
    "a command as a kernel": setting("model.network.init_args.kernel", SHELL),
    "a function of ours as a kernel": setting(
        "model.network.init_args.kernel", "tasks.cache.write_atomic"
    ),
    "a folder for checkpoints": setting(
        "trainer.callbacks", [{"class_path": CHECKPOINT, "init_args": {"dirpath": "victim"}}]
    ),
    "a way out in a name": setting(
        "trainer.callbacks",
        [{"class_path": CHECKPOINT, "init_args": {"filename": "../../victim/precious"}}],
    ),
    "a folder for everything": setting("trainer.default_root_dir", "victim"),
    "a callback of ours that writes": setting(
        "trainer.callbacks",
        [{"class_path": "tasks.studies.runs.Progress", "init_args": {"folder": "victim"}}],
    ),
    "a task that is a path": setting("task", "../evil"),
    "a task that is a module": setting("task", "evil"),
    "a molecule that is a path": setting("data.molecule", "../../victim/precious"),
    "other settings in a file": setting("model", "victim/precious.txt"),
    "another run": setting("run", "victim"),
    "a history": setting("history", [SHELL]),
    "an unsafe reading": lambda run: (setting("weights_only", False)(run), pickled(run)),
    "a tag of YAML": text_added("x: !!python/object/apply:os.system ['touch PWNED']\n"),
    "an object in a checkpoint": pickled,
    "a bare pickle": raw_pickle,
    "a network in a checkpoint": hyper("network", {"class_path": "evil.Anything"}),
    "a module in a checkpoint": hyper("network", "this.s"),
    "an instantiator in a checkpoint": hyper("_instantiator", "evil.run"),
    "a class in a checkpoint": hyper("_class_path", "evil.Anything"),
    "files in a checkpoint": in_checkpoint(files_of_callbacks),
    "parts in a checkpoint": in_checkpoint(parts_of_files),
    "linked checkpoints": linked("checkpoints", "victim"),
    "linked metrics": linked("metrics.json", "victim/precious.txt"),
    "linked picture": linked("learning_curve.png", "victim/precious.txt"),
    "linked predictions": linked("predictions.csv", "victim/precious.txt"),
    "linked lock": linked(".lock", "victim/lock"),
    "linked settings": linked("config.yaml", "victim/precious.txt"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_runs_and_nothing_outside_is_touched(run, attack, capsys):
    ATTACKS[attack](run)
    before = outside()
    use()
    nothing_ran()
    assert "Zen of Python" not in capsys.readouterr().out
    assert outside() == before


@pytest.mark.parametrize(
    "attack",
    ["an object where anything goes", "a network in a checkpoint", "a module in a checkpoint"],
)
def test_the_same_holds_for_loading_a_checkpoint(run, attack):
    ATTACKS[attack](run)
    for path in sorted((run / "checkpoints").iterdir()):
        try:
            load_model(Model, path)
        except Exception as error:
            assert "evil" in str(error) or "this.s" in str(error)
    nothing_ran()


@pytest.mark.parametrize("named", [SHELL, {"class_path": "evil.Anything", "init_args": {}}])
@pytest.mark.parametrize("command", ["fit", "ablate"])
def test_a_configuration_of_the_user_builds_no_object_where_anything_goes(run, command, named):
    strategy = {"class_path": "DDPStrategy", "init_args": {"ddp_comm_state": named}}
    setting("trainer.strategy", strategy)(run)
    more = ["--dry_run", "--grid.seed_everything=[0, 1]"] if command == "ablate" else ["--run=new"]
    attempt(command, "--config=run/config.yaml", *more)
    if torch.distributed.is_initialized():  # By the strategy that is named.
        torch.distributed.destroy_process_group()
    nothing_ran()


def test_a_study_of_a_stranger_runs_no_code(config, monkeypatch, tmp_path):
    Path("evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(str(tmp_path))
    grid = ["ablate", "--config=config.yaml", "--grid.seed_everything=[0]", "--folder=study"]
    more = ["--trainer.max_epochs=2", "--workers=1"]
    attempt(*grid, *more)
    (run,) = (path for path in Path("study/runs").iterdir() if path.is_dir())
    (run / "metrics.json").unlink()  # So that it is gone on with.
    setting("trainer.callbacks", [{"class_path": "evil.Anything"}])(run)
    attempt(*grid, *more)
    nothing_ran()
    assert "evil.Anything" in (run / "log.txt").read_text()


def test_a_study_of_a_stranger_follows_no_link(config):
    Path("victim").mkdir()
    Path("victim/precious.txt").write_text("precious")
    grid = ["ablate", "--config=config.yaml", "--grid.seed_everything=[0]", "--folder=study"]
    for link in ("runs", "runs/run", "results.json", "study.json", ".lock"):
        Path("study", link).parent.mkdir(parents=True, exist_ok=True)
        Path("study", link).symlink_to(Path("victim").resolve() / "new")
        before = outside()
        attempt(*grid, "--trainer.max_epochs=1", "--workers=1")
        assert {k: v for k, v in outside().items() if k[:5] != "study"} == {
            k: v for k, v in before.items() if k[:5] != "study"
        }
        assert [path.name for path in Path("victim").iterdir()] == ["precious.txt"]
        shutil.rmtree("study")


@pytest.mark.parametrize("name", ["md", "md/trajectory.traj"])
def test_dynamics_follow_no_link(run, name):
    pytest.importorskip("ase")
    (run / "md").mkdir()
    linked(name, "victim" if name == "md" else "victim/new.traj")(run)
    before = outside()
    attempt("md", "--run=run", "--steps=40", "--equilibration=0")
    assert outside() == before


def test_an_archive_that_holds_objects_is_not_read(config):
    Path("rmd17/npz_data").mkdir(parents=True)
    array = np.array([Payload()], dtype=object)
    buffer = io.BytesIO()
    np.savez(buffer, coords=array, energies=array, forces=array, nuclear_charges=array)
    Path("rmd17/npz_data/rmd17_ethanol.npz").write_bytes(buffer.getvalue())
    attempt(
        "fit",
        "--config=config.yaml",
        "--data.source=RMD17",
        "--data.source.folder=rmd17",
        "--run=a",
    )
    nothing_ran()


# ---- what is trusted all the same ------------------------------------------------------------

OWN = '''
from tasks.sources.md17 import Springs

class Own(Springs):
    """Springs of the user."""
'''


@pytest.fixture
def own(monkeypatch, tmp_path):
    """A class of the user's own, and a run that was trained with it."""
    Path("my_springs.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("my_springs", None)
    settings = "--data.source={class_path: my_springs.Own, init_args: {frames: 40}}"
    main(["fit", "--config=config.yaml", settings, "--run=own", "--trainer.max_epochs=1"])
    yield "own"
    sys.modules.pop("my_springs", None)


def test_a_class_of_the_users_own_is_trusted_by_name(own, capsys):
    with pytest.raises(SystemExit):
        main(["test", f"--run={own}"])
    message = capsys.readouterr().err
    assert "data.source.class_path names my_springs.Own" in message
    assert "--trust my_springs" in message
    main(["test", f"--run={own}", "--trust=my_springs"])
    main(["fit", f"--resume={own}", "--trust", "my_springs", "--trainer.max_epochs=2"])
    assert json.loads(Path(own, "metrics.json").read_text())["test/frames"] == 8


def test_what_is_typed_is_trusted_and_nothing_else(own, capsys):
    main(
        [
            "fit",
            f"--resume={own}",
            "--data.source=my_springs.Own",
            "--data.source.frames=40",
            "--trust=my_springs.Own",
            "--trainer.max_epochs=2",
        ]
    )
    trust = Trust.of(["my_package"], ["--data.source", "his.Source"])
    assert trust.allows("my_package.deep.Class") and trust.allows("his.Source")
    assert trust.allows("liegroups.SE3")
    for name in ("my_package_2.Class", "his.Other", "os.system", "torch.hub.load"):
        assert not trust.allows(name)


def test_trust_is_given_to_what_can_be_named(run, capsys):
    with pytest.raises(SystemExit):
        main(["test", "--run=run", "--trust=not a name"])
    assert "trust: 'not a name'" in capsys.readouterr().err
