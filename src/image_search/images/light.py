"""Colour spaces told by numbers (ITU-T H.273, PNG's gAMA and cHRM), and the ICC profiles that say the same."""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["HLG", "PQ", "PRIMARIES", "SRGB", "USUAL_PEAK", "Chromaticities", "colourants", "curve_of", "gamma_curve", "profile_of"]

Chromaticities = tuple[float, float, float, float, float, float, float, float]  # x and y of white, red, green, blue

_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
PRIMARIES: dict[int, Chromaticities] = {
    1: (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06),  # BT.709, sRGB
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # BT.470 System M
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.470 System B, G
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # BT.601
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # SMPTE 240M
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),  # film
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # SMPTE RP 431-2
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),  # EBU Tech 3213
}
SRGB, PQ, HLG = 13, 16, 18  # transfer functions
USUAL_PEAK = 1000.0  # cd/m2 of the brightest light, where a file does not say; the nominal peak of BT.2100's HLG as well


# --- curves and profiles -----------------------------------------------------------------------------------------------------


def gamma_curve(exponent: float) -> bytes:
    """encoded ** exponent = light, as a parametric curve of ICC."""
    return _parametric(0, exponent)


def _parametric(kind: int, *values: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(f">HH{len(values)}i", kind, 0, *(round(value * 65536) for value in values))


_VIDEO = gamma_curve(2.4)  # BT.709, 601 and 2020 as a screen shows them (BT.1886), not as a camera takes them
_CURVES = {
    1: _VIDEO, 4: gamma_curve(2.2), 5: gamma_curve(2.8), 6: _VIDEO, 8: gamma_curve(1.0),
    13: _parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045), 14: _VIDEO, 15: _VIDEO,
}  # fmt: skip


def curve_of(transfer: int) -> bytes | None:
    """Of a transfer function of standard range; None for all others."""
    return _CURVES.get(transfer)


def profile_of(xy: Chromaticities, curve: bytes) -> bytes | None:
    """An ICC profile (version 4) of these primaries and this curve; None if the primaries are none."""
    columns = colourants(xy)
    if columns is None:
        return None
    values = {b"wtpt": _D50, b"rXYZ": columns[:, 0], b"gXYZ": columns[:, 1], b"bXYZ": columns[:, 2]}
    tags = {name: b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in xyz)) for name, xyz in values.items()}
    tags |= {name: curve + bytes(-len(curve) % 4) for name in (b"rTRC", b"gTRC", b"bTRC")}
    at, table, data = 132 + 12 * len(tags), b"", b""
    for name, body in tags.items():
        table += name + struct.pack(">II", at + len(data), len(body))
        data += body
    head = struct.pack(">I4xI12s", at + len(data), 0x04000000, b"mntrRGB XYZ ") + struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp")
    head += bytes(28) + struct.pack(">3i", *(round(v * 65536) for v in _D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


MOST_XYZ = 100.0  # of a real primary 1.1 at most; a profile's numbers end at 32,768
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))


def colourants(xy: Chromaticities) -> Any:
    """(3, 3) float64: XYZ of red, green, blue in its columns, adapted to D50 (Bradford); None if they span no space."""
    import numpy as np

    if any(not 0 < y <= 1 or not 0 <= x <= 1 for x, y in zip(xy[::2], xy[1::2], strict=True)):
        return None
    white, *rgb = (np.array((x / y, 1.0, (1 - x - y) / y)) for x, y in zip(xy[::2], xy[1::2], strict=True))
    columns = np.stack(rgb, axis=1)
    if abs(np.linalg.det(columns)) < 1e-6:
        return None
    native = columns * np.linalg.solve(columns, white)
    cone = np.array(_BRADFORD)
    adapted = np.linalg.inv(cone) @ np.diag(cone @ np.array(_D50) / (cone @ white)) @ cone @ native
    return adapted if np.abs(adapted).max() < MOST_XYZ else None
