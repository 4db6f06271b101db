import numpy as np
import pytest

from tasks.data.parts import PARTS
from tasks.sources.qm9.molecules import Molecules
from tasks.sources.qm9.splits import MOLECULES, SPLITS, find_split

SIZES = {"lietransformer": (100_000, 17_748, 13_083), "110k": (110_000, 10_000, 10_831)}

# first entries of numpy.random.RandomState(0).permutation(130831), a frozen stream
FIRST = [130195, 68784, 7957, 25911]

# How many training molecules have how many atoms, as published with EDM (Hoogeboom et al., 2022),
# which trains on the split of Cormorant.
# fmt: off
EDM_SIZES = {
    3: 1, 4: 4, 5: 5, 6: 9, 7: 16, 8: 49, 9: 124, 10: 362, 11: 807, 12: 1689, 13: 3060, 14: 5136,
    15: 7796, 16: 10644, 17: 13025, 18: 13364, 19: 13832, 20: 9482, 21: 9970, 22: 3393, 23: 4848,
    24: 539, 25: 1506, 26: 48, 27: 266, 29: 25,
}
# fmt: on


@pytest.mark.parametrize("name", SIZES)
def test_the_parts_are_disjoint_cover_everything_and_have_their_sizes(name: str) -> None:
    split = find_split(name)
    rows = [split.rows(part) for part in PARTS]
    assert tuple(map(len, rows)) == SIZES[name]
    assert tuple(split.size(part) for part in PARTS) == SIZES[name]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(MOLECULES))


@pytest.mark.parametrize("name", SIZES)
def test_the_parts_are_cut_from_the_permutation_of_seed_0(name: str) -> None:
    state = np.random.RandomState(0)
    expected = np.arange(MOLECULES)
    state.shuffle(expected)
    split = find_split(name)
    np.testing.assert_array_equal(np.concatenate([split.rows(p) for p in PARTS]), expected)
    assert split.rows("train")[:4].tolist() == FIRST


def test_the_training_part_is_that_of_cormorant(molecules: Molecules) -> None:
    sizes = molecules.sizes[find_split("lietransformer").rows("train")]
    assert dict(zip(*map(np.ndarray.tolist, np.unique_counts(sizes)), strict=True)) == EDM_SIZES


def test_an_unknown_split_names_what_was_given_and_both() -> None:
    with pytest.raises(ValueError, match="'random'") as caught:
        find_split("random")
    assert all(name in str(caught.value) for name in SPLITS)
