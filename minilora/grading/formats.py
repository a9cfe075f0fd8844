"""Results as other systems read them: Gradescope, Classroom 50, a table of marks; and as a person does.

Not here: a class's report (report.py), and filling a table that an LMS exported (lms.py).
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from minilora.grading.marks import FAILED, GRADED, UNDECIDED
from minilora.grading.plain_text import harmless, one_line

Result = dict[str, Any]


def as_text(result: Result) -> str:
    """One submission, for a person."""
    score = "no mark" if result["score"] is None else f"{result['score']} of {result['max_score']} points"
    lines = [
        f"{one_line(result['student'])}: {score}"
        + ("" if result["status"] == GRADED else f" ({result['status']})")
    ]
    lines += [f"  note: {remark}" for remark in result["remarks"]]
    attempted = [question for question in result["questions"] if question["outcome"] != "not attempted"]
    for question in attempted:
        points = "?" if question["earned"] is None else question["earned"]
        lines.append(f"  {points:>2} of {question['points']}  {question['title']}: {question['outcome']}")
        if question["outcome"] != "correct" and question["sentence"]:
            lines.append(f"           {question['sentence']}")
    left = len(result["questions"]) - len(attempted)
    if left:
        lines.append(f"  not attempted: {left}")
    if "written" in result:
        points = "not all marked yet, out of" if result["written"] is None else f"{result['written']} of"
        lines.append(f"  texts, marked by a person: {points} {result['written_max']} points")
        lines += [f"           {one_line(comment)}" for comment in result["comments"]]
    lines.append(
        f"  sandbox: {result['sandbox']}" + (f". {result['sandbox_note']}" if result["sandbox_note"] else "")
    )
    return "\n".join(lines)


def as_json(found: list[Result]) -> str:
    """One submission as an object, several as a list."""
    return json.dumps(found[0] if len(found) == 1 else found, indent=1, ensure_ascii=False, sort_keys=True)


def as_csv(found: list[Result]) -> str:
    """A line for each student, and what a person should look at. Where grading did not work the mark is empty."""
    names = [question["name"] for question in max(found, key=lambda r: len(r["questions"]))["questions"]]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    by_hand = [name for name in ("written", "written_max", "total") if name in found[0]]
    writer.writerow(["student", "status", "score", "max_score", *names, *by_hand, "remarks"])
    for result in found:
        earned = {question["name"]: question["earned"] for question in result["questions"]}
        marks = [earned.get(name) for name in names]
        marks += [result[name] for name in by_hand]
        remarks = harmless(" ".join("; ".join(result["remarks"]).split()))
        writer.writerow(
            [
                harmless(result["student"]),
                result["status"],
                result["score"],
                result["max_score"],
                *marks,
                remarks,
            ]
        )
    return table.getvalue()


def as_gradescope(result: Result) -> str:
    """Gradescope's results.json. Where grading failed there is no score, which Gradescope shows as a failure."""
    tests = [
        {
            "name": question["title"],
            "number": str(number),
            "score": question["earned"],
            "max_score": question["points"],
            "status": "passed" if question["outcome"] == "correct" else "failed",
            "output": question["feedback"] or question["sentence"],
            "visibility": "visible",
        }
        for number, question in enumerate(result["questions"], 1)
    ]
    told: Result = {
        "output": "\n".join(result["remarks"]),
        "output_format": "text",
        "stdout_visibility": "hidden",
    }
    if result["status"] == FAILED:
        told["output"] += "\nThis submission could not be graded. That is no fault of yours, and no zero."
    elif result["status"] == UNDECIDED:  # without a score Gradescope would add up the tests
        waits = [question for question in result["questions"] if question["earned"] is None]
        told["output"] += "".join(f"\n{question['title']}: {question['sentence']}" for question in waits)
        told["output"] += "\nYour instructor decides about this. It is no zero."
    else:
        told |= {"score": result["score"], "tests": tests}
    return json.dumps(told, indent=1, ensure_ascii=False)


def as_classroom50(result: Result) -> str:
    """Classroom 50's result.json; ValueError where grading failed, because its scores must be whole numbers."""
    if result["score"] is None:
        who, why = one_line(result["student"]), "; ".join(result["remarks"])
        words = "waits for a person's decision" if result["status"] == UNDECIDED else "could not be graded"
        raise ValueError(f"{who} {words}: {why}")
    tests = [
        {
            "test-name": question["name"],
            "passed": question["outcome"] == "correct",
            "score": question["earned"],
            "max-score": question["points"],
        }
        for question in result["questions"]
    ]
    told = {"schema": "classroom50/result/v1", "score": result["score"], "max-score": result["max_score"]}
    return json.dumps(told | {"tests": tests}, indent=1, ensure_ascii=False)
