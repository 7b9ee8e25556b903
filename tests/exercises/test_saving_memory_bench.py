import contextlib
import io
import mmap
import platform
import re
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from densenet_solutions.exercises.recipes import recipe
from densenet_solutions.exercises.saving_memory import study
from densenet_solutions.exercises.saving_memory.at_work import AtWork, Kernels
from densenet_solutions.exercises.saving_memory.bench import (
    BASELINE,
    CHANNELS_LAST,
    MemoryBench,
    MemoryBenchRow,
    _page_faults,
    _row,
    compare,
    contestants,
)
from densenet_solutions.exercises.saving_memory.cores import Round, TwoCores, two_cores
from densenet_solutions.exercises.saving_memory.reach import BUDGETS, OFFERED, largest
from densenet_solutions.exercises.saving_memory.warm import warm
from densenet_solutions.memory import STRATEGIES
from densenet_solutions.records import load_record
from densenet_solutions.records.serialise import from_json


def test_contestants_have_the_same_weights_and_names():
    models = {name: model for name, (model, _) in contestants("densenet121").items()}
    expected = models[BASELINE].state_dict()
    for name, model in models.items():
        got = model.state_dict()
        assert list(got) == list(expected), name
        assert all(torch.equal(got[key], value) for key, value in expected.items()), name


def test_on_a_cpu_a_turn_is_two_steps_and_the_second_is_timed():
    order = []

    def step(model, images, targets):
        order.append(model.name)
        loss = model(images.flatten(1)).sum()
        loss.backward()
        if order[-1] != order[-2:][0]:  # the first step of a turn
            time.sleep(0.2)
        return loss

    models = {}
    for name in (BASELINE, "other"):
        model = torch.nn.Linear(12, 3)
        model.name = name
        models[name] = model, step
    rows = compare(models, (2, 3, 2, 2), "cpu", None, repeats=3)
    steps = order[-2 * 2 * (1 + 3) :]  # the last ones: those before found the peaks
    assert steps == [BASELINE, BASELINE, "other", "other"] * 4
    assert all(len(row.seconds) == 3 and max(row.seconds) < 0.1 for row in rows)


def test_a_ratio_compares_neighbours_of_one_round():
    # The machine gets slower and slower; the contestant needs half as long again in every round.
    seconds = {BASELINE: (1.0, 2.0, 4.0, 8.0), "ours": (1.5, 3.0, 6.0, 12.0)}
    processor = {BASELINE: (2.0, 2.0, 4.0, 8.0), "ours": (4.0, 1.0, 2.0, 16.0)}
    row = _row("ours", 100, seconds, processor, faults=(9, 5, 4, 90))
    assert (row.time_ratio, row.time_ratio_low, row.time_ratio_high) == (1.5, 1.5, 1.5)
    assert row.page_faults == 5
    assert row.processor_ratio == 1.25  # of 0.5, 0.5, 2 and 2
    too_large = _row("too large", None, seconds, processor)
    assert too_large.time_ratio is too_large.page_faults is too_large.processor_ratio is None
    assert _row("ours", 100, seconds).processor_ratio is None


def test_processor_time_does_not_pass_in_sleep():
    def asleep(model, images, targets):
        time.sleep(0.1)
        return model(images.flatten(1)).sum()

    models = {name: (torch.nn.Linear(12, 3), asleep) for name in (BASELINE, "other")}
    for row in compare(models, (2, 3, 2, 2), "cpu", None, repeats=2):
        assert len(row.processor_seconds) == len(row.seconds) == 2
        assert min(row.seconds) > 0.1 > 2 * max(row.processor_seconds) > 0


def test_page_faults_are_those_of_memory_that_is_touched_for_the_first_time():
    before = _page_faults()
    with mmap.mmap(-1, 1 << 26) as fresh:  # 64 MiB that nobody has had
        fresh[:: 1 << 12] = b"x" * (1 << 14)
    assert _page_faults() - before >= 16  # half of what pages of 2 MiB would give


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_a_warm_heap_is_handed_no_new_pages():
    """In a process of its own: 64 MiB taken and freed by PyTorch, again and again."""
    code = """
        import sys, torch
        from densenet_solutions.exercises.saving_memory.bench import _page_faults
        from densenet_solutions.exercises.saving_memory.heap import keep_freed_memory
        if sys.argv[1] == "warm":
            keep_freed_memory()
        for _ in range(5):
            before = _page_faults()
            torch.ones(1 << 24)
        print(_page_faults() - before)
    """
    pages = {
        heap: int(
            subprocess.run(
                [sys.executable, "-c", textwrap.dedent(code), heap],
                capture_output=True,
                check=True,
                text=True,
            ).stdout
        )
        for heap in ("cold", "warm")
    }
    assert pages["warm"] <= 8 < 16 <= pages["cold"]  # half of what pages of 2 MiB would give


