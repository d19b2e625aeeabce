"""WFDB's symbols for the labels of heartbeats."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from skecgattn._labels import NORMAL_LABELS

BEAT_SYMBOLS = "NLRBAaJSVrFejnE/fQ?"
"""Symbols that stand for a heartbeat in WFDB's annotation files."""

NORMAL_SYMBOLS = "NLRBejn"
"""Those of beats in their normal place."""

_NAMES = {
    # "0" and "false" may be the number of a column
    "N": (*(name for name in NORMAL_LABELS if name not in ("0", "false")), "normal beat"),
    "V": ("v", "pvc", "vpc", "vpb", "veb", "ventricular", "ventricular ectopic beat"),
    "S": ("s", "sveb", "svpb", "supraventricular", "supraventricular ectopic beat"),
    "A": ("a", "pac", "apc", "apb", "atrial premature beat"),
    "J": ("j", "pjc", "junctional premature beat"),
    "F": ("f", "fusion", "fusion beat"),
    "L": ("l", "lbbb", "left bundle branch block"),
    "R": ("r", "rbbb", "right bundle branch block"),
    "/": ("paced", "paced beat", "pacemaker"),
    "Q": ("q", "unknown", "unclassifiable"),
}
_BY_NAME = {name: symbol for symbol, names in _NAMES.items() for name in names}


def known_symbols(labels: Iterable[Hashable]) -> dict[Hashable, str]:
    """Return the symbols of those labels that are a symbol, or a usual name of a kind of beat."""
    found = {}
    for label in labels:
        name = str(label).strip()
        symbol = name if len(name) == 1 and name in BEAT_SYMBOLS else _BY_NAME.get(name.casefold())
        if symbol is not None:
            found[label] = symbol
    return found


def beat_symbols(
    labels: Iterable[Hashable], symbols: Mapping[Hashable, str] | None = None
) -> dict[Hashable, str]:
    """Return the WFDB symbol of each label.

    Parameters
    ----------
    labels : iterable
        Labels of heartbeats. Symbols themselves ("V", "A", "N") and usual names ("PVC", "PAC", "normal")
        are known.

    symbols : dict, default=None
        Symbols of further labels, or other ones, as ``{label: symbol}``.

    Returns
    -------
    symbols : dict
        The symbol of each label.

    Raises
    ------
    ValueError
        If a label is unknown, or a symbol is none of a heartbeat.

    References
    ----------
    .. [1] "WFDB annotation codes", PhysioNet, https://physionet.org/physiotools/wpg/wpg_36.htm

    Examples
    --------
    >>> from skecgattn.records import beat_symbols
    >>> beat_symbols(["normal", "PVC", "RVOT"], {"RVOT": "V"})
    {'normal': 'N', 'PVC': 'V', 'RVOT': 'V'}
    """
    labels, given = list(labels), dict(symbols or {})
    if unknown := [label for label in given if label not in labels]:
        raise ValueError(
            f"symbols has labels that no heartbeat can have: {unknown}; those there are: {labels}."
        )
    if wrong := [symbol for symbol in given.values() if len(str(symbol)) != 1 or symbol not in BEAT_SYMBOLS]:
        raise ValueError(f"symbols must be WFDB's symbols of heartbeats, of {BEAT_SYMBOLS!r}, got {wrong}.")
    found = known_symbols(labels) | given
    if missing := [label for label in labels if label not in found]:
        raise ValueError(
            f"No WFDB symbol is known for the label(s) {missing}: give them, "
            f"symbols={dict.fromkeys(missing, 'V')} if these are ventricular beats."
        )
    return {label: found[label] for label in labels}
