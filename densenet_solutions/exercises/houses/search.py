"""Equal tuning budgets for every family of models.

Each family gets a default and random draws from a space of its own. All are scored on one `search`
partition with one seed. The best of each family is then compared on the book's folds and on fresh
partitions, which no choice has seen. The same features are on offer to all.

The networks' recipe (how much dropout, how many epochs, bins) was found by hand on two `search`
partitions. These trials count: the rivals get as many draws more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from densenet_solutions import checks
from densenet_solutions.houses.encoders import HouseEncoder
from densenet_solutions.houses.models import Estimator, Model, Network
from densenet_solutions.houses.training import TrainingOptions
from densenet_solutions.models.mlp import matched_growth_rate
from densenet_solutions.records.store import load_record

#: Configurations that a network draws, trials by hand beforehand, and what a rival draws.
NETWORK_BUDGET, TRIALS_BY_HAND = 12, 32
RIVAL_BUDGET = NETWORK_BUDGET + TRIALS_BY_HAND
EPOCHS = 120
SEEDS = 3
SEARCH = "search-1"
FRESH = tuple(f"fresh-{i}" for i in range(1, 6))
NETWORKS = ("dense", "residual", "plain")
#: What every network spends, so that connections are compared at equal size.
PARAMETERS = 80_000
#: Width of our features on a training fold; it only sets the networks' size.
FEATURES = 564

Draw = Callable[[np.random.Generator], Any]


def _one_of(*values: Any) -> Draw:
    return lambda generator: values[generator.integers(len(values))]


def _between(low: float, high: float) -> Draw:
    """Log-uniform."""
    return lambda generator: float(f"{np.exp(generator.uniform(np.log(low), np.log(high))):.3g}")


_NETWORK_SPACE: Mapping[str, Draw] = {
    "depth": _one_of(2, 3, 4, 6),
    "norm": _one_of("none", "none", "layer"),
    "dropout": _one_of(0.2, 0.3, 0.4),
    "input_dropout": _one_of(0.2, 0.3, 0.4, 0.5),
    "activation": _one_of("silu", "relu", "gelu"),
    "learning_rate": _between(2e-3, 8e-3),
    "weight_decay": _between(0.003, 0.3),
    "n_bins": _one_of(4, 6, 8),
}
NETWORK_DEFAULT: Mapping[str, Any] = {
    "depth": 4,
    "norm": "none",
    "dropout": 0.3,
    "input_dropout": 0.3,
    "activation": "silu",
    "learning_rate": 4e-3,
    "weight_decay": 0.01,
    "n_bins": 6,
}
_BINS = _one_of(0, 6)

#: family → (default configuration, space of the random draws).
SPACES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Draw]]] = {
    **dict.fromkeys(NETWORKS, (NETWORK_DEFAULT, _NETWORK_SPACE)),
    "ridge": ({"alpha": 30.0, "n_bins": 0}, {"alpha": _between(3, 300), "n_bins": _BINS}),
    "svr": (
        {"C": 1.0, "gamma": 5e-4, "epsilon": 0.05, "n_bins": 0},
        {"C": _between(0.3, 10), "gamma": _between(1e-4, 2e-3), "epsilon": _between(0.01, 0.1),
         "n_bins": _BINS},
    ),
    "hist-boosting": (
        {"max_iter": 200, "learning_rate": 0.07, "max_leaf_nodes": 8, "l2_regularization": 1.0,
         "max_features": 0.3, "min_samples_leaf": 10, "n_bins": 0},
        {"max_iter": _one_of(150, 250), "learning_rate": _between(0.05, 0.12),
         "max_leaf_nodes": _one_of(4, 8, 16), "l2_regularization": _between(0.1, 30),
         "max_features": _one_of(0.1, 0.3, 0.6), "min_samples_leaf": _one_of(5, 10, 20),
         "n_bins": _BINS},
    ),
    "lightgbm": (
        {"n_estimators": 700, "learning_rate": 0.03, "num_leaves": 8, "reg_lambda": 1.0,
         "colsample_bytree": 0.2, "subsample": 0.7, "min_child_samples": 8,
         "n_bins": 0},
        {"n_estimators": _one_of(500, 800), "learning_rate": _between(0.02, 0.06),
         "num_leaves": _one_of(5, 8, 16), "reg_lambda": _between(0.1, 30),
         "colsample_bytree": _one_of(0.1, 0.2, 0.4), "subsample": _one_of(0.5, 0.7, 0.9),
         "min_child_samples": _one_of(4, 8, 16), "n_bins": _BINS},
    ),
    "xgboost": (
        {"n_estimators": 700, "learning_rate": 0.03, "max_depth": 4, "reg_lambda": 1.0,
         "colsample_bytree": 0.2, "subsample": 0.6, "min_child_weight": 2, "n_bins": 0},
        {"n_estimators": _one_of(500, 800), "learning_rate": _between(0.02, 0.06),
         "max_depth": _one_of(3, 4, 5), "reg_lambda": _between(0.1, 30),
         "colsample_bytree": _one_of(0.1, 0.2, 0.4), "subsample": _one_of(0.5, 0.7, 0.9),
         "min_child_weight": _one_of(1, 2, 4), "n_bins": _BINS},
    ),
    "catboost": (
        {"iterations": 800, "learning_rate": 0.05, "depth": 5, "l2_leaf_reg": 3.0, "rsm": 0.2,
         "n_bins": 0},
        {"iterations": _one_of(600, 900), "learning_rate": _between(0.03, 0.08),
         "depth": _one_of(4, 5, 6), "l2_leaf_reg": _between(1, 10), "rsm": _one_of(0.1, 0.2, 0.4),
         "n_bins": _BINS},
    ),
}  # fmt: skip


RIVALS = tuple(family for family in SPACES if family not in NETWORKS)


def configurations(family: str) -> list[dict[str, Any]]:
    """What is tried for a family: its default, then draws; the same for all three networks.

    Examples:
        >>> [len(configurations(family)) for family in ("dense", "plain", "ridge")]
        [12, 12, 44]
    """
    default, space = SPACES[family]
    generator = np.random.default_rng(5)
    draws = (NETWORK_BUDGET if family in NETWORKS else RIVAL_BUDGET) - 1
    return [
        dict(default),
        *({name: draw(generator) for name, draw in space.items()} for _ in range(draws)),
    ]


def build(family: str, configuration: Mapping[str, Any]) -> Model:
    """The model of a configuration.

    LightGBM, XGBoost and CatBoost come with the extra `rivals`, and are missed when it is fitted.
    """
    c = dict(configuration)
    encoder = partial(HouseEncoder, n_bins=c.pop("n_bins"))
    if family not in NETWORKS:
        return Estimator(partial(_regressor, family, tuple(sorted(c.items()))), encoder)
    training = TrainingOptions(
        epochs=c.pop("epochs", EPOCHS),
        learning_rate=c.pop("learning_rate"),
        weight_decay=c.pop("weight_decay"),
    )
    options = {"connection": family, "block_config": (c.pop("depth"),), **c}
    if "growth_rate" not in options:
        options["growth_rate"] = matched_growth_rate(PARAMETERS, FEATURES, **options)
    return Network(options, training, encoder)


def _regressor(family: str, items: tuple[tuple[str, Any], ...], seed: int) -> Any:
    c = dict(items)
    if family == "ridge":
        from sklearn.linear_model import Ridge

        return Ridge(**c)
    if family == "svr":
        from sklearn.svm import SVR

        return SVR(**c)
    if family == "hist-boosting":
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(**c, random_state=seed)
    if family == "lightgbm":
        lightgbm = checks.library("lightgbm", extra="rivals")
        return lightgbm.LGBMRegressor(
            **c, subsample_freq=1, random_state=seed, n_jobs=1, verbose=-1
        )
    if family == "xgboost":
        xgboost = checks.library("xgboost", extra="rivals")
        return xgboost.XGBRegressor(**c, random_state=seed, n_jobs=1)
    catboost = checks.library("catboost", extra="rivals")
    return catboost.CatBoostRegressor(
        **c, random_seed=seed, thread_count=1, verbose=False, allow_writing_files=False
    )


def best_configuration(family: str) -> dict[str, Any]:
    """The configuration of `family` with the lowest error in the recorded search.

    Where no search is recorded, it is the family's default, so that all are equally untuned.
    """
    try:
        record = load_record("houses-search" if family in NETWORKS else "houses-search-rivals")
    except FileNotFoundError:
        return dict(SPACES[family][0])
    cases = [c for c in record.cases.values() if c["family"] == family]
    return dict(min(cases, key=lambda c: c["rmse"])["configuration"])