def test_only_glibc_keeps_what_is_freed(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with pytest.raises(OSError, match="only glibc"):
        warm({"threads": 1, "repeats": 1}, "cpu")


def test_a_round_is_with_the_cores_apart_if_both_looks_say_so():
    def a_round(before, behind, seconds=(1.0, 1.0, 1.0)):
        return Round((10.0, 20.0), (before, behind), seconds)

    assert a_round(41, 81).apart is True
    assert a_round(39, 79).apart is False
    assert a_round(41, 79).apart is a_round(40, 81).apart is None
    rounds = [a_round(90, 90, (1, 2, 3)), a_round(90, 90, (2, 2, 3)), a_round(90, 90, (1, 2, 4))]
    found = TwoCores((8, 3, 224, 224), (*rounds, a_round(20, 20, (1, 1, 9)), a_round(20, 90)))
    assert [len(found.where(apart=apart)) for apart in (True, False)] == [3, 1]
    assert found.ratio("shared_storage", BASELINE, apart=True)[0] == 3
    assert found.ratio("shared_storage", CHANNELS_LAST, apart=True)[0] == 1.5
    assert found.ratio("shared_storage", BASELINE, apart=False)[0] == 9


def test_a_round_of_two_cores_times_what_it_says():
    """Steps of three ways, none for nothing; sums that see all rows."""
    case = {"input_shape": (2, 3, 32, 32), "rounds": 2}
    start = time.perf_counter()
    found = two_cores(case, "cpu")
    took = time.perf_counter() - start
    assert [len(one.seconds) for one in found.rounds] == [3, 3]
    assert all(min(one.seconds) > 0 and sum(one.seconds) < took for one in found.rounds)
    assert all(1 < us < 1e6 * took / 100 for one in found.rounds for us in (*one.own, *one.others))


def test_two_cores_are_those_of_the_cpu():
    with pytest.raises(ValueError, match="two cores are those of the CPU, got device 'cuda'"):
        two_cores(recipe("two-cores").cases["densenet121"], "cuda")


@given(st.integers(0, 500), st.integers(1, 50), st.integers(0, 3), st.integers(1, 10**6))
def test_the_largest_that_fits_is_found_with_few_questions(constant, linear, square, budget):
    asked = []

    def peak(n):
        asked.append(n)
        return constant + linear * n + square * n * n

    n = largest(peak, budget)
    assert n == 0 or peak(n) <= budget
    assert peak(n + 1) > budget
    assert len(asked) <= 30


def test_recipes_cover_every_exact_strategy_and_budget():
    assert {"plain", "recompute_block", "shared_storage"} <= set(OFFERED)
    assert len(recipe("how-far").cases) == len(OFFERED) * len(BUDGETS)
    once = [f"densenet121-8x224-{how}" for how in ("float32", "float32-one-thread", "bfloat16")]
    again = [f"{case}, again" for case in once]
    assert list(recipe("bench-memory").cases) == [*once, *again]
    assert [f"densenet121-8x224-{how}" for how in recipe("bench-memory-warm").cases] == once


def test_what_is_said_of_a_gpu_is_what_its_record_holds():
    """The strategy's row and the README name numbers; no page computes those."""
    found = {
        batch: {row.name: row for row in bench.rows}
        for batch, bench in study.gpu_benches(load_record("bench-memory-gpu")).items()
    }
    dials = {
        batch: from_json(AtWork, case)
        for batch, case in load_record("shared-storage-slices").cases.items()
    }
    ratios = [rows["shared_storage"].time_ratio for rows in found.values()]
    ratios += [dial.row("1").time_ratio for dial in dials.values()]
    ratios += [
        from_json(AtWork, case).row("shared_storage").time_ratio
        for case in load_record("bench-at-work").cases.values()
    ]
    span = f"{min(ratios):.1f} to {max(ratios):.1f} times"
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert span in STRATEGIES["shared_storage"].costs
    assert span in readme
    dial = dials["256"]
    assert f"{dial.less('1'):.1f} times less memory" in readme
    dialled = f"{dial.less('8'):.1f} times, at {dial.row('8').time_ratio:.1f} times the time"
    assert f"slices=8) makes it {dialled}" in readme
    case = study.on_a_gpu(
        MemoryBench, load_record("bench-memory-gpu"), "densenet121-32x224-float32-compiled"
    )
    rows = {row.name: row for row in case.rows}
    less = {
        name: rows[BASELINE].peak_beyond_parameters / rows[name].peak_beyond_parameters
        for name in ("compiled", "shared_storage")
    }
    compiled = f"{less['compiled']:.1f} times less memory"
    assert f"{compiled} there at {rows['compiled'].time_ratio:.2f} times the time" in readme
    assert f"shared storage {less['shared_storage']:.1f} times less)" in readme
    fits = load_record("how-far-gpu").cases
    plain, shared, sliced = (
        fits[way]["batch"] for way in ("plain", "shared_storage", "shared_storage in 8 slices")
    )
    assert f"it trained {shared} images\n# in a step there, in eight slices {sliced}, " in readme
    assert f"this package's plain DenseNet-121 {plain}." in readme
    on_cpu = {
        case: row["time_ratio"]
        for name in ("bench-memory", "bench-memory-warm")
        for case, bench in load_record(name).cases.items()
        for row in bench["rows"]
        if "float32" in case and row["name"] == "shared_storage"
    }
    on_amd = on_cpu.pop("densenet121-8x224-float32, again")
    del on_cpu["densenet121-8x224-float32-one-thread, again"]
    assert len(on_cpu) == 4
    said = readme.replace("\n# ", " ")
    assert f"takes {min(on_cpu.values()):.2f} to {max(on_cpu.values()):.2f} times as long" in said
    assert f"on an AMD EPYC, with earlier code, {on_amd:.2f})" in said


def test_what_cublas_took_in_a_first_step_is_left_out_of_every_peak():
    """Three occasions on one kind of card: without it torchvision's peaks agree to the byte."""
    benches = study.gpu_benches(load_record("bench-memory-gpu"))
    dials = study.at_work(load_record("shared-storage-slices"))
    works = study.at_work(load_record("bench-at-work"))
    for batch, bench in benches.items():
        found = [bench, dials[batch], *([works[batch]] if batch in works else [])]
        assert len({of.rows[0].peak_beyond_parameters for of in found}) == 1, batch
        assert all(of.rows[0].name == BASELINE for of in found)
    for name, cases in study.BEGAN.items():
        for case in cases:
            row = load_record(name).cases[case]["rows"][0]
            kind = MemoryBench if name == "bench-memory-gpu" else AtWork
            first = study.on_a_gpu(kind, load_record(name), case).rows[0]
            assert row["peak_beyond_parameters"] - first.peak_beyond_parameters == 65 * 2**20


def test_the_share_of_a_step_that_the_gpu_works():
    def row(name, *seconds, peak=None):
        return MemoryBenchRow(name, peak, seconds, None, None, None)

    found = AtWork(
        (1,),
        4,
        (row(BASELINE, 1.0, 2.0, 4.0, 3.0, peak=90), row("ours", 2.0, 1.0, 12.0, 6.0, peak=30)),
        {"ours": Kernels(7, 1.0)},
    )
    assert found.seconds("ours") == 4
    assert found.share("ours") == 0.25
    assert found.less("ours") == 3
    assert found.beside("ours", BASELINE) == (2.0, 2.0, 2.0)  # of 0.5, 2, 2 and 3
    with pytest.raises(ValueError, match="'none' or the network"):
        replace(found, rows=(*found.rows, row("none"))).less("none")


def test_what_the_readmes_example_prints_is_what_it_says():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    example = readme.split("```python\n")[1].split("```")[0]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example, {})
    said = re.findall(r"# (\d{7,})", example)
    assert len(said) == 3
    assert printed.getvalue().split() == said
