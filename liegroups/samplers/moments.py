"""Orthonormal axes from the moments of a cloud, from its points where moments fail."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from liegroups.spaces import HomogeneousSpace


class Vectors(NamedTuple):
    """The vectors that a cloud spans, in units of their size.

    Attributes:
        vector: ``(*batch, vectors, n)``; zeros where there is no point.
        weight: One or zero ``(*batch, vectors)``, for vectors that exist or do not.
        per_point: Number of vectors a point; those of one point stand together.
        size: Root mean square length ``(*batch, 1)``, one where all vectors are zero.
    """

    vector: Tensor
    weight: Tensor
    per_point: int
    size: Tensor

    @classmethod
    def of(cls, space: HomogeneousSpace, x: Tensor, mask: Tensor | None) -> Vectors:
        """The vectors of clouds ``(*batch, points, point_dim)``, at least one point each."""
        if mask is None:
            mask = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
        y = space.vectors(x, mask)
        per_point = y.shape[-2]
        exists = mask[..., None].expand(y.shape[:-1]).flatten(-2)
        y = torch.where(exists[..., None], y.flatten(-3, -2), 0)
        # Units that keep the squares in range, unless the vectors are what rounding leaves of zero;
        # then units that are the same in every orientation.
        unit = y.detach().abs().amax((-1, -2), keepdim=True)
        coordinate = torch.where(mask[..., None], x, 0).detach().abs().amax((-1, -2), keepdim=True)
        spread = unit > 64 * torch.finfo(x.dtype).eps * coordinate
        y = torch.where(spread, y / torch.where(spread, unit, 1), 0)
        weight = exists.to(x.dtype)
        squared = (y * y).sum((-1, -2)) / weight.sum(-1).clamp(min=1)
        root = torch.where(spread[..., 0, 0], squared, 1).sqrt()
        size = torch.where(spread[..., 0, 0], root * unit[..., 0, 0], 1)
        return cls(y / root[..., None, None], weight, per_point, size[..., None])


def tolerance(dtype: torch.dtype) -> float:
    """Length √ε below which a part of a vector counts as zero, in units of the cloud's size.

    Rounding turns an axis from a vector of length t by about ε/t, and to leave out what is
    shorter than t errs by t: both by √ε at most.
    """
    return float(torch.finfo(dtype).eps ** 0.5)


def cloud_axes(vectors: Vectors, reflections: bool) -> Tensor:
    """An orthogonal matrix for each cloud, its columns axes that turn with the cloud.

    Args:
        vectors: The vectors of the clouds.
        reflections: Whether a reflected cloud has the reflected axes; else the determinant is 1.

    Returns:
        Matrices ``(*batch, n, n)``.
    """
    y, weight = vectors.vector, vectors.weight
    count = weight.sum(-1).clamp(min=1)[..., None]
    n = y.shape[-1]
    moment = (y * (y * y).sum(-1, keepdim=True)).sum(-2) / count
    second = y.mT @ y / count[..., None]
    enough = y.new_tensor((torch.finfo(y.dtype).eps ** 0.25, tolerance(y.dtype), 0))
    anything = torch.eye(n, dtype=y.dtype, device=y.device).expand(*y.shape[:-2], n, n)
    axes: list[Tensor] = []
    for place in range(n if reflections else n - 1):
        told = _most_telling(vectors, second, axes, oriented=not reflections)
        candidates = torch.cat((torch.stack((moment, told), -2), _largest(anything, axes)), -2)
        axes.append(_next_axis(axes, candidates, enough))
        moment = (second @ axes[place][..., None])[..., 0]
    return _complete(axes, y)


def local_axes(
    vectors: Vectors, x: Tensor, radius: float, frame: Tensor, reflections: bool
) -> Tensor:
    """Like `cloud_axes`, for each point from the vectors to its neighbors.

    Args:
        vectors: The vectors of the clouds.
        x: Points ``(*batch, points, point_dim)``.
        radius: Standard deviation of the weight, in the unit of the coordinates.
        frame: Axes of the clouds ``(*batch, 1, n, n)``, for what the neighbors do not determine.
        reflections: Whether a reflected cloud has the reflected axes.

    Returns:
        Matrices ``(*batch, points, n, n)``.
    """
    n = vectors.vector.shape[-1]
    y = vectors.vector.unflatten(-2, (-1, vectors.per_point))
    exists = vectors.weight.unflatten(-1, (-1, vectors.per_point))[..., 0]
    apart = (x[..., :, None, :] - x[..., None, :, :]).square().sum(-1) / (2 * radius**2)
    weight = (-apart).exp() * exists[..., None, :]
    difference = y[..., None, :, :, :] - y[..., :, None, :, :]  # (*batch, point, other, kind, n)
    squared = difference.square().sum(-1)
    total = (weight[..., None] * squared).sum((-1, -2))
    spread = total > torch.finfo(x.dtype).tiny ** 0.5
    share = weight[..., None, None] / torch.where(spread, total, 1)[..., None, None, None]
    moment = (share * difference).sum((-2, -3)) * torch.where(spread, total, 1).sqrt()[..., None]
    second = torch.einsum("...jka,...jkb->...ab", share * difference, difference)
    given = frame.mT.expand(*x.shape[:-1], n, n)
    # One of n orthonormal vectors at least is by 1/√n off any span of fewer.
    enough = x.new_tensor((torch.finfo(x.dtype).eps ** 0.25, *([0.5 * n**-0.5] * n)))
    axes: list[Tensor] = []
    for place in range(n if reflections else n - 1):
        candidates = torch.cat((moment[..., None, :], given), -2)
        axes.append(_next_axis(axes, candidates, enough))
        moment = (second @ axes[place][..., None])[..., 0]
    return _complete(axes, x)


def _next_axis(axes: list[Tensor], candidates: Tensor, enough: Tensor) -> Tensor:
    """The first candidate that is far enough off the span of the axes, orthonormalized.

    Args:
        axes: Orthonormal vectors ``(*batch, n)``.
        candidates: Vectors ``(*batch, candidates, n)``, of which one at least is far enough.
        enough: Lengths ``(candidates,)``.

    Returns:
        Unit vector ``(*batch, n)``.
    """
    rest = _off(candidates, axes)
    long = rest.detach().norm(dim=-1) > enough
    chosen = _pick(rest, long.to(torch.uint8).argmax(-1))
    unit = chosen / chosen.norm(dim=-1, keepdim=True)
    # Once more: what rounding left along the axes was small beside the candidate, not the rest.
    unit = _off(unit[..., None, :], axes)[..., 0, :]
    return unit / unit.norm(dim=-1, keepdim=True)


def _most_telling(
    vectors: Vectors, second: Tensor, axes: list[Tensor], *, oriented: bool
) -> Tensor:
    """The vector with the largest value of an invariant function, off the span of the axes.

    The value is |r|² (1 + ¼ q), with r the part off the span and |q| ≤ 1 a mean over the cloud
    of the sine of a combination of all the invariants of the two vectors that the axes allow:
    a function without symmetries, so that vectors of equal value are related by a symmetry of
    the cloud unless by accident. Of several with the same value the first is taken.

    Args:
        vectors: The vectors of the clouds.
        second: Second moments ``(*batch, n, n)``.
        axes: Orthonormal vectors ``(*batch, n)``.
        oriented: Whether mirror images differ.

    Returns:
        Vectors ``(*batch, n)``, parts of given ones off the span of the axes.
    """
    rest = _off(vectors.vector, axes)
    y, r, n = vectors.vector.detach(), rest.detach(), rest.shape[-1]
    squared = (r * r).sum(-1)
    phase = 1 + 0.7 * (r @ r.mT) + 1.1 * squared[..., None, :]
    for k, axis in enumerate(axes):
        along = (y @ axis.detach()[..., None])[..., 0]
        phase = phase + (1.3 + 0.6 * k) * along[..., None, :] + 0.4 * along[..., :, None]
    if oriented and len(axes) == n - 2 and n <= 3:
        before = [axis.detach()[..., None, :].expand(r.shape) for axis in axes]
        phase = phase + 0.9 * _normal(torch.stack((*before, r), -2)) @ r.mT
    elif oriented and not axes and n == 3:
        image = r @ second.detach()
        handed = (torch.linalg.cross(r, image, dim=-1) * (image @ second.detach())).sum(-1)
        phase = phase + handed[..., :, None]
    weight = vectors.weight[..., None, :]
    mean = (weight * phase.sin()).sum(-1) / weight.sum(-1).clamp(min=1)
    value = torch.where(vectors.weight > 0, squared * (1 + mean / 4), -1)
    largest = value.amax(-1, keepdim=True)
    first = (value >= largest - tolerance(y.dtype) * largest.abs()).to(torch.uint8).argmax(-1)
    return _pick(rest, first)


def _largest(candidates: Tensor, axes: list[Tensor]) -> Tensor:
    """The candidate that is farthest off the span of the axes, ``(*batch, 1, n)``."""
    lengths = _off(candidates, axes).detach().norm(dim=-1)
    return _pick(candidates, lengths.argmax(-1))[..., None, :]


def _off(x: Tensor, axes: list[Tensor]) -> Tensor:
    """The parts of vectors ``(*batch, count, n)`` off the span of orthonormal axes."""
    for axis in axes:
        x = x - (x @ axis[..., None]) * axis[..., None, :]
    return x


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``(*batch, n)`` of ``(*batch, count, n)``, one of each."""
    where = index[..., None, None].expand(*index.shape, 1, x.shape[-1])
    return x.gather(-2, where)[..., 0, :]


