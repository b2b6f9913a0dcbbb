"""A table of the user's own: its columns become filters."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from inprocess import Answer
from pageserver import Client, make_library, serving
from pictures import picture

from image_search import ImageSearchEngine, UsageError
from image_search.library.salvage import find_damage, salvage
from image_search.search.where import parsed
from image_search.testing import quick_engine

TABLE = """path,price,brand,bought,Note on it
circle/0.png,5,Acme,2024-05-01,
circle/1.png,19.5,"O'Hara",2024-06-30,fragile
square/0.png,20,acme,2023-01-01,"a ""very"" long one"
square/1.png,,Beta,,
nowhere.png,1,Acme,2020-01-01,
"""


@pytest.fixture
def annotated(engine: ImageSearchEngine, photos: Path) -> ImageSearchEngine:
    engine.index(photos)
    (photos.parent / "facts.csv").write_text(TABLE)
    engine.annotate(photos.parent / "facts.csv")
    return engine


def found(engine: ImageSearchEngine, where: str) -> list[str]:
    """The files that pass."""
    return sorted(os.path.join(*Path(match.path).parts[-2:]) for match in engine.search("id:1", 100, where=where))


C0, C1, S0, S1 = "circle/0.png", "circle/1.png", "square/0.png", "square/1.png"


@pytest.mark.parametrize(
    ("where", "files"),
    [
        ("price < 20", [C0, C1]),
        ("price <= 20 and not brand = Acme", [C1, S0]),
        ("price = 5 or price = 2e1", [C0, S0]),
        ("price != 5", [C1, S0]),  # what is missing is not different
        ("price is not missing", [C0, C1, S0]),
        ("price is missing and brand is not missing", [S1]),
        ("brand in ('Acme', Beta)", [C0, S1]),
        ("brand like 'A*'", [C0, S0]),
        ("brand not like 'a*'", [C1, S1]),
        ("brand = 'O''Hara'", [C1]),
        ("bought >= '2024'", [C0, C1]),
        ("bought = '2024-06'", [C1]),
        ("bought < '2024-05-01' or (price > 19 and price < 20)", [C1, S0]),
        ('"Note on it" = \'a "very" long one\'', [S0]),
        ("PRICE is missing", None),
        ("brand = 'x'", []),
        ("not (price < 20 or price >= 20) and brand = Beta", [S1]),
    ],
)
def test_what_passes(annotated: ImageSearchEngine, where: str, files: list[str] | None) -> None:
    if files is None:
        with pytest.raises(UsageError, match="Did you mean price"):
            found(annotated, where)
    else:
        assert found(annotated, where) == files


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "column's name is missing (at its end)"),
        ("price", "after 'price' comes"),
        ("price <", "a value is missing"),
        ("price < 20 brand = 1", "before 'brand = 1'"),
        ("price < 'a", "the ' is not closed"),
        ("(price < 20", "')' is missing"),
        ("price < 20; drop", "';' means nothing here"),
        ("and price < 2", "column's name is missing"),
        ("price is 5", "missing or not missing"),
        ("brand in ()", "a value is missing"),
        ("(" * 60 + "a = 1" + ")" * 60, "too deep"),
        ("not " * 60 + "a = 1", "too deep"),
        ("a = 1 or " * 500, "2000 characters"),
        ("__import__('os')", "after '__import__' comes"),
        ("20 < price", "column's name is missing"),
    ],
)
def test_what_is_no_condition_is_said_with_its_place(where: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(where)
    assert said in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("where", ["price < cheap", "price like '1*'", "bought > 'yesterday'"])
def test_a_value_of_another_kind_is_said(annotated: ImageSearchEngine, where: str) -> None:
    with pytest.raises(UsageError):
        found(annotated, where)


def test_kinds_counts_and_rows_about_nothing(annotated: ImageSearchEngine, photos: Path) -> None:
    came = annotated.annotate(photos.parent / "facts.csv")
    assert (came.rows, came.images, came.unmatched) == (5, 4, ["nowhere.png"])
    assert came.columns == [("Note on it", "text", 2), ("bought", "date", 3), ("brand", "text", 4), ("price", "number", 3)]
    assert annotated.annotate().columns == came.columns


def test_a_new_table_changes_its_own_columns_and_rows_alone(annotated: ImageSearchEngine, photos: Path) -> None:
    (table := photos / "new.csv").write_text("file;price;shelf\ncircle/0.png;7;a\ncircle/1.png;;\n")
    annotated.annotate(table)
    assert found(annotated, "price = 7") == [C0] and found(annotated, "price = 20") == [S0] and found(annotated, "shelf = a") == [C0]
    assert found(annotated, "price is missing and brand like '*Hara'") == [C1]
    annotated.annotate(drop="shelf")
    with pytest.raises(UsageError, match="no column"):
        annotated.annotate(drop="shelf")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("circle/0.png,n/a,", "price holds numbers, and 'n/a' in row 1 is none; nothing was changed"),
        ("circle/0.png,7,May", "bought holds dates, and 'May' in row 1 is none"),
    ],
)
def test_a_value_of_another_kind_than_its_column_changes_nothing(annotated: ImageSearchEngine, tmp_path: Path, row: str, said: str) -> None:
    before = annotated.annotate().columns
    (table := tmp_path / "new.csv").write_text(f"path,brand,price,bought\n{row.replace(',', ',Other,', 1)}\n")
    with pytest.raises(UsageError, match=said):
        annotated.annotate(table)
    assert annotated.annotate().columns == before and found(annotated, "brand = Other") == [], "not even the column that fits"
    annotated.annotate(table, drop=["price", "bought"])  # the way out; an open search follows
    kinds = {name: kind for name, kind, _ in annotated.annotate().columns}
    assert "text" in (kinds["price"], kinds.get("bought")) and found(annotated, "brand = Other") == [C0]


def test_values_of_no_image_and_missing_ones_change_no_kind(annotated: ImageSearchEngine, tmp_path: Path) -> None:
    (table := tmp_path / "new.csv").write_text("path,price,brand\nnowhere.png,n/a,\ncircle/0.png,,8\n")
    annotated.annotate(table)
    assert (
        found(annotated, "price > 0") == [C1, S0] and found(annotated, "brand = '8'") == [C0] and found(annotated, "brand = Beta") == [S1]
    )


def test_a_column_of_text_that_is_given_anew_as_a_whole_may_become_numbers(annotated: ImageSearchEngine, tmp_path: Path) -> None:
    for values, kind in (("a", "text"), ("8", "number")):
        (table := tmp_path / "new.csv").write_text(f"path,size\ncircle/0.png,{values}\n")
        assert ("size", kind, 1) in annotated.annotate(table).columns


def test_a_table_about_no_image_changes_nothing(annotated: ImageSearchEngine, tmp_path: Path) -> None:
    before = annotated.annotate().columns
    (table := tmp_path / "new.csv").write_text("path,price,brand\nnowhere.png,n/a,2\n")
    came = annotated.annotate(table)
    assert (came.rows, came.images, came.columns) == (1, 0, before)
    with pytest.raises(UsageError, match="no row of the table is about an image of the library; nothing was changed"):
        annotated.annotate(table, drop="price")
    assert annotated.annotate().columns == before and found(annotated, "price > 0") == [C0, C1, S0]


def test_it_is_kept_by_content(annotated: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    """Through moves, copies, being pruned and coming back, a rebuild and a salvage."""
    (photos / "circle" / "0.png").rename(photos / "stripes" / "moved.png")
    shutil.copy(photos / "stripes" / "moved.png", photos / "square" / "copy.png")
    (photos / "circle" / "1.png").rename(tmp_path / "kept.png")
    annotated.index(photos, prune=True)
    assert found(annotated, "price < 20") == ["square/copy.png", "stripes/moved.png"]
    (tmp_path / "kept.png").rename(photos / "circle" / "back.png")
    annotated.index(photos)
    annotated.rebuild()
    assert len(found(annotated, "price < 20")) == 3 and annotated.verify() == []
    salvage(annotated.library, tmp_path / "saved")
    with quick_engine(tmp_path / "saved") as saved:
        assert len(found(saved, "price < 20")) == 3 and saved.annotate().columns == annotated.annotate().columns
        assert find_damage(saved._open().reader.catalog) == []


def test_by_hash_and_by_parquet(annotated: ImageSearchEngine, tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    annotated.export(tmp_path / "vectors.parquet", progress=False)
    hashes = parquet.read_table(tmp_path / "vectors.parquet").column("sha256").to_pylist()
    parquet.write_table(
        arrow.table({"sha256": hashes, "rank": range(len(hashes)), "vector": [[1.0]] * len(hashes)}), tmp_path / "r.parquet"
    )
    came = annotated.annotate(tmp_path / "r.parquet")
    assert (came.images, came.unmatched) == (12, []) and len(found(annotated, "rank < 3")) == 3


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "which image"),
        ("path,a,a\nx,1,2\n", "name of its own"),
        ("path,a\nx,1,2\n", "line 2 has 3 values"),
        ('path,a\n"x,1\n', "cannot be read"),
        ("path,\nx,1\n", "name of its own"),
    ],
)
def test_what_is_no_table_changes_nothing(annotated: ImageSearchEngine, tmp_path: Path, table: str, said: str) -> None:
    before = annotated.annotate().columns
    (tmp_path / "bad.csv").write_text(table)
    with pytest.raises(UsageError, match=said):
        annotated.annotate(tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_bytes("path,größe\n".encode("latin-1"))
    with pytest.raises(UsageError, match="UTF-8"):
        annotated.annotate(tmp_path / "bad.csv")
    (tmp_path / "bad.parquet").write_text(table)
    with pytest.raises(UsageError):
        annotated.annotate(tmp_path / "bad.parquet")
    assert annotated.annotate().columns == before


def test_an_empty_table_of_headings(annotated: ImageSearchEngine, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("path,colour\n")
    assert annotated.annotate(tmp_path / "none.csv").rows == 0
    with pytest.raises(UsageError, match="no column"):
        found(annotated, "colour = red")


def test_the_program_annotates(run: Callable[..., Answer], photos: Path, tmp_path: Path) -> None:
    run("index", photos, "--store", "exact")
    assert run("annotate").out == "no columns\n"
    (tmp_path / "facts.csv").write_text(TABLE)
    answer = run("annotate", tmp_path / "facts.csv")
    assert answer.code == 0 and answer.err == "5 rows about 4 images\n1 row is about no image of the library: nowhere.png\n"
    assert answer.out.splitlines()[0].split() == ["name", "kind", "images"] and "price" in answer.out
    (tmp_path / "nothing.csv").write_text("path,price\nnowhere.png,n/a\n")
    assert run("annotate", tmp_path / "nothing.csv").err.startswith("1 row about 0 images; nothing was changed\n")
    (tmp_path / "wrong.csv").write_text("path,price\ncircle/0.png,n/a\n")
    wrong = run("annotate", tmp_path / "wrong.csv")
    assert wrong.code == 2 and "'n/a' in row 1" in wrong.err and "--drop price" in wrong.err
    assert json.loads(run("annotate", "--json").out)["columns"][-1] == ["price", "number", 3]
    picked = json.loads(run("search", photos / "circle" / "0.png", "--where", "price < 6", "--json").out)
    assert [match["identical"] for match in picked["matches"]] == [True]
    wrong = run("search", photos / "circle" / "0.png", "--where", "prize < 6")
    assert wrong.code == 2 and "Did you mean price?" in wrong.err
    each = run("search", "--each", photos / "circle", "--where", "price < 6", "--csv", "-n", 5)
    assert each.out.count("circle/0.png") == 5 and run("annotate", "--drop", "price").code == 0 and "price" not in run("annotate").out


def test_the_pages_interface_knows_it(tmp_path: Path) -> None:
    library = make_library(tmp_path, 2)
    (tmp_path / "facts.csv").write_text("path,price\nRed/0.jpg,5\nRed/1.jpg,50\n")
    with serving(library) as server:
        client = Client(server)
        assert client.post("/api/facets", {}).json["columns"] == []
        server.engine.annotate(tmp_path / "facts.csv")
        assert client.post("/api/facets", {}).json["columns"] == [{"name": "price", "kind": "number"}]
        first = client.post("/api/search", {"queries": [{"id": "id:1"}], "where": "price < 20"}).json["matches"]
        assert [match["path"].rsplit("/", 2)[1:] for match in first] == [["Red", "0.jpg"]]
        assert client.get(f"/api/images/{first[0]['id']}").json["annotations"] == {"price": "5"}
        wrong = client.post("/api/search", {"queries": [{"id": "id:1"}], "where": "price <"})
        assert wrong.status == 400 and "a value is missing" in wrong.body.decode()


def test_a_picture_that_is_not_in_the_table(annotated: ImageSearchEngine, tmp_path: Path) -> None:
    picture("circle", 99).save(tmp_path / "query.png")
    assert [match.rank for match in annotated.search(tmp_path / "query.png", 2, where="price > 0")] == [1, 2]
