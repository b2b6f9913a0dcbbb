"""From a picture's own colour space to sRGB, as browsers show it.

    JPEG, WebP, TIFF, BMP    its ICC profile
    PNG                      cICP, else a profile that can be used, else sRGB, else gAMA with cHRM (PNG, third edition, 4.3)
    AVIF, HEIF               its ICC profile, else the four numbers of its colr box

Profiles are followed by LittleCMS: relative colorimetric, black point compensated. sRGB, a profile that is broken or for another kind
of picture, and no word at all leave the numbers alone, and cost nothing. A browser follows the same order; where the standards leave
room it decided: gAMA alone and near 1/2.2 is no word, cHRM alone neither; video's curves in AVIF are shown as sRGB's.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from . import hdr, light
from .headers import bmp_profile, colour_boxes, png_chunks

if TYPE_CHECKING:
    from PIL import ImageCms

__all__ = ["Conversion", "conversion"]

GREY_STAYS = 24  # of 255: a space is made for eyes if its middle grey comes out so near; gamma 1.8 is off by 18, linear light by 60
SAME = 2  # of 255: a profile that moves no colour by more is sRGB
GAMMAS = (0.05, 20.0)  # of gAMA; others are no gamma


class Conversion(NamedTuple):
    """How a picture's numbers become sRGB.

    Attributes:
        apply: an image -> RGB; CMYK from CMYK, all others from RGB.
        early: to be done before the picture is scaled. Else after it, where a thousand times fewer pixels are left: means are taken in
            the picture's own encoding then, which is no worse than sRGB's if both are made for eyes (cosine >= .9997 between the two
            ways for Display P3, .997 for ProPhoto, .96 for linear light).
        scales: it may scale down on the way, if it is told how far.
    """

    apply: Callable[..., Image.Image]
    early: bool
    scales: bool = False

    def leaving(self, least: tuple[int, int]) -> Conversion:
        """The same, where no more than this (width, height) is needed."""
        return self._replace(apply=partial(self.apply, least=least)) if self.scales else self


UNTOUCHED = Conversion(lambda image: image, early=False)  # known to be sRGB, which ends the search


def conversion(image: Image.Image, data: bytes, form: str) -> Conversion | None:
    """What this picture needs, by its header; None: nothing. `form`: the name of its row in formats.py. Raises MemoryError only."""
    if form == "PNG":
        found = _of_png(image, data)
    elif form in ("AVIF", "HEIF"):
        found = _of_icc(image, image.info.get("icc_profile")) or _of_boxes(data)
    elif form == "BMP":
        found = _of_icc(image, bmp_profile(data))
    else:
        found = _of_icc(image, image.info.get("icc_profile"))
    return None if found is UNTOUCHED else found


# --- what the header says ----------------------------------------------------------------------------------------------------

_COLOUR_CHUNKS = frozenset({b"cICP", b"cLLI", b"mDCV"})


def _of_png(image: Image.Image, data: bytes) -> Conversion | None:
    info = image.info
    chunks = png_chunks(data, _COLOUR_CHUNKS)
    numbers = chunks.get(b"cICP", b"")
    if len(numbers) == 4 and numbers[2:] == b"\0\1":  # RGB in full range; no other is used in PNG
        found = _of_numbers(numbers[0], numbers[1], _peak(chunks.get(b"cLLI"), chunks.get(b"mDCV"), ">I", 10000))
        if found is not None:
            return found
    found = _of_icc(image, info.get("icc_profile"))
    if found is not None or "srgb" in info:
        return found
    gamma, xy = info.get("gamma", 0.0), info.get("chromaticity")
    if not GAMMAS[0] < gamma < GAMMAS[1] or (xy is None and 0.95 < gamma * 2.2 < 1.05):
        return None
    return _of_measures(light.PRIMARIES[1] if xy is None else tuple(xy), gamma)


@lru_cache(maxsize=16)
def _of_measures(xy: light.Chromaticities, gamma: float) -> Conversion | None:
    return _of_rgb_profile(light.profile_of(xy, light.gamma_curve(1 / gamma)))


def _of_boxes(data: bytes) -> Conversion | None:
    boxes = colour_boxes(data)
    if len(boxes.get(b"nclx", b"")) < 4:
        return None
    primaries, transfer = struct.unpack_from(">HH", boxes[b"nclx"])
    if primaries not in light.PRIMARIES:  # unspecified or reserved
        primaries = 1
    if transfer in (1, 6, 14, 15) or (transfer not in (light.PQ, light.HLG) and light.curve_of(transfer) is None):
        transfer = light.SRGB
    return _of_numbers(primaries, transfer, _peak(boxes.get(b"clli"), boxes.get(b"mdcv"), ">H", 1))


def _peak(level: bytes | None, mastering: bytes | None, form: str, unit: int) -> float:
    """The brightest light in cd/m2: of the content, else of the screen that it was made on, else the usual."""
    if level is not None and len(level) >= struct.calcsize(form) and (most := struct.unpack_from(form, level)[0]):
        return float(most) / unit
    if mastering is not None and len(mastering) >= 20 and (most := struct.unpack_from(">I", mastering, 16)[0]):
        return float(most) / 10000
    return light.USUAL_PEAK


@lru_cache(maxsize=16)
def _of_numbers(primaries: int, transfer: int, peak: float) -> Conversion | None:
    """ColourPrimaries and TransferCharacteristics of ITU-T H.273; None: not known here."""
    if primaries not in light.PRIMARIES:
        return None
    if transfer in (light.PQ, light.HLG):
        return Conversion(partial(hdr.tone_mapped, primaries=primaries, transfer=transfer, peak=peak), early=True, scales=True)
    if (primaries, transfer) == (1, light.SRGB):
        return UNTOUCHED
    curve = light.curve_of(transfer)
    return None if curve is None else _of_rgb_profile(light.profile_of(light.PRIMARIES[primaries], curve))


# --- ICC profiles ------------------------------------------------------------------------------------------------------------

_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


def _of_icc(image: Image.Image, profile: bytes | None) -> Conversion | None:
    """None: there is none, it is broken, or it is for another kind of picture (ink for light, grey for colours)."""
    if not profile or len(profile) < 132:
        return None
    mode = _MODES.get(profile[16:20])
    if mode is None or (mode == "L" and image.mode not in _GREY_MODES) or ((mode == "CMYK") != (image.mode == "CMYK")):
        return None
    numbers = _tag(profile, b"cicp")
    if mode == "RGB" and len(numbers) >= 12 and numbers[9] in (light.PQ, light.HLG):
        return _of_numbers(numbers[8], numbers[9], light.USUAL_PEAK)
    return _of_profile(profile, mode)


@lru_cache(maxsize=8)  # by content; as large as the profiles are, 3 KB to 3 MB
def _of_profile(profile: bytes, mode: str) -> Conversion | None:
    if mode == "RGB":
        return UNTOUCHED if _is_srgb(profile) else _of_rgb_profile(profile)
    transform = _transform(profile, mode)
    if transform is None:
        return None
    if mode == "CMYK":
        return Conversion(partial(_through_profile, transform), early=True)
    return _weighed(partial(_through_grey_profile, transform))


def _of_rgb_profile(profile: bytes | None) -> Conversion | None:
    transform = None if profile is None else _transform(profile, "RGB")
    if transform is None:
        return None
    apply = partial(_through_profile, transform)
    return UNTOUCHED if _changes_nothing(apply) else _weighed(apply)


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """LittleCMS's way from this profile to sRGB; None if it finds it broken. .3 CPU ms for a matrix, 20 for a press's tables."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _through_profile(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    done = transform.apply(image)
    done.info.clear()  # it is sRGB now
    return done


