"""What should not matter to a vector: views of the training pictures, made in batches on whatever device holds them.

B pictures, S the side they are kept at, V the side of the view. All chance comes from one generator, on the device that holds the
pictures; how many are changed in which way is a share of the batch, not chance, so that a GPU never waits to be told.
"""

from __future__ import annotations

import math
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, its usual name
from torch import Generator, Tensor

from training.config import Config

_LUMA = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
_MARKS = 64


def views(pictures: Tensor, boxes: Tensor, side: int, config: Config, chance: Generator) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, side, side) RGB in [0, 1], each changed in its own way.

    Args:
        boxes: (B, 4): left, top, right, bottom, as shares of the picture, of the part that the view is to lie in.
        chance: on the device of the pictures.
    """
    return change(pictures, draw_cuts(boxes, config, chance), side, config, chance)


@dataclass(frozen=True)
class Cuts:
    """What each view sees: centre (B, 2) in [-1, 1], size (B, 2) as shares of the picture, mirrored (B,) -1 or 1, of a part (B,) bool."""

    centre: Tensor
    size: Tensor
    mirror: Tensor
    inner: Tensor


def draw_cuts(boxes: Tensor, config: Config, chance: Generator) -> Cuts:
    """A cut inside each of the boxes (B, 4)."""
    count = len(boxes)
    size, centre = boxes[:, 2:] - boxes[:, :2], boxes[:, 2:] + boxes[:, :2] - 1  # (B, 2) each; centre in [-1, 1]
    inner = (size < 1).any(1)
    area = torch.where(inner, _uniform(*config.inner_area, (count,), chance), _uniform(*config.crop_area, (count,), chance))
    ratio = torch.exp(_uniform(-math.log(config.crop_ratio), math.log(config.crop_ratio), (count,), chance) / 2)
    share = torch.stack([area.sqrt() * ratio, area.sqrt() / ratio], 1).clamp_max(1)  # (B, 2) of the box's width and height seen
    share = torch.where(_chosen(count, config.whole_share, chance)[:, None], 1.0, share)
    shift = centre + _uniform(-1, 1, (count, 2), chance) * (1 - share) * size  # stays inside the box
    return Cuts(shift, share * size, torch.where(_chosen(count, 0.5, chance), -1.0, 1.0), inner)


def cut_out(pictures: Tensor, cuts: Cuts, side: int) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, side, side) in [0, 1]: what the cuts see, not changed otherwise."""
    pixels = pictures.permute(0, 3, 1, 2).float() / 255
    grid = _places(cuts, cuts.size, torch.zeros_like(cuts.mirror), side)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def change(pictures: Tensor, cuts: Cuts, side: int, config: Config, chance: Generator) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, side, side) in [0, 1]: what the cuts see, each changed in its own way."""
    pixels = pictures.permute(0, 3, 1, 2).float() / 255  # (B, 3, S, S)
    pixels = _recolour(_move(pixels, cuts, side, config, chance), config, chance)
    _stick(pixels, config, chance)
    _coarsen(pixels, config, chance)
    return pixels.clamp_(0, 1)


def whole(pictures: Tensor, side: int) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, side, side): the whole picture, as the shipped model sees it."""
    pixels = pictures.permute(0, 3, 1, 2).float() / 255
    if pixels.shape[-1] == side:
        return pixels
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)


_constants: dict[tuple[str, torch.device], Tensor] = {}


def _there(name: str, value: Tensor | Callable[[], Tensor], device: torch.device) -> Tensor:
    """A constant on the device, sent there once: each sending makes the CPU wait for what the GPU still does."""
    if (name, device) not in _constants:
        _constants[name, device] = (value if isinstance(value, Tensor) else value()).to(device)
    return _constants[name, device]


def _uniform(low: float, high: float, shape: tuple[int, ...], chance: Generator) -> Tensor:
    return torch.rand(shape, generator=chance, device=chance.device) * (high - low) + low


def _some(count: int, share: float, chance: Generator) -> Tensor:
    """As many of the rows 0 .. count - 1 as the share says, to the nearest, in an order drawn by chance; each as likely as any."""
    return torch.randperm(count, generator=chance, device=chance.device)[: round(count * share)]


def _chosen(count: int, share: float, chance: Generator) -> Tensor:
    """(count,) bool, each by itself."""
    return torch.rand(count, generator=chance, device=chance.device) < share


