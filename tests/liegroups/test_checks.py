"""Checks of numbers: what is refused, by its key, with its value and the bounds."""

import math

import numpy as np
import pytest

from liegroups.checks import check_count, check_length, check_number, check_seed


@pytest.mark.parametrize("value", [0, -1, 65_537, 10**30, True, False, 2.0, math.nan, None, "8"])
def test_a_count_is_a_whole_number_within_bounds(value):
    with pytest.raises(ValueError, match=r"^width: .*; accepted: .*1 to 65,536\.$"):
        check_count("width", value)


@pytest.mark.parametrize("value", [1, 65_536, np.int64(3)])
def test_counts_that_are_accepted(value):
    check_count("width", value)


def test_a_count_without_a_largest_one():
    check_count("batch_size", 10**30, most=None)
    with pytest.raises(ValueError, match=r"batch_size: 0; accepted: 1 or more\."):
        check_count("batch_size", 0, most=None)


@pytest.mark.parametrize("value", [-1, 2**32, 10**30])
def test_a_seed_is_one_of_every_generator(value):
    with pytest.raises(ValueError, match=r"seed: .*; accepted: 0 to 4,294,967,295\."):
        check_seed("seed", value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -1.0, True, None, "1"])
def test_a_number_is_finite_and_within_bounds(value):
    with pytest.raises(ValueError, match=r"^scale: .*; accepted: a finite number above 0\.$"):
        check_number("scale", value, above=0)


def test_bounds_are_said_as_they_are_checked():
    check_number("share", 0, least=0, below=1)
    with pytest.raises(ValueError, match=r"share: 1\.0; accepted: a number at least 0 and below 1"):
        check_number("share", 1.0, least=0, below=1)


@pytest.mark.parametrize("value", [1e-300, 1e300, math.nan, 0.0, -1.0])
def test_a_length_has_a_square_in_single_precision(value):
    with pytest.raises(ValueError, match=r"radius: .* at least 1e-18 and at most 1e\+18"):
        check_length("radius", value)
