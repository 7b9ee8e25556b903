"""A multilayer perceptron whose layers are connected plainly, by shortcuts, or densely.

One argument tells the four apart. With `H_l` for layer `l` and `x_0` for its block's input:

    plain     x_l = H_l(x_{l-1})
    shortcut  as plain, but the head reads [x_0, x_L]  Cheng et al., arXiv:1606.07792, section 3
    residual  x_l = x_{l-1} + H_l(x_{l-1})             He et al., arXiv:1512.03385, equation 1
    dense     x_l = H_l([x_0, x_1, ..., x_{l-1}])      Huang et al., arXiv:1608.06993, equation 2

For regression with dense connections see also Chen et al., arXiv:2108.00864.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from densenet_solutions import checks

Connection = Literal["plain", "shortcut", "residual", "dense"]
Initialization = Literal["default", "he"]
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
        connection: `"plain"`, `"shortcut"`, `"residual"` or `"dense"`, see above.
        growth_rate: features each layer writes: `k` in the DenseNet paper. A network that is not
            dense has this width throughout.
        block_config: number of layers in each block; a network that is not dense is as deep.
        compression: share of its features that the transition between two dense blocks keeps, `θ`
            in the paper, in (0, 1]. The other connections have no transitions.
        num_init_features: width of a linear stem before the first block; `None` lets the network
            read the table itself (a residual one always needs a stem, and gets one of width
            `growth_rate`).
        norm: normalisation of each layer's new features.
        activation: what follows it.
        dropout: probability that a new feature is zeroed, in [0, 1).
        input_dropout: the same for the table's columns.
        init: `"default"` is PyTorch's; `"he"` draws all weights but the head's as He et al.
            (arXiv:1502.01852, equation 10), with biases of zero.

    A layer is linear, normalisation, activation, dropout. The paper normalises first; here `x_0` is
    the standardised table itself, whose scale says something. The head starts at zero, so an
    untrained network predicts zero: the mean of a standardised target.

    Examples:
        >>> DenseMLP(300, growth_rate=32, block_config=(4,)).head.in_features
        428

    Raises:
        TypeError, ValueError: an option is impossible, or (on the forward pass) the rows are.
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
        init: Initialization = "default",
    ) -> None:
        super().__init__()
        self.in_features = checks.integer("in_features", in_features)
        growth_rate = checks.integer("growth_rate", growth_rate)
        block_config = checks.integers("block_config", block_config)
        if num_init_features is not None:
            num_init_features = checks.integer("num_init_features", num_init_features)
        checks.choice("connection", connection, get_args(Connection))
        checks.choice("norm", norm, get_args(Norm))
        checks.choice("activation", activation, tuple(_ACTIVATIONS))
        checks.choice("init", init, get_args(Initialization))
        checks.share("compression", compression, zero=False)
        checks.share("dropout", dropout, one=False)
        checks.share("input_dropout", input_dropout, one=False)
        self.connection = connection
        self.input_dropout = nn.Dropout(input_dropout)
        width = self.in_features
        if connection == "residual":
            if num_init_features not in (None, growth_rate):
                raise ValueError(
                    "the stem of a residual network is as wide as its layers, "
                    f"got num_init_features={num_init_features} and growth_rate={growth_rate}"
                )
            num_init_features = growth_rate
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
        if init == "he":
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    nn.init.zeros_(module.bias)
        if connection == "shortcut":
            width += num_init_features or self.in_features
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        x = table = self.stem(self.input_dropout(x))  # (rows, init)
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
        if self.connection == "shortcut":
            x = torch.cat([table, x], dim=-1)  # (rows, init + k)
        return self.head(x).squeeze(-1)  # (rows,)

    def _check(self, x: Tensor) -> None:
        linear, norm, *_ = self.get_submodule("blocks.0.0").children()
        checks.rows(x, columns=self.in_features, like=checks.first_weight(linear))
        if isinstance(norm, nn.BatchNorm1d) and norm.training and len(x) < 2:
            checks.batch_statistics(len(x), x)


def _layer(
    width: int, growth_rate: int, norm: Norm, activation: Activation, dropout: float
) -> nn.Sequential:
    """`H_l`: `(rows, width)` → `(rows, growth_rate)`."""
    linear = nn.Linear(width, growth_rate)
    if norm == "none":
        return nn.Sequential(linear, _ACTIVATIONS[activation](), nn.Dropout(dropout))
    normalize = nn.LayerNorm(growth_rate) if norm == "layer" else nn.BatchNorm1d(growth_rate)
    return nn.Sequential(linear, normalize, _ACTIVATIONS[activation](), nn.Dropout(dropout))


def matched_growth_rate(
    parameters: int, in_features: int, connection: Connection, **options: Any
) -> int:
    """The growth rate at which the network comes closest to a number of parameters.

    Closed-form counting would need one formula a connection; networks on the meta device are exact
    and cost nothing.

    Raises:
        TypeError, ValueError: the number is not in 1, …, 10¹⁰, or `DenseMLP` refuses an option.

    Examples:
        >>> matched_growth_rate(60_000, 300, "dense", block_config=(4,))
        41
    """

    checks.integer("parameters", parameters, at_most=10**10)

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
