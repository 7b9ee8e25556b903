"""Private names of torch stand in one file; the few that do not are listed in its docstring."""

import re
from pathlib import Path

from densenet_solutions.measure import torch_private

PRIVATE = re.compile(r"\btorch(?:\.\w+)*\._\w+|\b_ATEN\._\w+|\._destroy\b|\._cdata\b")
ELSEWHERE = {
    "cuda_kernels.py": {
        "_ATEN._scaled_dot_product_flash_attention",
        "_ATEN._scaled_dot_product_efficient_attention",
        "_ATEN._scaled_dot_product_attention_math",
        "._destroy",
    },
    "step.py": {"torch._subclasses"},  # the name of a logger
}


def test_private_names_are_in_one_place() -> None:
    room = Path(torch_private.__file__).parent
    found = {
        path.name: set(PRIVATE.findall(path.read_text(encoding="utf-8")))
        for path in room.glob("*.py")
        if path.name != "torch_private.py"
    }
    assert {name: names for name, names in found.items() if names} == ELSEWHERE
