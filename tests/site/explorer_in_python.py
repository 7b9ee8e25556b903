"""What `docs/assets/explorer.js` computes and no table needs: the areas."""

from densenet_solutions.exercises.explorer.estimate import OPTIMIZERS, whole
from densenet_solutions.exercises.explorer.predictions import KINDS, ExplorerCase


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
