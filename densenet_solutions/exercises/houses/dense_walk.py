"""The best dense ensemble of exercise 5: a walk as long as that of the boosted trees.

**Why again.** Dense networks had 16 random trials (`search.py`), boosted trees then walked through
up to 30 configurations (`walk.py`). Here dense networks walk too. When this was written, three
dense networks were known to have 0.1167 on the book's folds, 0.1163 on fresh-6 to fresh-10 and
0.1158 on fresh-11 to fresh-15 (CatBoost after its walk: 0.1123, 0.1139, 0.1124), single networks of
16 layers 0.1169 on the book's folds, and a reader of these pages had found the average of different
networks better than more seeds of one.

**Choosing.** The walk begins at the best dense network of the search. It goes through `OPTIONS` in
their order, pass after pass; each tries the next value up and, if that is no better, the next one
down; the new value stays if the mean error of the partitions `SEARCH` (seed 0) and `FINAL_SEARCH`
(seed 1) is lower. A configuration that is worse than the best so far by more than `HOPELESS` on the
first partition is not run on the second. The walk ends when a whole pass has moved nothing, or
after `CONFIGURATIONS` configurations. Then an average is put together (after Caruana et al. 2004,
but nothing enters twice): it begins with the best configuration; of all that ran on both
partitions, the search's other chosen networks among them, the one that lowers the average's mean
error over both partitions most is added, until none lowers it or there are `MEMBERS`.

**Judging.** Once. On the book's folds, where 0.1130 had been set as the bar. On fresh-16 to
fresh-20, which nothing has read: the average of those networks against that of three CatBoost
models with the configuration of its walk, with the corrected interval of `search.py`: one
comparison, at 95%. The test rows are not scored again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from densenet_solutions.exercises.houses.recordings import chosen_networks, errors_of, evaluate
from densenet_solutions.exercises.houses.search import FINAL_SEARCH, SEARCH
from densenet_solutions.exercises.houses.walk import chosen_trees
from densenet_solutions.houses.encoders import HouseEncoder
from densenet_solutions.houses.models import Ensemble, Network
from densenet_solutions.houses.training import TrainingOptions
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.records.store import load_record

CONFIGURATIONS = 30
HOPELESS = 0.002
MEMBERS = 5
#: The bar that had been set for an error on the book's folds.
AIM = 0.113
CONFIRM = tuple(f"fresh-{i}" for i in range(16, 21))

#: Values of an option, or the factor from one to the next.
OPTIONS: Mapping[str, tuple[Any, ...] | float] = {
    "dropout": (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
    "input_dropout": (0.0, 0.1, 0.2, 0.35, 0.5, 0.65),
    "learning_rate": 1.5,
    "weight_decay": 4,
    "depth": 2,
    "growth_rate": 2,
    "epochs": 1.5,
    "n_bins": (0, 3, 6, 12),
    "norm": ("none", "layer"),
    "init": ("default", "he"),
    "activation": ("relu", "silu"),
}


def configuration_of(network: Network) -> dict[str, Any]:
    """What `network_of` takes."""
    options, training = dict(network.options), network.training
    (depth,) = options.pop("block_config")
    options.pop("connection")
    return {
        **options,
        "depth": depth,
        "learning_rate": training.learning_rate,
        "weight_decay": training.weight_decay,
        "epochs": training.epochs,
        "n_bins": getattr(network.encoder, "keywords", {}).get("n_bins", 0),
    }


def network_of(configuration: Mapping[str, Any]) -> Network:
    """The dense network of a configuration."""
    c = dict(configuration)
    training = TrainingOptions(
        **{name: c.pop(name) for name in ("learning_rate", "weight_decay", "epochs")}
    )
    encoder = partial(HouseEncoder, n_bins=c.pop("n_bins"))
    return Network(
        {"connection": "dense", "block_config": (c.pop("depth"),), **c}, training, encoder
    )


def neighbor(option: str, value: Any, up: bool) -> Any:
    """The next value of an option, or the same one where there is none.

    Examples:
        >>> neighbor("dropout", 0.3, up=True), neighbor("norm", "none", up=False)
        (0.4, 'none')
        >>> neighbor("depth", 1, up=False), neighbor("learning_rate", 0.001, up=False)
        (1, 0.000667)
    """
    values = OPTIONS[option]
    if isinstance(values, tuple):
        place = values.index(value) + (1 if up else -1)
        return values[min(max(place, 0), len(values) - 1)]
    moved = value * values if up else value / values
    return max(round(moved), 1) if isinstance(value, int) else float(f"{moved:.3g}")


def walk() -> dict[str, Any]:
    """Every configuration that was tried, in order, the last to stay, and the average's members."""
    tried: list[dict[str, Any]] = []
    errors: list[np.ndarray] = []  # of what ran on both partitions, (2 rows,)

    def run(configuration: dict[str, Any], best: Mapping[str, Any] | None) -> dict[str, Any]:
        for one in tried:
            if one["configuration"] == configuration:
                return one
        network = network_of(configuration)
        first = evaluate(network, SEARCH, (0,))
        found: dict[str, Any] = {
            "configuration": configuration,
            "first": round(first.rmse, 5),
        }
        if best is None or found["first"] <= best["first"] + HOPELESS:
            second = evaluate(network, FINAL_SEARCH, (1,))
            found |= {"rmse": round((first.rmse + second.rmse) / 2, 6), "place": len(errors)}
            errors.append(np.stack([first.errors, second.errors]))
        tried.append(found)
        return found

    start, *others = (configuration_of(network) for network in chosen_networks("dense"))
    best = run(start, None)
    moved = ended = True
    while moved and ended:
        moved = False
        for option, up in [(option, up) for option in OPTIONS for up in (True, False)]:
            value = best["configuration"][option]
            configuration = {**best["configuration"], option: neighbor(option, value, up)}
            if len(tried) == CONFIGURATIONS and configuration not in [
                one["configuration"] for one in tried
            ]:
                ended = False
                break
            new = run(configuration, best)
            if new.get("rmse", float("inf")) < best["rmse"]:
                best, moved = new, True
    walked = len(tried)
    for configuration in others:
        run(configuration, None)
    members = average_of(errors, best["place"], MEMBERS)
    chosen = [next(t for t in tried if t.get("place") == place) for place, _ in members]
    return {
        "ended": ended,
        "walked": walked,
        "best": best,
        "tried": tried,
        "members": [one["configuration"] for one in chosen],
        "average": [round(rmse, 6) for _, rmse in members],
    }


