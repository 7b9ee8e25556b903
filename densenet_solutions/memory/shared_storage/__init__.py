"""Shared storage: a DenseNet whose training step keeps its features once, and nothing else.

Each dense block and the transition after it is one autograd function with one buffer, and so is
the stem (`block`, `backward`, `stem`; `reference` is the same idea in its shortest form).
Parameters, buffers, their names and the results stay those of the plain model up to rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn.utils import parametrize

from densenet_solutions import checks
from densenet_solutions.memory.layers import bn_relu_conv
from densenet_solutions.memory.shared_storage.block import dense_block
from densenet_solutions.memory.shared_storage.stem import imagenet_stem
from densenet_solutions.memory.strategy import Strategy, bypassed, refuse_rounding, runs_as
from densenet_solutions.memory.trunks import BatchNormReLU, find_trunks, with_trunks
from densenet_solutions.models.densenet import DenseBlock, DenseLayer, Transition


class SharedStorageFeatures(nn.Sequential):
    """The trunk of a DenseNet, run segment by segment.

    A segment is the stem, or a dense block with its transition. A segment that `obstacle` finds
    something in runs as plain modules do, with a warning: the results are the plain model's, the
    memory too.
    """

    computes_again = True
    slices: int | None = None
    keep_bottlenecks: float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 0:  # there is nothing to store
            return super().forward(x)
        as_given = x.is_contiguous()
        for segment in _segments(self):
            if len(segment) > 1:
                reason = obstacle(segment)
                if reason is None:
                    x = _run(segment, x, self.slices, self.keep_bottlenecks)
                    continue
                if not isinstance(segment[0], DenseBlock) or obstacle(tuple(segment[0])) is None:
                    _warn(reason)
            for module in segment:
                x = module(x)
        return x.contiguous() if as_given else x  # the layout that the plain model gives it


class SharedStorageBlock(DenseBlock):
    """A dense block that is called by itself; its output is laid out as `channels_last`."""

    computes_again = True
    slices: int | None = None
    keep_bottlenecks: float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        layers = tuple(self)
        reason = obstacle(layers)
        if reason is None and len(x):
            return dense_block(
                x, layers, slices=self.slices, keep_bottlenecks=self.keep_bottlenecks
            )
        if reason is not None:
            _warn(reason)
        return super().forward(x)

    forward.as_built = True  # type: ignore[attr-defined]


def _warn(reason: str) -> None:
    warnings.warn(f"shared storage is off here: {reason}", stacklevel=3)


#: Whose forward pass is known.
_KNOWN = {
    nn.BatchNorm2d, nn.Conv2d, nn.ReLU, nn.AvgPool2d, nn.MaxPool2d,
    BatchNormReLU, DenseBlock, SharedStorageBlock, DenseLayer, Transition,
}  # fmt: skip


def _not_known(block: nn.Module) -> Iterator[nn.Module]:
    """The parts of a block, and itself, that run in a way of their own."""
    if not runs_as(block, DenseBlock):
        yield block
    yield from (part for part in list(block.modules())[1:] if type(part) not in _KNOWN)


def obstacle(modules: Sequence[nn.Module]) -> str | None:
    """Why these modules cannot run with shared storage, or `None` if they can."""
    inside = [m for module in modules for m in module.modules()]
    norms = [m for m in inside if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for module in inside:
        name = type(module).__name__
        if parametrize.is_parametrized(module):
            return f"{name} has parametrizations"
        if type(module) not in _KNOWN:
            return f"{name} has a forward pass of its own"
        if reason := bypassed(module):
            return reason
    if any(
        one is None
        for norm in norms
        for one in (norm.running_mean, norm.num_batches_tracked, norm.weight, norm.bias)
    ):
        return "a BatchNorm2d has no running statistics, no weights or no biases"
    return next((f"{m} is not the paper's" for m in inside if not _is_as_published(m)), None) or (
        "a bottleneck's 1x1 convolution has a bias" if _bottleneck_has_bias(inside) else None
    )


def _is_as_published(module: nn.Module) -> bool:
    """Whether a convolution or a pool has the geometry that the arithmetic takes for granted."""
    if isinstance(module, nn.Conv2d):
        kernel, step, padding = module.kernel_size, module.stride, module.padding
        return (
            (kernel, step, padding)
            in (((7, 7), (2, 2), (3, 3)), ((3, 3), (1, 1), (1, 1)), ((1, 1), (1, 1), (0, 0)))
            and module.groups == 1
            and module.dilation == (1, 1)
            and module.padding_mode == "zeros"
        )
    if isinstance(module, nn.AvgPool2d):
        return _pools_like(module, nn.AvgPool2d(2))
    if isinstance(module, nn.MaxPool2d):
        return _pools_like(module, nn.MaxPool2d(3, stride=2, padding=1))
    return True


_POOL_OPTIONS = (
    *("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    *("return_indices", "count_include_pad", "divisor_override"),
)


def _pools_like(pool: nn.Module, published: nn.Module) -> bool:
    """Whether two pools have the same options; a pair of equal numbers is that number."""

    def options(module: nn.Module) -> list[object]:
        values = (getattr(module, name, None) for name in _POOL_OPTIONS)
        return [v[0] if isinstance(v, tuple) and len(set(v)) == 1 else v for v in values]

    return options(pool) == options(published)


def _bottleneck_has_bias(modules: Sequence[nn.Module]) -> bool:
    layers = [m for m in modules if isinstance(m, DenseLayer) and m.has_bottleneck]
    return any(bn_relu_conv(layer)[0][1].bias is not None for layer in layers)


def _segments(features: nn.Sequential) -> Iterator[tuple[nn.Module, ...]]:
    """Modules that run together: the stem, each block with its transition, others alone."""
    modules = list(features)
    while modules:
        kinds = [type(module) for module in modules[:4]]
        length = 1
        if len(kinds) > 1 and issubclass(kinds[0], DenseBlock) and kinds[1] is Transition:
            averages = isinstance(getattr(modules[1], "pool", None), nn.AvgPool2d)
            length = 2 if averages else 1  # only averaging may go before the convolution
        elif kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d]:
            length = 4
        elif kinds[:3] == [nn.Conv2d, BatchNormReLU, nn.MaxPool2d]:
            length = 3
        yield tuple(modules[:length])
        del modules[:length]


def _run(
    segment: tuple[nn.Module, ...], x: Tensor, slices: int | None, keep_bottlenecks: float
) -> Tensor:
    if isinstance(segment[0], DenseBlock):
        transition = segment[1] if len(segment) > 1 else None
        return dense_block(x, list(segment[0]), transition, slices, keep_bottlenecks)
    return imagenet_stem(x, segment[0], segment[1], slices)  # type: ignore[arg-type]


def shared_storage(
    model: nn.Module, *, slices: int | None = None, keep_bottlenecks: float = 0.0
) -> nn.Module:
    """A copy whose DenseNets keep each feature once and nothing else.

    Where a trunk is an `nn.Sequential`, the stem and the transitions share too; elsewhere each
    dense block does by itself. There are no second derivatives and no `torch.func`; nothing may
    change a block's output in place, as it is kept. Where a channel's mean is a thousand times its
    spread, the gradient of its normalization's weight keeps up to three digits less in float32 than
    the plain network's.

    Args:
        slices: into how many the work on a large batch is cut. Fewer start fewer operations, more
            hold less at a time. Without it 8 on a CPU, for its caches, and 1 on a GPU. On several
            threads of a CPU a slice has whole images, as many for each.
        keep_bottlenecks: of which share of each block's layers, the last ones, what the 1x1
            convolution wrote is kept, 4k channels, which the backward pass else computes again.

    Raises:
        TypeError: `model` has no DenseNet in it, or one whose features run in a way of their own.
        TypeError, ValueError: `slices` is not a positive integer, or `keep_bottlenecks` no share.
    """
    if slices is not None:
        checks.integer("slices", slices)
    checks.share("keep_bottlenecks", keep_bottlenecks)
    model = with_trunks(model)
    refuse_rounding(model, SharedStorageFeatures)
    for trunk in find_trunks(model).values():
        blocks = [part for part in trunk.children() if isinstance(part, DenseBlock)]
        for part in (trunk, *blocks):
            if isinstance(part, SharedStorageFeatures | SharedStorageBlock):
                name = type(part).__name__
                raise TypeError(
                    f"shared storage takes the features as they were built, got a {name}: "
                    "apply one strategy, once"
                )
        others = [next(_not_known(block), None) for block in blocks]
        if None not in others:
            kinds = ", ".join(sorted({type(one).__name__ for one in others})) or "none"
            raise TypeError(
                f"shared storage takes dense blocks as they were built, got {kinds}: apply one "
                "strategy, once"
            )
        if type(trunk) is nn.Sequential:
            trunk.__class__ = SharedStorageFeatures
            trunk.slices = slices  # type: ignore[assignment]
            trunk.keep_bottlenecks = keep_bottlenecks  # type: ignore[assignment]
        for block in blocks:
            if type(block) is DenseBlock:
                block.__class__ = SharedStorageBlock
                block.slices = slices  # type: ignore[assignment]
                block.keep_bottlenecks = keep_bottlenecks  # type: ignore[assignment]
    return model


STRATEGIES = (
    Strategy(
        apply=shared_storage,
        family="recompute",
        summary="A block keeps one buffer of features; everything else is computed again from it.",
        exactness="numerical",
        source="arXiv:1707.06990, taken to the whole network",
        verdict="least memory",
        costs="The 1x1 convolutions run twice, as matrix products: an H200 takes 1.6 to 2.6 times "
        "the plain step's time. A hook inside a block switches it off there.",
    ),
)
