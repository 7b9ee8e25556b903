from typer.testing import CliRunner

from densenet_solutions.cli.bench import app

run = CliRunner().invoke


def test_the_bench_prints_a_row_for_every_contestant():
    result = run(app, ["memory", "--batch", "2", "--side", "32", "--repeats", "1"])
    assert result.exit_code == 0, result.output
    for name in ("torchvision", "torchvision memory_efficient", "recompute_layer",
                 "recompute_block", "shared_storage"):  # fmt: skip
        assert name in result.stdout
    assert "MiB" in result.stdout


def test_impossible_requests_are_refused_with_the_rule():
    for arguments in (["--variant", "densenet122"], ["--dtype", "int8"], ["--device", "tpu"]):
        result = run(app, ["memory", *arguments])
        assert result.exit_code == 2
        assert arguments[1] in result.output


def test_the_speed_bench_compares_forward_and_training_step():
    result = CliRunner().invoke(app, ["speed", "--batch", "2", "--side", "32", "--repeats", "1"])
    assert result.exit_code == 0, result.output
    for row in ("forward", "training step"):
        (line,) = (line for line in result.output.splitlines() if row in line)
        assert "to" in line
