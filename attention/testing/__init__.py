"""A testing kit for networks and for the parts they are made of.

With pytest, ``TestMyKernel = network_suite(make)`` in a test module makes a class with one test
for each law, of a network that ``make()`` builds. Without pytest, ``check_network(make)`` returns a
list of results. And each law is a plain function of a network and a seed, which raises
``liegroups.testing.LawViolation``, or ``NotApplicable`` with a reason.

It needs hypothesis and pytest, the extra ``testing`` of this distribution.
"""

from typing import TYPE_CHECKING

from attention.testing.laws import NETWORK_LAWS, Clouds, NotApplicable, example_clouds
from attention.testing.suites import check_network, network_suite
from liegroups.deprecation import renamed

__all__ = [
    "NETWORK_LAWS",
    "Clouds",
    "NotApplicable",
    "check_network",
    "example_clouds",
    "network_suite",
]

if TYPE_CHECKING:
    draw_clouds = example_clouds
else:
    __getattr__ = renamed(__name__, {"draw_clouds": "example_clouds"})
