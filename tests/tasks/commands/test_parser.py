"""Naming a class gives that class's own defaults: for every key that names one, at any depth."""

import inspect
import json
import pkgutil
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_origin

import pytest
import yaml
from jsonargparse import ArgumentParser
from jsonargparse._typehints import (
    ActionTypeHint,
    get_all_subclass_paths,
    get_callable_return_type,
    get_class_types,
    is_instance_factory_protocol,
)

import attention
import liegroups
import tasks
from tasks.commands.catalog import TASKS
from tasks.commands.main import main
from tasks.commands.parser import CLASS_KEYS, Parser
from tasks.studies.grid import Axis
from tasks.training import Model

OURS = ("liegroups.", "attention.", "tasks.")
NEEDED = {
    "n": 2,
    "radius": 4.0,
    "count": 3,
    "kernel": "attention.Sum",
    "path": "file.db",
    "target": "energy",
    "unit": "eV",
    "group": "liegroups.SE3",
    "invariants": ["liegroups.Distance"],
    "linear": "liegroups.SO3",
    "subgroup": {"class_path": "liegroups.CyclicGroup", "init_args": {"n": 4}},
}
"""Values of settings that have no default."""

GROUPS_OF_SPACES = {
    "ConcentricSpheres": "liegroups.SO3",
    "Coordinates": {"class_path": "liegroups.Trivial", "init_args": {"n": 3}},
    "Sphere": "liegroups.SO3",
}
"""The groups of spaces that are not spaces of SE(3)."""

FROM_THE_CALLER = {"outputs", "backend"}
"""Settings with a default that the model, or the network of a block, gives all the same."""

LOCATION = "kernel.init_args.location.init_args.hidden"

NEED_OBJECTS = {
    "DirectProduct",
    "FiniteSubgroup",
    "GeneratedGroup",
    "GivenElements",
    "MatrixSubgroup",
    "SemidirectProduct",
}
"""Classes that cannot be built from plain settings, of all that another test may have imported."""


for package in ("liegroups", "attention", "attention.steerable"):
    import_module(package)


def load(path):
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def is_ours(path):
    return path.startswith(OURS) and not inspect.isabstract(load(path))


def _named_by(hint):
    """The classes that a setting names one of; what makes a network names a class of networks."""
    if is_instance_factory_protocol(hint):
        return (get_callable_return_type(hint),)
    return get_class_types(hint)


@cache
def class_keys(owner):
    """The settings of a class that name a class, with the classes that each may name."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(owner, "owner", fail_untyped=False)
    found = {}
    for action in parser._actions:
        if not isinstance(action, ActionTypeHint):
            continue
        kinds = _named_by(action._typehint)
        paths = sorted({p for kind in kinds for p in get_all_subclass_paths(kind) if is_ours(p)})
        if paths and get_origin(action._typehint) is not tuple:
            found[action.dest.removeprefix("owner.")] = action._typehint, tuple(paths)
    return found


def walk():
    """The types of all settings that name a class, in all that a task's configuration reaches."""
    owners = [Model, *(task.data_class for task in TASKS.values())]
    seen, kinds, keys = set(owners), {}, set()
    while owners:
        for key, (kind, paths) in class_keys(owners.pop()).items():
            keys.add(key)
            kinds[str(kind)] = kind, paths
            for path in paths:
                if (found := load(path)) not in seen:
                    seen.add(found)
                    owners.append(found)
    return kinds, keys


KINDS, KEYS = walk()
CASES = [
    (name, path)
    for name, (_, paths) in KINDS.items()
    for path in paths
    if path.rpartition(".")[2] not in NEED_OBJECTS
]


def own_defaults(path):
    """What the signature of a class says, without the parser."""
    parameters = list(inspect.signature(load(path)).parameters.values())
    return {
        p.name: p.default
        for p in parameters
        if isinstance(p.default, bool | int | float | str) and p.kind is not p.VAR_KEYWORD
    }


