"""Boosted trees of exercise 5, chosen by a walk that no edge stops.

**Why again.** In a first search (`rivals.py`, and one like it for scikit-learn's histogram
boosting) the chosen trees lay at edges of their spaces, so that rivals may have been held back.
Their errors on the fresh folds, in the mean 0.1138 to 0.1181 where three dense networks have
0.1163, were known when this was written.

**Choosing.** A walk begins at `START`, near what the first search had found. It goes through the
options of a family in their order, pass after pass. Each tries the next value up and, if that is no
better, the next one down (`STEPS`); the new value stays if the mean error of the partitions
`SEARCH` (seed 0) and `FINAL_SEARCH` (seed 1) is lower. Rounds are the best of `ROUNDS` for that
mean. A configuration that is worse than the best so far by more than `HOPELESS` on the first
partition is not run on the second. The walk ends when a whole pass has moved nothing, or after
`CONFIGURATIONS` configurations. What remains at an end is a limit of the thing itself (`LIMITS`,
such as all columns, or one house in a leaf), or of time: 3,000 rounds. CatBoost may read categories
in its own way (`native`).

**Judging.** Once, on the partitions of all others (`FIRST`) and on the book's folds, one model with
seed 0. With the eight rivals and three connections compared before there are 15 comparisons;
every interval has the confidence 1 - 0.05 / 15, so that all hold together at 95%. The test rows are
not scored again.

**Confirming.** The kind of trees with the lowest mean on `FIRST` meets the dense ensemble once more
on `CONFIRM` (fresh-11 to fresh-15), which nothing has read: the average of three seeds against the
average of three networks. That is one comparison, at 95%.

**Added later.** `CONFIGURATIONS` stopped the walk of histogram boosting, at the slowest rate that
it had tried. So that nothing is held back by a rule about time, it goes on from there (`FURTHER`),
by the same steps, until a whole pass has moved nothing or after `MOST` configurations, and where
it ends takes the place of where it was stopped. When this was written its errors on `FIRST` were
known. All are then judged on the ten partitions that `search.py` names, with intervals for 26
comparisons: those 15, and once more each of the eleven that are reported. (It ended where it had
been stopped: the nine further steps led nowhere. So it is the same model on all ten.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from densenet_solutions.exercises.houses.boosting import HISTOGRAM, ROUNDS, TREES, BoostedTrees
from densenet_solutions.exercises.houses.recordings import chosen_networks, errors_of, evaluate
from densenet_solutions.exercises.houses.search import FINAL_SEARCH, FIRST, FRESH, SEARCH
from densenet_solutions.houses.models import Ensemble
from densenet_solutions.records.recorder import Recipe
from densenet_solutions.records.store import load_record

FAMILIES = (*TREES, HISTOGRAM)
CONFIRM = tuple(f"fresh-{i}" for i in range(11, 16))
#: On the partitions of `FIRST`: three connections, five rivals of the first plan, three that were
#: added, and these four. On all partitions three connections and eight rivals more.
COMPARED_FIRST = 15
COMPARED = COMPARED_FIRST + 11
CONFIGURATIONS = 30
#: The walk that goes on, under the name of its case, and after how many configurations it stops.
FURTHER = "histogram, further"
MOST = 120
#: family → the recorded case in which its walk came to its end.
ENDS = {**{family: family for family in FAMILIES}, HISTOGRAM: FURTHER}
HOPELESS = 0.002

START: Mapping[str, Mapping[str, Any]] = {
    "lightgbm": {
        "learning_rate": 0.02, "num_leaves": 16, "colsample_bytree": 0.2, "subsample": 0.4,
        "min_child_samples": 2, "reg_lambda": 0.4,
    },
    "xgboost": {
        "learning_rate": 0.02, "max_depth": 5, "colsample_bytree": 0.2, "subsample": 0.4,
        "min_child_weight": 1, "reg_lambda": 0.4,
    },
    "catboost": {
        "learning_rate": 0.03, "depth": 6, "rsm": 0.2, "native": False, "l2_leaf_reg": 2.0,
    },
    "histogram": {
        "learning_rate": 0.04, "max_leaf_nodes": 8, "max_features": 0.05, "min_samples_leaf": 2,
        "l2_regularization": 4.0,
    },
}  # fmt: skip
#: Factor from a value to the next one; of a depth, the summand.
STEPS: Mapping[str, float] = {
    "learning_rate": 1.5,
    "num_leaves": 2, "max_leaf_nodes": 2, "max_depth": 1, "depth": 1,
    "colsample_bytree": 2, "rsm": 2, "max_features": 2,
    "subsample": 1.4,
    "min_child_samples": 2, "min_child_weight": 2, "min_samples_leaf": 2,
    "reg_lambda": 4, "l2_leaf_reg": 4, "l2_regularization": 4,
}  # fmt: skip
#: Lowest and highest value of what has one.
LIMITS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("num_leaves", "max_leaf_nodes"), (2, 1024)),
    **dict.fromkeys(("max_depth", "depth"), (1, 16)),
    **dict.fromkeys(("colsample_bytree", "rsm", "max_features", "subsample"), (0.001, 1)),
    **dict.fromkeys(("min_child_samples", "min_child_weight", "min_samples_leaf"), (1, 1024)),
}


def neighbor(option: str, value: Any, up: bool) -> Any:
    """The next value of an option, or the same one at its limit.

    Examples:
        >>> neighbor("rsm", 0.8, up=True), neighbor("depth", 6, up=False)
        (1.0, 5)
        >>> neighbor("native", False, up=True), neighbor("native", False, up=False)
        (True, False)
    """
    if option == "native":
        return up
    step = STEPS[option]
    if option in ("max_depth", "depth"):
        moved = value + step if up else value - step
    else:
        moved = value * step if up else value / step
    low, high = LIMITS.get(option, (0.0, float("inf")))
    moved = min(max(moved, low), high)
    return round(moved) if isinstance(value, int) else float(f"{moved:.3g}")


def walk(
    family: str, most: int = CONFIGURATIONS, begun: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The walk of a family: every configuration that was tried, in order, and the last to stay.

    Args:
        family: one of `FAMILIES`.
        most: configurations after which the walk stops.
        begun: what an earlier walk with fewer had tried; it is not run again.
    """
    tried = list(begun)

    def error(configuration: dict[str, Any], best: Mapping[str, Any] | None) -> dict[str, Any]:
        """What was found for a configuration, from the walk so far if it is there."""
        for one in tried:
            if one["configuration"] == configuration:
                return one
        model = BoostedTrees(family, configuration)
        first = model.errors_by_rounds(SEARCH, 0)
        found: dict[str, Any] = {"configuration": configuration, "first": min(first.values())}
        if best is None or found["first"] <= best["first"] + HOPELESS:
            second = model.errors_by_rounds(FINAL_SEARCH, 1)
            mean = {n: round((first[n] + second[n]) / 2, 6) for n in ROUNDS}
            rounds = min(mean, key=lambda n: mean[n])
            found |= {"rmse": mean[rounds], "rounds": rounds}
        tried.append(found)
        return found

    best = error(dict(START[family]), None)
    moved = True
    while moved:
        moved = False
        for option in START[family]:
            for up in (True, False):
                value = best["configuration"][option]
                configuration = {**best["configuration"], option: neighbor(option, value, up)}
                if configuration == best["configuration"]:
                    continue
                if len(tried) == most:
                    return {"family": family, "ended": False, "best": best, "tried": tried}
                new = error(configuration, best)
                if new.get("rmse", float("inf")) < best["rmse"]:
                    best, moved = new, True
                    break
    return {"family": family, "ended": True, "best": best, "tried": tried}


