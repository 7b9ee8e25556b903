"""A number of parameters is told what it is: against published counts and against real modules."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from densenet_solutions.check import closed_form, parameter_count, search
from densenet_solutions.check.closed_form import DenseBuild, ResidualBuild, terms
from densenet_solutions.check.rows import CHANNELS, CLASSES, ROWS
from densenet_solutions.models import TABLE_1, TABLE_2

from .real_modules import build_dense, build_residual

SCRIPT = Path(__file__).parents[2] / "docs" / "assets" / "check.js"

#: number → network, channels, classes, (axis, option) of each deviation.
GOLDEN = [
    (7_978_856, "densenet121", 3, 1000),
    (14_149_480, "densenet169", 3, 1000),
    (20_013_928, "densenet201", 3, 1000),
    (33_337_704, "densenet264", 3, 1000),
    (28_681_000, "densenet161", 3, 1000),
    (6_979_642, "cifar-densenet-100-12", 3, 10),
    (769_162, "cifar-densenet-bc-100-12", 3, 10),
    (25_624_430, "cifar-densenet-bc-190-40", 3, 10),
    (758_226, "book-densenet", 1, 10),
    (11_178_378, "book-resnet18", 1, 10),
    (11_689_512, "resnet18", 3, 1000),
    (25_557_032, "resnet50", 3, 1000),
    (60_192_808, "resnet152", 3, 1000),
    (6_964_106, "densenet121", 3, 10),
    (6_957_834, "densenet121", 1, 10),
    (11_523_338, "book-resnet18", 1, 10, ("projection", "stages 2 to 4")),
    (13_908_584, "densenet121", 3, 1000, ("compression", "1")),
    (10_869_096, "densenet121", 3, 1000, ("bottleneck", "none")),
    (3_338_216, "densenet121", 3, 1000, ("bottleneck", "k")),
    (7_989_096, "densenet121", 3, 1000, ("bias", "all")),
    (7_976_808, "densenet121", 3, 1000, ("norms", "no last")),
    (7_895_208, "densenet121", 3, 1000, ("norms", "none")),
    (8_062_625, "densenet121", 3, 1000, ("buffers", "all")),
    (6_953_856, "densenet121", 3, 1000, ("classifier", "none")),
    (7_992_168, "densenet121", 3, 1000, ("transitions", "last")),
    (23_245_586, "densenet121", 1, 10, ("bottleneck", "k kept"), ("bias", "all")),
    (9_850_890, "densenet121", 1, 10, ("bottleneck", "none"), ("bias", "all")),
]


@pytest.mark.parametrize(
    ("number", "name", "channels", "classes", "deviations"),
    [(*row[:4], row[4:]) for row in GOLDEN],
    ids=[f"{row[0]}" for row in GOLDEN],
)
def test_known_numbers_are_told(number, name, channels, classes, deviations):
    report = parameter_count(number)
    first = report.builds[0]
    assert (first.name, first.channels, first.classes) == (name, channels, classes)
    assert tuple((d.axis, d.option) for d in first.deviations) == deviations
    assert all(d.text and d.line for d in first.deviations)
    assert report.passed == (not deviations)


def test_several_builds_with_one_number_are_all_named():
    builds = parameter_count(1_019_722).builds
    assert not builds[0].deviations
    assert {d.axis for d in builds[1].deviations} == {"transitions"}
    weights = [len(build.deviations) for build in builds]
    assert weights == sorted(weights)
    assert len(weights) == 3


def test_rows_have_the_counts_that_stand_in_the_tables_of_models():
    published = [row.parameters for row in (*TABLE_1.values(), *TABLE_2.values())]
    counted = [
        terms(row.build).count(row.channels, row.classes)
        for row in ROWS
        if row.authority in ("paper", "plain")
    ]
    assert counted == published


def random_dense(rng: random.Random) -> DenseBuild:
    choice = rng.choice
    return DenseBuild(
        blocks=tuple(rng.randint(1, 4) for _ in range(rng.randint(1, 4))),
        growth_rate=rng.randint(1, 9),
        stem_width=choice((4, 9, "2k")),
        stem_kernel=choice((3, 7)),
        stem_norm=choice((True, False)),
        bottleneck=choice(("4k", "2k", "k", "none", "k kept", "4k kept", "swapped")),
        bottleneck_kernel=choice((1, 3)),
        compression=choice((0.5, 1.0, 0.7)),
        transitions=choice(("between", "first", "last", "pool only")),
        keeps_input=choice((True, False)),
        added=choice(((0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 0))),
        bias=choice(("none", "all", "all but stem")),
        norms=choice(("all", "no last", "none")),
        head=choice((True, True, False)),
        head_bias=choice((True, False)),
        buffers=choice(("not counted", "all", "statistics")),
    )


def random_residual(rng: random.Random) -> ResidualBuild:
    choice = rng.choice
    return ResidualBuild(
        blocks=tuple(rng.randint(1, 3) for _ in range(rng.randint(1, 4))),
        wide=choice((True, False)),
        stem_kernel=choice((3, 7)),
        stem_norm=choice((True, False)),
        projection=choice(("where needed", "stages 2 to 4", "every block")),
        projection_norm=choice((True, False)),
        bias=choice(("none", "all", "all but stem")),
        head=choice((True, True, False)),
        head_bias=choice((True, False)),
        buffers=choice(("not counted", "all", "statistics")),
    )


def counted(model: torch.nn.Module, buffers: str) -> int:
    total = sum(p.numel() for p in model.parameters())
    kept = [b for _, b in model.named_buffers() if buffers == "all" or b.ndim]
    return total + (sum(b.numel() for b in kept) if buffers != "not counted" else 0)


@pytest.mark.parametrize("seed", range(120))
def test_the_closed_form_counts_what_modules_have(seed):
    rng = random.Random(seed)
    channels, classes = rng.randint(1, 4), rng.randint(1, 12)
    with torch.device("meta"):
        if seed % 3:
            build = random_dense(rng)
            model = build_dense(build, channels, classes)
        else:
            build = random_residual(rng)
            model = build_residual(build, channels, classes)
    assert terms(build).count(channels, classes) == counted(model, build.buffers)


def test_every_option_changes_a_count_or_is_another_spelling():
    """No deviation is dead: each one moves the number of at least one row."""
    for family, axes in search.AXES.items():
        builds = [row.build for row in ROWS if row.build.family == family]
        for name, option in ((axis.name, option) for axis in axes for option in axis.options):
            moved = [terms(replace(b, **option.changes)) != terms(b) for b in builds]
            assert any(moved), (family, name, option.name)


@pytest.mark.parametrize(
    ("number", "name", "difference", "meaning"),
    [
        (7_978_856 + 200 * 1025, "densenet121", 205_000, "1,200 classes"),
        (7_978_856 - 800 * 1025, "densenet121", 102_500, "200 classes"),
        (7_978_856 + 3136, "densenet121", 3136, "4 channels"),
        (8_000_000, "densenet121", 21_144, ""),
        (1, "book-densenet", None, ""),
    ],
)
def test_an_unknown_number_gets_the_nearest_networks(number, name, difference, meaning):
    report = parameter_count(number)
    assert not report.passed
    assert not report.builds
    searched = "with up to 3 deviations, for 1 or 3 channels and 10, 100 or 1000 classes."
    assert report.findings[0].text.endswith(searched)
    near = report.nearest[0]
    if difference is not None:
        assert near.name == name
        assert near.difference == difference
    assert near.parameters + near.difference == number
    assert meaning in near.meaning
    assert bool(near.meaning) == bool(meaning)
    assert len({other.name for other in report.nearest}) == 3


def numbers_to_compare() -> list[int]:
    """Counts of builds, right and wrong, and numbers that are none."""
    rng = random.Random(0)
    builds, columns = search._index()
    chosen = rng.sample(range(len(builds)), 250)
    counts = []
    for i in chosen:
        fixed, per_channel, per_class = columns[i].tolist()
        counts.append(fixed + per_channel * rng.choice(CHANNELS) + per_class * rng.choice(CLASSES))
    near = [row[0] + rng.randint(-2000, 2000) for row in GOLDEN]
    classes = [7_978_856 + 1025 * k for k in (7, -990, 5000)] + [1, 999_999_999]
    return [row[0] for row in GOLDEN] + counts + near + classes


def in_the_browsers_language(numbers: list[int]) -> list[list[dict[str, str]]]:
    """The findings of `check.js` under node, or in Chromium where there is no node."""
    question = {"tables": search.tables(), "numbers": numbers}
    if node := shutil.which("node"):
        run = (
            f"const {{ findings }} = require({json.dumps(str(SCRIPT))});"
            "const { tables, numbers } = JSON.parse(require('fs').readFileSync(0));"
            "console.log(JSON.stringify(numbers.map((n) => findings(tables, n))));"
        )
        answer = subprocess.run(
            [node, "-e", run],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(answer.stdout)
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        required = os.environ.get("DENSENET_SOLUTIONS_REQUIRE_BROWSER")
        (pytest.fail if required else pytest.skip)("no node and no Chromium to run the script")
    with sync_playwright() as browsers:
        page = browsers.chromium.launch(executable_path=chromium).new_page()
        page.add_script_tag(path=str(SCRIPT))
        return page.evaluate(
            "({ tables, numbers }) => numbers.map((n) => densenetCheck.findings(tables, n))",
            question,
        )


def test_browser_and_python_agree():
    numbers = numbers_to_compare()
    assert len(numbers) > 300
    answers = in_the_browsers_language(numbers)
    for number, answer in zip(numbers, answers, strict=True):
        ours = [
            {"kind": finding.kind, "text": finding.text, "line": finding.line}
            for finding in parameter_count(number).findings
        ]
        assert answer == ours, number


def test_the_formula_needs_no_torch():
    source = Path(closed_form.__file__).read_text(encoding="utf-8")
    assert "torch" not in source