def spec(path, changed=False):
    """A class with the settings that it needs; changed, all its plain settings are others."""
    parameters = inspect.signature(load(path)).parameters.values()
    settings = {
        p.name: NEEDED[p.name] for p in parameters if p.default is p.empty and p.name in NEEDED
    }
    if (name := path.rpartition(".")[2]) in GROUPS_OF_SPACES:
        settings["group"] = GROUPS_OF_SPACES[name]
    if changed:
        for name, value in own_defaults(path).items():
            if name in FROM_THE_CALLER:
                continue
            if isinstance(value, bool):
                settings[name] = not value
            elif isinstance(value, int | float):
                settings[name] = value + 1
    return {"class_path": path, "init_args": settings}


def parse(kind, *steps):
    """Give values to a setting one after the other: on the command line, or as configurations."""
    parser = Parser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--key", type=kind)
    arguments = [
        f"--config={json.dumps({'key': value})}" if how == "yaml" else f"--key={json.dumps(value)}"
        for how, value in steps
    ]
    return parser.parse_args(arguments).key


@pytest.mark.parametrize(("name", "path"), CASES, ids=lambda text: text.rpartition(".")[2])
def test_a_named_class_has_its_own_defaults_whatever_stood_there(name, path):
    kind, paths = KINDS[name]
    usable = [p for p in paths if p.rpartition(".")[2] not in NEED_OBJECTS]
    other = usable[(usable.index(path) + 1) % len(usable)]
    needed = spec(path)["init_args"]
    for how in ("yaml", "command line"):
        for before in (other, path):
            found = parse(kind, ("yaml", spec(before, changed=True)), (how, spec(path)))
            assert load(found.class_path) is load(path)
            settings = found.get("init_args") or {}
            assert {
                name: settings[name]
                for name in own_defaults(path)
                if name not in needed and name not in FROM_THE_CALLER
            } == {
                name: value
                for name, value in own_defaults(path).items()
                if name not in needed and name not in FROM_THE_CALLER
            }


def test_the_walk_reaches_the_keys_that_messages_explain():
    assert set(CLASS_KEYS) <= KEYS
    assert len(CASES) > 100


# ---- on the command line ---------------------------------------------------------------------


@pytest.fixture
def settings(capsys, tmp_path, monkeypatch):
    """The resolved configuration of a command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lie-attention"])

    def resolve(*args):
        with pytest.raises(SystemExit) as left:
            main(["fit", *args, "--print_config"])
        printed = capsys.readouterr()
        assert left.value.code == 0, printed.err
        return yaml.safe_load(printed.out)

    return resolve


def test_the_network_of_another_class_is_the_documented_one(settings):
    network = settings("--task=md17", "--model.network=ChannelwiseTransformer")["model"]["network"]
    documented = inspect.signature(load("attention.steerable.ChannelwiseTransformer")).parameters
    assert network["init_args"]["channels"] == documented["channels"].default == 32
    assert network["init_args"]["neighborhood"]["init_args"]["radius"] == 5.0


def test_a_nested_class_is_the_documented_one(settings):
    kernel = "--model.network.kernel={class_path: Sum, init_args: {location: SharedLocationMLP}}"
    found = settings("--task=qm9", kernel)["model"]["network"]["init_args"]["kernel"]["init_args"][
        "location"
    ]
    assert found["init_args"]["hidden"] == 32
    later = settings(
        "--task=qm9",
        "--model.network.kernel=Sum",
        "--model.network.kernel.location=SharedLocationMLP",
    )
    assert later["model"]["network"]["init_args"]["kernel"]["init_args"]["location"] == found


def test_a_class_that_is_named_again_starts_afresh_and_a_setting_of_it_does_not(settings):
    Path("a.yaml").write_text(
        "task: md17\n"
        "model: {network: {class_path: SteerableTransformer, init_args: {channels: 12}}}"
    )
    Path("b.yaml").write_text("model: {network: {init_args: {layers: 7}}}")
    both = settings("--config=a.yaml", "--config=b.yaml")["model"]["network"]["init_args"]
    assert (both["channels"], both["layers"]) == (12, 7)
    one = settings("--config=a.yaml", "--model.network.layers=7")["model"]["network"]["init_args"]
    assert (one["channels"], one["layers"]) == (12, 7)
    named = settings("--config=a.yaml", "--model.network=SteerableTransformer")["model"]["network"]
    assert named["init_args"]["channels"] == 8


def test_a_value_of_a_grid_is_the_documented_class(settings):
    axis = Axis.parse("model.network", ["SteerableTransformer", "ChannelwiseTransformer"])
    (key,) = axis.keys
    for choice, channels in zip(axis.choices, (8, 32), strict=True):
        found = settings("--config=md17/thesis.yaml", f"--{key}={choice.settings[key]}")
        assert found["model"]["network"]["init_args"]["channels"] == channels


@pytest.mark.parametrize(
    ("config", "way", "value"),
    [
        ("dynamics/fc", "model.network.init_args.layers", 4),
        ("dynamics/hfc", "model.network.init_args.layers", 4),
        ("dynamics/pendulum", "data.system.init_args.particles", 3),
        ("dynamics/planets", "data.system.init_args.points", 200),
        (
            "dynamics/lieconv_t2",
            "model.network.init_args.kernel.init_args.location.init_args.hidden",
            32,
        ),
        (
            "dynamics/se2_frames",
            "model.network.init_args.kernel.init_args.location.init_args.hidden",
            32,
        ),
        (
            "qm9/systems/distances",
            "model.network.init_args.kernel.init_args.location.init_args.hidden",
            32,
        ),
        (
            "qm9/systems/frames",
            "model.network.init_args.kernel.init_args.location.init_args.hidden",
            32,
        ),
        (
            "qm9/systems/lieconv",
            "model.network.init_args.kernel.init_args.location.init_args.hidden",
            32,
        ),
        ("qm9/systems/ponita", "model.network.init_args.block.init_args.widening", 4),
    ],
)
def test_a_shipped_configuration_says_what_it_means(settings, config, way, value):
    found = settings(f"--config={config}")
    for part in way.split("."):
        found = found[part]
    assert found == value


OWN_CLASSES = """
from dataclasses import dataclass