def _move(pixels: Tensor, cuts: Cuts, side: int, config: Config, chance: Generator) -> Tensor:
    """Cut, squash, mirror, rotate and zoom out in one sampling; what comes from outside the picture is one colour."""
    count = len(pixels)
    padded = _chosen(count, config.pad_share, chance) & ~cuts.inner
    zoom = _uniform(1, 1.6, (count, 2), chance)
    zoom = torch.stack([torch.where(_chosen(count, 0.5, chance), 1.0, zoom[:, 0]), zoom[:, 1]], 1)  # bars on two sides only
    size = torch.where(padded[:, None], cuts.size * zoom, cuts.size)
    angle = _uniform(-1, 1, (count,), chance) * math.radians(config.rotate_degrees)
    angle = torch.where(_chosen(count, config.rotate_share, chance), angle, 0.0)
    fill = _fill(pixels, chance)  # (B, 3, 1, 1)
    grid = _places(cuts, size, angle, side)
    return F.grid_sample(pixels - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fill


def _places(cuts: Cuts, size: Tensor, angle: Tensor, side: int) -> Tensor:
    """(B, side, side, 2): where in its picture, in [-1, 1], each pixel of a view lies, of this size (B, 2), turned by angle (B,)."""
    (across, down), cos, sin, mirror = size.unbind(1), angle.cos(), angle.sin(), cuts.mirror
    turned = torch.stack([torch.stack([cos * across * mirror, -sin * down], 1), torch.stack([sin * across * mirror, cos * down], 1)], 1)
    theta = torch.cat([turned, cuts.centre[:, :, None]], 2)  # (B, 2, 3): view coordinates -> picture coordinates
    return F.affine_grid(theta, [len(size), 3, side, side], align_corners=False)


def _fill(pixels: Tensor, chance: Generator) -> Tensor:
    """Colour of the outside: black, white, the picture's mean, or any."""
    kind = torch.randint(0, 4, (len(pixels), 1, 1, 1), generator=chance, device=chance.device)
    anything = _uniform(0, 1, (len(pixels), 3, 1, 1), chance)
    mean = pixels.mean((2, 3), keepdim=True)
    return torch.where(kind == 0, 0.0, torch.where(kind == 1, 1.0, torch.where(kind == 2, mean, anything)))


def _recolour(pixels: Tensor, config: Config, chance: Generator) -> Tensor:
    """Brightness, contrast, saturation and tint as one matrix a picture."""
    count = len(pixels)
    calm = ~_chosen(count, config.jitter_share, chance)[:, None, None]
    grey = _chosen(count, config.grey_share, chance)[:, None, None]
    saturation = torch.where(grey, 0.0, torch.where(calm, 1.0, _uniform(0.6, 1.4, (count, 1, 1), chance)))
    contrast = torch.where(calm, 1.0, _uniform(0.7, 1.3, (count, 1, 1), chance))
    gain = torch.where(calm, 1.0, _uniform(0.7, 1.3, (count, 1, 1), chance) * _uniform(0.9, 1.1, (count, 3, 1), chance))
    luma, same = _there("luma", _LUMA, pixels.device).expand(3, 3), torch.eye(3, device=pixels.device)
    matrix = gain * contrast * (saturation * same + (1 - saturation) * luma)  # (B, 3, 3)
    offset = 0.5 * gain * (1 - contrast)  # (B, 3, 1)
    return torch.baddbmm(offset, matrix, pixels.flatten(2)).view_as(pixels)


# ---- laid over ---------------------------------------------------------------------------------------------------------------------


def _draw_marks() -> Tensor:
    """(_MARKS, 1, 24, 96) float32 in [0, 1]: lines of drawn letters, from a fixed seed."""
    from PIL import Image, ImageDraw, ImageFont

    dice = np.random.default_rng(0)
    letters = np.array(list(string.ascii_letters + string.digits + "   .,!?&"))
    marks = []
    for _ in range(_MARKS):
        text = "".join(dice.choice(letters, int(dice.integers(3, 14))))
        image = Image.new("L", (96, 24))
        ImageDraw.Draw(image).text((2, 1), text, fill=255, font=ImageFont.load_default(int(dice.integers(12, 22))))
        marks.append(torch.from_numpy(np.asarray(image, np.float32) / 255))
    return torch.stack(marks)[:, None]


def _stick(pixels: Tensor, config: Config, chance: Generator) -> None:
    """Text, boxes, or text on a box, over some of the pictures, in place."""
    marks = _there("marks", _draw_marks, pixels.device)
    rows, side = _some(len(pixels), config.sticker_share, chance), pixels.shape[-1]
    count = len(rows)
    if not count:
        return
    wide, high, left, top, strength, kind = _uniform(0, 1, (6, count, 1), chance)  # (n, 1) each
    colours = _uniform(0, 1, (2, count, 3, 1, 1), chance)
    w, h = 0.25 + 0.75 * wide, 0.08 + 0.22 * high  # as shares of the side
    at = (torch.arange(side, device=pixels.device) + 0.5) / side
    x, y = (at - (1 - w) * left) / w * 2 - 1, (at - (1 - h) * top) / h * 2 - 1  # (n, side), in [-1, 1] inside
    inside = (x.abs() <= 1)[:, None, None, :] & (y.abs() <= 1)[:, None, :, None]  # (n, 1, side, side)
    grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], 3)
    which = torch.randint(0, _MARKS, (count,), generator=chance, device=chance.device)
    text = F.grid_sample(marks[which], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    box = inside * ((kind > 0.4) * (0.6 + 0.4 * strength))[:, :, None, None]
    text = text * (inside & (kind < 0.8)[:, :, None, None])
    ink = torch.where((strength > 0.5)[:, :, None, None], colours[1].round(), colours[1])  # print is often black or white
    pixels[rows] = pixels[rows].lerp(colours[0].expand(-1, -1, side, side), box).lerp(ink.expand(-1, -1, side, side), text)


# ---- loss of detail ----------------------------------------------------------------------------------------------------------------


def _coarsen(pixels: Tensor, config: Config, chance: Generator) -> None:
    """Blur, reduce, block or roughen some of the pictures, in place."""
    count, side = len(pixels), pixels.shape[-1]
    dice = random.Random(chance.initial_seed())  # on the CPU, where sizes are needed; one amount a kind and batch: batches are many
    for rows, coarser in zip(_some(count, config.coarse_share, chance).tensor_split(3), (_blur, _reduce, _block), strict=True):
        if len(rows):
            pixels[rows] = coarser(pixels[rows], dice.random())
    rows = _some(count, config.noise_share, chance)
    if len(rows):
        noise = torch.randn((len(rows), 3, side, side), generator=chance, device=chance.device)
        pixels[rows] += noise * _uniform(0.01, 0.08, (len(rows), 1, 1, 1), chance)


def _blur(pixels: Tensor, amount: float) -> Tensor:
    sigma = 0.5 + 1.2 * amount
    taps = torch.exp(-0.5 * (torch.arange(-3, 4, device=pixels.device) / sigma) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, 1, 7)
    pixels = F.conv2d(F.pad(pixels, (3, 3, 0, 0), mode="reflect"), taps, groups=3)
    return F.conv2d(F.pad(pixels, (0, 0, 3, 3), mode="reflect"), taps.transpose(2, 3), groups=3)


def _reduce(pixels: Tensor, amount: float) -> Tensor:
    side = pixels.shape[-1]
    small = max(8, int(side * (0.25 + 0.45 * amount)))
    reduced = F.interpolate(pixels, (small, small), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(reduced, (side, side), mode="bilinear", align_corners=False)


# Annex K of the JPEG standard (ITU-T T.81), luminance.
_QUANTA = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_FREQUENCY = torch.arange(8).view(8, 1)
_COSINES = torch.cos((2 * torch.arange(8) + 1) * _FREQUENCY * math.pi / 16) * torch.where(_FREQUENCY == 0, 0.125**0.5, 0.5)  # (8, 8)


def _block(pixels: Tensor, amount: float) -> Tensor:
    """Quantise the 8 x 8 cosine transform of each channel, as JPEG does at quality 10 to 60; the sides are cut to whole blocks."""
    quality = 10 + 50 * amount
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    quanta = _there("quanta", _QUANTA, pixels.device) * (scale / 255)
    cosines = _there("cosines", _COSINES, pixels.device)
    high, wide = pixels.shape[2] // 8, pixels.shape[3] // 8
    inner = pixels[:, :, : high * 8, : wide * 8]
    blocks = inner.unflatten(3, (wide, 8)).unflatten(2, (high, 8)).transpose(3, 4)  # (B, 3, high, wide, 8, 8)
    waves = cosines @ (blocks - 0.5) @ cosines.T
    back = cosines.T @ (torch.round(waves / quanta) * quanta) @ cosines + 0.5
    out = pixels.clone()
    out[:, :, : high * 8, : wide * 8] = back.transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return out
