"""What a grid says: its axes, the names of its runs, and the arguments that they become."""

import json
import math
import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.studies import Axis, combine
from tasks.studies.grid import argument

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=6,
)


def settings(axis):
    return {choice.label: choice.settings for choice in axis.choices}


@given(VALUES)
@example(1e-05)
@example("1e-05")
@example("null")
def test_an_argument_is_read_back_as_its_value(value):
    key, _, text = argument("some.key", value).partition("=")
    assert key == "--some.key"
    assert yaml.safe_load(text) == value


def test_a_list_of_values_sets_its_key_and_takes_the_last_part_as_name():
    axis = Axis.parse("data.molecule", ["ethanol", "aspirin"])
    assert axis.name == "molecule"
    assert settings(axis) == {
        "ethanol": {"data.molecule": "ethanol"},
        "aspirin": {"data.molecule": "aspirin"},
    }
    assert Axis.parse("seed_everything", [0, 1]).name == "seed"


def test_several_keys_are_set_alike():
    axis = Axis.parse("seed", {"keys": ["seed_everything", "data.seed"], "values": [3, 4]})
    assert settings(axis) == {
        3: {"seed_everything": 3, "data.seed": 3},
        4: {"seed_everything": 4, "data.seed": 4},
    }


def test_values_and_whole_choices_have_names():
    mix = ["Distance", "InverseDistance"]
    axis = Axis.parse(
        "invariant", {"keys": "model.network.invariant", "values": {"half each": mix}}
    )
    assert settings(axis) == {"half each": {"model.network.invariant": mix}}
    both = {"small": {"model.width": 8, "model.layers": 1}}
    axis = Axis.parse("size", {"choices": both})
    assert settings(axis) == both


def test_values_without_names_are_called_by_what_they_say():
    radial = {"class_path": "liegroups.RadialBasis", "init_args": {"radius": 4.0}}
    values = ["liegroups.Distance", radial, ["Distance", radial], None, 2.5, True, "1e-3"]
    labels = [choice.label for choice in Axis.parse("x", values).choices]
    assert labels == [
        "Distance",
        "RadialBasis(radius=4.0)",
        "Distance+RadialBasis(radius=4.0)",
        "none",
        2.5,
        True,
        0.001,
    ]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_runs_are_the_product_of_the_axes(lengths):
    axes = [Axis.parse(f"k{i}", list(range(n))) for i, n in enumerate(lengths)]
    runs = combine(axes)
    assert len(runs) == math.prod(lengths)
    assert len({run.name for run in runs}) == len(runs)
    assert len({json.dumps(dict(run.settings), sort_keys=True) for run in runs}) == len(runs)
    for run in runs:
        assert dict(run.settings) == {f"k{i}": run.labels[f"k{i}"] for i in range(len(lengths))}
        assert re.fullmatch(r"[\w+.=-]+", run.name)


def test_names_say_the_settings_and_leave_out_what_is_fixed():
    axes = [
        Axis.parse("data.molecule", ["ethanol", "aspirin"]),
        Axis.parse("model.network.invariant", [["Distance", "InverseDistance"], "Distance"]),
        Axis.parse("radius", [2.0]),
        Axis.parse("seed_everything", [0, 1]),
    ]
    assert combine(axes)[1].name == "ethanol-Distance+InverseDistance-seed1"
    assert combine([Axis.parse("radius", [2.0])])[0].name == "run"


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("a", [], ["grid.a", "no value"]),
        ("a", 3, ["grid.a", "3", "a list of values", "keys", "choices"]),
        ("a", {"values": [1]}, ["grid.a", "values", "keys"]),
        ("a", {"keys": [], "values": [1]}, ["grid.a", "keys", "[]"]),
        ("a", {"keys": "b", "values": 1}, ["grid.a", "values", "1"]),
        ("a", [1, 1], ["grid.a", "2 values", "'1'"]),
        ("a", ["x.Y", "z.Y"], ["grid.a", "'Y'", "give them names"]),
        ("a", {"choices": {"p": 1}}, ["grid.a", "{KEY: VALUE"]),
        ("a", {"choices": {"p": {"k": 1}, "q": {"l": 1}}}, ["grid.a", "same keys", "p: k", "q: l"]),
    ],
)
def test_an_axis_that_is_none_is_refused(name, given, words):
    with pytest.raises(ValueError) as error:
        Axis.parse(name, given)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ([("a.k", [1]), ("b.k", [1])], ["2 axes", "'k'"]),
        ([("x", {"keys": "k", "values": [1]}), ("k", [2])], ["2 axes set", "'k'"]),
        ([("k", ["a" * 300, "b"])], ["too long", "short names"]),
        ([("x", {"keys": "k", "values": {"a/b": 1, "a b": 2}})], ["2 runs", "'a_b'"]),
    ],
)
def test_a_grid_that_contradicts_itself_is_refused(axes, words):
    with pytest.raises(ValueError) as error:
        combine([Axis.parse(*axis) for axis in axes])
    for word in words:
        assert word in str(error.value)
