"""The protocol of exercise 5, fixed before it was run, and the search among networks.

**Question.** What do dense connections bring on this table? Four ways to connect the layers of an
MLP are compared: plain, one linear shortcut from the table to the head, residual, dense.

**Choosing.** Each connection gets the same `TRIALS` random configurations: at each of `DEPTHS` a
Latin hypercube of `_SPACE`; the width follows from a drawn number of weights, so that a trial
spends the same in every connection. None is set by hand. All are scored on the partition `SEARCH`
with one seed. The best quarter, the finalists, is scored once more on `FINAL_SEARCH` with another
seed; the `MEMBERS` finalists with the lowest mean of both are chosen. All networks train for
`EPOCHS` epochs. Rivals are chosen likewise (`rivals.py`), one configuration each: a linear model
and a kernel in as many trials, boosted trees in fewer, but read at six numbers of rounds.

**Judging.** Once, on the partitions `FIRST` (fresh-6 to fresh-10), which no earlier version of this
page has read, and on the book's folds, which many versions have. The quantity is the mean over the
25 fresh folds of the RMSE of log price in the fold. (More partitions of the same rows would hardly
narrow an interval: the variance is multiplied by 1/25 + 1/4.)

- Connections: the mean error of single networks, averaged over the three chosen configurations;
  dense against plain, shortcut and residual.
- Rivals: the dense ensemble (the average of its three chosen networks) against each rival.

A difference has an interval after Nadeau and Bengio (2003), which respects that training sets of
folds overlap, at the confidence 1 - 0.05 / `COMPARISONS`, so that all hold together at 95%. A
difference is called shown when its interval excludes zero. Two models are called equivalent only
when it lies within ±`MARGIN` (a quarter of a percent of the price), and otherwise nothing is said.

**What had been looked at before.** Earlier versions of this page tuned networks by hand on these
same 1460 rows, read fresh-1 to fresh-5, the book's folds and the test rows, and changed the recipe
afterwards. The space below was drawn with that knowledge, and a later reading of the same rows
named the regions where plain networks train (no hidden dropout, He's initialisation).

**Added later: five more partitions.** A first draft of these rules judged on ten, fresh-6 to
fresh-15; it was cut to fit the time. Now there is time, so all that was judged on `FIRST` (but for
further seeds, and choices of trees that were replaced later) is judged on fresh-11 to fresh-15 too,
with the same configurations and seeds. When this was written all results on `FIRST` were known
(three connections with higher means than dense, no interval without zero; of the rivals only
RealMLP clearly worse), and on the other five those of the dense ensemble and of CatBoost. What is
reported is the mean over the 50 folds of `FRESH`, whatever it is. As each of the eleven comparisons
is then read a second time, each counts twice in the intervals (`walk.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from densenet_solutions.houses.encoders import HouseEncoder
from densenet_solutions.houses.models import Network
from densenet_solutions.houses.training import TrainingOptions
from densenet_solutions.models.mlp import matched_growth_rate
from densenet_solutions.records.store import load_record

CONNECTIONS = ("plain", "shortcut", "residual", "dense")
DEPTHS = (2, 4, 8, 16)
TRIALS = 16
EPOCHS = 60
#: Chosen configurations of a connection; the dense ones are the ensemble.
MEMBERS = 3
SEARCH, FINAL_SEARCH = "search-2", "search-3"
#: Where all is judged, and where it was judged first.
FRESH = tuple(f"fresh-{i}" for i in range(6, 16))
FIRST = FRESH[:5]
#: Three connections and five rivals against the dense network.
COMPARISONS = 8
MARGIN = 0.0025

#: Options and their values. Of a range (low, high, "log") each of as many equal parts as there are
#: trials gives one value, log-uniform.
_SPACE: Mapping[str, tuple[Any, ...]] = {
    "parameters": (40_000, 80_000),
    "dropout": (0.0, 0.05, 0.1, 0.3),
    "input_dropout": (0.1, 0.2, 0.35, 0.5),
    "init": ("default", "he"),
    "norm": ("none", "layer"),
    "activation": ("relu", "silu"),
    "learning_rate": (5e-4, 8e-3, "log"),
    "weight_decay": (0.003, 0.3, "log"),
    "n_bins": (0, 6),
}
#: Width of our features on a training fold, by bins; it only sets the networks' size.
FEATURES = {0: 225, 6: 564}


def configurations() -> list[dict[str, Any]]:
    """What is tried for every connection: a Latin hypercube at each depth.

    Examples:
        >>> [c["dropout"] for c in configurations() if c["depth"] == 16]
        [0.0, 0.05, 0.3, 0.1]
    """
    generator = np.random.default_rng(5)
    return [
        {"depth": depth, **drawn}
        for depth in DEPTHS
        for drawn in latin(_SPACE, TRIALS // len(DEPTHS), generator)
    ]


def latin(
    space: Mapping[str, tuple[Any, ...]], count: int, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """A Latin hypercube of `count` configurations, each value of an option equally often."""
    columns = {}
    for name, values in space.items():
        if values[-1] == "log":
            low, high = np.log(values[:2])
            shares = (np.arange(count) + generator.uniform(size=count)) / count
            values = tuple(float(f"{x:.3g}") for x in np.exp(low + shares * (high - low)))
        columns[name] = [values[i % len(values)] for i in generator.permutation(count)]
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def build(connection: str, configuration: Mapping[str, Any]) -> Network:
    """The network of a configuration."""
    c = dict(configuration)
    n_bins, parameters = c.pop("n_bins"), c.pop("parameters")
    training = TrainingOptions(
        epochs=EPOCHS, learning_rate=c.pop("learning_rate"), weight_decay=c.pop("weight_decay")
    )
    options = {"connection": connection, "block_config": (c.pop("depth"),), **c}
    options["growth_rate"] = matched_growth_rate(parameters, FEATURES[n_bins], **options)
    return Network(options, training, partial(HouseEncoder, n_bins=n_bins))


def finalists(record: str, family: str, count: int) -> list[dict[str, Any]]:
    """The trials of `family` with the lowest errors of a recorded search, best first."""
    cases = [c for c in load_record(record).cases.values() if c["family"] == family]
    return sorted(cases, key=lambda c: c["rmse"])[:count]


def chosen(record: str, family: str, count: int) -> list[dict[str, Any]]:
    """The configurations of the finalists with the lowest mean of both searches, best first."""
    cases = [c for c in load_record(record).cases.values() if c["family"] == family]
    best = sorted(cases, key=lambda c: c["rmse"] + c["rmse_before"])[:count]
    return [dict(c["configuration"]) for c in best]
