"""The MkDocs plugin `densenet_solutions`: stands after mkdocs-jupyter and takes its pages over."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from mkdocs.config import config_options
from mkdocs.config.base import Config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import ConfigurationError, PluginError
from mkdocs.plugins import BasePlugin, CombinedEvent, event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import AnchorLink
from mkdocs.utils.templates import TemplateContext
from nbformat import NotebookNode

from densenet_solutions.files import write_text_atomically
from densenet_solutions.site.build.cache import PageCache, environment, package_digest, page_key
from densenet_solutions.site.build.compose import Document, build_note, compose
from densenet_solutions.site.build.dark import dark_without_script
from densenet_solutions.site.build.downloads import write_notebook
from densenet_solutions.site.build.mathml import plain_math, render_math
from densenet_solutions.site.build.run import PageError, read_page, run, stop_all

log = logging.getLogger("mkdocs.plugins.densenet_solutions")

#: What `without_search_noise` marks.
_EXCLUDED = re.compile(r"<(figure|div|details) data-search-exclude.*?</\1>", re.DOTALL)

#: The style sheet of dark mode without JavaScript.
DARK = "assets/dark.css"


class SiteConfig(Config):
    """Options in `mkdocs.yml`."""

    cache_dir = config_options.Type(str, default=".cache/pages")
    timeout = config_options.Type(int, default=300)  # seconds a page; for slow machines
    colab = config_options.Optional(config_options.Type(str))


class SitePlugin(BasePlugin[SiteConfig]):
    """Executes pages side by side, and lets MkDocs render them as Markdown."""

    _whole: str | None = None

    def on_startup(self, *, command: Literal["build", "gh-deploy", "serve"], dirty: bool) -> None:
        """Having this makes MkDocs keep the plugin from build to build while it serves."""

    def on_shutdown(self) -> None:
        stop_all()  # after an interruption pages still run, and their threads would be waited for
        self._close()

    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        names = list(config.plugins)
        if "mkdocs-jupyter" not in names or names.index("mkdocs-jupyter") > names.index(
            "densenet_solutions"
        ):
            raise ConfigurationError("plugins: list mkdocs-jupyter before densenet_solutions")
        if config.repo_url and not config.edit_uri:
            config.edit_uri = "edit/main/docs/"
        config.extra_css.append(DARK)
        self._notebooks: Any = config.plugins["mkdocs-jupyter"]
        directory = Path(config.config_file_path).parent / self.config.cache_dir
        self._cache = PageCache(directory)
        self._pool: ThreadPoolExecutor | None = None
        self._documents: dict[str, Document] = {}
        return config

    @event_priority(-100)  # mkdocs-jupyter has marked its files
    def on_files(self, files: Files, *, config: MkDocsConfig) -> Files:
        package, env = package_digest(), environment()
        self._sources: dict[str, str] = {}
        self._runs: dict[str, Future[NotebookNode]] = {}
        executed = [file for file in files if self._notebooks.should_include(file)]
        keys = {}
        for file in executed:
            text = Path(str(file.abs_src_path)).read_text(encoding="utf-8")
            self._sources[file.src_uri] = text
            keys[file.src_uri] = page_key(text.encode(), package, env)
        workers = max(1, min(4, os.cpu_count() or 1, len(executed)))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="page")
        for file in executed:
            name = file.src_uri
            self._runs[name] = self._pool.submit(self._run, name, self._sources[name], keys[name])
            files.remove(file)  # to the end: MkDocs renders the others while these run
            files.append(file)
        sheets = [Path(str(file.abs_src_path)) for file in files if file.src_uri.endswith(".css")]
        theme = [
            sheet
            for directory in config.theme.dirs
            for sheet in sorted(Path(directory).glob("assets/stylesheets/*.css"))
        ]
        dark = dark_without_script(sheet.read_text(encoding="utf-8") for sheet in (*theme, *sheets))
        files.append(File.generated(config, DARK, content=dark))
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
        if page.is_homepage:
            page.meta["hide"] = ["navigation", "toc"]

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
        colab = f"{self.config.colab.rstrip('/')}/{name[:-3]}.ipynb" if self.config.colab else None
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
        output = polish(output)
        if name in self._sources:
            folder = Path(str(page.file.abs_dest_path)).parent
            folder.mkdir(parents=True, exist_ok=True)
            text, stem = self._sources[name], Path(name).stem
            write_notebook(text, str(folder / f"{stem}.ipynb"), config.repo_url)
            write_text_atomically(folder / f"{stem}.py", text)
        return output

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
