"""What `docs/assets/explorer.js` computes and no table needs: areas, and own growth rates."""

from dataclasses import replace

from densenet_solutions.exercises.explorer.estimate import OPTIMIZERS, Growth, whole
from densenet_solutions.exercises.explorer.predictions import KINDS, ExplorerCase, ExplorerPoint
from densenet_solutions.measure.cuda_cache import CUBLAS_WORKSPACE


def alive(
    case: ExplorerCase, batch: int, resolution: int, optimizer: str = "none"
) -> tuple[tuple[int, int, int, int], ...]:
    """KiB alive in each stretch of the step: what is there all the time, then by `KINDS`."""
    pixels = batch * resolution**2
    state = OPTIMIZERS[optimizer] * (case.method != "inference")
    images = 4 * case.in_channels * pixels + 8 * batch * (case.method != "inference")
    fixed = whole((case.fixed_bytes + 4 * case.parameters * state + images) / 1024)
    low, high = case.steps
    share = (pixels - low.pixels) / (high.pixels - low.pixels)
    rows = []
    for a, b in zip(low.live, high.live, strict=True):
        first, second, third = (whole(a[i] + (b[i] - a[i]) * share) for i in range(len(KINDS)))
        rows.append((fixed, first, second, third))
    return tuple(rows)


def grown(case: ExplorerCase, weights: Growth, k: int) -> ExplorerCase:
    """The case with another growth rate.

    Every feature map has channels in proportion to `k`, so activations are too. Parameters and
    buffers are counted, gradients go with the parameters, and as much more is reserved as is
    allocated.
    """
    if k == weights.own:
        return case
    parameters, fixed = (
        whole(a * k * k + b * k + c) for a, b, c in (weights.parameters, weights.fixed_bytes)
    )
    wider, heavier = k / weights.own, parameters / case.parameters

    def point(p: ExplorerPoint) -> ExplorerPoint:
        there = 4 * case.in_channels * p.pixels + CUBLAS_WORKSPACE
        features = p.allocated_bytes - case.fixed_bytes - p.gradient_bytes - there
        gradients = whole(p.gradient_bytes * heavier)
        allocated = fixed + there + gradients + whole(features * wider)
        reserved = whole(p.reserved_bytes * (allocated / p.allocated_bytes))
        return ExplorerPoint(p.batch, p.resolution, allocated, reserved, gradients)

    return replace(
        case,
        parameters=parameters,
        fixed_bytes=fixed,
        points=tuple(point(p) for p in case.points),
        steps=tuple(
            replace(
                step,
                live=tuple(
                    (whole(a * wider), whole(b * wider), whole(c * heavier))
                    for a, b, c in step.live
                ),
            )
            for step in case.steps
        ),
    )
