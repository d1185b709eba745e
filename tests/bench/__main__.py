"""`python -m tests.bench`: the benchmark of requests and that of sync, or what is named."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "src"))

from tests.bench import scale
from tests.bench.requests import run

USAGE = """\
python -m tests.bench                    all of it, at most an hour
python -m tests.bench requests [...]     how requests are served, beside what else would serve them
python -m tests.bench scale [...]        how sync scales
python -m tests.bench share [...]        two processes of sync, one of them killed

each of them has a --help
"""


def main(arguments: list[str]) -> int:
    """The first word says which; without any, one after the other, the worst exit status being that of both."""
    if not arguments:
        return max(run.main([]), scale.main([]))
    if arguments[0] == "requests":
        return run.main(arguments[1:])
    if arguments[0] in scale.PARTS:
        return scale.main(arguments)
    asked = arguments[0] in ("-h", "--help")
    print(USAGE, end="", file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


sys.exit(main(sys.argv[1:]))
