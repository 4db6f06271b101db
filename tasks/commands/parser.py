"""The parser of configurations: a class that is named brings its own defaults."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn
from unittest.mock import patch

import yaml
from jsonargparse import Namespace
from jsonargparse._typehints import ActionTypeHint, is_subclass_spec
from jsonargparse._util import NestedArg
from pytorch_lightning.cli import LightningArgumentParser

import tasks.runs.types  # noqa: F401 (it is for what it does)
from tasks.errors import UserError
from tasks.runs.loggers import LOGGERS

__all__ = ["CLASS_KEYS", "Parser"]

CLASS_KEYS = {
    "group": ("LieGroup", "liegroups"),
    "space": ("HomogeneousSpace", "liegroups"),
    "invariant": ("Invariant", "liegroups"),
    "lift": ("Sampler", "liegroups"),
    "augment": ("LieGroup", "liegroups"),
    "kernel": ("Kernel", "attention"),
    "content": ("Content", "attention"),
    "location": ("Location", "attention"),
    "normalizer": ("Normalizer", "attention"),
    "head": ("Head", "attention"),
    "network": ("Network", "attention", "attention.steerable", "tasks.networks"),
    "objective": ("Objective", "tasks.objectives"),
    "source": ("Source", "tasks.sources.md17"),
    "system": ("System", "tasks.systems"),
    "integrator": ("Integrator", "tasks.systems"),
    "loss": ("Loss", "tasks.systems"),
}
"""Keys of a configuration that name a class: what the class must be, and where ours live."""

for _, *_modules in CLASS_KEYS.values():  # A short name is found among the classes that there are.
    for _module in _modules:
        import_module(_module)


class Parser(LightningArgumentParser):
    """A parser in which naming a class replaces what was there, and whose errors say what to do.

    A setting that names a class, by ``NAME`` or by ``{class_path: NAME, init_args: ...}``, starts
    from the defaults of that class, whatever class or settings the key had before: by default, in
    an earlier configuration, or earlier on the command line. A setting within it, as in
    ``--model.network.width 8``, changes the class that is there.
    """

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]
        """Parse the command line."""
        with _named_classes_start_afresh():
            return super().parse_args(*args, **kwargs)

    def parse_object(self, *args: Any, **kwargs: Any) -> Namespace:
        """Parse a nested mapping."""
        with _named_classes_start_afresh():
            return super().parse_object(*args, **kwargs)

    def validate(
        self,
        namespace: Namespace,
        skip_unset: bool = True,
        skip_required: bool = False,
        **kwargs: Any,
    ) -> None:
        """Check the types, and a null in a file like any other value that was given."""
        super().validate(namespace, skip_unset and skip_required, skip_required, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a short error in place of printing the usage."""
        raise UserError(explain(message)) from ex


@contextmanager
def _named_classes_start_afresh() -> Iterator[None]:
    """Keep jsonargparse from handing the settings of one class on to another.

    Where the class of a key changes, jsonargparse drops the settings that the new class does not
    accept and keeps the others: values that nobody chose for it. It has no option for that, so two
    of its functions are exchanged while a parser runs.
    """
    check = ActionTypeHint._check_type

    def check_type(
        self: ActionTypeHint,
        value: Any,
        append: bool = False,
        cfg: Namespace | None = None,
        mode: str | None = None,
    ) -> Any:
        if self.dest.rpartition(".")[2] == "logger":
            value = _full_names(value, LOGGERS)
        return check(self, value, append, cfg if append or _is_a_change(value) else None, mode)

    with (
        patch.object(ActionTypeHint, "_check_type", check_type),
        patch.object(
            ActionTypeHint, "discard_init_args_on_class_path_change", staticmethod(_discard)
        ),
    ):
        yield


def _is_a_change(value: Any) -> bool:
    """Whether a value changes something of what is there, and does not stand for itself."""
    if isinstance(value, NestedArg):
        return True
    return isinstance(value, Mapping | Namespace) and "class_path" not in value


def _full_names(value: Any, short: Mapping[str, type]) -> Any:
    """A class, or several, by its dotted path where it was given by a short name."""
    if isinstance(value, str) and value.startswith("["):
        value = yaml.safe_load(value)
    if isinstance(value, list):
        return [_full_names(each, short) for each in value]
    if isinstance(value, str) and value in short:
        return {"class_path": f"{short[value].__module__}.{short[value].__qualname__}"}
    return value


def _discard(merged_by: object, before: Any, after: Any) -> None:
    """Forget the settings that a class had, where the new ones are merged into them.

    By then a class of which only some settings were changed has all of them.
    """
    if not isinstance(before, Namespace):
        return
    if isinstance(merged_by, ActionTypeHint):  # They are the settings of one class.
        for key in list(vars(before)):
            before.pop(key)
        return
    for key in list(before.keys(branches=True)):
        old, new = before.get(key), after.get(key)
        if is_subclass_spec(old) and is_subclass_spec(new):
            old.pop("init_args", None)
            old.pop("dict_kwargs", None)


def explain(message: str) -> str:
    """Say a parser's message in one paragraph, with what would be accepted."""
    within = re.fullmatch(r'Parser key "([\w.]+)":\s+([\w.]+: .+)', message.strip(), re.DOTALL)
    if within:  # A setting of a class that a setting names: explained already.
        return f"{within[1]}.{' '.join(within[2].split())}"
    key = re.search(r'(?:key|option|group) "([\w.]+)"', message)
    unknown = re.search(r"Expected a dot import path string: (\S+)", message)
    kind = CLASS_KEYS.get(key[1].rsplit(".", 1)[-1]) if key else None
    if key and unknown and key[1].endswith(".logger"):
        return (
            f"{key[1]}: {unknown[1]!r} is not known; accepted: {', '.join(LOGGERS)}, or the dotted "
            "path of a logger of Lightning."
        )
    if key and unknown and kind:
        name, *modules = kind
        base: type = getattr(import_module(modules[0]), name)
        known = [
            name
            for module in map(import_module, modules)
            for name in module.__all__
            if inspect.isclass(found := getattr(module, name))
            and issubclass(found, base)
            and not inspect.isabstract(found)
        ]
        return (
            f"{key[1]}: {unknown[1]!r} is not known; accepted: {', '.join(known)}, or the dotted "
            f"path of your own {base.__name__}, such as my_package.My{base.__name__}."
        )
    text = " ".join(message.split())
    return f"config: {text} Settings have names." if text.startswith("Key must be") else text
