"""Load trained weights of a DenseNet from the files that people have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

from torch import Tensor, nn

from densenet_solutions import checks
from densenet_solutions.models.variants import TABLE_1

#: The first tensor of a trunk.
_STEM = "conv0.weight"
_LAYER = r"denseblock\d+\.denselayer\d+"


def load_densenet_weights(
    model: nn.Module, state_dict: Mapping[str, Tensor], *, other_classes: bool = False
) -> tuple[str, ...]:
    """Load a DenseNet's weights, and say what was left out: names of the file and of the model.

    Names may be torchvision's old ones (`denselayer1.norm.1.weight` for `norm1`), begin with what
    held the network (`module.`, `densenet121.features…`, `backbone.`), be those of a trunk without
    its `features.`, or of a classifier in an `nn.Sequential`. What the file has beside the network
    is left out. Counters `num_batches_tracked` may be missing and stay as they are.

    Args:
        model: a `DenseNet`, ours or torchvision's, with `features` and a `classifier`; or its
            `features` alone, which leave the file's classifier out.
        state_dict: names and tensors, as `torch.load` or `model.state_dict()` gives them.
        other_classes: leave the model's classifier as it is where the file has none, or one of
            another shape.

    Raises:
        TypeError: `model` is not a module, or `state_dict` not a mapping of names to tensors.
        ValueError: the file has several networks.
        RuntimeError: something does not fit, and nothing was loaded. The message lists it, up to 40
            of a kind (`features.norm5.*` is all that begins so), or says what is mistaken: weights
            of another depth, or a model that holds the DenseNet.
    """
    if isinstance(model, Mapping) and isinstance(state_dict, nn.Module):
        raise TypeError("the model comes first and its weights second, got them the other way")
    checks.module("model", model)
    checks.flag("other_classes", other_classes)
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "state_dict maps names to tensors, as `torch.load` or `model.state_dict()` gives it, "
            f"got {type(state_dict).__name__}"
        )
    found, left_out = _network_of(state_dict)
    wanted = model.state_dict()
    if _STEM in wanted:  # a trunk
        inside = {name.removeprefix("features."): name for name in found if "features." in name}
        left_out += [name for name in found if name not in inside.values()]
        found = {name: found[there] for name, there in inside.items()}
    if other_classes:
        for name in [name for name in wanted if name.startswith("classifier.")]:
            if name not in found or found[name].shape != wanted[name].shape:
                left_out.append(name)
                found[name] = wanted[name]
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in found]
    wrong = [name for name in found if name in wanted and found[name].shape != wanted[name].shape]
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wrong[:4]
    ]
    problems = {
        "missing": _gathered(missing, needed),
        "not in the model": _gathered([name for name in found if name not in wanted], found),
        "of another shape": shapes + _gathered(wrong[4:], found),
    }
    if any(problems.values()):
        if mistaken := _mistaken(found, wanted):
            raise RuntimeError(f"these weights do not fit the model: {mistaken}")
        listed = "; ".join(f"{what}: {_first(of)}" for what, of in problems.items() if of)
        alone = all(name.startswith("classifier.") for name in (*missing, *wrong))
        hint = alone and bool(missing or wrong) and not other_classes
        advice = " (other_classes=True keeps the model's classifier)" if hint else ""
        raise RuntimeError(f"these weights do not fit the model. {listed}{advice}")
    model.load_state_dict(found, strict=False)
    return tuple(left_out)


def _gathered(names: Collection[str], among: Collection[str]) -> list[str]:
    """The names; where all of `among` that begin alike are there, three or more, as one with `*`.

    Examples:
        >>> _gathered(["norm.weight", "norm.bias", "norm.running_mean"], ["conv.weight"])
        ['norm.*']
    """
    chosen = set(names)
    others = {start for name in among if name not in chosen for start in _beginnings(name)}
    count = Counter(start for name in names for start in _beginnings(name))
    return list(
        dict.fromkeys(
            next((f"{s}*" for s in _beginnings(name) if s not in others and count[s] > 2), name)
            for name in names
        )
    )


def _beginnings(name: str) -> list[str]:
    """`"a.b.c"` → `["a.", "a.b."]`."""
    return [name[: dot.end()] for dot in re.finditer(r"\.", name)]


def _first(names: list[str]) -> str:
    """The names, of many the first."""
    more = len(names) - 40
    return ", ".join(names[:40]) + (f" and {more} more" if more > 0 else "")


def _mistaken(found: Collection[str], wanted: Collection[str]) -> str:
    """What is seen at once: the DenseNet is deeper in the model, another one, or none."""
    inside = [name.removesuffix(_STEM) for name in wanted if name.endswith(f".{_STEM}")]
    path = inside[0].removesuffix("features.") if len(inside) == 1 else ""
    if path:
        return f"its DenseNet is model.{path.removesuffix('.')}, so give that"
    theirs, ours = _layers(found), _layers(wanted)
    if theirs and ours and theirs != ours:
        known = [row.name for row in TABLE_1.values() if row.config.block_config == theirs]
        return (
            f"they are of blocks of {theirs} layers"
            + (f", as {known[0]} has" if known else "")
            + f", and the model has {ours}"
        )
    if set(found) & set(wanted):
        return ""
    if not found:
        return "there are none"
    return (
        f"it has no tensor of theirs, which are called {_first(_gathered(found, ()))}, and its own "
        f"{_first(_gathered(wanted, ()))}"
    )


def _layers(names: Collection[str]) -> tuple[int, ...]:
    """How many layers each dense block has."""
    there = {match[0] for name in names if (match := re.search(_LAYER, name))}
    count = Counter(name.partition(".")[0] for name in there)
    return tuple(count[block] for block in sorted(count, key=lambda name: (len(name), name)))


def _network_of(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The network's tensors by the names that they have today, and the names of all others."""
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise TypeError(
                "state_dict maps names to tensors (a checkpoint may hold it under a key of its "
                f"own), got {name!r} with a {type(value).__name__}"
            )
    stems = [name.removesuffix(_STEM) for name in state_dict if f".{name}".endswith(f".{_STEM}")]
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
