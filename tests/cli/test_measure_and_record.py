"""The commands `measure` and `record`: what they print, refuse, and resume."""

import itertools
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from densenet_solutions.cli.measure import app as measure
from densenet_solutions.cli.record import _state
from densenet_solutions.cli.record import app as record
from densenet_solutions.exercises.recipes import RECORDINGS
from densenet_solutions.measure import predict_memory
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.models import book_densenet
from densenet_solutions.records import load_record
from tests.framed import RUNNER, words


def test_measure_prints_json() -> None:
    done = RUNNER.invoke(measure, ["book-densenet", "--batch", "4", "--resolution", "64", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    expected = predict_memory(book_densenet, (4, 1, 64, 64))
    assert report["parameters"] == 758_226
    assert report["results"][0]["peak_bytes"] == expected.peak_bytes
    assert report["results"][0]["bytes_by_category"] == dict(expected.bytes_by_category)


def test_measure_prints_a_table() -> None:
    options = ["--batch", "2", "--resolution", "64", "--infer", "--device", "cpu"]
    done = RUNNER.invoke(measure, ["book-resnet18", *options])
    assert done.exit_code == 0, done.output
    assert "11,178,378" in done.output
    assert "1 thread, PyTorch " in " ".join(done.output.split())
    assert "measured (CPU's allocator)" in done.output


def test_a_strategy_stands_beside_the_plain_network() -> None:
    options = ["book-densenet", "--batch", "4", "--resolution", "64"]
    (alone,) = json.loads(RUNNER.invoke(measure, [*options, "--json"]).stdout)["results"]
    done = RUNNER.invoke(measure, [*options, "--strategy", "recompute_block", "--json"])
    report = json.loads(done.stdout)
    (plain,), (saved,) = report["plain"]["results"], report["results"]
    assert plain == alone
    model = STRATEGIES["recompute_block"].apply(book_densenet())
    expected = predict_memory(model, (4, 1, 64, 64))
    assert saved["peak_bytes"] == expected.peak_bytes < plain["peak_bytes"]
    table = RUNNER.invoke(measure, [*options, "--strategy", "recompute_block"]).stdout
    (line,) = (line for line in table.splitlines() if line.startswith("│ peak  "))
    _, *cells = (cell.strip() for cell in line.strip("│").split("│"))
    ratio = plain["peak_bytes"] / saved["peak_bytes"]
    assert cells == [
        *(f"{each['peak_bytes'] / 2**20:.1f} MiB" for each in (plain, saved)), f"{ratio:.1f}x"
    ]  # fmt: skip


def test_a_gpus_kernels_are_predicted_with_what_its_allocator_reserves() -> None:
    sizes = ["--batch", "8", "--resolution", "64"]
    options = ["book-densenet", *sizes, "--strategy", "shared_storage"]
    report = json.loads(RUNNER.invoke(measure, [*options, "--kernels", "cuda", "--json"]).stdout)
    model = STRATEGIES["shared_storage"].apply(book_densenet())
    expected = predict_memory(model, (8, 1, 64, 64), device="cuda")
    (saved,) = report["results"]
    assert saved["reserved_bytes"] == expected.reserved_bytes
    assert saved["peak_bytes"] == expected.peak_bytes
    table = RUNNER.invoke(measure, [*options, "--kernels", "cuda"]).stdout
    assert "predicted (CUDA kernels)" in table
    assert "reserved by the allocator" in table
    assert saved["slices"] == 1
    assert "shared_storage works in a GPU's slices, at most 1 a batch" in table
    assert "what is reserved by the allocator is simulated" in table
    assert "reserved_bytes" not in table
    assert f"PyTorch {saved['packages']['torch']}" in " ".join(table.split())
    on_cpu = RUNNER.invoke(measure, options).stdout
    assert "shared_storage works in a CPU's slices, at most 8 a batch" in on_cpu


def test_what_is_measured_has_a_table_of_its_own_beside_plain() -> None:
    options = ["--batch", "2", "--resolution", "32", "--strategy", "offload", "--device", "cpu"]
    done = RUNNER.invoke(measure, ["book-densenet", *options])
    assert done.exit_code == 0, done.output
    (head,) = (line for line in done.stdout.splitlines() if "plain" in line and "┃" in line)
    assert [cell.strip() for cell in head.strip("┃").split("┃")] == ["", "plain", "offload", "less"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategy", "gradient_accumulation", "--infer"], "nothing at inference"),
        (["--strategy", "saved_in_8_bits", "--infer"], "saved_in_8_bits has the peak of plain h"),
        (["--autocast", "bfloat16"], "traced as on a CPU, without data: autocast casts what it"),
        (["--strategy", "gradient_accumulation"], "a quarter of the batch at a time"),
        (["--strategy", "offload", "--device", "cpu"], "On a CPU there is nowhere to move it to"),
    ],
)
def test_the_table_says_what_a_strategy_costs(arguments: list[str], said: str) -> None:
    sizes = ["--batch", "4", "--resolution", "64"]
    done = RUNNER.invoke(measure, ["book-densenet", *sizes, *arguments])
    assert said in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "NETWORK is one of"),
        (["book-densenet", "--dtype", "int8"], "--dtype"),
        (["book-densenet", "--strategy", "hope"], "--strategy is one of"),
        (["book-densenet", "--optimizer", "lion"], "--optimizer"),
        (["book-densenet", "--strategy", "offload"], "cannot be predicted"),
        (["book-densenet", "--strategy", "quantized_inference"], "does not train and"),
        (
            ["book-densenet", "--strategy", "offload", "--device", "cpu", "--kernels", "cuda"],
            "cannot be predicted: leave out --kernels",
        ),
        (["book-densenet", "--batch", "0"], "--batch"),
        *(
            (
                ["book-densenet", "--strategy", "bfloat16", "--device", "cpu", option, value],
                f"--strategy bfloat16 casts a float32 network, got {option} {value}: leave out",
            )
            for option, value in (("--dtype", "float64"), ("--autocast", "bfloat16"))
        ),
        (["book-densenet", "--device", "cpu:3"], "got 'cpu:3'"),
        (
            ["book-densenet", "--dtype", "float64", "--autocast", "bfloat16"],
            "got --dtype float64, which it leaves alone",
        ),
    ],
)
def test_measure_refuses(arguments: list[str], message: str) -> None:
    done = RUNNER.invoke(measure, arguments)
    assert done.exit_code == 2
    assert message in words(done.output)


