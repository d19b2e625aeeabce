"""How times, counts and lists are written for people."""

from __future__ import annotations

from collections.abc import Sequence


def clock(seconds: float, decimals: int = 0) -> str:
    """Write a time as h:mm:ss, with decimals where wanted."""
    unit = 10**decimals
    ticks = round(seconds * unit)
    rest, whole = ticks % unit, ticks // unit
    text = f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{text}.{rest:0{decimals}d}" if decimals else text


def counted(n: float, noun: str, form: str = "d") -> str:
    """Write a whole number and what it counts: "1 run", "2 runs"."""
    return f"{int(n):{form}} {noun}{'' if n == 1 else 's'}"


def few(names: Sequence[str]) -> str:
    """List the first five of some names."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
