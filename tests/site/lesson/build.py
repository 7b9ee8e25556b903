"""Build one page that shows every part of a lesson, dressed as the site: `build.py FOLDER`.

It is no page of the site. The browser tests look at it, and so may whoever changes a part:
`python tests/site/lesson/build.py /tmp/lesson && xdg-open /tmp/lesson/site/index.html`.
"""

import re
import shutil
import sys
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config

from densenet_solutions.exercises.memory import lines
from densenet_solutions.exercises.memory.batch_frames import batch_frames
from densenet_solutions.exercises.network import layer, widening
from densenet_solutions.exercises.network.buffer import buffer_frames
from densenet_solutions.exercises.network.ledger import ledger
from densenet_solutions.exercises.network.ledger_pictures import ledger_frames
from densenet_solutions.exercises.network.trap import trap_frames
from densenet_solutions.exercises.network.window import window
from densenet_solutions.records import load_record
from densenet_solutions.site.figures import Plot, new_figure
from densenet_solutions.site.frames import figure

ROOT = Path(__file__).parents[3]


def outputs() -> dict[str, str]:
    """What cells of a page would put out, by the name that the Markdown has for it."""
    plain, again, shared = (ledger(name) for name in ("plain", "recompute_layer", "shared_storage"))
    return {
        "ledger": ledger_frames([plain, shared]).html,
        "ledger-three": ledger_frames([plain, again, shared]).html,
        "widening": widening.widening().html,
        "sum": widening.sum_or_concatenation().html,
        "bottleneck": layer.bottleneck().html,
        "window": window().html,
        "trap": trap_frames().html,
        "buffer": buffer_frames().html,
        "operations": layer.operations().html,
        "rows": batch_frames(
            lines.read(load_record("memory-lines").cases),
            {("DenseNet", 224, 1): 98 * 2**20, ("ResNet-18", 224, 1): 8566 * 2**20},
            gpu="H100",
        ).html,
        "ledger-bottleneck": ledger_frames(
            [ledger("plain", bn_size=4), ledger("recompute_bottleneck_input", bn_size=4)]
        ).html,
        "plot": figure(_plot(7.0), _plot(3.6), caption="The square grows faster.").html,
        "ledger-small": ledger_frames([plain, shared], small=True).html,
    }


def _plot(width: float) -> Plot:
    fig, ax = new_figure(width, 2.5)
    ax.plot(range(5), [x * x for x in range(5)])
    ax.set_xlabel("side")
    ax.set_ylabel("area")
    return Plot(fig)


def main(folder: Path) -> None:
    """Write `folder/site/index.html` with its assets."""
    docs = folder / "docs"
    shutil.rmtree(docs, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "assets", docs / "assets")
    shutil.copy(Path(__file__).with_name("page.md"), docs / "index.md")
    config = load_config(
        str(ROOT / "mkdocs.yml"), docs_dir=str(docs), site_dir=str(folder / "site"),
        plugins=[], hooks=[], nav=[{"Lesson": "index.md"}], strict=True,
    )  # fmt: skip
    build(config)
    page = folder / "site" / "index.html"
    made = outputs()
    html = re.sub(r"<!--out:([\w-]+)-->", lambda m: made[m[1]], page.read_text(encoding="utf-8"))
    page.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: build.py FOLDER")
    main(Path(sys.argv[1]))
    print(Path(sys.argv[1]) / "site" / "index.html")