def test_record_lists() -> None:
    done = RUNNER.invoke(record, ["--list"])
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.output.splitlines()]
    states = {
        line.partition(" ")[0]: state for line, state in itertools.pairwise(lines) if "; " in state
    }
    assert set(states) == set(RECORDINGS)
    assert states["bench-memory-gpu"].startswith("9 cases, up to date; NVIDIA H200, 2026-")
    assert states["memory-witness"].startswith("2 cases, up to date; CPU, 2026-")
    assert states["memory-grid-rehearsal"] == "not recorded; about 1 min"
    for name, recording in RECORDINGS.items():
        assert any(line.split("  ")[0] == name and recording.what in line for line in lines)


def test_record_lists_what_is_stale() -> None:
    made = load_record("bench-memory-gpu")
    one, two, *_, last = made.made
    changed = {case: replace(made.made[case], fingerprint="another") for case in (one, two)}
    entries = {case: entry for case, entry in (made.made | changed).items() if case != last}
    cases = {case: made.cases[case] for case in entries}
    state = _state(made.name, replace(made, made=entries, cases=cases))
    assert state.startswith("8 of 9 cases, 2 of them stale; NVIDIA H200, 2026-")


def test_record_lists_the_cases_of_one() -> None:
    done = RUNNER.invoke(record, ["how-far", "--list"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("cases of how-far, for --only:\n")
    assert re.search(r"\n  plain-16gib  (up to date|stale), made on CPU\n", done.output)
    done = RUNNER.invoke(record, ["memory-grid-rehearsal", "--list"])
    heading, *cases = done.output.splitlines()
    assert heading == "cases of memory-grid-rehearsal, for --only:"
    assert len(cases) == 8
    assert all(line.endswith("'  not recorded") for line in cases)
    done = RUNNER.invoke(record, ["shared-storage-slices", "--list"])
    assert done.output.startswith("cases of shared-storage-slices (batch sizes), for --only:\n")


def test_record_refuses() -> None:
    assert RUNNER.invoke(record, []).exit_code == 2
    done = RUNNER.invoke(record, ["nonsense"])
    assert done.exit_code == 2
    said = words(done.output)
    assert "NAME is one of" in said
    assert "; record --list has all" in said


def test_a_gpus_recording_is_not_made_on_a_cpu_without_a_word(tmp_path, monkeypatch) -> None:
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("densenet_solutions.records.recorder.run_recipe", stop)
    options = ["--device", "cpu", "--out", str(tmp_path)]
    done = RUNNER.invoke(record, ["bench-memory-gpu", *options])
    assert "made on NVIDIA H200; here it runs on the CPU" in done.output
    assert "here it runs" not in RUNNER.invoke(record, ["bench-memory", *options]).output


def test_recording_is_killed_and_resumed(tmp_path: Path) -> None:
    """The GPU grid's rehearsal on the CPU: a killed process loses at most the case it was at."""
    command = [
        sys.executable, "-c", "from densenet_solutions.cli import app; app()",
        "record", "memory-grid-rehearsal", "--out", str(tmp_path),
    ]  # fmt: skip
    kinds = ("train float32", "train bfloat16", "infer float32", "infer bfloat16")
    for kind in kinds:
        command += ["--only", f"book-densenet 64 b2 {kind}"]
    path = tmp_path / "memory-grid-rehearsal.json"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = load_record("memory-grid-rehearsal", tmp_path)
    assert len(first.cases) >= 1
    # A process again: a record belongs to a device, and the number of threads is part of a CPU.
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    whole = load_record("memory-grid-rehearsal", tmp_path)
    assert len(whole.cases) == len(kinds)
    assert {name: whole.cases[name] for name in first.cases} == dict(first.cases)
    for case in whole.cases.values():
        assert case["peak_bytes"] == sum(case["by_category"].values())
        assert not case["out_of_memory"]


def test_what_ran_out_of_memory_has_no_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of 160 TB: more than any process can address."""
    monkeypatch.setattr("densenet_solutions.cli.measure._check_size", lambda *_: None)
    size = ["book-densenet", "--batch", "100000", "--resolution", "20000", "--device", "cpu"]
    done = RUNNER.invoke(measure, size)
    assert done.exit_code == 0, done.output
    cells = {
        row[0].strip(): row[-1].strip()
        for line in done.output.splitlines()
        if len(row := line.strip("│").split("│")) > 1
    }
    assert cells["peak"].startswith("out of memory, at least 152,587,890.6 MiB")
    for part in ("parameters", "input", "workspace", "peak beyond parameters, buffers, input"):
        assert cells[part] == "—"


def test_8_bit_weights_are_said_not_to_count() -> None:
    options = ["--strategy", "quantized_inference", "--infer", "--device", "cpu"]
    sizes = ["book-densenet", "--batch", "1", "--resolution", "32"]
    done = RUNNER.invoke(measure, [*sizes, *options])
    assert done.exit_code == 0, done.output
    assert "its 8-bit weights are buffers, so they do not count as parameters" in done.output
