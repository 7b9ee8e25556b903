"""The protocol of `gpu-published`: its rules on a small file, its arithmetic by hand."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn
from torchvision.models import DenseNet

from densenet_solutions.exercises.memory import published
from densenet_solutions.exercises.memory.published import MIB, PublishedMemory
from densenet_solutions.measure import CudaCache, Step, predict_memory
from densenet_solutions.records.serialise import from_json
from densenet_solutions.records.store import load_record

FILE = """model,batch,nvidia_smi_mib
good,8,2000\ngood,16,3000\ngood,32,5000\ngood,64,9000\ngood,128,17000
failed,8,2000\nfailed,16,3000\nfailed,32,5000\nfailed,64,2500\nfailed,128,17000
level,8,2000\nlevel,16,2000\nlevel,32,5000\nlevel,64,9000\nlevel,128,17000
full,8,2000\nfull,16,3000\nfull,32,9000\nfull,64,20000\nfull,128,39000
short,8,2000\nshort,16,3000\nshort,32,5000\nshort,64,9000
"""


def test_which_rows_take_part(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text(FILE, encoding="utf-8")
    assert published.published_rows(path) == {"good": (2000, 3000, 5000, 9000, 17000)}
    path.write_text("name,batch\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"columns are model, batch.*got \['name', 'batch'\]"):
        published.published_rows(path)


def test_which_networks_are_taken() -> None:
    sizes = {"a": 224, "b": 384, "c": None, "d": 288}
    assert sorted(published.taken(list(sizes), sizes.get)) == ["a", "d"]
    many = [str(n) for n in range(500)]
    once = published.taken(many, lambda name: 224)
    assert len(once) == 320
    assert once == published.taken(many[::-1], lambda name: 224)
    names = published.NAMES.read_text(encoding="utf-8").split()
    assert names == published.taken(names, lambda name: 224)


def test_other_batches_follow_from_two() -> None:
    """Exactly what the step at that batch asks for, and what the prediction says."""
    shape = (3, 32, 32)

    def build() -> nn.Module:
        return DenseNet(32, (2, 3, 2, 2))

    def step(batch: int) -> Step:
        return Step(build, (batch, *shape), optimizer="sgd_momentum")

    two = step(2).trace()
    scaled = published.scaled(two, step(4).trace(), 3)
    assert scaled == step(8).trace()
    predicted = predict_memory(build, (8, *shape), optimizer="sgd_momentum", device="cuda")
    assert published.tensors_at_peak(scaled) == predicted.peak_bytes
    assert CudaCache().play(scaled).reserved_bytes == predicted.reserved_bytes
    bare = published.without_workspace(scaled)
    assert [step[:2] for step in bare.operations] == [step[:2] for step in scaled.operations]
    assert any(step.workspace for step in scaled.operations)
    assert not any(step.workspace for step in bare.operations)
    other = Step(nn.Conv2d(3, 4, 1), (2, *shape)).trace()
    with pytest.raises(ValueError, match="other operations"):
        published.scaled(two, other, 3)


def case(published_mib: tuple[int, ...], *reserved: int) -> PublishedMemory:
    sizes = tuple(size * MIB for size in reserved)
    return PublishedMemory(
        published_mib=published_mib, tensors=sizes, allocated=sizes, reserved=sizes
    )


def test_one_constant_is_fitted_and_the_others_are_judged() -> None:
    cases = {str(n): case((1500, 1600), 1000, 1100) for n in range(39)}
    cases["39"] = PublishedMemory(published_mib=(1, 2), refused="no")
    cases |= {str(n): case((9000, 9000), 1, 1) for n in range(40, 160)}  # seen: not judged
    cases["160"] = case((1500, 1600), 1000, 1100)
    cases["161"] = case((2000, 1000), 1000, 600)
    found = published.agreement(cases, "reserved")
    assert (found.constant_mib, found.fitted, found.judged) == (500, 39, 2)
    assert found.by_batch == pytest.approx((0.125, 0.05))  # of 0 and 500/2000, of 0 and 100/1000
    assert found.median_error == pytest.approx(0.05)
    # Of 1000 and 1100 nothing is missed, of 1500 a third, and of 500 a fifth.
    assert published.errors_without_the_constant(cases) == pytest.approx((0.1, 1 / 6))


def test_what_is_recorded() -> None:
    """The simulated allocator explains what was measured better than tensors do, at every batch."""
    record = load_record("gpu-published")
    assert list(record.cases) == published.NAMES.read_text(encoding="utf-8").split()
    cases = {name: from_json(PublishedMemory, row) for name, row in record.cases.items()}
    found = {
        name: published.agreement(cases, name)
        for name in ("reserved", "without_workspace", "allocated", "tensors")
    }
    assert found["reserved"].median_error < found["without_workspace"].median_error
    assert found["reserved"].ninth_decile < found["without_workspace"].ninth_decile
    assert found["reserved"].judged >= 100
    for other in ("allocated", "tensors"):
        assert found["reserved"].median_error < 0.5 * found[other].median_error
        assert found["reserved"].ninth_decile < 0.5 * found[other].ninth_decile
        pairs = zip(found["reserved"].by_batch, found[other].by_batch, strict=True)
        assert all(ours < theirs for ours, theirs in pairs)
    for case in cases.values():
        if case.refused is None:
            sizes = zip(case.tensors, case.allocated, case.reserved, strict=True)
            assert all(a < b <= c for a, b, c in sizes)


def test_the_file_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    monkeypatch.delenv(published.FILE_VARIABLE, raising=False)
    with pytest.raises(ValueError, match="GPU_TRAINING_MEMORY is the path"):
        published.published_memory("resnet18", "cpu")
