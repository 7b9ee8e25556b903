"""What the home page shows at a glance, from records, so that it is there at once."""

from __future__ import annotations

from densenet_solutions.records.store import Record
from densenet_solutions.studies.parameters import PublishedModel


def published(record: Record) -> tuple[PublishedModel, ...]:
    """The networks of the record `memory-fair`, named as the paper writes them.

    >>> from densenet_solutions.records import load_record
    >>> published(load_record("memory-fair"))[0].name
    'DenseNet-121'
    """
    rows = []
    for case in record.cases.values():
        family = "densenet" if case["name"].startswith("densenet") else "resnet"
        title = {"densenet": "DenseNet", "resnet": "ResNet"}[family]
        rows.append(
            PublishedModel(
                name=f"{title}-{case['name'].removeprefix(family)}",
                family=family,
                parameters=case["parameters"],
                multiply_adds=case["multiply_adds"],
                top1_error=case["top1_error"],
            )
        )
    return tuple(rows)
