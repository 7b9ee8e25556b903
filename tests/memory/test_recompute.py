"""The batch-normalisation trap: what runs twice must not count twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import DenseNet as TorchvisionDenseNet

from densenet_solutions.memory.recompute import recompute, running_statistics_untouched


def counters(model):
    return {
        name: int(buffer)
        for name, buffer in model.named_buffers()
        if name.endswith("num_batches_tracked")
    }


def test_the_naive_way_updates_running_statistics_twice():
    x = torch.randn(4, 3, 5, 5, requires_grad=True)
    plain, naive, ours = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    plain(x).square().sum().backward()
    checkpoint(naive, x, use_reentrant=False).square().sum().backward()
    recompute(ours, ours, x).square().sum().backward()
    assert int(naive.num_batches_tracked) == 2
    assert not torch.equal(naive.running_mean, plain.running_mean)
    assert int(ours.num_batches_tracked) == 1
    assert torch.equal(ours.running_mean, plain.running_mean)
    assert torch.equal(ours.running_var, plain.running_var)


def test_torchvisions_memory_efficient_falls_into_the_trap():
    model = TorchvisionDenseNet(4, (2, 3), 6, 2, memory_efficient=True)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    twice = {name for name, count in counters(model).items() if count == 2}
    assert len(twice) == 5
    assert all(".norm1." in name for name in twice)


def test_the_context_changes_calls_of_this_thread_and_no_module():
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3))
    x, before = torch.randn(4, 3, 5, 5), {k: v.clone() for k, v in model.state_dict().items()}
    with running_statistics_untouched(model), ThreadPoolExecutor(1) as other:
        assert [norm.momentum for norm in model] == [None, 0.1]
        other.submit(model[0], x).result()
        model(x)
    assert [int(norm.num_batches_tracked) for norm in model] == [1, 0]
    assert torch.equal(model[1].running_mean, before["1.running_mean"])
    torch.testing.assert_close(model[0].running_mean, x.mean(dim=(0, 2, 3)))
    with pytest.raises(ValueError, match="4D input"), running_statistics_untouched(model):
        model(x[0])
    model(x)
    assert [int(norm.num_batches_tracked) for norm in model] == [2, 1]


@pytest.mark.parametrize("changed", ["parameters", "buffers"])
def test_a_plain_checkpoint_does_not_notice_what_was_changed_and_ours_does(changed):
    def gradient(way, change):
        norm = nn.BatchNorm2d(3).eval()
        x = torch.randn(4, 3, 5, 5, generator=torch.manual_seed(0)).requires_grad_()
        loss = way(norm, x).square().sum()
        with torch.no_grad():
            for tensor in getattr(norm, changed)() if change else ():
                tensor.add_(1)
        loss.backward()
        return x.grad

    def plain(norm, x):
        return checkpoint(nn.Sequential(norm, nn.Sigmoid()), x, use_reentrant=False)

    def ours(norm, x):
        module = nn.Sequential(norm, nn.Sigmoid()).eval()
        return recompute(module, module, x)

    assert torch.isfinite(gradient(plain, True)).all()
    assert not torch.allclose(gradient(plain, True), gradient(plain, False))
    torch.testing.assert_close(gradient(ours, False), gradient(plain, False))
    with pytest.raises(RuntimeError, match="was changed between"):
        gradient(ours, True)
