"""What goes over the wire about filters; and what all that goes over it is made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["Asked", "ColumnKind", "Dates", "Facets", "FacetsRequest", "FileFilters", "FormatCount", "Schema", "Word"]


class Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Asked(Schema):
    """What comes in: a number is a number, and true is none."""

    model_config = ConfigDict(extra="forbid", strict=True)


Word = Annotated[str, StringConstraints(max_length=1000)]


class FileFilters(Asked):
    """Which images are meant, by what is known of their files."""

    path: str = Field(
        "", max_length=2000, description='glob on the whole absolute path, as in the shell ("*" crosses folders): "*/2024/*"; "": any path'
    )
    not_path: list[Word] = Field([], max_length=20, description="no path that matches one of these globs")
    not_names: list[Word] = Field([], max_length=100, description="none of these classes")
    since: str = Field("", max_length=20, description='taken then or later: "2024", "2024-05", "2024-05-01", "2024-05-01T12:30"; "": any')
    until: str = Field("", max_length=20, description="taken then or earlier, the whole of that year, month, day or minute included")
    min_pixels: int | None = Field(None, ge=1, le=10**12, description="width times height at least this")
    formats: list[Word] = Field([], max_length=30, description='only files of these formats: "jpeg", "heic", ...')

    where: str = Field("", max_length=2000, description='a condition on the columns of the user\'s own table: "price < 20"')

    def given(self, *, dates: bool = True) -> dict[str, Any]:
        """As `Filters.checked` and `ImageSearchEngine.search` take them."""
        since, until = (self.since or None, self.until or None) if dates else (None, None)
        return {
            "path": self.path or None, "not_path": self.not_path, "not_names": self.not_names, "since": since, "until": until,
            "min_pixels": self.min_pixels, "formats": self.formats, "where": self.where or None,
        }  # fmt: skip


class FacetsRequest(FileFilters):
    """All filters of files; each of what is counted leaves its own one out."""

    names: list[Word] = Field([], max_length=100, description="only these classes")


class Dates(Schema):
    """When the images that pass were taken: how many in each day, month, year or decade, from the first to the last."""

    unit: Literal["day", "month", "year", "decade"]
    first: str = Field(description='the first day of the first of them: "2019-03-01"; "": there are no images')
    images: list[int] = Field(description="of the first of them, the one after it, and so on; none is left out")
    by_file: int = Field(description="of so many the picture does not say it, and the time of the file counts")
    unread: int = Field(description="of so many images of the library it is not known yet: they were indexed by an older version")


class FormatCount(Schema):
    name: str
    images: int


class ColumnKind(Schema):
    name: str
    kind: str = Field(description="number, text or date")


class Facets(Schema):
    """What there is to choose from under the other filters."""

    dates: Dates
    formats: list[FormatCount] = Field(description="the most frequent first")
    columns: list[ColumnKind] = Field(description="of the user's own tables: what `where` can ask for")
