"""The built site, and a browser to look at it with."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from filelock import FileLock

ROOT = Path(__file__).parents[2]
MACHINE = Path(__file__).parent / "machine"
LESSONS = (
    "1-average-pooling", "2-fewer-parameters", "3-1-memory", "3-2-saving-memory", "4-table-1",
    "5-house-prices",
)  # fmt: skip
#: Options of axe: without the places at which each rule is kept it takes half the time. What it loads
#: once more is for rules about sound and video, of which the site has none, and for orientation.
VIOLATIONS = {"resultTypes": ["violations"], "preload": False}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, offline: dict[str, str]) -> Path:
    """The folder of the built site: `DENSENET_SOLUTIONS_SITE`, or built here, strictly.

    Of several processes (`-n 2`) one builds it, and the others wait for it.
    """
    if given := os.environ.get("DENSENET_SOLUTIONS_SITE"):
        folder = (ROOT / given).resolve()
        assert (folder / "index.html").exists(), f"DENSENET_SOLUTIONS_SITE={given} holds no site"
        return folder
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, built = shared / "site", shared / "site-is-built"
    with FileLock(shared / "site.lock"):
        if not built.exists():
            done = subprocess.run(
                [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=500,
                env=offline,
            )
            assert done.returncode == 0, done.stderr
            built.touch()
    return folder


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for a TMPDIR: a socket's path has at most about a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="ds-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def another_machine() -> Callable[..., dict[str, str]]:
    """Makes the environment in which a Python and its children hear `machine/sitecustomize.py`."""

    def environment(**variables: str) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(MACHINE), os.environ.get("PYTHONPATH"))))
        return os.environ | {"PYTHONPATH": path} | variables

    return environment


@pytest.fixture(scope="session")
def offline(another_machine: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Environment of a Python that can reach nothing but its own machine."""
    return another_machine(DENSENET_SOLUTIONS_OFFLINE="1")


@pytest.fixture(scope="session")
def pages(site: Path) -> list[str]:
    """Addresses of all pages, relative to the site, as `exercises/4-table-1/`."""
    files = sorted(site.rglob("index.html"))
    return [path.relative_to(site).as_posix().removesuffix("index.html") for path in files]


@pytest.fixture(scope="session")
def soups(site: Path, pages: list[str]) -> dict[str, BeautifulSoup]:
    return {
        page: BeautifulSoup((site / page / "index.html").read_text("utf-8"), "html.parser")
        for page in pages
    }


@pytest.fixture(scope="session")
def server(site: Path) -> Iterator[str]:
    """The site on a free port of this machine."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium. Without one the test is skipped, or fails where a browser is required."""
    from playwright.sync_api import Error, sync_playwright

    path = os.environ.get("DENSENET_SOLUTIONS_BROWSER")
    path = path or next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
        except Error as error:
            if os.environ.get("DENSENET_SOLUTIONS_REQUIRE_BROWSER"):
                pytest.fail(f"a browser is required and none starts: {error}")
            pytest.skip("no Chromium; install one or run `playwright install chromium`")
        yield running
        running.close()
