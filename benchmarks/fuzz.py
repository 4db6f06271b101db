"""Configurations that are wrong in one to three places: is each refused in words, or does it run?

    OMP_NUM_THREADS=1 python benchmarks/fuzz.py [--cases 500] [--seed 0] [--task TASK ...]
    OMP_NUM_THREADS=1 python benchmarks/fuzz.py --case TASK:NUMBER [--seed 0]
    OMP_NUM_THREADS=1 python benchmarks/fuzz.py --sound

The first takes small configurations of every task, in full, changes one to three of their settings,
and runs ``lie-attention fit`` on each: of another type, sign or size, not finite, empty, missing,
unknown, or a class of another kind. Every case is built and makes one training step and one of
validation, in a process of its own with a limit on time and memory. The second prints the
configuration of one case and runs it, with its traceback where it has one. The third runs the
configurations as they are, all of which have to be accepted.

A case is

- refused: status 1, and the last line is the message for people;
- accepted: it went through, or had made its steps;
- a traceback: any other exception, one of missing memory among them, or another status;
- a hang: more than --seconds of the processor, or four times that of the clock;
- killed: the process ended by a signal.

results/reliability/fuzz.json has a row for each task, and ``accepted_absurd``: what was accepted
although no one means it, with the reason why that is right. The status is 1 where a case is none of
the first two, or where a reason is missing. Cases depend on the seed and their number alone.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from inspect import isabstract, isclass
from pathlib import Path
from typing import Any

# Beside this file is one with the name of a package that it needs: look for packages first.
sys.path.append(sys.path.pop(0))

import torch
import yaml
from _results import ROOT

from tasks import cli
from tasks.provenance import provenance
from tasks.task_cli import TASKS, TaskCLI

MEMORY = 8 * 2**30
"""Bytes of address space of a case."""

MOST_STEPS = 3
"""Batches of training, or of validation, after which a case has shown that it runs."""

_MESSAGE = "lie-attention: error: "

NOTES = (
    "Mutated configurations by task. refused: status 1 with a message; accepted: built and "
    "stepped; tracebacks: any other end, a want of memory among them; hangs: out of time; killed: "
    "ended by a signal. cpu_seconds: of all cases of the row."
)

Config = dict[str, Any]
Place = tuple[str | int, ...]

# ---- the configurations that are changed ---------------------------------------------------------

_RADIAL = "{class_path: RadialBasis, init_args: {radius: 5.0}}"
_CHANNELWISE = "{class_path: %s, init_args: {channels: 4, max_degree: 1, layers: 2}}"
_ATTENTION = {"width": 8, "layers": 1, "heads": 2}
_QM9 = {
    "data.train_molecules": 8,
    "data.val_molecules": 4,
    "data.test_molecules": 4,
    "data.batch_size": 4,
}
_MD17 = {
    "data.source": "{class_path: Springs, init_args: {frames: 24}}",
    "data.train_frames": 8,
    "data.val_frames": 4,
    "data.test_frames": 4,
    "data.batch_size": 4,
}
_SHAPES = {
    "data.train_clouds": 8,
    "data.val_clouds": 4,
    "data.test_clouds": 4,
    "data.batch_size": 4,
}
_DYNAMICS = {
    "data.train_systems": 6,
    "data.val_systems": 4,
    "data.test_systems": 4,
    "data.batch_size": 6,
}
_MOLECULES = {
    "task": "molecules",
    "data.path": "molecules.db",
    "data.target": "[energy, weight]",
    "data.unit": "[eV, u]",
    "data.val_molecules": 4,
    "data.test_molecules": 4,
    "data.batch_size": 4,
}


def _within(prefix: str, settings: Config) -> Config:
    return {f"{prefix}.{name}": value for name, value in settings.items()}


BASES: dict[str, list[Config]] = {
    "qm9": [
        {"config": "qm9/quick", **_within("model", _ATTENTION), **_QM9},
        {"config": "qm9/lietransformer_t3", **_within("model", _ATTENTION), **_QM9},
        {"config": "qm9/systems/frames", **_within("model", _ATTENTION), **_QM9},
        {"config": "qm9/systems/nearest", **_within("model", _ATTENTION), **_QM9},
        {"config": "qm9/systems/ponita", **_within("model", _ATTENTION), **_QM9},
        {
            "config": "qm9/systems/platonic",
            **_within("model", {"width": 12, "layers": 1, "heads": 2}),
            **_QM9,
        },
        {
            "config": "qm9/systems/mather",
            "model.property_network.channels": 4,
            "model.property_network.layers": 1,
            "model.property_network.types": "[0, 1]",
            **_QM9,
        },
        {
            "task": "qm9",
            "model.invariant": _RADIAL,
            "model.property_network": _CHANNELWISE % "ChannelwiseProperty",
            **_QM9,
        },
    ],
    "md17": [
        {
            "config": "md17/quick",
            "model.network.types": "[0, 1]",
            "model.network.channels": 4,
            "model.network.layers": 1,
            **_MD17,
        },
        {
            "task": "md17",
            "model.invariant": _RADIAL,
            "model.network": _CHANNELWISE % "ChannelwiseEnergy",
            **_MD17,
        },
        {
            "task": "md17",
            "model.network": "{class_path: LieEnergy, init_args: {width: 8, layers: 1, heads: 2}}",
            **_MD17,
        },
    ],
    "shapes": [
        {"config": "shapes/quick", **_within("model.counter", _ATTENTION), **_SHAPES},
        {"config": "shapes/cyclic", **_within("model.counter", _ATTENTION), **_SHAPES},
        {"config": "shapes/frames", **_within("model.counter", _ATTENTION), **_SHAPES},
        {
            "config": "shapes/set_transformer",
            "model.counter.width": 8,
            "model.counter.heads": 2,
            "model.counter.encoder_layers": 1,
            "model.counter.decoder_layers": 1,
            "model.counter.inducing_points": 2,
            **_SHAPES,
        },
    ],
    "dynamics": [
        {"config": "dynamics/quick", **_within("model.field", _ATTENTION), **_DYNAMICS},
        {
            "config": "dynamics/planets",
            **_within("model.field", _ATTENTION),
            "model.loss": "RollOut",
            "data.system": "{class_path: Planets, init_args: {points: 100, substeps: 1}}",
            "data.chunk": 3,
            **_DYNAMICS,
        },
        {"config": "dynamics/hogn", "model.field.width": 8, **_DYNAMICS, "data.chunk": 3},
        {
            "config": "dynamics/fc",
            "model.field.width": 8,
            "model.loss": "Quadrature",
            "data.system": "{class_path: PendulumChain, init_args: {points: 100, substeps: 1}}",
            **_DYNAMICS,
        },
    ],
    "molecules": [
        {"model.invariant": "Distance", **_within("model", _ATTENTION), **_MOLECULES},
        {
            "model.invariant": _RADIAL,
            "model.property_network": _CHANNELWISE % "ChannelwiseProperty",
            "model.pooling": "sum",
            **_MOLECULES,
        },
    ],
}
"""Of each task, settings that make a configuration small; the rest are shipped or defaults."""

_STEP: Config = {
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 1,
    "trainer.limit_val_batches": 1,
    "trainer.num_sanity_val_steps": 0,
    "trainer.enable_progress_bar": False,
    "trainer.accelerator": "cpu",
}


def resolve(base: Config) -> Config:
    """The configuration in full, as ``--print_config`` has it."""
    arguments = ["fit"]
    for key, value in (base | _STEP).items():
        arguments += [f"--{key}", str(value)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main([*arguments, "--print_config"])
    found: Config = yaml.safe_load(printed.getvalue())
    return found


def make_molecules(path: Path) -> None:
    """Write a small database of ASE."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.collections import g2
    from ase.db import connect

    with connect(path, use_lock_file=False) as database:
        for name in ("CH4", "NH3", "H2O", "C2H6", "CH3OH", "HCN", "CO2", "N2H4") * 2:
            atoms = g2[name]
            atoms.calc = SinglePointCalculator(atoms, energy=-float(atoms.numbers.sum()))
            database.write(atoms, weight=float(atoms.get_masses().sum()) / len(atoms))