def _through_grey_profile(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    return _through_profile(transform, image.getchannel(0))


def _weighed(apply: Callable[[Image.Image], Image.Image]) -> Conversion:
    grey = apply(Image.new("RGB", (1, 1), (128, 128, 128))).getextrema()
    return Conversion(apply, early=any(abs(low - 128) > GREY_STAYS for low, _ in grey))  # type: ignore[misc]


def _changes_nothing(apply: Callable[[Image.Image], Image.Image]) -> bool:
    from PIL import ImageChops

    steps = range(0, 256, 51)
    cube = Image.frombytes("RGB", (216, 1), bytes(value for r in steps for g in steps for b in steps for value in (r, g, b)))
    return all(high <= SAME for _, high in ImageChops.difference(cube, apply(cube)).getextrema())  # type: ignore[misc]


# --- sRGB, known without LittleCMS -------------------------------------------------------------------------------------------

_SRGB = {b"rXYZ": (0.4361, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971), b"bXYZ": (0.1431, 0.0606, 0.7141)}
_SRGB_CURVE = (2.4, 0.9479, 0.0521, 0.0774, 0.0405)


def _is_srgb(profile: bytes) -> bool:
    """By its colourants and curves, as nearly every picture with a profile has them; one that is not seen here is seen by its effect."""
    if _tag(profile, b"A2B0"):
        return False
    return all(_near(_tag(profile, name)[8:20], wanted, 0.002) for name, wanted in _SRGB.items()) and all(
        _is_srgb_curve(_tag(profile, name)) for name in (b"rTRC", b"gTRC", b"bTRC")
    )


def _is_srgb_curve(curve: bytes) -> bool:
    if curve[:4] == b"para":
        return curve[8:10] == b"\0\3" and _near(curve[12:32], _SRGB_CURVE, 0.002)
    count = int.from_bytes(curve[8:12], "big")
    if curve[:4] != b"curv" or not 256 <= count <= (len(curve) - 12) // 2:
        return False
    for step in (0.02, 0.1, 0.25, 0.5, 0.75):
        place = round(step * (count - 1))
        encoded = place / (count - 1)
        wanted = encoded / 12.92 if encoded <= 0.04045 else ((encoded + 0.055) / 1.055) ** 2.4
        if abs(int.from_bytes(curve[12 + 2 * place : 14 + 2 * place], "big") / 65535 - wanted) > 0.002:
            return False
    return True


def _near(raw: bytes, wanted: tuple[float, ...], tolerance: float) -> bool:
    """Fixed point numbers (s15Fixed16) as wanted."""
    if len(raw) < 4 * len(wanted):
        return False
    values = struct.unpack(f">{len(wanted)}i", raw[: 4 * len(wanted)])
    return all(abs(value / 65536 - want) <= tolerance for value, want in zip(values, wanted, strict=True))


def _tag(profile: bytes, wanted: bytes) -> bytes:
    """The body of a tag, its type first; b"" if there is none."""
    count = int.from_bytes(profile[128:132], "big")
    for at in range(132, min(132 + 12 * count, len(profile) - 11), 12):
        if profile[at : at + 4] == wanted:
            start, length = struct.unpack_from(">II", profile, at + 4)
            return profile[start : start + length]
    return b""
