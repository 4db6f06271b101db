"""Rotations and rigid motions as scipy has them.

``scipy.spatial.transform.Rotation`` holds rotations, ``RigidTransform`` (scipy 1.16) rigid
motions. Both act from the left and compose as our elements do, and rotation vectors agree with
the coordinates of `liegroups.SO3`. The quaternions of scipy have their real part last, unless
``scalar_first=True`` is given; ours, in `liegroups.interop.e3nn`, have it first.

The conversions detach from the graph: what scipy computes has no derivatives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from liegroups.se3 import SE3
from liegroups.so3 import SO3

if TYPE_CHECKING:
    from scipy.spatial.transform import RigidTransform, Rotation

__all__ = ["from_rigid_transform", "from_rotation", "to_rigid_transform", "to_rotation"]


def to_rotation(g: Tensor) -> Rotation:
    """The scipy rotations of elements of SO(3).

    scipy makes the matrices orthogonal, so that rounding errors of float32 do not persist.

    Args:
        g: Rotations ``(*batch, 3, 3)``.

    Returns:
        Rotations of the same batch shape; more than one batch axis needs scipy 1.17.

    Raises:
        ValueError: If the last two axes are not 3 × 3.

    Example:
        >>> import torch
        >>> g = SO3().exp(torch.tensor([0.0, 0.0, 1.0]))
        >>> to_rotation(g).as_rotvec().round(4).tolist()
        [0.0, 0.0, 1.0]
    """
    from scipy.spatial.transform import Rotation

    SO3().check_element(g)
    return Rotation.from_matrix(g.detach().cpu().double().numpy())


def from_rotation(
    rotation: Rotation,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Elements of SO(3) of scipy rotations.

    Args:
        rotation: One rotation or several.
        dtype: Floating type; float64, as in scipy, when absent.
        device: Where the result lives.

    Returns:
        Rotations ``(*batch, 3, 3)``.
    """
    return torch.as_tensor(rotation.as_matrix()).to(device=device, dtype=dtype or torch.float64)


def to_rigid_transform(g: Tensor) -> RigidTransform:
    """The scipy rigid transforms of elements of SE(3).

    Args:
        g: Rigid motions ``(*batch, 4, 4)``.

    Returns:
        Rigid transforms of the same batch shape; more than one batch axis needs scipy 1.17.

    Raises:
        ValueError: If the last two axes are not 4 × 4.

    Example:
        >>> import torch
        >>> g = SE3().exp(torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0, 0.0]))
        >>> to_rigid_transform(g).translation.tolist()
        [1.0, 2.0, 3.0]
    """
    from scipy.spatial.transform import RigidTransform

    SE3().check_element(g)
    return RigidTransform.from_matrix(g.detach().cpu().double().numpy())


def from_rigid_transform(
    transform: RigidTransform,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Elements of SE(3) of scipy rigid transforms.

    Args:
        transform: One rigid transform or several.
        dtype: Floating type; float64, as in scipy, when absent.
        device: Where the result lives.

    Returns:
        Rigid motions ``(*batch, 4, 4)``.
    """
    return torch.as_tensor(transform.as_matrix()).to(device=device, dtype=dtype or torch.float64)
