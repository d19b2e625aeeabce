"""Beat classes of ANSI/AAMI EC57 and the patient-wise split of MIT-BIH by de Chazal et al. (2004)."""

from __future__ import annotations

AAMI_CLASSES: dict[str, tuple[str, ...]] = {
    "N": ("N", "L", "R", "e", "j"),
    "S": ("A", "a", "J", "S"),
    "V": ("V", "E"),
    "F": ("F",),
    "Q": ("/", "f", "Q"),
}
"""WFDB beat symbols of each AAMI class."""

BEAT_CLASS: dict[str, str] = {symbol: name for name, symbols in AAMI_CLASSES.items() for symbol in symbols}
"""AAMI class of each WFDB beat symbol; symbols that are no beats are absent."""

# fmt: off
MITBIH_DS1 = (
    "101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122", "124", "201",
    "203", "205", "207", "208", "209", "215", "220", "223", "230",
)
MITBIH_DS2 = (
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210", "212", "213",
    "214", "219", "221", "222", "228", "231", "232", "233", "234",
)
MITBIH_PACED = ("102", "104", "107", "217")
# fmt: on


def aami_class(symbol: str) -> str | None:
    """Return the AAMI class of a WFDB beat symbol, or None where the symbol is no beat."""
    return BEAT_CLASS.get(symbol)