def _walk(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    if "further" not in case:
        return walk(case["family"])
    return walk(HISTOGRAM, MOST, load_record("houses-walk").cases[HISTOGRAM]["tried"])


def walk_recipe() -> Recipe:
    """The walk of each kind of boosted trees; and that of histogram boosting to its end."""
    cases: dict[str, dict[str, Any]] = {family: {"family": family} for family in FAMILIES}
    cases[FURTHER] = {"family": HISTOGRAM, "further": True}
    return Recipe("houses-walk", cases, _walk, seed=0, needs=_libraries)


def chosen_trees(family: str) -> BoostedTrees:
    """The model at which the recorded walk ended."""
    best = load_record("houses-walk").cases[ENDS[family]]["best"]
    return BoostedTrees(family, {**best["configuration"], "rounds": best["rounds"]})


def _judge(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {**case, **errors_of(evaluate(chosen_trees(case["family"]), case["partition"]))}


def judged_recipe() -> Recipe:
    """The chosen trees on the book's folds and on the fresh partitions."""
    cases = {
        f"{family} {where}": {"family": family, "partition": where}
        for family in FAMILIES
        for where in ("book", *FRESH)
    }
    return Recipe("houses-judged-trees", cases, _judge, seed=0, needs=_libraries)


def best_family() -> str:
    """The kind of trees with the lowest mean error on the fresh folds that were read first."""
    cases = load_record("houses-judged-trees").cases
    return min(FAMILIES, key=lambda f: sum(sum(cases[f"{f} {where}"]["folds"]) for where in FIRST))


def _confirm(case: Mapping[str, Any], device: str) -> dict[str, Any]:
    if case["model"] == "dense":
        return {
            **case,
            **errors_of(evaluate(Ensemble(chosen_networks("dense")), case["partition"])),
        }
    family = best_family()
    result = evaluate(chosen_trees(family), case["partition"], (0, 1, 2))
    return {**case, "family": family, **errors_of(result)}


def confirmed_recipe() -> Recipe:
    """The dense ensemble and the best trees on partitions that nothing has read."""
    cases = {
        f"{model} {where}": {"model": model, "partition": where}
        for where in CONFIRM
        for model in ("dense", "trees")
    }
    return Recipe("houses-confirmed", cases, _confirm, seed=0, needs=_libraries)


def _libraries(case: Mapping[str, Any]) -> tuple[str, ...]:
    """What a case needs besides the package's own dependencies; no page does."""
    if case.get("model") == "trees":
        return TREES  # one of them, or none: the record of the judgement says which
    return (case["family"],) if case.get("family") in TREES else ()
