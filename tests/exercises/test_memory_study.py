"""The study behind exercise 3.1, against closed forms."""

from densenet_solutions.exercises.memory import study
from densenet_solutions.exercises.memory.reported import Compared


def test_what_the_books_blocks_keep_is_what_their_layers_read() -> None:
    """Four blocks of four layers, k = 32; transitions halve the channels and the sides."""
    batch, side = 2, 64
    kept = study.kept_in_blocks(batch, side)
    read, channels, pixels = 0, 64, (side // 4) ** 2
    for _ in range(4):
        read += sum(channels + 32 * layer for layer in range(4)) * pixels
        channels, pixels = (channels + 4 * 32) // 2, pixels // 4
    assert kept["normalised"] == 4 * batch * read
    # The first layer reads the block's input itself, the others a copy.
    assert kept["input"] + kept["concatenation"] == 4 * batch * read


def test_parts_are_all_that_is_kept_and_nothing_is_counted_twice() -> None:
    """The blocks by themselves keep as much as in the network, but for statistics of norms."""
    batch, side = 2, 64
    parts = study.kept_by_part(batch, side)
    in_blocks = sum(study.kept_in_blocks(batch, side).values())
    assert 0 <= parts["DenseNet"]["blocks"] - in_blocks < 0.01 * in_blocks
    for name, step in study.book_steps(batch, side).items():
        kept = sum(parts[name].values())
        assert 0.97 * step.most("activations") < kept <= step.most("activations")


def test_both_stems_keep_the_same() -> None:
    """64 channels: before and after the norm at half the side, then at a quarter the pool's."""
    batch, side = 2, 64
    stems = [kept["stem"] for kept in study.kept_by_part(batch, side).values()]
    maps = 4 * batch * 64 * (side // 2) ** 2
    indices = 8 * batch * 64 * (side // 4) ** 2  # of the maxima, 64 bits each
    assert stems == [2 * maps + indices + 8 * 64] * 2  # 8: mean and deviation of a channel


def test_a_published_gigabyte_that_is_binary_has_1024_mebibytes() -> None:
    def row(said: str, megabytes: float) -> Compared:
        return Compared(
            where="", link="", setting="", said=said, megabytes=megabytes,
            tensor_bytes=0, reserved_bytes=0,
        )  # fmt: skip

    assert study.published_bytes(row("1,668 MB", 1668)) == 1668 * 2**20
    assert study.published_bytes(row("about 5.0 GB", 5000)) == 5 * 2**30


def test_parameters_are_quadratic_in_depth() -> None:
    counted = study.parameters_by_depth()
    a, b, c, d = counted.values()
    assert c - 2 * b + a == d - 2 * c + b
    # Each of 24 layers more has 24 · 32 channels more to read than 24 layers before: a weight for
    # each of its bottleneck's 4k channels, and 2 of its normalisation. The transition reads 24 · 32
    # more from row to row, and writes half of what it reads.
    layers, k = 24, 32
    assert c - 2 * b + a == layers**2 * k * (4 * k + 2) + (layers * k) ** 2


def test_a_kept_graph_is_there_twice_if_the_loss_is_kept_too() -> None:
    plain, kept_loss = (
        study.two_steps(retain_graph=False, keep_loss=keep) for keep in (False, True)
    )
    nameless, both = (study.two_steps(retain_graph=True, keep_loss=keep) for keep in (False, True))
    one = study.book_steps(128, 224)["DenseNet"].peak_bytes
    assert plain == one
    assert abs(kept_loss - one) < 1024
    assert nameless < 1.5 * one < 1.9 * one < both
