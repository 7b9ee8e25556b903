"""Claims about memory that sound right, each with its measurement (exercise 3.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn

from densenet_solutions.exercises.outputs import outputs
from densenet_solutions.measure import count_parameters, predict_memory
from densenet_solutions.memory import STRATEGIES, training_step
from densenet_solutions.memory.low_rank import low_rank
from densenet_solutions.memory.saved_in_8_bits import EightBit
from densenet_solutions.models import DenseNet, DenseNetConfig, book_densenet, densenet121


@dataclass(frozen=True)
class StatisticsUpdates:
    """What one training step did to the running statistics of batch normalisation.

    `layers_by_count[c]` is the number of layers that were updated `c` times. `largest_error` is
    the largest absolute difference of a running mean or variance from the plain model's.
    """

    implementation: str
    layers_by_count: Mapping[int, int]
    largest_error: float


@dataclass(frozen=True)
class MemoryClaim:
    """Two peaks that a claim compares, beyond parameters, buffers and input, and a share."""

    peak: int
    reference_peak: int
    parameters: int
    reference_parameters: int
    share: float | None = None
    reference_share: float | None = None


SHAPE = (64, 1, 96, 96)  # images for the book's network


def running_statistics(names: Sequence[str]) -> tuple[StatisticsUpdates, ...]:
    """One training step of torchvision's `memory_efficient=True` and of our strategies `names`.

    All start from the same weights and see the same images; the plain network is the measure.
    """
    options = {"growth_rate": 8, "block_config": (3, 4), "num_init_features": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DenseNet(DenseNetConfig(**options, num_classes=10))  # type: ignore[arg-type]
        images, labels = torch.randn(4, 3, 64, 64), torch.arange(4)
        naive = torchvision.models.DenseNet(**options, num_classes=10, memory_efficient=True)
    naive.load_state_dict(model.state_dict())
    plain = STRATEGIES["plain"].apply(model)
    training_step(plain, images, labels)
    networks: dict[str, Any] = {"torchvision, memory_efficient=True": (naive, training_step)}
    networks |= {name: (STRATEGIES[name].apply(model), STRATEGIES[name].step) for name in names}
    results = []
    for name, (network, step) in networks.items():
        step(network, images, labels)
        norms = dict(_norms(network))
        counts = Counter(int(norm.num_batches_tracked) for norm in norms.values())  # type: ignore[arg-type]
        error = max(
            float((getattr(norms[path], key) - getattr(norm, key)).abs().max())
            for path, norm in _norms(plain)
            for key in ("running_mean", "running_var")
        )
        results.append(StatisticsUpdates(name, dict(sorted(counts.items())), error))
    return tuple(results)


def sparse_bytes_per_dense_byte(zero_share: float) -> float:
    """Bytes of a float32 feature map in torch's sparse format over those of the dense one."""
    dense = torch.ones(2, 8, 16, 16)
    dense.view(-1)[: int(zero_share * dense.numel())] = 0
    packed = dense.to_sparse().coalesce()
    return (packed.indices().nbytes + packed.values().nbytes) / dense.nbytes


def rounded_to_zero() -> float:
    """Share of a ReLU's positive outputs that plain rounding to 8 bits would turn into zeros.

    The outputs are those of a normalisation: standard normal before the ReLU.
    """
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(8, 32, 32, 32, generator=generator).relu()
    positive = outputs > 0
    lost = positive & (outputs < EightBit.of(outputs).step / 2)
    return float(lost.sum() / positive.sum())


def relu6() -> MemoryClaim:
    """A network with ReLU6 for ReLU; the shares are those of zeros after activations.

    Both networks see the same batch, with the same weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = _network()
        images = torch.rand(16, 1, 64, 64)
    clipped = _with_activation(plain, lambda old: nn.ReLU6(inplace=old.inplace))
    shares = [_activation_zeros(network, images) for network in (clipped, plain)]
    return _compare(clipped, plain, *shares)


class ReLU6OfOutput(nn.Module):
    """ReLU6 whose backward pass needs the output only: it is 0 or 6 where no gradient passes."""

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, _KeepsOutput.apply(x))


class _KeepsOutput(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = nn.functional.relu6(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return gradient * ((y > 0) & (y < 6))


def relu6_of_output() -> MemoryClaim:
    """A network with `ReLU6OfOutput` for ReLU, against itself with ReLU."""
    plain = _network()
    return _compare(_with_activation(plain, lambda old: ReLU6OfOutput()), plain)


class Taught(nn.Module):
    """A student that also learns from a teacher's logits (Hinton et al., arXiv:1503.02531)."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher.requires_grad_(False)


