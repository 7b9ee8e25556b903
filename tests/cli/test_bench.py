"""`bench` prints what was measured, with every setting; the measuring has tests of its own."""

import io

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from densenet_solutions.cli.bench import app, report
from densenet_solutions.exercises.saving_memory import bench as study
from densenet_solutions.exercises.saving_memory.bench import MemoryBench, MemoryBenchRow

ROWS = (
    MemoryBenchRow("torchvision", 8 * 2**20, (1.0,), 1.0, 1.0, 1.0),
    MemoryBenchRow("shared_storage", 2**20, (1.25,), 1.25, 1.2, 1.3, 40, (2.1,), 1.75),
    MemoryBenchRow("recompute_layer", None, (), None, None, None),
    MemoryBenchRow(
        "torchvision memory_efficient", 1234567890, (1.3,), 1.3, 1.2, 1.4, 40, (1.3,), 1.3
    ),
    MemoryBenchRow("recompute_bottleneck_input", 123456789, (1.3,), 1.3, 1.2, 1.4, 40, (1.3,), 1.3),
)


def test_memory_prints_a_row_for_every_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def bench_memory(network, batch, resolution, *, progress, **options):
        seen.update(options, network=network)
        return MemoryBench(network, (batch, 3, resolution, resolution), "float32", "cpu", 3, ROWS)

    monkeypatch.setattr(study, "bench_memory", bench_memory)
    result = CliRunner().invoke(
        app, ["memory", "densenet169", "--batch", "2", "--resolution", "32", "--repeats", "3"]
    )
    assert result.exit_code == 0, result.output
    title = f"densenet169, 2 × 3 × 32 × 32, float32, cpu ({threads()}), 3 rounds"
    assert title in " ".join(result.stdout.split())
    assert seen["network"] == "densenet169"
    assert seen["repeats"] == 3
    lines = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if "│" in line}
    assert "8.0" in lines["torchvision"]
    for part in ("1.0", "8.0x", "1.25", "1.20–1.30", "1.75"):
        assert part in lines["shared_storage"]
    assert "does not fit" in lines["recompute_layer"]
    assert "less: the first row's MiB divided by the row's" in " ".join(result.stdout.split())


def threads() -> str:
    n = torch.get_num_threads()
    return f"{n} thread{'s' * (n > 1)}"


def test_the_table_is_whole_on_80_columns() -> None:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    shape = (2, 3, 224, 224)
    bench = MemoryBench("densenet121", shape, "bfloat16 autocast", "cpu", 5, ROWS)
    console.print(report(bench, 16))
    text = console.file.getvalue()
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines()
            if line.startswith("│")]  # fmt: skip
    assert "…" not in text
    assert ["torchvision", "8.0", "1.0x", "1.00", "1.00–1.00", ""] in rows
    assert any(row[1:] == ["1,177.4", "0.0x", "1.30", "1.20–1.40", "1.30"] for row in rows)
    assert "torchvision memory_efficient" in " ".join(row[0] for row in rows)
    assert "recompute_bottleneck_input" in "".join(row[0] for row in rows)
