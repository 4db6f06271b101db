"""A plugin of pytest that prints a short table of coverage; `make coverage` loads it.

It prints the share of each package and the files with the lowest, in place of a line for each of
some hundred files, and ahead of pytest's own summary line.
"""

from collections import defaultdict
from pathlib import Path

LOWEST = 10


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("cov_source") and not config.getoption("collectonly"):
        import coverage

        measured = coverage.Coverage()
        measured.load()
        terminalreporter.section("coverage of statements", sep="-")
        for line in table(statements_of_files(measured)):
            terminalreporter.write_line(line)


def statements_of_files(measured):
    """How many statements each file has, and how many of them never ran."""
    files = {}
    for name in measured.get_data().measured_files():
        _, statements, _, missing, _ = measured.analysis2(name)
        files[Path(name).relative_to(Path.cwd()).as_posix()] = len(statements), len(missing)
    return files


def table(files):
    """Lines with the share of each package, of all, and of the files with the lowest.

    Args:
        files: For each path the number of statements and of those that never ran.
    """
    packages = defaultdict(lambda: (0, 0))
    for path, (statements, missing) in sorted(files.items()):
        for group in (path.split("/")[0], "total"):
            known = packages[group]
            packages[group] = known[0] + statements, known[1] + missing
    packages["total"] = packages.pop("total", (0, 0))  # It comes last.
    incomplete = {path: counts for path, counts in files.items() if counts[1]}
    lowest = sorted(incomplete, key=lambda path: (_share(*files[path]), path))[:LOWEST]
    rows = [*packages.items(), *((path, files[path]) for path in lowest)]
    width = max(len(name) for name, _ in rows)
    lines = [f"{'':{width}}  share  never ran  statements"]
    lines += [f"{name:{width}}  {_share(*n):5.1%}  {n[1]:9}  {n[0]:10}" for name, n in rows]
    lines.insert(len(packages) + 1, f"the {len(lowest)} files with the lowest share:")
    return lines


def _share(statements, missing):
    return 1 - missing / statements if statements else 1.0
