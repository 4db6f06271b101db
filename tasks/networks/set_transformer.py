"""The Set Transformer, which has no symmetry but that of the order of the points."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attention import Network
from attention.clouds import check_clouds
from liegroups import Equivariance, Trivial
from liegroups.checks import DEPTH, check_count


class SetBlock(nn.Module):
    """The multihead attention block MAB(X, Y) = LN(H + rFF(H)), H = LN(X + MHA(X, Y, Y)).

    Args:
        width: Number of features of an element.
        heads: Number of heads; divides ``width``.

    Reference:
        Lee et al. 2019, Set Transformer, equations 6 and 7.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.feedforward_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let a set attend to another.

        Args:
            x: The set that asks, ``(batch, n, width)``.
            y: The set that answers, ``(batch, m, width)``.
            mask: Booleans ``(batch, m)``, True for the elements of y that exist; all when absent.

        Returns:
            ``(batch, n, width)``.
        """
        absent = None if mask is None else ~mask
        received, _ = self.attention(x, y, y, key_padding_mask=absent, need_weights=False)
        hidden = self.attention_norm(x + received)
        out: Tensor = self.feedforward_norm(hidden + self.feedforward(hidden))
        return out


class InducedBlock(nn.Module):
    """The induced set attention block ISAB(X) = MAB(X, MAB(I, X)) with learned points I.

    Args:
        width: Number of features of an element.
        heads: Number of heads; divides ``width``.
        points: Number of inducing points.

    Reference:
        Lee et al. 2019, Set Transformer, equations 9 and 10.
    """

    def __init__(self, width: int, heads: int, points: int) -> None:
        super().__init__()
        self.points = nn.Parameter(nn.init.xavier_uniform_(torch.empty(points, width)))
        self.to_points = SetBlock(width, heads)
        self.from_points = SetBlock(width, heads)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Features ``(batch, n, width)`` to features of the same shape."""
        points = self.points.expand(len(x), -1, -1)
        out: Tensor = self.from_points(x, self.to_points(points, x, mask))
        return out


class SetTransformer(Network):
    """The Set Transformer on coordinates and features: attention, pooling by attention, attention.

    The encoder is a stack of set attention blocks SAB(X) = MAB(X, X), or of induced ones; the
    pooling PMA lets learned seeds attend to the points (MAB(S, rFF(Z))); the decoder is a stack
    of SABs on what the seeds found, and a linear map of all of it gives the scores.

    Args:
        in_features: Number of features of a point.
        out_features: Number of outputs.
        point_dim: Number of coordinates of a point.
        width: Number of features of an element in the hidden layers.
        heads: Number of attention heads; divides ``width``.
        encoder_layers: Number of blocks before the pooling.
        decoder_layers: Number of blocks after the pooling.
        seeds: Number of seeds of the pooling.
        inducing_points: Number of inducing points of the encoder's blocks; without it they are
            SABs, which compare all pairs.

    Raises:
        ValueError: If a number is out of range, or ``heads`` does not divide ``width``.

    Reference:
        Lee et al. 2019, Set Transformer: A Framework for Attention-based Permutation-Invariant
        Neural Networks, section 3.
    """

    equivariance = Equivariance.NONE
    is_per_point = False

    def __init__(
        self,
        in_features: int,
        out_features: int,
        point_dim: int,
        width: int = 128,
        heads: int = 4,
        encoder_layers: int = 4,
        decoder_layers: int = 4,
        seeds: int = 4,
        inducing_points: int | None = None,
    ) -> None:
        super().__init__()
        check_count("width", width)
        check_count("heads", heads)
        check_count("encoder_layers", encoder_layers, most=DEPTH)
        check_count("decoder_layers", decoder_layers, 0, DEPTH)
        check_count("seeds", seeds)
        if inducing_points is not None:
            check_count("inducing_points", inducing_points)
        if width % heads:
            raise ValueError(f"heads must divide width; got {heads} heads and width {width}.")
        self.space = Trivial(point_dim).default_space()
        self.in_features, self.out_features = in_features, out_features
        self.embedding = nn.Linear(point_dim + in_features, width)
        self.encoder = nn.ModuleList(
            SetBlock(width, heads)
            if inducing_points is None
            else InducedBlock(width, heads, inducing_points)
            for _ in range(encoder_layers)
        )
        self.before_pooling = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.seeds = nn.Parameter(nn.init.xavier_uniform_(torch.empty(seeds, width)))
        self.seed_attention = SetBlock(width, heads)
        self.decoder = nn.ModuleList(SetBlock(width, heads) for _ in range(decoder_layers))
        self.scores = nn.Linear(seeds * width, out_features)

    def forward(
        self,
        features: Tensor,
        points: Tensor,
        mask: Tensor | None = None,
        *,
        edges: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        check_clouds(self.space, self.in_features, features, points, mask)
        hidden = self.embedding(torch.cat((points, features), -1))
        for block in self.encoder:
            if isinstance(block, InducedBlock):
                hidden = block(hidden, mask)
            else:
                hidden = block(hidden, hidden, mask)
        seeds = self.seeds.expand(len(points), -1, -1)
        pooled = self.seed_attention(seeds, self.before_pooling(hidden), mask)
        for block in self.decoder:
            pooled = block(pooled, pooled)
        scores: Tensor = self.scores(pooled.flatten(1))
        return scores
