"""Sets of completion indexes as the status writes them: "1,3-5,7".

Source: pkg/controller/job/indexed_job_utils.go (v1.37): runs of two are written with a comma, longer ones with a dash.
"""

from collections.abc import Collection, Iterable


def parse_set(text: str) -> set[int]:
    """Read a set; what is not well-formed is left out."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if first.isdigit() and (last.isdigit() or not last):
            found.update(range(int(first), int(last or first) + 1))
    return found


def format_set(numbers: Iterable[int]) -> str:
    """Write a set."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(",".join(map(str, run)) if len(run) < 3 else f"{run[0]}-{run[-1]}" for run in runs)


def first_missing(taken: Collection[int], count: int, end: int) -> list[int]:
    """Return the lowest numbers below `end` that are not taken, at most `count`."""
    found: list[int] = []
    for number in range(end):
        if len(found) == count:
            break
        if number not in taken:
            found.append(number)
    return found
