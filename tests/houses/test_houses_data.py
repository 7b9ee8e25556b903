"""The two files, byte for byte; the download against a local server; submissions."""

import gzip
import hashlib
import http.server
import threading
from functools import partial

import numpy as np
import pandas as pd
import pytest

from densenet_solutions import files
from densenet_solutions.houses import ames, data, load_houses, score_submission, write_submission
from densenet_solutions.houses.ames import competition_files, hidden_prices


def test_rebuilt_files_have_the_books_sha1(tmp_path):
    for content, (name, sha1) in zip(competition_files(), data.FILES.items(), strict=True):
        (tmp_path / name).write_bytes(content)
        assert hashlib.sha1((tmp_path / name).read_bytes()).hexdigest() == sha1


def test_frames_are_the_competitions():
    train, test = load_houses()
    assert train.shape == (1460, 81)
    assert test.shape == (1459, 80)
    assert list(train["Id"]) == list(range(1, 1461))
    assert list(test["Id"]) == list(range(1461, 2920))
    assert "None" in set(train["MasVnrType"].dropna())
    assert train.loc[0, "SalePrice"] == 208500
    assert hidden_prices().index.equals(pd.Index(test["Id"], name="Id"))


def test_an_unknown_pickle_is_not_opened(monkeypatch):
    monkeypatch.setattr(ames, "AMES_SHA256", "0" * 64)
    monkeypatch.setattr(pd, "read_pickle", lambda *a, **k: pytest.fail("opened"))
    with pytest.raises(ValueError, match="SHA-256 0000"):
        ames._read_ames()


@pytest.mark.parametrize("there", [True, False], ids=["there", "gone"])
def test_the_books_files_are_fetched_once(tmp_path, monkeypatch, there):
    """How downloads fail, are tried again and kept is tested with `files.fetch`."""
    served = tmp_path / "served"
    served.mkdir()
    if there:
        for name, content in zip(data.FILES, competition_files(), strict=True):
            (served / name).write_bytes(content)
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(files, "_ATTEMPTS", 1)
    handler = partial(QuietHandler, directory=served)
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(data, "BOOK_URL", f"http://127.0.0.1:{server.server_port}/")
        if there:
            fetched = load_houses("book")
        else:
            with pytest.raises(ConnectionError, match=r"1 attempts: .*; load_houses\('ames'\)"):
                load_houses("book")
        server.shutdown()
    if there:
        for ours, theirs in zip(load_houses("ames"), fetched, strict=True):
            pd.testing.assert_frame_equal(ours, theirs)
        assert load_houses("book").train.equals(fetched.train)  # no server any more: the cache


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def good() -> tuple[list[int], list[float]]:
    truth = hidden_prices()
    return list(truth.index), [float(p) for p in truth]


def test_nobody_changes_what_submissions_are_scored_by():
    prices = hidden_prices()
    prices.iloc[0] = 1
    assert hidden_prices().iloc[0] > 1000


def test_score_of_known_errors(tmp_path):
    ids, prices = good()
    assert score_submission(write_submission(tmp_path / "a.csv", ids, prices)) == 0
    off = [p * np.exp(0.1) for p in prices]
    order = np.random.default_rng(0).permutation(len(ids))
    shuffled = write_submission(
        tmp_path / "b.csv", [ids[i] for i in order], [off[i] for i in order]
    )
    assert score_submission(shuffled) == pytest.approx(0.1)