def average_of(errors: list[np.ndarray], first: int, most: int) -> list[tuple[int, float]]:
    """The members of an average, and its error after each: the one that helps most comes next.

    Args:
        errors: of each candidate, `(partitions, rows)`, in log price.
        first: the candidate to begin with.
        most: how many there may be.

    Examples:
        >>> e = [np.array([[0.1, 0.1]]), np.array([[0.2, 0.2]]), np.array([[-0.1, -0.1]])]
        >>> average_of(e, 0, 3)
        [(0, 0.1), (2, 0.0)]
    """

    def rmse(places: list[int]) -> float:
        mean = np.mean([errors[place] for place in places], axis=0)
        return float(np.sqrt((mean**2).mean(axis=1)).mean())

    places, found = [first], [(first, rmse([first]))]
    while len(places) < most:
        rest = [place for place in range(len(errors)) if place not in places]
        if not rest:
            break
        best = min(rest, key=lambda place: rmse([*places, place]))
        if rmse([*places, best]) >= found[-1][1]:
            break
        places.append(best)
        found.append((best, rmse(places)))
    return found


def _walk(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    return walk()


def walk_recipe() -> Recipe:
    """The walk of dense networks, and the average that it led to."""
    return Recipe("houses-dense-walk", {"dense": {}}, _walk, seed=0)


def best_ensemble() -> Ensemble:
    """The average that the recorded walk led to."""
    members = load_record("houses-dense-walk").cases["dense"]["members"]
    return Ensemble(tuple(network_of(configuration) for configuration in members))


def judge(
    case: Mapping[str, Any], ensemble: Callable[[], Ensemble], seeds: Sequence[int] = (0,)
) -> dict[str, Any]:
    """Errors of an average of dense networks, or of three CatBoost models, on a partition."""
    if case["model"] == "dense":
        result = evaluate(ensemble(), case["partition"], seeds)
    else:
        result = evaluate(chosen_trees("catboost"), case["partition"], (0, 1, 2))
    members = [round(rmse, 5) for rmse in result.member_rmse]
    return {**case, **errors_of(result), "member_rmse": members}


def against_catboost(
    name: str, partitions: Sequence[str], measure: Callable[[Mapping[str, Any], str], Any]
) -> Recipe:
    """An average and CatBoost on partitions that nothing has read; the average on the book's."""
    cases = {"dense book": {"model": "dense", "partition": "book"}} | {
        f"{model} {where}": {"model": model, "partition": where}
        for where in partitions
        for model in ("dense", "catboost")
    }
    return Recipe(name, cases, measure, seed=0, needs=_libraries)


def _judge(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    return judge(case, best_ensemble)


def judged_recipe() -> Recipe:
    """The walk's average, judged."""
    return against_catboost("houses-dense-judged", CONFIRM, _judge)


def _libraries(case: Mapping[str, Any]) -> tuple[str, ...]:
    return ("catboost",) if case.get("model") == "catboost" else ()
