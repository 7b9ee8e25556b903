"""A multilayer perceptron whose layers are connected plainly, by shortcuts, or densely.

One argument tells the three apart. With `H_l` for layer `l` and `x_0` for its block's input:

    plain     x_l = H_l(x_{l-1})
    residual  x_l = x_{l-1} + H_l(x_{l-1})             He et al., arXiv:1512.03385, equation 1
    dense     x_l = H_l([x_0, x_1, ..., x_{l-1}])      Huang et al., arXiv:1608.06993, equation 2

For regression with dense connections see also Chen et al., arXiv:2108.00864.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

Connection = Literal["plain", "residual", "dense"]
Norm = Literal["none", "layer", "batch"]
Activation = Literal["silu", "relu", "gelu", "selu", "mish"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "selu": nn.SELU,
    "mish": nn.Mish,
}


class DenseMLP(nn.Module):
    """An MLP for tables, `(rows, in_features)` → `(rows,)`, with its connections as an option.

    Args:
        in_features: columns of the table.
        connection: `"plain"`, `"residual"` or `"dense"`, see above.
        growth_rate: features each layer writes: `k` in the DenseNet paper. A plain or residual
            network has this width throughout.
        block_config: number of layers in each block; a plain or residual network is as deep.
        compression: share of its features that the transition between two dense blocks keeps, `θ`
            in the paper, in (0, 1]. The other connections have no transitions.
        num_init_features: width of a linear stem before the first block; `None` lets a dense or
            plain network read the table itself (a residual one always needs a stem, and gets one
            of width `growth_rate`).
        norm: normalisation of each layer's new features.
        activation: what follows it.
        dropout: probability that a new feature is zeroed, in [0, 1).
        input_dropout: the same for the table's columns.

    A layer is linear, normalisation, activation, dropout. The paper normalises first; here `x_0` is
    the standardised table itself, whose scale says something. The head starts at zero, so an
    untrained network predicts zero: the mean of a standardised target.

    >>> DenseMLP(300, growth_rate=32, block_config=(4,)).head.in_features
    428

    Raises:
        ValueError: an option has an impossible value; the message states the rule and the value.
    """

    def __init__(
        self,
        in_features: int,
        *,
        connection: Connection = "dense",
        growth_rate: int = 32,
        block_config: tuple[int, ...] = (4,),
        compression: float = 0.5,
        num_init_features: int | None = None,
        norm: Norm = "none",
        activation: Activation = "silu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        counts = {"in_features": in_features, "growth_rate": growth_rate}
        if num_init_features is not None:
            counts["num_init_features"] = num_init_features
        for name, value in counts.items():
            _check_positive(name, value)
        block_config = tuple(block_config)
        if not block_config:
            raise ValueError("block_config needs at least one block, got ()")
        for num_layers in block_config:
            _check_positive("every entry of block_config", num_layers)
        _check_choice("connection", connection, get_args(Connection))
        _check_choice("norm", norm, get_args(Norm))
        _check_choice("activation", activation, tuple(_ACTIVATIONS))
        for name, rate in {"dropout": dropout, "input_dropout": input_dropout}.items():
            if not 0 <= rate < 1:
                raise ValueError(f"{name} is a probability in [0, 1), got {rate!r}")
        if not 0 < compression <= 1:
            raise ValueError(
                "compression is the share of features a transition keeps and lies in (0, 1], "
                f"got {compression!r}"
            )
        self.connection = connection
        self.input_dropout = nn.Dropout(input_dropout)
        width = in_features
        if connection == "residual":
            num_init_features = growth_rate  # a shortcut needs equal widths on both sides
        self.stem = (
            nn.Identity() if num_init_features is None else nn.Linear(width, num_init_features)
        )
        width = num_init_features or width

        self.blocks = nn.ModuleList()
        self.transitions = nn.ModuleList()
        for i, num_layers in enumerate(block_config):
            block = nn.ModuleList()
            for _ in range(num_layers):
                block.append(_layer(width, growth_rate, norm, activation, dropout))
                width = width + growth_rate if connection == "dense" else growth_rate
            self.blocks.append(block)
            last = i == len(block_config) - 1
            if connection == "dense" and not last:
                compressed = max(1, math.floor(compression * width))
                self.transitions.append(nn.Linear(width, compressed))
                width = compressed
            else:
                self.transitions.append(nn.Identity())
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.input_dropout(x))  # (rows, init)
        for block, transition in zip(self.blocks, self.transitions, strict=True):
            assert isinstance(block, nn.ModuleList)
            for layer in block:
                if self.connection == "dense":
                    x = torch.cat([x, layer(x)], dim=-1)  # (rows, width + k)
                elif self.connection == "residual":
                    x = x + layer(x)  # (rows, k)
                else:
                    x = layer(x)  # (rows, k)
            x = transition(x)
        return self.head(x).squeeze(-1)  # (rows,)


def _layer(
    width: int, growth_rate: int, norm: Norm, activation: Activation, dropout: float
) -> nn.Sequential:
    """`H_l`: `(rows, width)` → `(rows, growth_rate)`."""
    linear = nn.Linear(width, growth_rate)
    if norm == "none":
        return nn.Sequential(linear, _ACTIVATIONS[activation](), nn.Dropout(dropout))
    normalise = nn.LayerNorm(growth_rate) if norm == "layer" else nn.BatchNorm1d(growth_rate)
    return nn.Sequential(linear, normalise, _ACTIVATIONS[activation](), nn.Dropout(dropout))


def matched_growth_rate(
    parameters: int, in_features: int, connection: Connection, **options: Any
) -> int:
    """The growth rate at which the network comes closest to a number of parameters.

    Closed-form counting would need one formula a connection; networks on the meta device are exact
    and cost nothing.

    >>> matched_growth_rate(60_000, 300, "dense", block_config=(4,))
    41
    """

    def count(growth_rate: int) -> int:
        with torch.device("meta"):
            model = DenseMLP(in_features, connection=connection, growth_rate=growth_rate, **options)
        return sum(p.numel() for p in model.parameters())

    low, high = 1, 2
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:  # count(low) < parameters <= count(high)
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return min(low, high, key=lambda k: abs(count(k) - parameters))


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} is at least 1, got {value!r}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is one of {choices}, got {value!r}")
