"""What the commands have in common: options, and how faults are told."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from densenet_solutions.cli.words import Fault

# Help must not wait for PyTorch, so the keys of `models.NETWORKS` and `memory.STRATEGIES`, by
# family, stand here once more; a test compares them.
IMAGENET = ("densenet121", "densenet169", "densenet201", "densenet264", "densenet161")
SMALL = (
    *("book-densenet", "book-resnet18"),
    *("cifar-densenet-40-12", "cifar-densenet-100-12", "cifar-densenet-100-24"),
    *("cifar-densenet-bc-100-12", "cifar-densenet-bc-250-24", "cifar-densenet-bc-190-40"),
)
NETWORKS = (*SMALL, *IMAGENET, "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
STRATEGIES = {
    "as it is": ("plain", "out_of_place", "in_place"),
    "recompute": (
        *("recompute_bottleneck_input", "recompute_layer", "recompute_block"),
        *("selective_checkpointing", "shared_storage", "in_place_normalization", "compiled"),
    ),
    "reorder or move": ("pool_first", "offload"),
    "fewer bits": ("bfloat16", "saved_in_8_bits", "quantized_inference"),
    "fewer connections": (
        *("random_connections", "logarithmic_connections", "harmonic_connections"),
        *("one_shot_aggregation", "gates"),
    ),
    "smaller layers": ("learned_groups", "channel_pruning", "low_rank"),
    "fewer images at once": ("gradient_accumulation",),
}


def names(**groups: Iterable[str]) -> str:
    """Paragraphs for help: what may be given for an argument."""
    return "\n\n".join(f"{what}: {', '.join(known)}." for what, known in groups.items())


def file_path(value: str | Path) -> Path:
    """A path of a file as it was typed; Typer's parser of options."""
    if str(value).endswith(("/", os.sep)):
        raise typer.BadParameter(f"the name of a file is needed, got {str(value)!r}")
    return folder_path(value)


def folder_path(value: str | Path) -> Path:
    """A path of a folder as it was typed; an empty one may be a variable that is not set."""
    if not str(value).strip():
        raise typer.BadParameter(f"a path is needed, got {str(value)!r}")
    return Path(value)


Network = Annotated[str, typer.Argument(metavar="NETWORK", help="By its name, see above.")]
Batch = Annotated[int, typer.Option(min=1, metavar="N", help="Images of a step.")]
Resolution = Annotated[
    int, typer.Option(min=1, metavar="N", help="Height and width of the images, in pixels.")
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="cpu or cuda (or cuda:1, …); by default cuda if there is one.",
    ),
]
Autocast = Annotated[
    Literal["bfloat16", "float16"] | None,
    typer.Option(
        metavar="TYPE",
        help="bfloat16 or float16: run the forward pass in 16 bits; parameters stay as they are. A "
        "CPU may take very long in float16.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file that --out names.")]
Repeats = Annotated[int, typer.Option(min=1, metavar="N", help="Timed rounds.")]


def chosen_device(device: str | None) -> str:
    """The device asked for, or CUDA if it is there; `ValueError` if there is no such device."""
    import torch

    from densenet_solutions import checks

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return str(checks.device(device))


def new_file(path: Path, *, force: bool) -> Path:
    """A file that can be written, and replaces another one only by request: asked before work."""
    from densenet_solutions import checks

    checks.output_file(path)
    if path.is_file() and not force:
        raise ValueError(f"{path} is there already: give another --out, or replace it by --force")
    return path


def resumption(file: Path | None, part: str) -> str:
    """What Ctrl-C has left of a command that writes `file` after every part, if it is given."""
    if file is None:
        return "; without --checkpoint nothing is kept"
    if file.is_file():
        return "; the same command resumes"
    return f"; no {part} was complete, so the same command starts anew"


@contextlib.contextmanager
def faults_in_words(*, left: Callable[[], str] = lambda: "", sizes: str = "") -> Iterator[None]:
    """One line instead of a traceback, and an exit code: 2 wrong usage, 1 failure, 130 Ctrl-C.

    Args:
        left: what is said after Ctrl-C of what there is.
        sizes: options that decide how much memory is needed.
    """
    try:
        yield
    except FileNotFoundError as error:
        missing = f"there is no file {error.filename}" if error.filename else str(error)
        raise Fault(missing) from error
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        if _is_out_of_memory(error):
            typer.echo(
                "Error: there is not enough memory" + f": lower {sizes}" * bool(sizes), err=True
            )
            raise typer.Exit(1) from error
        if isinstance(error, RuntimeError):
            raise
        raise Fault(str(error)) from error
    except (OSError, ImportError, FloatingPointError) as error:
        words = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            words = f"{error.filename or 'standard output'}: {error.strerror}"
        words = words.replace("a learning rate below", "a --learning-rate below")
        typer.echo(f"Error: {words}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo(f"stopped{left()}", err=True)
        raise typer.Exit(130) from None


def _is_out_of_memory(error: Exception) -> bool:
    """Whether it is Python's or PyTorch's refusal of memory, or of a size that no memory has."""
    said = ("DefaultCPUAllocator", "Storage size calculation overflowed", "Overflow when unpacking")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in said)
    )


def is_first_process() -> bool:
    """Whether this process speaks: under `torchrun` one of them does."""
    return os.environ.get("RANK", "0") == "0"