def distilling_step(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Cross-entropy with the labels and with the teacher's softened answers, half each."""
    assert isinstance(model, Taught)
    with torch.no_grad():
        answers = (model.teacher.eval()(images) / 2).softmax(dim=1)
    logits = model.student(images)
    loss = nn.functional.cross_entropy(logits, labels)
    (loss / 2 + nn.functional.cross_entropy(logits / 2, answers) * 2).backward()


def distillation() -> MemoryClaim:
    """A student taught by a wider network, against the same student untaught.

    Parameters are all those that training needs in memory.
    """

    def student() -> DenseNet:
        return _network(growth_rate=16)

    untaught = predict_memory(student, SHAPE)
    taught = predict_memory(lambda: Taught(student(), _network()), SHAPE, step=distilling_step)
    own, teachers = count_parameters(student()).total, count_parameters(_network()).total
    return MemoryClaim(
        taught.peak_beyond_parameters, untaught.peak_beyond_parameters, own + teachers, own
    )


def low_rank_factors(share: float) -> MemoryClaim:
    """A network in factors of this `share` of full rank, against itself."""
    plain = _network()
    return _compare(low_rank(plain, share), plain)


def low_rank_of_one_image() -> MemoryClaim:
    """DenseNet-121 in factors of a quarter of full rank, against itself: one image of 128×128."""
    with torch.device("meta"):
        plain = densenet121()
    return _compare(low_rank(plain, 0.25), plain, shape=(1, 3, 128, 128))


def early_freeing() -> MemoryClaim:
    """A forward pass without autograd, against the same pass with autograd.

    Nobody frees anything by hand in either.
    """
    network = _network()
    free = predict_memory(network, SHAPE, train=False)
    kept = predict_memory(network, SHAPE, step=lambda model, x, _: model(x))
    parameters = count_parameters(network).total
    return MemoryClaim(
        free.peak_beyond_parameters, kept.peak_beyond_parameters, parameters, parameters
    )


def freeing_by_hand() -> MemoryClaim:
    """Inference that drops every feature map as soon as it can, against inference that does not."""

    class Careful(DenseNet):
        def forward(self, x: Tensor) -> Tensor:
            held = [x]
            del x
            for stage in self.features:
                out = stage(held.pop())
                held.append(out)
                del out
            return self.classifier(held.pop().relu().mean(dim=(2, 3)))

    careful = predict_memory(lambda: Careful(_network().config), SHAPE, train=False)
    plain = predict_memory(_network, SHAPE, train=False)
    parameters = count_parameters(_network()).total
    return MemoryClaim(
        careful.peak_beyond_parameters, plain.peak_beyond_parameters, parameters, parameters
    )


class SixConvolutions(nn.Module):
    """Six convolutions; with `named` a variable of the forward pass keeps each one's result."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named = named
        self.layers = nn.Sequential(*(nn.Conv2d(32, 32, 3, padding=1) for _ in range(6)))

    def forward(self, x: Tensor) -> Tensor:
        if not self.named:
            for layer in self.layers:
                x = layer(x)
            return x
        first, second, third, fourth, fifth, sixth = self.layers
        a = first(x)
        b = second(a)
        c = third(b)
        d = fourth(c)
        e = fifth(d)
        return cast(Tensor, sixth(e))


def named_maps() -> MemoryClaim:
    """Inference through six convolutions whose results have names, against one name for all."""
    named, reused = SixConvolutions(named=True), SixConvolutions(named=False)
    peak, one_name = (
        predict_memory(network, (8, 32, 64, 64), train=False).peak_beyond_parameters
        for network in (named, reused)
    )
    parameters = count_parameters(named).total
    return MemoryClaim(peak, one_name, parameters, parameters)


def rounded_images() -> float:
    """How far rounding the images to bfloat16, and nothing else, moves a gradient.

    DenseNet-121 untrained, 8 images of 96 × 96: the distance of both gradients over the length of
    one, over all parameters.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, images = densenet121(), torch.randn(8, 3, 96, 96)
    plain, rounded = (
        _gradient(model, seen, torch.arange(8)) for seen in (images, images.bfloat16().float())
    )
    return float((rounded - plain).norm() / plain.norm())


def _gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    model.zero_grad(set_to_none=True)
    training_step(model, images, labels)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def _network(growth_rate: int = 32) -> DenseNet:
    """The book's DenseNet with its first dense block only, so that it is quick to predict."""
    return book_densenet(growth_rate=growth_rate, block_config=(4,))


def _with_activation(network: nn.Module, new: Callable[[nn.ReLU], nn.Module]) -> nn.Module:
    """A copy of `network` with another activation for each of its ReLUs."""
    changed = STRATEGIES["plain"].apply(network)
    for module in list(changed.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, new(child))
    return changed


def _compare(
    network: nn.Module,
    reference: nn.Module,
    share: float | None = None,
    reference_share: float | None = None,
    *,
    shape: Sequence[int] = SHAPE,
) -> MemoryClaim:
    both = network, reference
    peak, reference_peak = (predict_memory(one, shape).peak_beyond_parameters for one in both)
    own, reference_own = (count_parameters(one).total for one in both)
    return MemoryClaim(peak, reference_peak, own, reference_own, share, reference_share)


def _norms(network: nn.Module) -> list[tuple[str, nn.BatchNorm2d]]:
    return [(path, m) for path, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]


def _activation_zeros(network: nn.Module, images: Tensor) -> float:
    """Share of zeros over all outputs of ReLU or ReLU6, in training mode."""
    activations = {
        path: m for path, m in network.named_modules() if isinstance(m, nn.ReLU | nn.ReLU6)
    }
    found = [out for _, _, out in outputs(network.train(), images, activations)]
    return sum(int((out == 0).sum()) for out in found) / sum(out.numel() for out in found)
