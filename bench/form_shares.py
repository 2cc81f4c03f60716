"""What share of one side counts as a form by the code of today, beside what the stored gates had counted.

    python bench/form_shares.py [--folder SETS]     a line for each stored set, and what would change

A new form must not change the verdict of a stored set unnoticed: of a set whose share crosses the limit the
gate is to be measured again. Text alone, no model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import validity


def main() -> int:
    """Print the table; 1 where a share crosses the limit."""
    from probe.pairs.read import read_pairs
    from probe.probes.negatives.pattern_findings import templates_of, widest
    from probe.shared_limits import TEMPLATE_LIMIT

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="further sets, as registry_sets.py makes them")
    folder = parser.parse_args().folder
    validity.FOLDERS.extend([folder] if folder else [])
    crossed = []
    print("| set | seed | stored | today | form |\n|---|--:|--:|--:|---|")
    for row in validity.load():
        if row["method"] != "gate" or row["model"] != "embedded":
            continue  # the pairs of a set are the same for every model
        with tempfile.TemporaryDirectory() as place:
            pairs = list(read_pairs(validity.split(row["set"], row["seed"], Path(place))[1]))
        today = next(widest(templates_of(pairs, ("chosen", "rejected")), pairs, 0.05))
        was, now = (row["estimates"].get("template_share") or [0.0])[0], today.value or 0.0
        form = today.method.partition(";")[0].removeprefix("exact count, ")
        print(f"| {row['set']} | {row['seed']} | {was:.2f} | {now:.2f} | {form} |", flush=True)
        crossed += [row["key"]] if (was > TEMPLATE_LIMIT) != (now > TEMPLATE_LIMIT) else []
    print(f"\nCross the limit of {TEMPLATE_LIMIT}: {', '.join(crossed) or 'none'}.")
    return int(bool(crossed))


if __name__ == "__main__":
    sys.exit(main())