BAD = {
    "columns": (lambda rows: ["Id,Price", *rows[1:]], "columns"),
    "missing Id": (lambda rows: rows[:-1], "first missing one is 2919"),
    "double Id": (lambda rows: [*rows, rows[1]], "line 1461.*1461 again"),
    "unknown Id": (
        lambda rows: [*rows, "1,100"],
        "line 1461: an Id is .* from 1461 to 2919 .*training houses.*, got '1'",
    ),
    "zero": (lambda rows: [rows[0], "1461,0", *rows[2:]], "line 2: a price is a positive"),
    "negative": (lambda rows: [rows[0], "1461,-5", *rows[2:]], "line 2: a price is a positive"),
    "nan": (lambda rows: [rows[0], "1461,nan", *rows[2:]], "line 2: a price is a positive"),
    "no price": (
        lambda rows: [rows[0], "1461,", *rows[2:]],
        "line 2: a price is a positive .* got ''",
    ),
    "underscore": (lambda rows: [rows[0], "1461,1_000", *rows[2:]], "line 2: .* got '1_000'"),
    "Arabic": (lambda rows: [rows[0], "1461,١٢٣", *rows[2:]], "line 2: .* got '١٢٣'"),
    "Id with underscore": (lambda rows: [rows[0], "14_61,1", *rows[2:]], "line 2: an Id is"),
    "long Id": (lambda rows: [rows[0], "9" * 9999 + ",1", *rows[2:]], "line 2: an Id is"),
    "huge cell": (lambda rows: [rows[0], "1461," + "1" * 200_000], "s.csv is not a CSV .* limit"),
    "logarithms": (lambda rows: [rows[0], *(f"{i},12.0" for i in good()[0])], r"take np\.exp"),
    "text Id": (lambda rows: [rows[0], "x,1", *rows[2:]], "line 2: an Id is an integer"),
    "three cells": (lambda rows: [rows[0], "1461,1,1", *rows[2:]], "line 2: a row has two"),
    "empty": (lambda rows: [], "columns"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_submissions_are_refused(case, tmp_path):
    change, message = BAD[case]
    rows = ["Id,SalePrice", *(f"{i},{p}" for i, p in zip(*good(), strict=True))]
    path = tmp_path / "s.csv"
    path.write_text("\n".join(change(rows)) + "\n")
    with pytest.raises(ValueError, match=message):
        score_submission(path)


KINDS = {
    "utf-16.csv": (lambda text: text.encode("utf-16"), "is text in UTF-16: save it in UTF-8"),
    "latin.csv": (lambda text: b"Id,SalePrice\n1461,\xa31", "latin.csv is not a CSV file in UTF-8"),
    "s.csv.gz": (lambda text: gzip.compress(text.encode()), "is packed with gzip: unpack it"),
    "s.xlsx": (lambda text: b"PK\x03\x04", "is a zip archive or a spreadsheet"),
    "page.csv": (lambda text: b"<!DOCTYPE html>", "is a page of the web"),
    "empty.csv": (lambda text: b"", "the file is empty"),
    "semicolons.csv": (lambda text: text.replace(",", ";").encode(), "separated by commas"),
    "index.csv": (lambda text: b",Id,SalePrice\n0,1461,1\n", "index=False"),
    "bare.csv": (lambda text: text.partition("\n")[2].encode(), "first line names the columns"),
}


@pytest.mark.parametrize("name", KINDS)
def test_files_of_another_kind_are_explained(name, tmp_path):
    change, message = KINDS[name]
    (tmp_path / name).write_bytes(change("Id,SalePrice\n1461,1\n"))
    with pytest.raises(ValueError, match=message):
        score_submission(tmp_path / name)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        score_submission(tmp_path)
    with pytest.raises(FileNotFoundError):
        score_submission(tmp_path / "nowhere.csv")


def test_writing_refuses_what_scoring_would(tmp_path):
    ids, prices = good()
    for wrong, message in (
        ((ids[:-1], prices[:-1]), "needs all 1459 test Ids"),
        ((ids, [-1.0, *prices[1:]]), "positive number"),
        ((ids, prices[1:]), "1459 Ids and 1458 prices"),
        (([1, *ids[1:]], prices), "from 1461 to 2919 .*, got '1'"),
        ((ids, np.log(prices)), "in dollars, and its highest is 13.*np.exp"),
    ):
        with pytest.raises(ValueError, match=message):
            write_submission(tmp_path / "s.csv", *wrong)
    assert not list(tmp_path.iterdir())
