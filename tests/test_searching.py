"""What a search answers, and for what it can be asked."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import fill, picture
from PIL import Image

import image_search.embedding
import image_search.engine
import image_search.library.vectors
import image_search.search.search
import image_search.testing
from image_search import (
    DiskFullError,
    ImageSearchEngine,
    ImageSearchError,
    LibraryNotFoundError,
    Match,
    ModelMismatchError,
    QueryError,
    Region,
    StoreError,
    UsageError,
)
from image_search.library.catalog import Catalog
from image_search.present.table import matches_table
from image_search.search.blend import Part, blend
from image_search.search.closeness import percentile, sample
from image_search.search.decoders import Decoders
from image_search.search.search import How
from image_search.testing import InProcessPool, quick_engine
from image_search.types import Embedder


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> ImageSearchEngine:
    """60 pictures: enough for closeness."""
    folder = tmp_path_factory.mktemp("big")
    fill(folder / "photos", 20)
    with quick_engine(folder / "library") as engine:
        engine.index(folder / "photos")
        yield engine


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def test_all_kinds_of_queries_mean_the_same(big: ImageSearchEngine, tmp_path: Path) -> None:
    image = picture("circle", 77)
    path = tmp_path / "query.png"
    image.save(path)
    array = np.asarray(image)
    sources = [path, str(path), os.path.relpath(path), path.read_bytes(), image, array, array.astype(np.float64) / 255]
    answers = [[(m.id, m.similarity) for m in big.search(source, 5)] for source in sources]
    assert all(answer == answers[0] for answer in answers)
    assert big.search([path], 5)[0].similarity == big.search(path, 5)[0].similarity


def test_a_library_picture_is_not_embedded_again(big: ImageSearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    big.close()
    monkeypatch.setattr(image_search.testing, "QuickModel", None)  # a call would raise
    path = big.search("id:1", 1)[0].path
    assert big.search(path, 1)[0].identical
    assert big.search(Path(path).read_bytes(), 1)[0].identical


def test_order_ranks_and_measures(big: ImageSearchEngine) -> None:
    matches = big.search(picture("square", 77), 60)
    similarities = [m.similarity for m in matches]
    assert similarities == sorted(similarities, reverse=True)
    assert [m.rank for m in matches] == list(range(1, 61))
    assert all(m.distance == 1 - m.similarity and -1 <= m.similarity <= 1 for m in matches)
    assert all(m.closeness is not None and 0 <= m.closeness <= 1 for m in matches)
    assert len(big.search(picture("square", 77), 10_000)) == 60
    assert matches.exact and matches.model == "quick"


def test_similarity_is_the_cosine_of_the_model_s_vectors(big: ImageSearchEngine) -> None:
    query = picture("stripes", 77)
    vector = big.embed(query)[0]
    for match in big.search(query, 5):
        assert match.similarity == pytest.approx(float(big.embed(match.path)[0] @ vector), abs=1e-6)


def test_closeness_is_a_percentile_of_nearest_neighbours(big: ImageSearchEngine) -> None:
    paths = sorted(m.path for m in big.search(picture("circle", 0), 60))
    vectors = big.embed(paths)
    best = np.sort([max(float(a @ b) for j, b in enumerate(vectors) if i != j) for i, a in enumerate(vectors)])
    match = big.search(picture("circle", 77), 1)[0]
    assert match.closeness == pytest.approx(float((best <= match.similarity).mean()), abs=0.02)
    assert percentile(2.0, sample(vectors)) == 1.0 and percentile(-2.0, sample(vectors)) == 0.0
    assert sample(vectors[:49]) is None


def test_filters(big: ImageSearchEngine) -> None:
    query = picture("circle", 77)
    everything = big.search(query, 60)
    assert {m.name for m in big.search(query, 60, names=["square", "stripes"])} == {"square", "stripes"}
    assert [m.id for m in big.search(query, 60, names=["square"])] == [m.id for m in everything if m.name == "square"]
    by_path = big.search(query, 60, path="*/circle/1?.png")
    assert by_path and all(Path(m.path).match("circle/1?.png") for m in by_path)
    limit = everything[9].similarity
    assert [m.id for m in big.search(query, 60, min_similarity=limit)] == [m.id for m in everything if m.similarity >= limit]
    assert all(m.closeness >= 0.5 for m in big.search(query, 60, min_closeness=0.5))
    assert str(big.search(query, 3, names=["nothing"])) == "nothing similar"


def test_what_is_shown_and_what_is_filtered_is_one_number(big: ImageSearchEngine) -> None:
    for number in range(1, 61):
        (itself,) = big.search(f"id:{number}", 1, min_similarity=1)
        assert (itself.id, itself.similarity, itself.identical) == (f"id:{number}", 1.0, True)
    query = picture("square", 77)
    for match in big.search(query, 60):
        row = dict(zip(*(line.split()[:5] for line in matches_table([match]).splitlines()), strict=True))
        nearer = big.search(query, 60, min_similarity=float(row["similarity"]), min_closeness=float(row["closeness"]))
        assert match.id in {m.id for m in nearer}, row
        assert float(row["distance"]) == pytest.approx(1 - float(row["similarity"]), abs=1e-9)


@pytest.mark.parametrize("how", ["exact", "store"])
def test_at_equal_similarity_the_identical_file_comes_first(tmp_path: Path, how: How) -> None:
    """The same pixels in other bytes are as near; which file was given is still known."""
    (tmp_path / "photos").mkdir()
    for level in range(10):
        picture("circle", 3).save(tmp_path / "photos" / f"{level}.png", compress_level=level)
    contents = {file.read_bytes() for file in (tmp_path / "photos").iterdir()}
    with quick_engine(tmp_path / "library", store="chroma" if how == "store" else "exact") as engine:
        engine.index(tmp_path / "photos", progress=False)
        for data in contents:
            first, *others = engine.search(data, len(contents), how=how)
            assert first.identical and not any(match.identical for match in others)
            assert min(match.similarity for match in others) > 1 - 1e-12 and first.rank == 1
            assert engine.search(data, 1, how=how)[0].id == first.id, "also where the others would fill the answer"


def test_several_images_and_less(big: ImageSearchEngine) -> None:
    a, b, c = picture("circle", 70), picture("square", 71), picture("stripes", 72)
    va, vb, vc = big.embed([a, b, c])
    wanted = va + vb - vc
    wanted /= np.linalg.norm(wanted)
    match = big.search([a, b], 1, less=c)[0]
    mean = (va + vb) / 2 - vc / 2
    assert match.similarity == pytest.approx(float(big.embed(match.path)[0] @ (mean / np.linalg.norm(mean))), abs=1e-6)
    with pytest.raises(UsageError, match="cancel"):
        blend([Part(va), Part(-va)], lambda: (va, va))


def test_the_images_of_one_search_go_through_the_model_together(
    big: ImageSearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_search.embedding, "LONGEST_WAIT_SECONDS", 600.0)
    calls: list[int] = []
    real = image_search.testing.QuickModel.embed
    monkeypatch.setattr(image_search.testing.QuickModel, "embed", lambda model, pixels: calls.append(len(pixels)) or real(model, pixels))
    cpus = image_search.embedding.available_cpus()
    paths = [tmp_path / f"{seed}.png" for seed in range(12)]
    for seed, path in enumerate(paths):
        picture("square", 200 + seed).save(path)
    one_by_one = [big.query(path).vector for path in paths]
    assert calls == [1] * 12
    calls.clear()
    together = big.search([*paths[:6], "id:1", big.query("id:2")], 60, less=paths[6:])
    assert sum(calls) == 12 and len(calls) <= 2 + 12 // max(cpus, 6), calls  # a first, short one shows how many it may take
    assert [q.less for q in together.queries] == [False] * 8 + [True] * 6
    read = [q.vector for q in together.queries]
    assert all(np.array_equal(a, b) for a, b in zip([*read[:6], *read[8:]], one_by_one, strict=True)), "each in its place"
    mixed = big.search([paths[0], paths[1].read_bytes() + b"new", paths[2]], 60)
    assert [q.label for q in mixed.queries] == [str(paths[0]), "bytes", str(paths[2])]
    with pytest.raises(QueryError, match="not an image"):
        big.search([paths[0], b"no image", b""], 3)  # the first that cannot be used is told


def test_of_pictures_that_are_the_same_the_nearest_is_shown(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 5)
    shown = picture("circle", 0)
    for number in range(12):
        shown.save(tmp_path / "photos" / "circle" / f"again{number}.png", compress_level=number % 9 + 1, dpi=(number + 1, 1))
    (tmp_path / "photos" / "copy.png").write_bytes((tmp_path / "photos" / "square" / "0.png").read_bytes())
    with quick_engine(tmp_path / "library") as engine:
        engine.index(tmp_path / "photos", progress=False)
        every = engine.search(shown, 100)
        assert len(every) == 28 and [m.similarity > 0.99999 for m in every].count(True) == 13
        groups = engine.search(shown, 3, group=True)
        assert [m.rank for m in groups] == [1, 2, 3] and groups[0].id == every[0].id
        assert [m.id for m in groups][1:] == [m.id for m in every if m.similarity <= 0.99999][:2], "as many as were asked for"
        everything = engine.search(shown, 100, group=True)
        assert len(everything) == 15 and len({m.path for m in everything} & {str(tmp_path / "photos" / "copy.png")}) <= 1
        assert len(engine.search(shown, 100, group=True, names="square")) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="names here are always text")
def test_a_uri_that_was_printed_is_a_path(tmp_path: Path) -> None:
    """Also of a name that no text can hold."""
    fill(tmp_path / "photos", 1)
    odd = os.path.join(os.fsencode(tmp_path / "photos"), b"caf\xe9 50%.png")
    with open(odd, "wb") as file:
        picture("circle", 7).save(file, "PNG")
    with quick_engine(tmp_path / "library") as engine:
        engine.index((tmp_path / "photos").as_uri(), progress=False)
        uri = next(m.uri for m in engine.search(tmp_path / "photos" / "circle" / "0.png", 10) if m.uri.startswith("file:"))
        best = engine.search(uri, 1)[0]
        assert best.identical and os.fsencode(best.path) == odd and best.uri == uri
        assert engine.forget(uri) == 1 and len(engine.search(tmp_path / "photos" / "circle" / "0.png", 10)) == 3


def test_exclude_self_leaves_out_identical_files_only(big: ImageSearchEngine) -> None:
    path = big.search("id:5", 1)[0].path
    assert big.search(path, 1)[0].path == path
    rest = big.search(path, 60, exclude_self=True)
    assert len(rest) == 59 and path not in {m.path for m in rest}
    assert [m.rank for m in rest][:2] == [1, 2]


def test_embedding_needs_no_library(big: ImageSearchEngine, tmp_path: Path) -> None:
    image = picture("circle", 77)
    with quick_engine(tmp_path / "none") as engine:
        assert np.array_equal(engine.embed([image, np.asarray(image)]), np.repeat(big.embed(image), 2, axis=0))
        with pytest.raises(QueryError, match="no image id:1"):
            engine.embed("id:1")
    assert not (tmp_path / "none").exists()


def test_region_of_the_upright_picture(big: ImageSearchEngine, tmp_path: Path) -> None:
    """The part that is cut out by hand and the region give the same answer, also in a picture that is turned by its EXIF tag."""
    wide = Image.new("RGB", (600, 300), "white")
    wide.paste(picture("circle", 5, (200, 200)), (350, 50))
    path = tmp_path / "wide.png"
    wide.save(path)
    by_hand = big.search(wide.crop((350, 50, 550, 250)), 5)
    assert [m.id for m in big.search(path, 5, region=(350, 50, 200, 200))] == [m.id for m in by_hand]
    turned = wide.transpose(Image.Transpose.ROTATE_90)  # stored turned; tag 6 turns it back
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    assert [m.id for m in big.search(tmp_path / "turned.png", 5, region=Region(350, 50, 200, 200))] == [m.id for m in by_hand]
    with pytest.raises(UsageError, match="600x300"):
        big.search(path, region=(500, 0, 200, 200))
    with pytest.raises(UsageError, match="single"):
        big.search([path, path], region=(0, 0, 10, 10))


def test_equal_similarities_are_ordered_by_id(engine: ImageSearchEngine, photos: Path) -> None:
    for number in range(5):
        (photos / "circle" / f"copy{number}.png").write_bytes((photos / "circle" / "0.png").read_bytes())
    engine.index(photos)
    found = engine.search(picture("circle", 0), 6)
    numbers = [int(m.id.removeprefix("id:")) for m in found]
    assert numbers == sorted(numbers) and len({m.similarity for m in found}) == 1
    assert [m.id for m in engine.search(picture("circle", 0), 3)] == [m.id for m in found[:3]]


def test_a_search_sees_what_another_process_has_committed(engine: ImageSearchEngine, photos: Path, tmp_path: Path) -> None:
    engine.index(photos)
    assert len(engine.search("id:1", 100)) == 12
    fill(photos, 1, first=50)
    with quick_engine(tmp_path / "library") as other:
        other.index(photos)
    assert len(engine.search("id:1", 100)) == 15


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("absent.jpg", "no such file"),
        (".", "a folder"),
        ("id:999999", "no image id:999999"),
        (b"<html></html>", "not an image"),
        (b"", "empty"),
        (b"x" * (21 * 1024 * 1024), "larger than 20 MB"),
        ("http://127.0.0.1:9/x.png", "private"),
        (np.zeros((3, 3, 7), np.uint8), "no picture"),
        (np.zeros((3, 3), np.complex64), "no picture"),
    ],
)
def test_bad_queries_are_one_plain_line(big: ImageSearchEngine, source: object, words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        big.search(source)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_wrong_use_is_refused(big: ImageSearchEngine, engine: ImageSearchEngine, photos: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        big.search("id:1", 0)
    with pytest.raises(UsageError, match="whole number"):
        big.search("id:1", "3")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="from 0 to 1"):
        big.search("id:1", min_closeness=90)
    for beyond in (float("nan"), 1.5, -2):  # nothing would pass, or everything
        with pytest.raises(UsageError, match="from -1 to 1"):
            big.search("id:1", min_similarity=beyond)
    for region in ((1.9, 2, 30, 30), (1, 2, 3), ("a", "b", "c", "d"), 7, "1,2,3,4"):
        with pytest.raises(UsageError, match="four whole numbers"):
            big.search("id:1", region=region)  # type: ignore[arg-type]
    for empty in (big.search, big.embed):
        with pytest.raises(UsageError, match="no image"):
            empty([])
    with pytest.raises(LibraryNotFoundError, match=r"index\(FOLDER\)"):
        engine.search("x.jpg")
    engine.index(photos)
    with pytest.raises(UsageError, match="it needs 50 images"):
        engine.search("id:1", min_closeness=0.5)
    assert engine.search("id:1")[0].closeness is None


def test_another_model_is_refused_with_both_names(real_engine: ImageSearchEngine, photos: Path) -> None:
    real_engine.index(photos)
    with ImageSearchEngine(real_engine.library, model="dino") as other:
        for use in (lambda: other.search("id:1"), lambda: other.index(photos)):
            with pytest.raises(ModelMismatchError, match=r"mini.*dino.*library=OTHER"):
                use()
    with ImageSearchEngine(real_engine.library, model="mini") as same:
        assert same.search("id:1", 1)[0].id == "id:1"


def test_a_newer_library_and_a_foreign_file_are_refused(engine: ImageSearchEngine, photos: Path) -> None:
    engine.index(photos)
    engine.close()
    catalog = Catalog.open(engine.library, write=True)
    catalog.set_meta("schema_version", 99)
    catalog.close()
    with pytest.raises(ImageSearchError, match="newer version"):
        engine.search("id:1")
    (engine.library / "catalog.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(ImageSearchError, match="damaged"):
        engine.search("id:1")


def test_matches_are_a_sequence_that_shows_itself(big: ImageSearchEngine, tmp_path: Path) -> None:
    matches = big.search(picture("circle", 77), 3)
    assert len(matches) == 3 and isinstance(matches[0], Match) and list(matches) == matches[:]
    assert matches._repr_png_().startswith(b"\x89PNG")
    matches.plot(tmp_path / "compare.png")
    with Image.open(tmp_path / "compare.png") as saved:
        assert saved.width > saved.height > 200
    assert str(matches).splitlines()[0].split()[:4] == ["rank", "name", "similarity", "distance"]


def test_the_store_and_exact_search_agree(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 20)
    with quick_engine(tmp_path / "library", store="chroma") as engine:
        engine.index(tmp_path / "photos")
        for number in range(10):
            query = picture("square", 200 + number)
            store, exact = (engine.search(query, 10, how=how) for how in ("store", "exact"))
            assert not store.exact and exact.exact
            assert [(m.id, m.similarity) for m in store] == [(m.id, m.similarity) for m in exact]
        with pytest.raises(UsageError, match="filtered"):
            engine.search(query, names=["circle"], how="store")
        assert len(engine.search("id:1", 59, how="store", exclude_self=True)) == 59
        (engine.library / "store" / "chroma.sqlite3").write_bytes(b"")
        engine.close()
        with pytest.raises(ImageSearchError, match="rebuild"):
            engine.search(query, how="store")
        assert len(engine.search(query, 60)) == 60
        assert engine.rebuild() == 60
        assert not engine.search(query, how="store").exact


@pytest.mark.parametrize("error", [StoreError, DiskFullError])
def test_a_store_that_fails_while_it_is_asked_leaves_the_answer_to_the_catalog(
    big: ImageSearchEngine, monkeypatch: pytest.MonkeyPatch, error: type[ImageSearchError]
) -> None:
    asked: list[int] = []

    class Failing:
        def query(self, vectors: object, n: int) -> object:
            asked.append(n)
            raise error("the server has gone")

    wanted = [m.id for m in big.search("id:1", 5, how="exact")]
    searcher = big._open()
    monkeypatch.setattr(image_search.search.search, "STORE_PAYS_FROM", 1)
    monkeypatch.setattr(searcher._replica, "open", lambda generation: Failing())
    try:
        for _ in range(2):
            matches = big.search("id:1", 5)
            assert ([m.id for m in matches], matches.exact) == (wanted, True)
        assert len(asked) == 1  # it is left alone for a while
        for close in (lambda: None, searcher.close):  # left alone, the reason is still known; asked anew, it fails anew
            close()
            with pytest.raises(ImageSearchError, match="has gone"):
                big.search("id:1", 5, how="store")
    finally:
        searcher.close()


def test_a_model_loaded_before_there_was_a_library_is_not_taken_for_the_library_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes the library meanwhile, with another model."""
    real = image_search.library.model.load_model

    class Other:
        """mini with its vectors turned round, under another name."""

        def __init__(self, inner: Embedder) -> None:
            self._inner = inner
            self.fingerprint = replace(inner.fingerprint, name="other", weights_sha256="0" * 64)
            self.runtime = inner.runtime

        def embed(self, pixels: np.ndarray) -> np.ndarray:
            return -self._inner.embed(pixels)

        def close(self) -> None:
            self._inner.close()

    def load(name: str | None = None, **options: object) -> object:
        return Other(real("mini", threads=1)) if name == "other" else real(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(image_search.library.model, "load_model", load)
    fill(tmp_path / "photos", 2)
    with ImageSearchEngine(tmp_path / "library", store="exact") as early:
        vector = early.embed(picture("circle", 5))
        with ImageSearchEngine(tmp_path / "library", store="exact") as late:
            late._model._embedder = load("other")  # type: ignore[assignment]
            late.index(tmp_path / "photos")
        assert np.allclose(early.embed(picture("circle", 5)), -vector, atol=1e-5)
        assert early.search(tmp_path / "photos" / "circle" / "0.png", 1)[0].identical


def test_a_library_that_is_replaced_while_it_is_open_is_opened_again(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 2)
    with quick_engine(tmp_path / "library") as engine:
        engine.index(tmp_path / "photos")
        backup = (tmp_path / "library" / "catalog.sqlite").read_bytes()
        fill(tmp_path / "photos", 3)
        engine.index(tmp_path / "photos")
        assert len(engine.search("id:1", 100)) == 9
        (tmp_path / "backup").write_bytes(backup)
        os.replace(tmp_path / "backup", tmp_path / "library" / "catalog.sqlite")
        assert len(engine.search("id:1", 100)) == 6
        (tmp_path / "library" / "catalog.sqlite").unlink()
        with pytest.raises(LibraryNotFoundError):
            engine.search("id:1")


def test_one_picture_that_changes_again_and_again_is_all_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no row carries the generation any more that was read last. A backup in its place is read as a whole."""
    fill(tmp_path / "photos", 4)
    read: list[int] = []
    real = image_search.library.vectors._read_vectors

    def counted(catalog: object, contents: np.ndarray, into: np.ndarray) -> None:
        read.append(len(contents))
        real(catalog, contents, into)  # type: ignore[arg-type]

    monkeypatch.setattr(image_search.library.vectors, "_read_vectors", counted)
    with quick_engine(tmp_path / "library") as engine:
        engine.index(tmp_path / "photos")
        assert len(engine.search("id:1", 100)) == 12
        for number in range(3):
            picture("stripes", 700 + number).save(tmp_path / "photos" / "circle" / "0.png")
            engine.index(tmp_path / "photos")
            read.clear()
            assert engine.search(tmp_path / "photos" / "circle" / "0.png", 1)[0].identical
            assert read == [1]


def test_small_things_are_no_surprise(
    big: ImageSearchEngine, real_engine: ImageSearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.asarray(picture("circle", 4).resize((100, 80)))
    box = np.array([10, 10, 40, 40])
    assert big.search(whole, region=box)[0].id == big.search(whole, region=(10, 10, 40, 40))[0].id  # type: ignore[arg-type]
    assert len(big.search(whole, np.int64(2))) == 2  # type: ignore[arg-type]
    picture("circle", 4).save(tmp_path / "closed.png")
    with Image.open(tmp_path / "closed.png") as closed:
        pass
    with pytest.raises(QueryError, match="PIL image"):
        big.search(closed)
    odd = picture("circle", 4)
    odd.getexif()[0x0128] = "inches"  # ResolutionUnit, which is a number
    odd.getexif()[0x0112] = "up"
    assert big.search(odd)[0].id == big.search(picture("circle", 4))[0].id
    turned = Image.Exif()
    turned[0x0112] = 6
    for kind in ("TIFF", "JPEG", "PNG"):  # of which Pillow turns the first while it loads it
        file = tmp_path / f"turned.{kind.lower()}"
        Image.fromarray(whole).save(file, kind, exif=turned)
        assert np.allclose(real_engine.embed(file), real_engine.embed(Image.open(file)), atol=1e-4)
    monkeypatch.chdir(tmp_path)
    picture("circle", 4).save("~cat.png")
    assert big.search("~cat.png")[0].id == big.search(picture("circle", 4))[0].id
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert big.search(str(tmp_path / "~cat.png"))[0].id == big.search(picture("circle", 4))[0].id


def test_the_limits_of_a_query_can_be_set(big: ImageSearchEngine, tmp_path: Path) -> None:
    Image.new("1", (20_000, 12_000)).save(tmp_path / "huge.png")
    with pytest.raises(QueryError, match=r"too many pixels: .*huge\.png\. Raise the limit with max_megapixels="):
        big.search(tmp_path / "huge.png")
    photo = picture("circle", 5, (1200, 1200))  # 1.44 megapixels
    photo.save(tmp_path / "photo.bmp")
    data = (tmp_path / "photo.bmp").read_bytes()  # 4 MB
    for megapixels, megabytes, words in ((1, None, "max_megapixels="), (None, 1, "max_megabytes="), (2, 5, None)):
        with quick_engine(big.library) as engine:
            engine.decoders = Decoders(InProcessPool, 1, max_megapixels=megapixels, max_megabytes=megabytes)
            for source in (data, tmp_path / "photo.bmp"):
                if words is None or (source is not data and megabytes):  # what lies here was put here
                    assert len(engine.search(source)) == 3
                else:
                    with pytest.raises(QueryError, match=f"aise the limit with {words}"):
                        engine.search(source)
    with ImageSearchEngine(tmp_path / "own", model=big._model._given, max_megapixels=1) as engine:
        engine._make_pool = InProcessPool
        report = engine.index(tmp_path, progress=False)  # its own limit, too, unless it is told another
        assert {skipped.reason for skipped in report.skipped} == {"too many pixels"} and len(report.skipped) == 2
        assert engine.index(tmp_path, max_megapixels=2, progress=False).added == 1


def test_closing_beside_threads_that_search_gives_them_our_errors_alone(tmp_path: Path, photos: Path) -> None:
    """`close()` gives everything back; who is in the middle of a question is told so, and who asks next opens it again."""
    stop, said, foreign = threading.Event(), set[str](), list[BaseException]()
    picture("circle", 99).save(tmp_path / "new.png")
    with quick_engine(tmp_path / "library") as engine:
        engine.index(photos)
        deeds = [
            lambda: engine.search("id:1", 5),
            lambda: engine.search(tmp_path / "new.png", 5),
            lambda: engine.search("id:2", 5, path="*"),
            engine.status,
            engine.verify,
            lambda: engine.embed([tmp_path / "new.png"]),
        ]

        def ask() -> None:
            while not stop.is_set():
                for deed in deeds:
                    try:
                        deed()
                        said.add("done")
                    except ImageSearchError as error:
                        said.add(error.what)
                    except BaseException as error:
                        foreign.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(60):
                time.sleep(0.01)
                engine.close()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert foreign == [] and "done" in said
    assert said <= {"done", "the library was closed while it was in use", "the decoder is closed"}
