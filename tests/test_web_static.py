"""The page's own files: complete in both languages, readable in both themes, nothing forgotten, nothing inline."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

import image_search

STATIC = Path(image_search.__file__).parent / "web" / "static"
PAGES = STATIC.parent / "pages"
MODULES = sorted(path.name for path in STATIC.glob("*.js") if path.name != "theme.js")
LATER = {"shrink.js", "sha256.js", "profile.js"}  # loaded when the first large picture is given


def dictionaries() -> tuple[dict[str, str], dict[str, str]]:
    both: tuple[dict[str, str], dict[str, str]] = {}, {}
    for name in ("words.js", "tidywords.js"):
        text = (STATIC / name).read_text(encoding="utf-8")
        parts = re.search(r"const EN = \{(.*?)\n\};.*?const KO = \{(.*?)\n\};", text, re.S).groups()  # type: ignore[union-attr]
        for words, part in zip(both, parts, strict=True):
            found = dict(re.findall(r'^  (\w+): "(.*)",$', part, re.M))
            assert not set(found) & set(words), "said twice"
            words.update(found)
    return both


def test_every_text_is_there_in_both_languages() -> None:
    english, korean = dictionaries()
    assert len(english) > 100 and set(english) <= set(korean)
    for key, words in english.items():
        assert set(re.findall(r"\{(\w+)\}", words)) == set(re.findall(r"\{(\w+)\}", korean[key])), key
    used = {key for name in MODULES for key in re.findall(r'\bt\("(\w+)"', (STATIC / name).read_text(encoding="utf-8"))}
    assert used <= set(english), used - set(english)


def test_every_reason_and_error_has_korean_words() -> None:
    from image_search import errors
    from image_search.errors import SkipReason

    korean = dictionaries()[1]
    assert {f"r_{reason.name}" for reason in SkipReason} <= set(korean)
    kinds = {name.removesuffix("Error") for name in errors.__all__ if name.endswith("Error")}
    elsewhere = {
        "Cluster",
        "Dataset",
        "Decode",
        "ImageSearch",
        "Library",
        "MissingExtra",
        "UnknownModel",
    }  # told otherwise
    assert {f"e_{kind}" for kind in kinds - elsewhere} <= set(korean)


def test_the_page_names_every_module_in_advance() -> None:
    """So that they all arrive in one round, not one after the other as they import each other."""
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'"static/([\w.]+\.js)"', html))
    main = (STATIC / "main.js").read_text(encoding="utf-8")
    searching, tidy = (
        {f"{name}.js" for name in re.findall(r'"(\w+)"', re.search(rf"const {list} = \[(.*?)\]", main)[1])}  # type: ignore[index]
        for list in ("SEARCH", "TIDY")
    )
    assert not named & (searching | tidy) and not searching & tidy and named | searching | tidy == {*MODULES, "theme.js"} - LATER
    styled = set(re.findall(r'dressed\("([\w.]+)"\)', main))  # with the first of their views
    styles = set(re.findall(r'"static/([\w.]+\.css)"', html))
    assert styles == {path.name for path in STATIC.glob("*.css")} - styled and styled == {"tidy.css"}
    first = [path for path in STATIC.iterdir() if path.name not in LATER | searching | tidy | styled]
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in first) < 65_000, "the first view, its pictures too: 150 KB"


def test_type_and_form_are_five_sizes_two_weights_and_three_roundings() -> None:
    css = "\n".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.css"))
    sizes = {
        size for value in re.findall(r"font(?:-size)?: ([^;]+);", css) for size in re.findall(r"[\d.]+(?:px|rem|em)|var\(--t\d\)", value)
    }
    assert sizes == {f"var(--t{n})" for n in range(1, 6)} - ({"var(--t5)"} - sizes)
    assert len(re.findall(r"--t\d: \d+px", css)) == 5
    weights = {
        weight
        for value in re.findall(r"font(?:-weight)?: ([^;]+);", css)
        for weight in re.findall(r"\b[1-9]\d\d\b(?!px)|\bbold\b|var\(--bold\)", value)
    }
    assert weights == {"400", "var(--bold)"}
    roundings = {part for value in re.findall(r"border-radius: ([^;]+);", css) for part in value.split()}
    assert roundings <= {"var(--r1)", "var(--r2)", "var(--r3)", "0", "50%", "inherit"}


def test_nothing_moves_for_longer_than_150_ms() -> None:
    """But what shows that something goes on: it turns or breathes until the work is done."""
    for path in STATIC.glob("*.css"):
        for value in re.findall(r"transition: ([^;]+);", path.read_text(encoding="utf-8")):
            assert all(float(seconds) <= 0.15 for seconds in re.findall(r"([\d.]+)s\b", value)), (path.name, value)


def test_addresses_are_relative() -> None:
    """So that the page works below a path, behind a proxy that it knows nothing of."""
    for file in [*STATIC.iterdir(), *PAGES.iterdir()]:
        found = re.findall(r"""["'`(]/(?:api|static)/|(?:href|src)[=:] ?["'`]/""", file.read_text(encoding="utf-8"))
        assert not found, (file.name, found)


def test_no_module_makes_markup_from_text() -> None:
    for file in [*STATIC.glob("*.js"), *PAGES.glob("*.js")]:
        name, text = file.name, file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", text), name


def tokens(theme: str) -> dict[str, str]:
    css = (STATIC / "base.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", css[: css.index("@media")]))
    if theme == "light":
        return light
    dark = re.search(r':root\[data-theme="dark"\] \{(.*?)\}', css, re.S)[1]  # type: ignore[index]
    followed = re.search(r"prefers-color-scheme: dark\) \{\s*:root[^{]*\{(.*?)\}", css, re.S)[1]  # type: ignore[index]
    assert re.sub(r"\s+", " ", dark).strip() == re.sub(r"\s+", " ", followed).strip(), "the chosen dark is the system's dark"
    return light | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme: str) -> None:
    colours = tokens(theme)
    for text, grounds in {
        "ink": ("paper", "surface", "mat"),
        "quiet": ("paper", "surface", "mat"),
        "accent": ("paper", "surface", "accent-soft"),
        "on-accent": ("accent",),
        "bad": ("surface", "bad-soft"),
        "good": ("surface",),
    }.items():
        for ground in grounds:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for ground in ("paper", "surface"):
        assert contrast(colours["edge"], colours[ground]) >= 3, "borders of things to press"
