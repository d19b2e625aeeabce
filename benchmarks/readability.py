"""How much of recordings is taken for unreadable, and whether that is where the noise is.

`unreadable_stretches` at its defaults on the MIT-BIH Arrhythmia Database, on record 118e_6 of its Noise
Stress Test (electrode motion at -6 dB, from minute 5 on for two of every four minutes), and on the
twelve-lead ECGs of LUDB and of the PhysioNet Challenge 2021 that lie in the data. Writes
``readability.json`` and ``readability.md`` beside this file::

    SKECGATTN_DATA=... python benchmarks/readability.py
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from _tables import markdown, record_paths, write
from tqdm.auto import tqdm

from skecgattn.records import Record, read_record, unreadable_stretches

FIRST_NOISE, PERIOD, NOISY = 300, 240, 120
"""Seconds: where the noise of 118e_6 begins, how often, and for how long."""


def marked(record: Record) -> np.ndarray:
    """Return which samples are unreadable."""
    mask = np.zeros(record.n_timesteps, dtype=bool)
    for start, stop in unreadable_stretches(record.read(), record.sampling_rate).tolist():
        mask[start:stop] = True
    return mask


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder for the tables")
    options = parser.parse_args()
    if "SKECGATTN_DATA" not in os.environ:
        parser.error("SKECGATTN_DATA must name the folder with mitdb, ludb and cinc2021_samples")
    data = Path(os.environ["SKECGATTN_DATA"])
    rows: list[dict[str, Any]] = []
    for name in ("mitdb", "ludb", "cinc2021_samples"):
        shares = {path.name: marked(read_record(path)) for path in tqdm(record_paths(data / name), desc=name)}
        most = sorted(shares, key=lambda record: -int(shares[record].sum()))[:2]
        rows.append(
            {
                "what": name,
                "records": len(shares),
                "with unreadable stretches": sum(bool(mask.any()) for mask in shares.values()),
                "share": float(np.concatenate(list(shares.values())).mean()),
                "most in": ", ".join(record for record in most if shares[record].any()),
            }
        )
    record = read_record(data / "nstdb" / "118e_6")
    second = np.arange(record.n_timesteps) / record.sampling_rate - FIRST_NOISE
    noisy = (second >= 0) & (second % PERIOD < NOISY)
    mask = marked(record)
    for what, part in (("118e_6, noisy minutes", noisy), ("118e_6, the others", ~noisy)):
        share = float(mask[part].mean())
        rows.append(
            {
                "what": what,
                "records": 1,
                "with unreadable stretches": int(share > 0),
                "share": share,
                "most in": "",
            }
        )
    write(options.output / "readability.json", json.dumps(rows, indent=1) + "\n")
    body = [[f"{value:.4f}" if name == "share" else value for name, value in row.items()] for row in rows]
    write(options.output / "readability.md", "\n".join(markdown(list(rows[0]), body)) + "\n")


if __name__ == "__main__":
    main()
