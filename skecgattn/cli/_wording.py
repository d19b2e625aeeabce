"""Messages of the library in the words of the command line: options instead of Python's arguments."""

from __future__ import annotations

import re

_PHRASES = (
    (r"^(leads|symbols|classes|methods|threshold|tolerance|units) must", r"--\1 must"),
    (r"^sampling_rate must be given", "--sampling-rate must be given"),
    (r"^symbols has", "--symbols has"),
    (r"\bsymbols=", "--symbols "),
    (r"^extension must", "--annotator must"),
    (r"\bleads=\[\.\.\.\]", "--leads NAME,NAME"),
    (r"\boverwrite=True\b", "--overwrite"),
    (r"\bdevice='([^']*)'", r"--device \1"),
    (r"\bn_(strips|repeats)=(\d+)", r"--\1 \2"),
    (r"^y has one class only", "the ECGs have one label only"),
    (r"\btell read_record the file's units", "give the file's --units"),
    (r"\bannotate_many\b", "skecgattn annotate"),
)
_NAMES = re.compile(r"\[((?:'[^']*'|\"[^\"]*\")(?:, (?:'[^']*'|\"[^\"]*\"))*)\]")
_VALUES = re.compile(r"\{((?:(?:'[^']*'|\d+): [^,{}]+)(?:, (?:'[^']*'|\d+): [^,{}]+)*)\}")


def in_options(message: str) -> str:
    """Return a message with the options that it means, and lists and pairs as one writes them there.

    Examples
    --------
    >>> in_options("leads must name the 2 lead(s) that the model reads, got ['I', 'II', 'V1'].")
    '--leads must name the 2 lead(s) that the model reads, got I, II, V1.'
    >>> in_options("threshold must be in [0, 1], got {'V': 2.0}.")
    '--threshold must be in [0, 1], got V=2.0.'
    >>> in_options("give them, symbols={0: 'V', 1: 'V'} if these are ventricular beats.")
    'give them, --symbols 0=V,1=V if these are ventricular beats.'
    """
    for pattern, option in _PHRASES:
        message = re.sub(pattern, option, message)
    message = _NAMES.sub(lambda found: re.sub(r"'([^']*)'|\"([^\"]*)\"", r"\1\2", found[1]), message)
    return _VALUES.sub(lambda found: ",".join(f"{name}={value}" for name, value in _items(found[1])), message)


def _items(text: str) -> list[tuple[str, str]]:
    """Return names and values of what Python writes of a dict, without quotes."""
    return [
        (name.strip("'"), value.strip("'")) for name, value in re.findall(r"('[^']*'|\d+): ([^,]+)", text)
    ]