from liegroups import {base} as Base


@dataclass(frozen=True)
class Mine(Base):
    size: int = 1
    within: Base | None = None
"""


@pytest.mark.parametrize("base", ["LieGroup", "HomogeneousSpace", "Invariant", "Sampler", "SE2"])
def test_settings_of_a_class_have_types_whatever_its_module_imports(base, monkeypatch, tmp_path):
    """The names in the annotations of a base are those of the module of the base."""
    from jsonargparse._parameter_resolvers import get_signature_parameters

    (tmp_path / "own_classes.py").write_text(OWN_CLASSES.format(base=base))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_classes", raising=False)
    mine = import_module("own_classes").Mine
    found = {each.name: each.annotation for each in get_signature_parameters(mine)}
    assert found["size"] is int
    assert found["within"] == getattr(liegroups, base) | None


def test_every_setting_of_every_class_of_ours_has_a_type():
    from jsonargparse._parameter_resolvers import get_signature_parameters

    for package in (liegroups, attention, tasks):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "triton" in info.name:
                continue
            try:
                module = import_module(info.name)
            except ImportError:  # It needs an extra that is not here.
                continue
            for name, kind in vars(module).items():
                is_own = inspect.isclass(kind) and kind.__module__ == info.name
                if is_own and not name.startswith("_") and not issubclass(kind, Exception):
                    for setting in get_signature_parameters(kind):
                        assert not isinstance(setting.annotation, str), (name, setting.name)


def test_a_space_is_named_like_a_group(settings):
    space = {"class_path": "EuclideanSpace", "init_args": {"group": "SE2"}}
    network = {"class_path": "LieTransformer", "init_args": {"group": "SE2", "space": space}}
    Path("a.yaml").write_text(yaml.safe_dump({"task": "shapes", "model": {"network": network}}))
    found = settings("--config=a.yaml")["model"]["network"]["init_args"]["space"]
    assert found["init_args"]["group"] == {"class_path": "liegroups.SE2"}
    found = settings(
        "--config=a.yaml", "--model.network.space=ConcentricSpheres",
        "--model.network.space.group=SO2", "--model.network.group=SO2",
    )["model"]["network"]["init_args"]["space"]  # fmt: skip
    assert found["class_path"].endswith("ConcentricSpheres")
