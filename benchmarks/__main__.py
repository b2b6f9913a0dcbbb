"""`python -m benchmarks [--quick] [--only SECTION ...] [--to FOLDER]`: every section in a process of its own, one report."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from . import machine
from .clock import pin, run
from .report import Row, Table, as_json, markdown, read
from .setting import Setting

# section -> where it is; each gives rows and tables
SECTIONS = {
    "model": "embedding:model",
    "decode": "embedding:decode",
    "index": "indexing:index",
    "share": "indexing:share",
    "exact": "searching:exact",
    "library": "libraries:library",
    "memory": "libraries:memory",
    "filtered": "searching:filtered",
    "pairs": "pairs:pairs",
    "facts": "searching:facts",
    "store": "searching:store",
    "workers": "workers:workers",
    "words": "words:words",
    "profile": "profiles:profile",
}


def section(name: str) -> Callable[[Setting], Iterator[Row | Table]]:
    module, _, function = SECTIONS[name].partition(":")
    found: Callable[[Setting], Iterator[Row | Table]] = getattr(import_module(f".{module}", __package__), function)
    return found


def in_own_process(name: str, setting: Setting) -> tuple[list[Row], list[Table]]:
    """What a section gives; one that fails is a row that says so."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out.json"
        said = json.dumps({**asdict(setting), "cache": str(setting.cache)})
        try:
            run([sys.executable, "-m", "benchmarks", "--section", name, "--setting", said, "--to", str(out)])
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return [Row(name, name, "", note=f"not run: {str(error).splitlines()[-1]}")], []
        return read(out.read_text())


def one_section(name: str, said: str, out: Path) -> None:
    facts = json.loads(said)
    setting = Setting(**facts | {"cache": Path(facts["cache"])})
    pin(1)
    if name == "limits":
        out.write_text(json.dumps(machine.limits()))
        return
    found = list(section(name)(setting))
    rows = [item for item in found if isinstance(item, Row)]
    out.write_text(as_json({}, rows, [item for item in found if isinstance(item, Table)]))


def limits(setting: Setting) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "limits.json"
        said = json.dumps({**asdict(setting), "cache": str(setting.cache)})
        run([sys.executable, "-m", "benchmarks", "--section", "limits", "--setting", said, "--to", str(out)])
        found: dict[str, float] = json.loads(out.read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: shows that it works, not how quick it is")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"some of: {', '.join(SECTIONS)}")
    parser.add_argument("--to", type=Path, default=Path("benchmark-report"), help="folder of report.md and report.json")
    parser.add_argument("--store-vectors", type=int, default=100_000, help="images asked through the store; a million: 20 CPU minutes")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "image-search-benchmarks", help="for what is made once")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        one_section(options.section, options.setting, options.to)
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    options.to.mkdir(parents=True, exist_ok=True)
    setting = Setting(options.cache.absolute(), options.quick, options.store_vectors)
    facts = machine.facts()
    setting = Setting(setting.cache, setting.quick, setting.store_vectors, limits(setting))
    units = {"fp32": "GFLOP/s", "bf16": "GFLOP/s", "int8": "GOP/s", "read": "GB/s"}
    facts["one core"] = ", ".join(f"{name} {value:.0f} {units[name]}" for name, value in setting.limits.items())
    if options.quick:
        facts["sizes"] = "small (--quick): not to be quoted"
    rows: list[Row] = []
    tables: list[Table] = []
    for name in options.only or SECTIONS:
        began = time.monotonic()
        more_rows, more_tables = in_own_process(name, setting)
        rows, tables = rows + more_rows, tables + more_tables
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        # After each section: a run that is stopped keeps what it has.
        (options.to / "report.md").write_text(markdown(facts, rows, tables))
        (options.to / "report.json").write_text(as_json(facts, rows, tables))
    print(markdown(facts, rows, tables))


if __name__ == "__main__":
    main()
