"""The study behind exercise 3.1, against closed forms."""

from densenet_solutions.exercises.memory import study


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


def test_nothing_that_is_kept_is_counted_twice() -> None:
    """Blocks, stem and transitions leave a little for the end of the network, and not less."""
    batch, side = 2, 64
    kept = sum(study.kept_in_blocks(batch, side).values())
    outside = sum(study.kept_outside(batch, side).values())
    everything = study.book_steps(batch, side)["DenseNet"].most("activations")
    features = 4 * batch * 248 * (side // 32) ** 2  # the last map, 248 channels
    assert 2 * features < everything - kept - outside < 3 * features + 20_000
