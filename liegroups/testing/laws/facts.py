"""Laws that declared facts match behavior, and that samples are what they claim to be."""

from __future__ import annotations

import torch

from liegroups.group import LieGroup
from liegroups.testing.inputs import element, tangent
from liegroups.testing.laws.law import law, require, require_all
from liegroups.testing.moments import confirmed_z, moments
from liegroups.testing.tolerances import DRAWS, Z_LIMIT, Kind, allowance, size

_PROBES = 32


@law
def is_abelian_is_right(group: LieGroup) -> None:
    """is_abelian says whether gh = hg for all elements."""
    g = element(group, 1, None, (_PROBES,))
    h = torch.cat((element(group, 2, None, (_PROBES // 2,)), element(group, 99, 1.0, (16,))))
    gap = (g @ h - h @ g).abs().amax((-1, -2))
    scale = size(g, 2) * size(h, 2)
    commute = bool((gap <= allowance(Kind.ARITHMETIC, g.dtype, scale)).all())
    require(
        commute == group.is_abelian,
        f"is_abelian is {group.is_abelian}, but random elements "
        f"{'all commute' if commute else 'do not commute'}",
    )


@law
def is_orthogonal_is_right(group: LieGroup) -> None:
    """is_orthogonal says whether gᵀg = 1 for all elements."""
    g = torch.cat((element(group, 3, None, (_PROBES,)), element(group, 99, 1.0, (_PROBES,))))
    gap = (g.mT @ g - torch.eye(g.shape[-1], dtype=g.dtype)).abs().amax()
    orthogonal = bool(gap <= allowance(Kind.TRANSCENDENTAL, g.dtype))
    require(
        orthogonal == group.is_orthogonal,
        f"is_orthogonal is {group.is_orthogonal}, but gᵀg - 1 is as large as {gap.item():.3g}",
    )


@law
def is_compact_is_right(group: LieGroup) -> None:
    """is_compact says whether all curves exp(ta) stay bounded."""
    if group.dim == 0:
        return
    a = torch.cat((tangent(group, 0, 1.0, (group.dim,)), tangent(group, 99, 1.0, (_PROBES,))))
    early = size(LieGroup.exp(group, 10 * a), 2)
    late = size(LieGroup.exp(group, 1000 * a).nan_to_num(nan=torch.inf), 2)
    bounded = bool((late < 10 * early).all())
    require(
        bounded == group.is_compact,
        f"is_compact is {group.is_compact}, but exp(ta) for t from 10 to 1000 "
        f"{'stays bounded' if bounded else 'grows'}",
    )


@law
def is_trivial_is_right(group: LieGroup) -> None:
    """is_trivial says whether all elements are the identity."""
    g = element(group, 10, None, (_PROBES,))
    gap = (g - torch.eye(g.shape[-1], dtype=g.dtype)).abs().amax()
    identity = bool(gap <= allowance(Kind.ARITHMETIC, g.dtype))
    require(
        identity == group.is_trivial,
        f"is_trivial is {group.is_trivial}, but random elements differ from the identity by up to "
        f"{gap.item():.3g}",
    )


@law
def samples_lie_in_the_group(group: LieGroup) -> None:
    """sample(shape) gives elements of the asked shape and dtype, or of torch's default dtype."""
    m = group.matrix_size
    for shape in ((), (3,), (2, 0), (2, 3)):
        for dtype in (torch.float32, torch.float64, None):
            generator = torch.Generator().manual_seed(4)
            g = group.sample(shape, generator=generator, dtype=dtype)
            require(
                tuple(g.shape) == (*shape, m, m),
                f"sample({shape}) has shape {tuple(g.shape)}, expected {(*shape, m, m)}",
            )
            expected = dtype or torch.get_default_dtype()
            require(g.dtype == expected, f"sample(dtype={dtype}) has dtype {g.dtype}")
            require_all(group.contains(g), "contains(sample) is False", g=g)
    require(group.sample().shape == (m, m), "sample() does not give one element")


@law
def samples_follow_the_generator(group: LieGroup) -> None:
    """The same seed gives the same samples, and torch's own generator is not touched."""
    before = torch.get_rng_state()
    first, again, other = (
        group.sample((8,), generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
    )
    require(torch.equal(before, torch.get_rng_state()), "torch's own generator was drawn from")
    require(torch.equal(first, again), "two draws from the same seed differ")
    many = group.sample((64,), generator=torch.Generator().manual_seed(7))
    if not torch.equal(many, many[:1].expand(many.shape)):
        require(not torch.equal(first, other), "draws from different seeds are the same")


@law
def samples_vary(group: LieGroup) -> None:
    """Samples spread over the group: their tangents from one of them span the algebra."""
    if group.dim == 0:
        return
    g = group.sample((64,), generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    spread = (torch.linalg.inv(g[:1]) @ g - torch.eye(g.shape[-1], dtype=g.dtype)).flatten(1)
    rank = int(torch.linalg.matrix_rank(spread, rtol=1e-9))
    # The matrices g₁⁻¹g - 1 span at least the space that a neighborhood of 1 spans.
    require(rank >= group.dim, f"the samples span {rank} dimensions, fewer than {group.dim}")


@law
def samples_follow_haar_measure(group: LieGroup) -> None:
    """On a compact group the moments of kg are those of g, for samples g and any fixed k.

    Means of the entries and of their products, over 100,000 draws, with |z| < 4; a moment that
    misses is drawn again, independently, and has to miss twice.
    """
    if not group.is_compact:
        return
    k = torch.cat((element(group, 9, None, (2,)), element(group, 99, 1.0, (2,))))

    def paired_z(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        g = group.sample((DRAWS,), generator=generator, dtype=torch.float64)
        plain = moments(g.flatten(1))
        scores = []
        for one in k:
            difference = moments((one @ g).flatten(1)) - plain
            error = difference.std(0) / DRAWS**0.5
            scores.append(difference.mean(0) / error.clamp(min=1e-9))
        return torch.cat(scores)

    z = confirmed_z(paired_z)
    require(z < Z_LIMIT, f"a moment of kg differs from that of g with |z| = {z:.1f}")


FACT_LAWS = (
    is_abelian_is_right,
    is_orthogonal_is_right,
    is_compact_is_right,
    is_trivial_is_right,
    samples_lie_in_the_group,
    samples_follow_the_generator,
    samples_vary,
    samples_follow_haar_measure,
)
