"""`python -m dact_jax.main` imported ahead of time: it begins when a line arrives.

The labelling page starts it while a person answers, so that the next round does not
wait for the imports.
"""

import sys
from collections.abc import Sequence

from dact_jax import main as command


def main(argv: Sequence[str]) -> None:
    """Waits for a line on the standard input, then runs; at its end, runs nothing."""
    if sys.stdin.readline():
        command.main(argv)


if __name__ == "__main__":
    main(sys.argv)