# ---- changes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What was done to a configuration.

    Attributes:
        setting: The dotted key, without the words class_path and init_args.
        value: What it was given, as text.
        absurd: Whether nobody would mean it.
    """

    setting: str
    value: str
    absurd: bool


_NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
_STRINGS = ("", " ", "seven", "../x", "a/b", "None", "x" * 300, "1e3", "ü\u2028", "{a: 1}")
_HUGE = (10**6, 10**9, 2**31, 2**63, 10**30)


@cache
def class_names() -> list[str]:
    """Names of classes that some key takes, and of some that none does."""
    found = {"torch.nn.Linear", "builtins.dict", "pathlib.Path", "nowhere.Nothing", "os.getcwd"}
    for package in ("liegroups", "attention", *(f"tasks.{task}" for task in TASKS)):
        module = import_module(package)
        for name in module.__all__:
            each = getattr(module, name)
            if isclass(each):
                found.add(f"{package}.{name}" if isabstract(each) else name)
    return sorted(found)


def of_its_type(value: Any, draw: random.Random) -> tuple[Any, bool]:
    """A value of the same type, which a parser that looks at types alone lets through."""
    if isinstance(value, bool):
        return not value, False
    if isinstance(value, int):
        return draw.choice([0, -1, -(10**9), *_HUGE, *_HUGE]), True
    if isinstance(value, float):
        return draw.choice([*_NOT_FINITE, 0.0, -1.0, -value, 1e-300, 1e30, 1e300]), True
    return draw.choice([[], value + value, value * 500, value[:-1]]), True


def another(value: Any, draw: random.Random) -> tuple[Any, bool]:
    """A value in place of one, and whether nobody would mean it."""
    if draw.random() < 0.6 and value is not None and not isinstance(value, str | dict):
        return of_its_type(value, draw)
    kinds: list[Callable[[], tuple[Any, bool]]] = [
        lambda: (None, False),  # It is refused, or has a meaning.
        lambda: (draw.choice([[], {}, [[]], [None], {"a": 1}]), True),
        lambda: (draw.choice(_STRINGS), True),
        lambda: ([value, value], True),
        lambda: (draw.choice(_NOT_FINITE), True),
    ]
    if isinstance(value, bool):
        kinds += [lambda: (not value, False), lambda: (draw.choice([0, 1, 2, -1]), True)]
    elif isinstance(value, int):
        kinds += 2 * [
            lambda: (draw.choice([0, -1, -(10**9)]), True),
            lambda: (draw.choice(_HUGE), True),
            lambda: (draw.choice([1, 2, 3, 7]), False),
            lambda: (draw.choice([True, False]), True),
            lambda: (draw.choice([value + 0.5, float(value)]), True),
        ]
    elif isinstance(value, float):
        kinds += 2 * [
            lambda: (draw.choice(_NOT_FINITE), True),
            lambda: (draw.choice([0.0, -1.0, -value, 1e-300, 1e30, 1e300]), True),
            lambda: (draw.choice([True, False]), True),
            lambda: (draw.choice([0.5, 1, 2.0]), False),
        ]
    elif isinstance(value, str):
        kinds += 2 * [
            lambda: (draw.choice(_STRINGS), True),
            lambda: (draw.choice(class_names()), True),
            lambda: (draw.choice([0, 1, True, 2.5]), True),
        ]
    elif isinstance(value, list):
        kinds += 2 * [
            lambda: ([], True),
            lambda: (value + value, True),
            lambda: (value[:1], False),
            lambda: ([*value[:-1], another(value[-1], draw)[0]] if value else [0], True),
            lambda: (value[0] if value else 0, True),
            lambda: (list(value) * 500, True),
        ]
    elif value is None:
        kinds += 2 * [
            lambda: (draw.choice([0, -1, True, 10**9]), True),
            lambda: (draw.choice([1, 2]), False),
            lambda: (draw.choice([0.5, *_NOT_FINITE]), True),
            lambda: (draw.choice([*_STRINGS, *class_names()]), True),
        ]
    else:  # What names a class.
        kinds += 3 * [
            lambda: (draw.choice(class_names()), True),
            lambda: ({**value, "class_path": draw.choice(class_names())}, True),
            lambda: ({**value, "init_args": draw.choice([None, [], 3, {"a": 1}])}, True),
            lambda: ({k: v for k, v in value.items() if k != "class_path"}, True),
            lambda: ({"class_path": draw.choice([None, 3, "", [value]])}, True),
        ]
    return draw.choice(kinds)()


def places(config: Any, at: Place = ()) -> Iterator[Place]:
    """Where a configuration can be changed: its leaves, and what names a class."""
    if at and (not isinstance(config, dict) or "class_path" in config):
        yield at
    if isinstance(config, dict):
        for key, value in config.items():
            yield from places(value, (*at, key))
    elif isinstance(config, list):
        for number, value in enumerate(config):
            yield from places(value, (*at, number))


def change(config: Config, draw: random.Random) -> Change:
    """Change one place of a configuration."""
    section = draw.choices(["model", "data", "trainer", ""], [6, 4, 3, 1])[0]
    among = [p for p in places(config) if (p[0] == section if section else len(p) == 1)]
    place = draw.choice(among)
    holder: Any = config
    for key in place[:-1]:
        holder = holder[key]
    last = place[-1]
    if isinstance(holder, dict) and draw.random() < 0.08:
        name = draw.choice([f"{last}s", "widht", "class_path", "", 3, None])
        holder[name] = value = draw.choice([holder[last], 3, None, "x"])
        return Change(_setting((*place[:-1], name)), _text(value), True)
    if isinstance(holder, dict) and draw.random() < 0.03:
        del holder[last]
        return Change(_setting(place), "(missing)", False)
    value, absurd = another(holder[last], draw)
    holder[last] = value
    return Change(_setting(place), _text(value), absurd)


def _setting(place: Place) -> str:
    return ".".join(str(key) for key in place if key not in ("init_args", "class_path"))


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) < 80 else f"{text[:60]} ({len(text)} characters)"


def make_case(
    bases: list[Config], task: str, number: int, seed: int
) -> tuple[Config, list[Change]]:
    """The configuration of a case, and how it differs from a sound one."""
    draw = random.Random(f"{seed}:{task}:{number}")
    config: Config = json.loads(json.dumps(draw.choice(bases)))
    config["trainer"]["fast_dev_run"] = draw.random() < 0.5
    count = draw.choice([1, 1, 1, 2, 2, 3])
    return config, [change(config, draw) for _ in range(count)]


# ---- what is accepted, and why -------------------------------------------------------------------

_BOUND = "a bound from above, and no data reach it"
_NEVER = "seldom or never is a choice: the last epoch is validated in any case"
_WORD = "a word of the user's, which is kept and shown as it is"
_NUMBER = r"\d[\d.e+-]*"

ARGUED: list[tuple[str, str, str]] = [
    (r"data\.batch_size", _NUMBER, "the largest size of a batch: one batch holds all there are"),
    (r"trainer\.(limit_\w+|overfit_batches|num_sanity_val_steps)", _NUMBER, _BOUND),
    (r"trainer\.num_sanity_val_steps", "-1", "all batches"),
    (r"trainer\.fast_dev_run", _NUMBER, "the number of batches that each part is tried on"),
    (r"trainer\.(max|min)_(epochs|steps)", "0|-1", "no bound, or nothing to train: a trial of all"),
    (
        r"trainer\.(max|min)_(epochs|steps)",
        _NUMBER,
        "how long is the user's choice; max_time or an interrupt end it with a checkpoint",
    ),
    (r"trainer\.(check_val_every_n_epoch|val_check_interval)", _NUMBER, _NEVER),
    (r"trainer\.(log_every_n_steps|reload_dataloaders_every_n_epochs)", _NUMBER, "never"),
    (r"trainer\.accumulate_grad_batches", _NUMBER, "one step of the optimizer an epoch"),
    (r"trainer\.gradient_clip_val", _NUMBER, "0 is none, and a bound that is never reached is too"),
    (r"trainer\.(num_nodes|devices)", _NUMBER, "it waits for the other machines or processes"),
    (r"trainer\.val_check_interval", '".*', "a time, which Lightning reads where it is used"),
    (
        r"trainer\.(model_registry|callbacks|default_root_dir|logger)",
        ".*",
        "Lightning keeps it; not used",
    ),
    (r"seed_everything", "false|true|0|1|0.0", "Lightning's way to say no seed, and some seed"),
    (r"(run|data\.cache_dir|data\.folder|trainer\.default_root_dir)", r'".*', "a folder's name"),
    (r"(resume|ckpt_path|trust|history)", r'".*|\[\]|null', "nothing of that name, so a new run"),
    (r"data\.(unit|molecule).*", r".*", _WORD),
    (r"model\.(learning_rate|feature_scale)", _NUMBER, "a training that diverges ends in words"),
    (r"model\.(weight_decay|warmup)", "-?0.0|1e-300", "none"),
    (r"model\.weight_decay", _NUMBER, "weights that go to zero are still weights"),
    (r"model\.(energy|force)_weight", _NUMBER, "the ratio of the two is the user's choice"),
    (r".*\.seed|data\.split", _NUMBER, "every number of four bytes is a seed"),
    (r".*\.(width|hidden|channels|count|of|heads|seeds)", _NUMBER, "it fits into the memory"),
    (r".*\.decoder_layers", "0", "scores of what the seeds found, as documented"),
    (r"data\.(val|test|train)_\w+", _NUMBER, "drawn or read in part, and it fits into the memory"),
    (r"data\.patterns\.\w+", _NUMBER, "a law of clouds, if an odd one"),
    (r"data\.system\.\w+", _NUMBER, "a system, if an odd one"),
    (r".*\.types.*", r"\[.*", "a set of degrees: one that is repeated is the same set"),
    (r".*\.(radius|length|unit|softening|rotation|typical)", _NUMBER, "a length, if an odd one"),
    (r".*", r"\{.*", "settings of the class that is the default there"),
    (r"(model|data)\..*", r'"[\w.]*[A-Z]\w*"', "a class of the kind that the key takes"),
    (r"data\.patterns\.shapes.*", ".*", "one shape, or fewer"),
]
"""Settings and values, as patterns, that are accepted though hardly anybody means them; and why."""


def reason(change: Change) -> str:
    """Why a value is accepted, or nothing."""
    for setting, value, why in ARGUED:
        if re.fullmatch(setting, change.setting) and re.fullmatch(value, change.value):
            return why
    return ""


# ---- one case ------------------------------------------------------------------------------------


class _Enough(BaseException):
    """A case has made its steps."""


@dataclass
class Outcome:
    """How a case ended.

    Attributes:
        kind: ``refused``, ``accepted``, ``traceback``, ``hang`` or ``killed``.
        text: The message, or the end of the traceback.
    """

    kind: str
    text: str = ""


@dataclass
class Tally:
    """The cases of a task."""

    outcomes: dict[str, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def add(self, kind: str) -> None:
        self.outcomes[kind] = self.outcomes.get(kind, 0) + 1


def _stop_after_some_steps() -> None:
    """Let a case end when it has made its steps, and start no other processes."""
    from pytorch_lightning.strategies import Strategy

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        made = 0

        def step(*args: Any, **settings: Any) -> Any:
            nonlocal made
            made += 1
            if made > MOST_STEPS:
                raise _Enough
            return call(*args, **settings)

        return step

    def alone(*_: Any, **__: Any) -> None:
        raise _Enough

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("the archive of rMD17 cannot be downloaded.")

    Strategy.training_step = counted(Strategy.training_step)  # type: ignore[method-assign]
    Strategy.validation_step = counted(Strategy.validation_step)  # type: ignore[method-assign]
    TaskCLI.after_fit = lambda self: None  # type: ignore[method-assign]
    # What would take minutes, or a network.
    import_module("tasks.md17.xtb").XTB.load = alone
    import_module("tasks.md17.archive").fetch_archive = unreachable
    torch.nn.Module.compile = alone  # type: ignore[method-assign]
    launchers = import_module("pytorch_lightning.strategies.launchers")
    for name in ("_SubprocessScriptLauncher", "_MultiProcessingLauncher"):
        getattr(launchers, name).launch = alone
    torch.distributed.init_process_group = alone


def run(config: Config) -> Outcome:
    """Run a case in this process, whose state is of no use any more after that."""
    Path("config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
    _stop_after_some_steps()
    try:
        cli.main(["fit", "--config", "config.yaml"])
    except _Enough:
        pass
    except SystemExit as left:
        if left.code not in (0, None):
            sys.stderr.flush()
            return Outcome("refused" if left.code == 1 else "traceback", f"status {left.code}")
    except BaseException:
        return Outcome("traceback", traceback.format_exc())
    return Outcome("accepted")


def in_a_process(config: Config, database: Path, seconds: int) -> tuple[Outcome, float]:
    """Run a case in a forked process; return how it ended and its processor's seconds."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        inner = Path(folder) / "a/b/c"  # A setting may name a folder above.
        inner.mkdir(parents=True)
        os.symlink(database, inner / "molecules.db")
        said, found = Path(folder) / "said", Path(folder) / "found"
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            try:
                _be_a_case(config, inner, said, found, seconds)
            finally:
                os._exit(0)
        status, usage, late = _wait(pid, 4 * seconds)
        spent = usage.ru_utime + usage.ru_stime
        lines = said.read_text(errors="replace").strip().split("\n")
        if not found.exists():
            name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "no end"
            kind = "hang" if late or name == "SIGXCPU" else "killed"
            return Outcome(kind, f"{name} after {spent:.0f} s; {' '.join(lines[-1:])}"), spent
        outcome = Outcome(**json.loads(found.read_text()))
        if outcome.kind == "refused":
            starts = [n for n, line in enumerate(lines) if line.startswith(_MESSAGE)]
            outcome.text = " ".join(lines[starts[-1] :] if starts else lines[-1:])
            if not starts:
                outcome = Outcome("traceback", f"status 1 without a message: {outcome.text}")
        return outcome, spent