def _complete(axes: list[Tensor], like: Tensor) -> Tensor:
    """The matrix of the axes as columns, with a last one that makes the determinant 1 if missing.

    Args:
        axes: n or n - 1 orthonormal vectors ``(*batch, n)``.
        like: Gives the dtype and device where there are no axes.
    """
    if not axes:
        return torch.eye(1, dtype=like.dtype, device=like.device).expand(*like.shape[:-2], 1, 1)
    rows = torch.stack(axes, -2)
    if len(axes) < rows.shape[-1]:
        rows = torch.cat((rows, _normal(rows)[..., None, :]), -2)
    return rows.mT


def _normal(rows: Tensor) -> Tensor:
    """The vector that completes n - 1 vectors ``(*batch, n - 1, n)`` to a positive basis.

    Its coordinates are the cofactors, so for orthonormal rows it is a unit vector.
    """
    n = rows.shape[-1]
    if n == 2:
        return torch.stack((-rows[..., 0, 1], rows[..., 0, 0]), -1)
    if n == 3:
        return torch.linalg.cross(rows[..., 0, :], rows[..., 1, :], dim=-1)
    cofactors = []
    for k in range(n):
        rest = [i for i in range(n) if i != k]
        cofactors.append((-1) ** (n - 1 + k) * torch.linalg.det(rows[..., rest]))
    return torch.stack(cofactors, -1)
