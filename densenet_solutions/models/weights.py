"""Load trained weights of a DenseNet from the files that people have."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from densenet_solutions import checks


def load_densenet_weights(
    model: nn.Module, state_dict: Mapping[str, Tensor], *, other_classes: bool = False
) -> tuple[str, ...]:
    """Load a DenseNet's weights, and say what was left out: names of the file and of the model.

    Names may be torchvision's old ones (`denselayer1.norm.1.weight` for `norm1`), begin with what
    held the network (`module.`, `densenet121.features…`, `backbone.`), be those of a trunk without
    its `features.`, or of a classifier in an `nn.Sequential`. What the file has beside the network
    is left out. Counters `num_batches_tracked` may be missing and stay as they are.

    Args:
        model: a `DenseNet`, ours or torchvision's, with `features` and a `classifier`.
        state_dict: names and tensors, as `torch.load` or `model.state_dict()` gives them.
        other_classes: leave the model's classifier as it is where the file has none, or one of
            another shape.

    Raises:
        TypeError: `model` is not a module, or `state_dict` not a mapping of names to tensors.
        ValueError: the file has several networks.
        RuntimeError: something does not fit: all of it is listed, and nothing was loaded.
    """
    checks.module("model", model)
    checks.flag("other_classes", other_classes)
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "state_dict maps names to tensors, as `torch.load` or `model.state_dict()` gives it, "
            f"got {type(state_dict).__name__}"
        )
    found, left_out = _network_of(state_dict)
    wanted = model.state_dict()
    if other_classes:
        for name in [name for name in wanted if name.startswith("classifier.")]:
            if name not in found or found[name].shape != wanted[name].shape:
                left_out.append(name)
                found[name] = wanted[name]
    missing = [
        name for name in wanted if name not in found and not name.endswith("num_batches_tracked")
    ]
    wrong = [
        f"{name} is {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
        for name, tensor in found.items()
        if name in wanted and tensor.shape != wanted[name].shape
    ]
    problems = {
        "missing": missing,
        "not in the model": [name for name in found if name not in wanted],
        "of another shape": wrong,
    }
    if any(problems.values()):
        listed = "; ".join(f"{what}: {', '.join(of)}" for what, of in problems.items() if of)
        hint = any("classifier." in name for name in (*missing, *wrong)) and not other_classes
        advice = " (other_classes=True keeps the model's classifier)" if hint else ""
        none = " (it has no tensor of theirs)" if not set(found) & set(wanted) else ""
        raise RuntimeError(f"these weights do not fit the model{none}. {listed}{advice}")
    model.load_state_dict(found, strict=False)
    return tuple(left_out)


def _network_of(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The network's tensors by the names that they have today, and the names of all others."""
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise TypeError(
                "state_dict maps names to tensors (a checkpoint may hold it under a key of its "
                f"own), got {name!r} with a {type(value).__name__}"
            )
    first = "conv0.weight"
    stems = [name.removesuffix(first) for name in state_dict if f".{name}".endswith(f".{first}")]
    if len(stems) > 1:
        raise ValueError(f"state_dict has one DenseNet, got one at each of {', '.join(stems)}")
    trunk = stems[0] if stems else "features."
    outside = trunk.removesuffix("features.") if f".{trunk}".endswith(".features.") else trunk
    found, others = {}, []
    for name, tensor in state_dict.items():
        if not name.startswith(outside):
            others.append(name)
            continue
        inside = name.removeprefix(outside)
        if outside == trunk and not inside.startswith("classifier."):
            inside = f"features.{inside}"
        inside = re.sub(r"(denselayer\d+)\.(norm|conv)\.(\d)\.", r"\1.\2\3.", inside)
        inside = re.sub(r"^classifier\.\d+\.", "classifier.", inside)
        found[inside] = tensor
    return found, others
