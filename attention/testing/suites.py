"""Laws of networks as test classes for pytest, and as a list of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from attention.interface import Network
from attention.testing.laws import NETWORK_LAWS, NetworkLaw, NotApplicable
from liegroups.testing import LawResult, LawViolation, formula


def network_suite(
    make: Callable[[], Network],
    *,
    seeds: int = 1,
    skip: Mapping[str, str] | None = None,
) -> type:
    """Make a test class that holds the networks of a configuration to every law of networks.

    Args:
        make: Builds a network; its weights are drawn anew for each law and seed. A small one does.
        seeds: Number of networks and clouds to try each law on.
        skip: Reasons for skipping laws, by their names; pytest shows them.

    Returns:
        A fresh class with a method ``test_<law>`` for each law, for a name that begins with
        ``Test`` in a test module.

    Raises:
        ValueError: If ``skip`` names an unknown law or gives no reason.

    Example:
        >>> from attention import LieTransformer
        >>> from liegroups import T3
        >>> small = dict(width=8, heads=2, layers=1)
        >>> TestT3 = network_suite(lambda: LieTransformer(T3(), 3, 1, **small))
        >>> hasattr(TestT3, "test_padding_changes_nothing")
        True
    """
    reasons = _checked(skip)
    methods: dict[str, Any] = {}
    for law in NETWORK_LAWS:
        name = f"test_{law.__name__}"
        methods[name] = _method(law, make, seeds, reasons.get(law.__name__))
        methods[name].__name__ = name
        methods[name].__doc__ = law.__doc__
    return type("NetworkSuite", (), methods)


def check_network(
    make: Callable[[], Network],
    *,
    seeds: int = 1,
    skip: Mapping[str, str] | None = None,
) -> list[LawResult]:
    """Run all laws of networks.

    Args:
        make: Builds a network; its weights are drawn anew for each law and seed.
        seeds: Number of networks and clouds to try each law on.
        skip: Reasons for not running laws, by their names.

    Returns:
        One result a law, in the order of ``NETWORK_LAWS``.

    Raises:
        ValueError: If ``skip`` names an unknown law or gives no reason, or what ``make()`` builds
            is not an ``attention.Network`` with all its attributes.
    """
    reasons, results = _checked(skip), []
    _built(make, 0)
    for law in NETWORK_LAWS:
        passed: bool | None = True
        message = ""
        try:
            if law.__name__ in reasons:
                raise NotApplicable(reasons[law.__name__])
            for seed in range(seeds):
                law(_built(make, seed), seed)
        except NotApplicable as reason:
            passed, message = None, str(reason)
        except LawViolation as violation:
            passed, message = False, violation.finding
        except Exception as error:
            passed, message = False, f"{type(error).__name__}: {error}"
        results.append(LawResult(law.__name__, formula(law), passed, message))
    return results


def _built(make: Callable[[], Network], seed: int) -> Network:
    torch.manual_seed(seed)
    network = make()
    if not isinstance(network, Network):
        raise ValueError(
            "make() builds a network, a subclass of attention.Network; got "
            f"{type(network).__name__}."
        )
    for name in ("space", "in_features", "out_features", "is_per_point"):
        if not hasattr(network, name):
            raise ValueError(
                f"{type(network).__name__} does not set {name}; a subclass of attention.Network "
                "sets space, in_features, out_features and is_per_point."
            )
    return network.double().eval()


def _method(
    law: NetworkLaw, make: Callable[[], Network], seeds: int, reason: str | None
) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        if reason is not None:
            pytest.skip(reason)
        for seed in range(seeds):
            try:
                law(_built(make, seed), seed)
            except NotApplicable as inapplicable:
                pytest.skip(str(inapplicable))

    return test


def _checked(skip: Mapping[str, str] | None) -> dict[str, str]:
    known = [law.__name__ for law in NETWORK_LAWS]
    for name, reason in (skip or {}).items():
        if name not in known:
            raise ValueError(f"there is no law {name!r} of networks; laws: {', '.join(known)}.")
        if not reason.strip():
            raise ValueError(f"skipping the law {name} needs a reason.")
    return dict(skip or {})
