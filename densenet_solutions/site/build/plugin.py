"""The MkDocs plugin `densenet_solutions`: stands after mkdocs-jupyter and takes its pages over."""

from __future__ import annotations

import logging
import os
import posixpath
import re
import signal
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import nbformat
from mkdocs.config import config_options
from mkdocs.config.base import Config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import ConfigurationError, PluginError
from mkdocs.plugins import BasePlugin, CombinedEvent, event_priority
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import AnchorLink
from mkdocs.utils.templates import TemplateContext
from nbformat import NotebookNode

from densenet_solutions.files import write_text_atomically
from densenet_solutions.site.build.cache import PageCache, page_key, surroundings
from densenet_solutions.site.build.compose import Document, build_note, compose
from densenet_solutions.site.build.downloads import notebook
from densenet_solutions.site.build.mathml import plain_math, render_math
from densenet_solutions.site.build.run import PageError, read_page, run, stop_all
from densenet_solutions.site.build.serve import Serving

log = logging.getLogger("mkdocs.plugins.densenet_solutions")

#: More pages side by side gain little: they wait for memory, and the longest page for nobody.
MOST_WORKERS = 4

#: What `without_search_noise` marks.
_EXCLUDED = re.compile(r"<(figure|div|details) data-search-exclude.*?</\1>", re.DOTALL)


class SiteConfig(Config):
    """Options in `mkdocs.yml`."""

    cache_dir = config_options.Type(str, default=".cache/pages")
    timeout = config_options.Type(int, default=300)  # seconds a page; for slow machines
    colab = config_options.Optional(config_options.Type(str))


