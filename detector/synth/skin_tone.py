"""The colour of human skin from how much melanin and blood it holds."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["MELANIN_RANGE", "skin_colour"]

Floats = NDArray[np.float32]
# Volume fraction of melanosomes in the epidermis, from lightly to darkly pigmented adults (Jacques 1998).
MELANIN_RANGE = (0.013, 0.43)
# One wavelength stands for each of red, green and blue, in nm, for melanin and scattering, which change slowly.
_WAVELENGTHS = np.array([615.0, 540.0, 465.0])
# Molar extinction of haemoglobin with and without oxygen, cm^-1 / (mol / l): rough means over the bands 590 to 680,
# 500 to 590 and 430 to 500 nm of Prahl's table, whose peaks no single wavelength stands for.
_OXY = np.array([1900.0, 33000.0, 62000.0])
_DEOXY = np.array([7600.0, 36000.0, 90000.0])
_OXYGENATED = 0.7
# Grams per litre of blood, grams per mole; 2.303 turns decadic extinction into absorption.
_BLOOD = 2.303 * 150 / 64500 * (_OXYGENATED * _OXY + (1 - _OXYGENATED) * _DEOXY)
# Absorption of a melanosome and of skin without blood and melanin, reduced scattering of dermis, all cm^-1.
_MELANOSOME = 6.6e11 * _WAVELENGTHS**-3.33
_BASELINE = 7.84e8 * _WAVELENGTHS**-3.255
# What the surface itself throws back, of any colour.
_SURFACE = 0.012
# The half space loses light that the thin, layered skin gives back: this brings the lightest skin to what is measured.
_GAIN = 1.3
_SCATTERING = 46.0 * (_WAVELENGTHS / 500.0) ** -1.42
# Twice the thickness of the epidermis, lengthened by oblique paths: cm.
_PATH = 0.0115
# Internal reflection at the surface for a refractive index of 1.4.
_K = 3.25


def skin_colour(melanin: Floats, blood: Floats) -> Floats:
    """Return (N, 3) linear RGB albedo of skin.

    Args:
        melanin: (N,) volume fraction of melanosomes in the epidermis; adults are within `MELANIN_RANGE`.
        blood: (N,) volume fraction of blood in the dermis, about 0.01 to 0.05.

    Source:
        S. L. Jacques, "Skin Optics", Oregon Medical Laser Center News, 1998 (melanosome and baseline absorption,
        fractions); S. Prahl, "Optical absorption of hemoglobin", 1999; diffuse reflectance of a half space by
        Flock et al., Med. Phys. 16 (1989), equation 1. The epidermis only filters here, and the three wavelengths
        stand for whole bands: a gamut to draw from, not a measurement.
    """
    absorbed = _BASELINE + blood[:, None] * _BLOOD
    albedo = _SCATTERING / (_SCATTERING + absorbed)
    rest = 1 - albedo
    dermis = albedo / (1 + 2 * _K * rest + (1 + 2 * _K / 3) * np.sqrt(3 * rest))
    colour: Floats = (_SURFACE + _GAIN * dermis * np.exp(-_PATH * melanin[:, None] * _MELANOSOME)).astype(np.float32)
    return colour
