"""`bench` prints what was measured, with every setting; the measuring has tests of its own."""

import pytest
from typer.testing import CliRunner

from densenet_solutions.cli.bench import app
from densenet_solutions.exercises.saving_memory import bench as study
from densenet_solutions.exercises.saving_memory.bench import MemoryBench, MemoryBenchRow
from densenet_solutions.exercises.table_1 import speed
from densenet_solutions.exercises.table_1.speed import RatioOfTimes

ROWS = (
    MemoryBenchRow("torchvision", 8 * 2**20, (1.0,), 1.0, 1.0, 1.0),
    MemoryBenchRow("shared_storage", 2**20, (1.25,), 1.25, 1.2, 1.3, 40, (2.1,), 1.75),
    MemoryBenchRow("recompute_layer", None, (), None, None, None),
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
    assert "densenet169, 2 × 3 × 32 × 32, float32, cpu, 3 rounds" in " ".join(result.stdout.split())
    assert seen["network"] == "densenet169"
    assert seen["repeats"] == 3
    lines = {line.split("│")[1].strip(): line for line in result.stdout.splitlines() if "│" in line}
    assert "8.0 MiB" in lines["torchvision"]
    for part in ("1.0 MiB", "8.0x", "1.25", "1.20 to 1.30", "1.75"):
        assert part in lines["shared_storage"]
    assert "does not fit" in lines["recompute_layer"]


def test_speed_prints_ratio_and_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"forward": RatioOfTimes(0.98, 0.95, 1.01, 4, 0.5)}
    monkeypatch.setattr(speed, "against_torchvision", lambda **options: found)
    result = CliRunner().invoke(app, ["speed", "--repeats", "4", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "8 × 3 × 224 × 224, float32, cpu, 4 rounds" in " ".join(result.output.split())
    (line,) = (line for line in result.output.splitlines() if "forward" in line)
    assert "0.98" in line
    assert "0.95 to 1.01" in line
