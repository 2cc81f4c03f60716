"""What can go wrong, and the exit code that says so."""

from enum import IntEnum

from .escape import visible


class Exit(IntEnum):
    """Exit codes of every command; the only place where they are given numbers."""

    OK = 0
    FAILED = 1  # the gate failed or could not decide
    USAGE = 2  # a flag, the config or a file is wrong
    CRASH = 3  # probe could not measure, or has a bug
    INTERRUPTED = 130  # Ctrl-C; what was measured is kept


class ProbeError(Exception):
    """An expected failure, told in one line: place, fact, remedy. Ends a command with `code`.

    Each argument is a line of its own. Texts of the user's (names, ids, paths) may stand in it as they are:
    nothing in them ends a line or reaches a terminal as a control character.
    """

    code = Exit.USAGE

    def __str__(self) -> str:
        return "\n".join(visible(str(line)) for line in self.args)


class CannotMeasure(ProbeError):
    """The input is fine, the measurement is not: non-finite scores, a full disk, no memory left."""

    code = Exit.CRASH