def _be_a_case(config: Config, folder: Path, said: Path, found: Path, seconds: int) -> None:
    os.chdir(folder)
    os.environ.pop("LIE_ATTENTION_TRACEBACK", None)
    warnings.simplefilter("ignore")
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    outcome = run(config)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    found.write_text(json.dumps({"kind": outcome.kind, "text": outcome.text}))


def _wait(pid: int, seconds: float) -> tuple[int, resource.struct_rusage, bool]:
    """Wait for a process, and end it where it takes too long; the last is whether it did."""
    until = time.monotonic() + seconds
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, usage, False
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            return status, usage, True
        time.sleep(0.01)


# ---- all cases -----------------------------------------------------------------------------------


def prepare(tasks: Sequence[str], database: Path) -> dict[str, list[Config]]:
    """Load in advance what every case needs, and give the configurations in full."""
    cli.silence_noise()
    make_molecules(database)
    source = import_module("tasks.qm9.data")
    source.load = cache(source.load)  # The molecules of QM9, once for all cases.
    if "qm9" in tasks:
        source.load(None)
    here = os.getcwd()
    os.chdir(database.parent)
    try:
        return {task: [resolve(base) for base in BASES[task]] for task in tasks}
    finally:
        os.chdir(here)


def fuzz(
    tasks: Sequence[str],
    numbers: Mapping[str, Sequence[int]],
    seed: int,
    seconds: int,
    report: Callable[[str], None],
) -> tuple[dict[str, Tally], list[dict[str, str]]]:
    """Run cases of tasks.

    Args:
        tasks: The tasks.
        numbers: The cases of each.
        seed: Of all of them.
        seconds: Limit of a case.
        report: Gets a line for each case that is neither refused nor accepted.

    Returns:
        What became of the cases of each task, and what was accepted though nobody means it.
    """
    tallies: dict[str, Tally] = {}
    absurd: dict[tuple[str, str, str], dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "molecules.db"
        bases = prepare(tasks, database)
        for task in tasks:
            tally = tallies[task] = Tally()
            for number in numbers[task]:
                config, changes = make_case(bases[task], task, number, seed)
                outcome, spent = in_a_process(config, database, seconds)
                tally.add(outcome.kind)
                tally.cpu_seconds += spent
                shown = "; ".join(f"{each.setting} = {each.value}" for each in changes)
                report(f"{outcome.kind} {task}:{number} [{shown}] {outcome.text}")
                if outcome.kind != "accepted":
                    continue
                for each in changes:
                    if each.absurd:
                        key = task, each.setting, each.value
                        absurd[key] = {
                            "task": task,
                            "setting": each.setting,
                            "value": each.value,
                            "why": reason(each),
                        }
    return tallies, [absurd[key] for key in sorted(absurd)]


def show(settings: Namespace) -> None:
    """Print the configuration of one case and run it in the foreground."""
    task, number = settings.case.split(":")
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "molecules.db"
        bases = prepare([task], database)
        config, changes = make_case(bases[task], task, int(number), settings.seed)
        print(yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
        print("\n".join(f"# {each.setting} = {each.value}" for each in changes), flush=True)
        outcome, _ = in_a_process(config, database, settings.seconds)
        print(f"{outcome.kind}\n{outcome.text}")


def run_sound(settings: Namespace) -> None:
    """Run the configurations as they are, and raise where one is not accepted."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "molecules.db"
        for task, configs in prepare(settings.task, database).items():
            for number, config in enumerate(configs):
                outcome, spent = in_a_process(config, database, settings.seconds)
                print(f"{task} {number}: {outcome.kind}, {spent:.1f} s", flush=True)
                if outcome.kind != "accepted":
                    raise AssertionError(f"{task} {number} is not sound: {outcome.text}")


def write(path: Path, rows: list[dict[str, Any]], absurd: list[dict[str, str]]) -> None:
    """Write the rows, in place of those of the same tasks."""
    old = json.loads(path.read_text()) if path.exists() else {"rows": [], "accepted_absurd": []}
    new = {row["task"] for row in rows}
    content = {
        "notes": NOTES,
        "rows": [*(row for row in old["rows"] if row["task"] not in new), *rows],
        "accepted_absurd": [
            *(each for each in old["accepted_absurd"] if each["task"] not in new),
            *absurd,
        ],
    }
    content["rows"].sort(key=lambda row: TASKS.index(row["task"]))
    content["accepted_absurd"].sort(key=lambda each: (TASKS.index(each["task"]), *each.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--cases", type=int, default=500, help="of all tasks together")
    add("--seed", type=int, default=0)
    add("--task", nargs="+", choices=TASKS, default=list(TASKS))
    add("--seconds", type=int, default=30, help="of the processor, for one case")
    add("--results", type=Path, default=ROOT / "results/reliability/fuzz.json")
    add("--sound", action="store_true", help="run the configurations as they are")
    add("--case", metavar="TASK:NUMBER", help="show one case")
    add("--verbose", action="store_true", help="a line for every case")
    settings = parser.parse_args()
    if settings.case:
        return show(settings)
    if settings.sound:
        return run_sound(settings)

    def report(line: str) -> None:
        if settings.verbose or line.split()[0] not in ("refused", "accepted"):
            print(line, flush=True)

    each = -(-settings.cases // len(TASKS))
    numbers = {task: range(each) for task in settings.task}
    tallies, absurd = fuzz(settings.task, numbers, settings.seed, settings.seconds, report)
    made_by = provenance(["benchmarks/fuzz.py", *sys.argv[1:]], "python")
    rows = [
        {
            "task": task,
            "cases": sum(tally.outcomes.values()),
            **{
                f"{kind}s" if kind in ("traceback", "hang") else kind: tally.outcomes.get(kind, 0)
                for kind in ("refused", "accepted", "traceback", "hang", "killed")
            },
            "cpu_seconds": round(tally.cpu_seconds, 1),
            **made_by,
        }
        for task, tally in tallies.items()
    ]
    write(settings.results, rows, absurd)
    for row in rows:
        print({key: value for key, value in row.items() if key not in made_by})
    without = [each for each in absurd if not each["why"]]
    for each in without:
        print(f"accepted without a reason: {each['task']}: {each['setting']} = {each['value']}")
    bad = any(row["tracebacks"] or row["hangs"] or row["killed"] for row in rows)
    sys.exit(1 if bad or without else 0)


if __name__ == "__main__":
    main()
