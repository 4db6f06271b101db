"""The repulsion of nuclei at short range, which no data show and no simulation may miss."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

__all__ = ["repulsion_energy"]

_COULOMB: Final = 14_399.645  # e²/4πε₀ in meV Å.
_BOHR: Final = 0.529177
_TERMS: Final = ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162))
_SOFTENING: Final = 0.05  # In Å, below which it grows no more.
_POWER: Final = 6
# Covalent radii in Å of the elements from hydrogen on (Cordero et al. 2008).
# fmt: off
_RADII: Final = (
    0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11, 1.07, 1.05,
    1.02, 1.06, 2.03, 1.76, 1.70, 1.60, 1.53, 1.39, 1.39, 1.32, 1.26, 1.24, 1.32, 1.22, 1.22, 1.20,
    1.19, 1.20, 1.20, 1.16, 2.20, 1.95, 1.90, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45, 1.44,
    1.42, 1.39, 1.39, 1.38, 1.39, 1.40, 2.44, 2.15, 2.07, 2.04, 2.03, 2.01, 1.99, 1.98, 1.98, 1.96,
    1.94, 1.92, 1.92, 1.89, 1.90, 1.87, 1.87, 1.75, 1.70, 1.62, 1.51, 1.44, 1.41, 1.36, 1.36, 1.32,
    1.45, 1.46, 1.48, 1.40, 1.50, 1.50, 2.60, 2.21, 2.15, 2.06, 2.00, 1.96, 1.90, 1.87, 1.80, 1.69,
)
# fmt: on


def repulsion_energy(charges: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""The screened repulsion of the nuclei of Ziegler, Biersack and Littmark, between close atoms.

    .. math::
        E = \sum_{i<j} u(r_{ij}) \frac{e^2}{4 \pi \varepsilon_0} \frac{Z_i Z_j}{r_{ij}}
        \varphi\!\left(\frac{r_{ij}}{a_{ij}}\right), \qquad
        a_{ij} = \frac{0.8854\, a_0}{Z_i^{0.23} + Z_j^{0.23}},

    with an envelope u that ends it smoothly, with two derivatives, at the sum of the covalent
    radii: where atoms are bonded it is small, beyond it is zero. Below 0.05 Å the distance is
    softened, so that energy and forces are finite everywhere, also where atoms coincide.

    Args:
        charges: Nuclear charges ``(batch, atoms)``, from 1 to 96.
        positions: In Å, ``(batch, atoms, 3)``.
        mask: Booleans ``(batch, atoms)``, True for atoms that exist; all when absent.

    Returns:
        Energies in meV, ``(batch,)``.

    Reference:
        Ziegler, Biersack and Littmark 1985, The Stopping and Range of Ions in Matter; Batatia et
        al. 2022, MACE, and its public code, for the envelope.
    """
    radii = torch.tensor((0.0, *_RADII), dtype=positions.dtype, device=positions.device)
    reach = radii[charges.long()]
    reach = reach[:, :, None] + reach[:, None]
    z = charges.to(positions.dtype)
    difference = positions[:, :, None] - positions[:, None]
    squared = difference.square().sum(-1)
    r = (squared.square() + _SOFTENING**4) ** 0.25
    other = ~torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
    near = (r < reach) & other
    if mask is not None:
        near = near & mask[:, :, None] & mask[:, None]
    u = torch.where(near, r / reach.clamp(min=1e-6), 1)
    p = _POWER
    envelope = 1 - u**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * u + p * (p + 1) / 2 * u * u)
    power = z**0.23
    x = r * (power[:, :, None] + power[:, None]) / (0.8854 * _BOHR)
    screening = sum(c * (-a * x).exp() for c, a in _TERMS)
    pairs = _COULOMB * z[:, :, None] * z[:, None] / r * screening * envelope
    return torch.where(near, pairs, 0).sum((1, 2)) / 2
