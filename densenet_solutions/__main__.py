"""`python -m densenet_solutions`, so that `torchrun -m densenet_solutions train ...` works."""

from densenet_solutions.cli import app

app()