class SitePlugin(BasePlugin[SiteConfig]):
    """Executes pages side by side, and lets MkDocs render them as Markdown."""

    _serving: Serving | None = None
    _pool: ThreadPoolExecutor | None = None
    _whole: str | None = None

    def on_startup(self, *, command: Literal["build", "gh-deploy", "serve"], dirty: bool) -> None:
        self._serving = Serving() if command == "serve" else None
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all is cleared away

    def on_shutdown(self) -> None:
        self._close()
        stop_all()  # after an interruption pages still run, and their threads would be waited for

    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        names = list(config.plugins)
        if "mkdocs-jupyter" not in names or names.index("mkdocs-jupyter") > names.index(
            "densenet_solutions"
        ):
            raise ConfigurationError("plugins: list mkdocs-jupyter before densenet_solutions")
        if config.repo_url and not config.edit_uri:
            config.edit_uri = "edit/main/docs/"
        if self._serving is not None:
            self._serving.check(*config.dev_addr)
        self._notebooks: Any = config.plugins["mkdocs-jupyter"]
        self._cache = PageCache(Path(config.config_file_path).parent / self.config.cache_dir)
        self._documents: dict[str, Document] = {}
        return config

    @event_priority(-100)  # mkdocs-jupyter has marked its files
    def on_files(self, files: Files, *, config: MkDocsConfig) -> Files:
        around = surroundings()
        executed = [file for file in files if self._notebooks.should_include(file)]
        workers = max(1, min(MOST_WORKERS, os.cpu_count() or 1, len(executed)))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="page")
        self._files = files
        self._sources: dict[str, str] = {}
        self._runs: dict[str, Future[NotebookNode]] = {}
        for file in executed:
            name = file.src_uri
            text = self._sources[name] = Path(str(file.abs_src_path)).read_text(encoding="utf-8")
            self._runs[name] = self._pool.submit(self._run, name, text, page_key(text, around))
            files.remove(file)  # to the end: MkDocs renders the others while these run
            files.append(file)
        return files

    def _run(self, name: str, text: str, key: str) -> NotebookNode:
        if (cached := self._cache.load(name, key)) is not None:
            return cached
        log.info("Running %s", name)
        done = run(read_page(text), name, timeout=self.config.timeout)
        log.info("Ran %s in %.1f s", name, done.metadata["densenet"]["seconds"])
        self._cache.store(name, key, done)
        return done

    @event_priority(-100)
    def on_pre_page(self, page: Page, *, config: MkDocsConfig, files: Files) -> Page:
        if page.file.src_uri in self._runs:
            # mkdocs-jupyter has hung its own `render` on the page: back to MkDocs' own.
            page.__dict__.pop("render", None)
        return page

    def on_page_read_source(self, *, page: Page, config: MkDocsConfig) -> str | None:
        name = page.file.src_uri
        if name not in self._runs:
            return None
        try:
            document = compose(self._runs[name].result(), name)
        except (PageError, ValueError) as error:
            raise PluginError(str(error)) from error
        self._documents[name] = document
        return document.markdown

    def on_page_markdown(
        self, markdown: str, *, page: Page, config: MkDocsConfig, files: Files
    ) -> None:
        if page.parent is None:  # a side bar would have no other page
            page.meta["hide"] = ["navigation", "toc"] if page.is_homepage else ["navigation"]

    def on_page_content(self, html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
        name = page.file.src_uri
        try:
            html = render_math(html, name)
            for link in _walk(page.toc.items):
                link.title = plain_math(link.title)
            if page.title and "\\(" in page.title:
                page.title = plain_math(page.title)
        except ValueError as error:
            raise PluginError(str(error)) from error
        if name in self._documents:
            html = self._documents[name].fill(html)
            html = self._with_note(html, page)
        return without_search_noise(html)

    def _with_note(self, html: str, page: Page) -> str:
        name = page.file.src_uri
        stem = Path(name).stem
        colab = (
            f"{self.config.colab.rstrip('/')}/{page.url}{stem}.ipynb" if self.config.colab else None
        )
        note = build_note(self._runs[name].result(), stem, colab)
        head, end, rest = html.partition("</h1>")
        return html + note if page.is_homepage or not end else head + end + note + rest

    @event_priority(100)
    def _before_search(self, context: TemplateContext, *, page: Page, **rest: Any) -> None:
        """The search plugin parses what it then leaves out; half of a page is drawings and code."""
        self._whole = page.content
        page.content = _EXCLUDED.sub("", page.content or "")

    @event_priority(-100)
    def _after_search(self, context: TemplateContext, *, page: Page, **rest: Any) -> None:
        page.content = self._whole

    on_page_context = CombinedEvent(_before_search, _after_search)

    def on_post_page(self, output: str, *, page: Page, config: MkDocsConfig) -> str:
        name = page.file.src_uri
        if name in self._runs:
            file = Path(str(page.file.abs_dest_path)).with_name(Path(name).name)
            made = notebook(
                self._runs[name].result(),
                config.repo_url,
                lambda link: self._address(name, link, config),
            )
            write_text_atomically(file.with_suffix(".ipynb"), nbformat.writes(made))
            write_text_atomically(file, self._sources[name])
        return polish(output)

    def _address(self, page: str, link: str, config: MkDocsConfig) -> str | None:
        """Where a page's link to another leads from a notebook: the site, or the online file."""
        path, mark, anchor = link.partition("#")
        source = posixpath.normpath(posixpath.join("/", posixpath.dirname(page), path))[1:]
        file = self._files.get_file_from_path(source)
        if config.site_url and file is not None:
            return f"{config.site_url.rstrip('/')}/{file.url.removeprefix('./')}{mark}{anchor}"
        return f"{config.repo_url.rstrip('/')}/blob/main/docs/{source}" if config.repo_url else None

    def on_post_build(self, *, config: MkDocsConfig) -> None:
        self._close()

    def on_build_error(self, *, error: Exception) -> None:
        self._close()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def without_search_noise(html: str) -> str:
    """Keep drawings, displayed formulas and the reference's source code out of the search index."""
    for opening in (
        "<figure ",
        '<div class="ds-math"',
        '<details class="mkdocstrings-source"',
    ):
        tag, space, rest = opening.partition(" ")
        html = html.replace(opening, f"{tag} data-search-exclude{space}{rest}")
    return html


def polish(html: str) -> str:
    """Name the theme's nameless dialog and lists of pages, for screen readers."""
    html = html.replace(
        'data-md-component="search" role="dialog">',
        'data-md-component="search" role="dialog" aria-label="Search">',
    )
    return re.sub(
        r'(<nav class="md-nav" data-md-level="\d+" )aria-labelledby="__nav_([\d_]+)_label"',
        r'\1aria-label="Pages of part \2"',
        html,
    )


def _walk(links: Iterable[AnchorLink]) -> Iterable[AnchorLink]:
    for link in links:
        yield link
        yield from _walk(link.children)
