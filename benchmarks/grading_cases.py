"""What a mark withstands: every wrong answer, right answer, accident and attack of the tests, one line of data each.

    python benchmarks/grading_cases.py [--only attacks] [--json benchmarks/results/grading_cases.json]

The cases are those of tests/ (grading_cases, plausible, test_grading.py) and of the exercises themselves. Each is
graded by the real grader, and what came out is put beside what it deserves. All attacks run in the strongest sandbox,
in the weaker ones those on which a sandbox has an influence, as in the tests. Exit status 1 says that some got what
they do not deserve. A quarter of an hour on two cores; Linux.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from page_parts import table, this_machine, versions  # noqa: E402

from minilora.exercises.judging import CORRECT, CRASHED, judge_locally  # noqa: E402
from minilora.exercises.registry import HANDS_ON, QUESTIONS  # noqa: E402
from minilora.grading import sandbox  # noqa: E402
from minilora.grading.grade import grade  # noqa: E402
from minilora.grading.marks import GRADED, UNDECIDED, Course  # noqa: E402
from minilora.grading.session import Deadlines  # noqa: E402
from minilora.grading.submission import Submission, read_notebook  # noqa: E402
from tests import plausible, test_grading, test_grading_accidents, test_grading_answers  # noqa: E402
from tests.grading_cases import accidents, answers, attacks  # noqa: E402
from tests.test_grading import ALSO_GOOD, BOXES, GOOD, STRONGEST, as_cell, as_notebook, merge_that  # noqa: E402
from tests.test_grading_attacks import written  # noqa: E402

Row = dict[str, Any]
COURSE = Course(test_grading.COURSE.secret, ("merge", "unmerge"), Deadlines(cell=5, call=4, all=90))
LITTLE_MEMORY = 2**30  # bytes: until a bomb has filled what a submission may have takes seconds


def page(recorded: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = [
        [name, counted["cases"], counted["as deserved"], counted.get("named", "")]
        for name, counted in recorded["counts"].items()
    ]
    head = ["", "cases", "as deserved", "told what is wrong"]
    return (
        f"{versions(recorded['machine'])}. A wrong answer deserves no points, a right one all, an accident all or a "
        "crash with its line, an attack what its code does. Every case is a line of results/grading_cases.json.\n\n"
        + table(head, rows)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    sandbox.LIMITS["AS"] = LITTLE_MEMORY
    rows: list[Row] = []
    for kind in options.only:
        for row in KINDS[kind]():
            rows.append({"kind": kind} | row)
            if not row["as deserved"]:
                print(rows[-1], flush=True)
        print(f"{kind}: done", flush=True)
    told = {"machine": this_machine("numpy", "torch"), "counts": counts(rows), "rows": rows}
    print(json.dumps(told["counts"], indent=1))
    if options.json:
        text = json.dumps(told, indent=None, ensure_ascii=False)
        options.json.write_text(text.replace('{"kind"', '\n{"kind"') + "\n", encoding="utf-8", newline="\n")
    return 0 if all(row["as deserved"] for row in rows) else 1


def counts(rows: list[Row]) -> dict[str, Row]:
    """How many of each kind, and of attacks in each sandbox."""
    found: dict[str, Row] = {}
    for row in rows:
        name = row["kind"] + (f" in {row['sandbox']}" if row["kind"] == "attacks" else "")
        counted = found.setdefault(name, Counter())
        counted["cases"] += 1
        counted["as deserved"] += row["as deserved"]
        if "named" in row:
            counted["named"] += row["named"]
    return {name: dict(counted) for name, counted in found.items()}


# -- functions and numbers ---------------------------------------------------------------------------------------------


def wrong_answers() -> Iterator[Row]:
    """Refused by each of three draws; named says that a sentence, or the error, tells what is wrong."""
    for exercise in HANDS_ON:
        listed = {f"listed: {wrong.key}": wrong.function for wrong in exercise.wrong}
        for case, function in (listed | plausible.FUNCTIONS[exercise.name]).items():
            with np.errstate(all="ignore"):
                found = [judge_locally(exercise, function, seed) for seed in (5, 6, 7)]
            named = all(result.mistake or result.outcome == CRASHED for result in found)
            refused = all(result.outcome != CORRECT and not result.earned for result in found)
            yield {"case": f"{exercise.name}: {case}", "as deserved": refused, "named": named}
    for question in QUESTIONS:
        mine = question.numbers("ada")
        for part in question.parts:
            slips = {key: value for key, value, _ in part.wrong(mine)}
            slips |= {
                key: wrong(mine)
                for key, wrong in plausible.NUMBERS.get(question.name, {}).get(part.key, {}).items()
            }
            for case, value in slips.items():
                item = part.judge(value, mine)
                place = f"{question.name}, {part.key}: {case}"
                yield {"case": place, "as deserved": item.outcome != CORRECT, "named": bool(item.mistake)}


def right_answers() -> Iterator[Row]:
    """Accepted by each of three draws; answers to a question in every way to write them."""
    for exercise in HANDS_ON:
        functions = {"solution": exercise.solution} | {v.key: v.function for v in exercise.variants}
        for case, function in functions.items():
            found = [judge_locally(exercise, function, seed).outcome for seed in (5, 6, 7)]
            yield {"case": f"{exercise.name}: {case}", "as deserved": set(found) == {CORRECT}}
    for case, cells in answers.WAYS.items():
        result = test_grading_answers.graded(test_grading_answers.cells_of(cells), STRONGEST)
        right = (result.status, result.score) == (GRADED, test_grading_answers.QUESTION.points)
        yield {"case": f"{test_grading_answers.QUESTION.name}: {case}", "as deserved": right}


# -- notebooks -----------------------------------------------------------------------------------------------------


def graded(notebook: bytes, box: sandbox.Sandbox = STRONGEST) -> tuple[str, list[int | None]]:
    result = grade(Submission("alice", {"a.ipynb": read_notebook(notebook)}, digest="d"), COURSE, box)
    return result.status, [question.earned for question in result.questions]


def accidents_of_all_kinds() -> Iterator[Row]:
    template = test_grading_accidents.written
    for case, cells in (accidents.KEEP | accidents.SLOW).items():
        deserved = accidents.SLOW_EARN.get(case, [2, 1])
        found = graded(as_notebook(*map(template, cells)))
        yield {"case": case, "as deserved": found == (GRADED, deserved), "earned": found[1]}
    for case, cells in (test_grading.ORDINARY | test_grading.ODD_BUT_GOOD).items():
        found = graded(cells) if isinstance(cells, bytes) else graded(as_notebook(*cells))
        yield {"case": case, "as deserved": found == (GRADED, [2, 1]), "earned": found[1]}
    for case, (source, kind, line) in accidents.CRASH.items():
        cell = as_cell(template(source)) | {"metadata": {"nbgrader": {"grade_id": "merge"}}}
        notebook = read_notebook(as_notebook(cell, ALSO_GOOD))
        merge = grade(Submission("alice", {"a.ipynb": notebook}, digest="d"), COURSE, STRONGEST).questions[0]
        said = (
            merge.outcome == CRASHED
            and kind in merge.sentence
            and f"(line {line})" * bool(line) in merge.sentence
        )
        yield {"case": f"a crash, with its line: {case}", "as deserved": said, "earned": merge.earned}
    for case, (cells, _) in answers.UNREADABLE.items():
        result = test_grading_answers.graded(test_grading_answers.cells_of(cells), STRONGEST)
        decided = (result.status, result.score) == (UNDECIDED, None)
        yield {"case": f"for a person to decide: {case}", "as deserved": decided, "earned": result.score}


def attacks_in_each_sandbox() -> Iterator[Row]:
    """Above what the code deserves, or stopped: never. Its own other answers may go down with it in the first two."""
    spoiled = {"patched import", "threads that never end", "an exit handler", "an alarm"}
    deadly = {"os._exit", "segfault", "memory", "stops itself"}
    for box in BOXES.values():
        strongest = box is STRONGEST
        for case, source in test_grading.WORTHLESS.items():
            if strongest or case in test_grading.UP_TO_THE_SANDBOX:
                either = ([0, 0], [0, 1]) if case in test_grading.SELF_DESTROYING else ([0, 1],)
                yield _attack(box, case, either, "import numpy as np", source, ALSO_GOOD)
        for case, source in test_grading.SPOILED.items():
            if strongest or case in spoiled:
                cells = ("import numpy as np", source, merge_that("return W"), ALSO_GOOD)
                yield _attack(box, case, ([0, 0], [0, 1]), *cells)
        for case, source in test_grading.DEADLY.items():
            if strongest or case in deadly:
                yield _attack(box, f"a deadly cell: {case}", ([2, 1],), GOOD, source, ALSO_GOOD)
        for case, cells in attacks.NEW.items() if strongest else ():
            yield _attack(box, case, ([0, 0], [0, 1]), *map(written, cells), ALSO_GOOD)


def _attack(box: sandbox.Sandbox, case: str, deserved: tuple[list[int], ...], *cells: str) -> Row:
    status, earned = graded(as_notebook(*cells), box)
    return {
        "sandbox": box.name,
        "case": case,
        "as deserved": status == GRADED and earned in deserved,
        "earned": earned,
    }


KINDS = {
    "wrong": wrong_answers,
    "right": right_answers,
    "accidents": accidents_of_all_kinds,
    "attacks": attacks_in_each_sandbox,
}

if __name__ == "__main__":
    sys.exit(main())
