"""What a reader's code changes for the whole program, so that nothing else is judged by it.

A reader's files and functions run with the settings that they have left, networks run with the
check's own, and afterwards all is as it was.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch


@dataclass(frozen=True)
class Settings:
    """PyTorch's, for all that runs."""

    grad: bool = True
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    threads: int = 0
    deterministic: tuple[bool, bool] = (False, False)  # whether at all, and whether it only warns
    autocast: bool = False
    anomalies: bool = False

    @classmethod
    def now(cls) -> Settings:
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        return cls(
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            str(torch.get_default_device()),
            torch.get_num_threads(),
            (torch.are_deterministic_algorithms_enabled(), warn_only),
            torch.is_autocast_enabled("cpu"),
            torch.is_anomaly_enabled(),
        )

    def apply(self) -> None:
        now = Settings.now()
        torch.set_grad_enabled(self.grad)
        torch.set_default_dtype(self.dtype)
        if now.device != self.device:
            torch.set_default_device(None if self.device == "cpu" else self.device)
        if now.threads != self.threads:
            torch.set_num_threads(self.threads)
        if now.deterministic != self.deterministic:
            on, warn_only = self.deterministic
            torch.use_deterministic_algorithms(on, warn_only=warn_only)
        torch.set_autocast_enabled("cpu", self.autocast)
        if now.anomalies != self.anomalies:
            torch.autograd.set_detect_anomaly(self.anomalies)

    def changes(self, before: Settings) -> str:
        """What breaks other code and was not so before, as it is written; empty: nothing."""
        said = (
            (self.grad, before.grad, f"torch.set_grad_enabled({self.grad})"),
            (self.dtype, before.dtype, f"torch.set_default_dtype({self.dtype})"),
            (self.device, before.device, f'torch.set_default_device("{self.device}")'),
        )
        return ", ".join(text for now, was, text in said if now != was)


#: What the reader's code has left, and what was before it ran.
_LEFT: ContextVar[tuple[Settings, Settings] | None] = ContextVar("left", default=None)


class SettingsError(Exception):
    """A network has changed a setting while it ran."""


def left_changed() -> str:
    """What the reader's file or function has left changed, as it is written."""
    left = _LEFT.get()
    return "" if left is None else left[0].changes(left[1])


@contextlib.contextmanager
def _kept() -> Iterator[Settings]:
    before = Settings.now()
    try:
        with warnings.catch_warnings():
            yield before
    finally:
        before.apply()


@contextlib.contextmanager
def as_left() -> Iterator[None]:
    """The reader's file or function runs within, with the settings that the last one has left."""
    with _kept():
        left = _LEFT.get()
        if left is not None:
            left[0].apply()
        try:
            yield
        finally:
            if left is not None:
                _LEFT.set((Settings.now(), left[1]))


@contextlib.contextmanager
def a_network_runs(dtype: torch.dtype = torch.float64) -> Iterator[None]:
    """Tensors that it makes are float64, like the copy that runs, or of another type.

    Raises:
        SettingsError: it has changed a setting that breaks what runs after it.
    """
    with _kept() as before:
        ours = replace(before, dtype=dtype)
        ours.apply()
        try:
            yield
        except Exception as cause:
            if changed := Settings.now().changes(ours):
                raise SettingsError(changed) from cause
            raise
        if changed := Settings.now().changes(ours):
            raise SettingsError(changed)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A check runs within: no warnings, PyTorch's usual settings, random numbers of its own."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with _kept() as before, torch.random.fork_rng(devices=[]):
        token = _LEFT.set((before, before)) if _LEFT.get() is None else None
        Settings(threads=before.threads).apply()
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            if token is not None:
                _LEFT.reset(token)


@contextlib.contextmanager
def program_kept() -> Iterator[None]:
    """One file of a reader's is looked at within; what it changes for the program ends with it."""
    path, folder, limit = list(sys.path), Path.cwd(), sys.getrecursionlimit()
    streams, names = (sys.stdout, sys.stderr), dict(vars(builtins))
    now = Settings.now()
    token = _LEFT.set((now, now))
    try:
        with _kept():
            yield
    finally:
        _LEFT.reset(token)
        sys.path[:] = path
        os.chdir(folder)
        sys.setrecursionlimit(limit)
        sys.stdout, sys.stderr = streams
        for name in vars(builtins).keys() - names.keys():
            delattr(builtins, name)
        vars(builtins).update(names)
