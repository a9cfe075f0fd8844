"""What a question of the chapter is, and how a dict of answers to it is judged.

Each is one file in questions/, and nothing of it is written anywhere else. The answers are one dict of plain data, so a
grader reads them without running anything of the learner's. The numbers belong to the student: they follow from the
name that stands in the answers. Text is kept and shown beside a model answer; no program judges it.

Not here: the kinds of parts that a question has (question_parts.py), functions to write (exercise.py), and what becomes
of a verdict (notebook.py).
"""

from __future__ import annotations

import dataclasses
import inspect
import random
import textwrap
from collections.abc import Callable
from typing import Any

from minilora.exercises.answer_cell import pair
from minilora.exercises.exercise import BEGIN, END, STUB, replace_solution
from minilora.exercises.judging import (
    CORRECT,
    INCORRECT,
    KEPT,
    NOT_ATTEMPTED,
    UNCHECKABLE,
    UNFINISHED,
    Item,
    Result,
)
from minilora.exercises.learner_side import NotPlain, to_plain
from minilora.exercises.question_parts import Artifact, Choice, Numbers, Prediction, Prose

EXAMPLE_STUDENT = "example"


@dataclasses.dataclass(frozen=True)
class Question:
    """A question of the chapter, in parts.

    Attributes:
        name: Short name, as in `check(name, answers)`.
        title: Heading of its part of the notebook.
        minutes: Honest time to answer it.
        statement: The question, in Markdown.
        draw: From a random generator to the student's numbers.
        given: What each of these numbers is, in words.
        parts: What to answer: Choice, Number, Prose and Artifact.
        prediction: What to predict before the experiment.
        hints: Three; the first is never the answer.
        pitfalls: Errors that one is likely to meet, and what they mean.
        explanation: Shown once all parts are right.
        program: A function that the learner completes and runs before answering, or None.
        settings: Answers that are filled in already.
        observe: From the answers and the numbers to more numbers, read from what the learner made; or None.
    """

    name: str
    title: str
    minutes: int
    statement: str
    draw: Callable[[random.Random], Numbers]
    given: dict[str, str]
    parts: tuple[Any, ...]
    prediction: Prediction
    hints: tuple[str, str, str]
    pitfalls: tuple[str, ...]
    explanation: str
    program: Callable[[], None] | None = None
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    observe: Callable[[dict[str, Any], Numbers], Numbers] | None = None

    @property
    def points(self) -> int:
        """Points that the check gives."""
        return sum(part.points for part in self.parts if not isinstance(part, Prose))

    @property
    def prose_points(self) -> int:
        """Points that a person gives."""
        return sum(part.points for part in self.prose)

    @property
    def prose(self) -> tuple[Prose, ...]:
        return tuple(part for part in self.parts if isinstance(part, Prose))

    def numbers(self, student: str) -> Numbers:
        """A student's numbers: the same on every machine; case and outer spaces of the name do not count."""
        return self.draw(random.Random(f"{self.name}/{student.strip().lower()}"))

    # -- text for the notebooks ------------------------------------------------------------------------------

    def skeleton(self) -> str:
        """The answers to fill in."""
        lines = ["answers = {", '    "student": "",  # your name or number, as your course knows you']
        lines += [f'    "{key}": "{value}",' for key, value in self.settings.items()]
        for part in self.parts:
            empty = '""' if isinstance(part, Prose | Artifact) else "None"
            remark = ""
            if isinstance(part, Choice):
                remark = "  # " + ", ".join(f'"{letter}"' for letter, _ in part.lettered())
            lines.append(f'    "{part.key}": {empty},{remark}')
        return "\n".join([*lines, "}"])

    def stub_source(self) -> str:
        return self.skeleton()

    def marked_source(self) -> str:
        """The skeleton, and below it, between nbgrader's marks, the right answers."""
        return "\n".join([self.skeleton(), BEGIN, self.solution_source(), END])

    def solution_source(self, student: str = EXAMPLE_STUDENT) -> str:
        """Right answers as the cell would hold them."""
        return "\n".join(
            ["answers = {", *(pair(key, value) for key, value in self.solved(student).items()), "}"]
        )

    def solved(self, student: str = EXAMPLE_STUDENT) -> dict[str, Any]:
        """The right answers for a student."""
        numbers = self.numbers(student)
        return (
            {"student": student} | self.settings | {part.key: part.solution(numbers) for part in self.parts}
        )

    def program_source(self, solved: bool) -> str:
        """The function to complete: as handed out, or with its solution and nbgrader's marks."""
        assert self.program is not None
        source = textwrap.dedent(inspect.getsource(self.program)).strip()
        return source if solved else replace_solution(source, STUB)


def judge_answers(question: Question, answers: Any, student: str | None = None) -> Result:
    """Judges a dict of answers, part by part.

    Args:
        question: The question.
        answers: What the learner wrote, as plain data.
        student: Whose numbers apply, if the caller knows better than the answers (a grader does).
    """
    result = Result(question.name, question.title, UNCHECKABLE, points=question.points)
    try:
        answers = to_plain(answers)
    except NotPlain as error:
        result.sentence = f"the answers hold {error}; write letters, numbers and text only"
        return result
    if not isinstance(answers, dict):
        result.sentence = f'Hand in the dict of your answers: check("{question.name}", answers)'
        return result
    if not any(_is_given(answers.get(part.key)) for part in question.parts):
        result.outcome, result.sentence = NOT_ATTEMPTED, "Nothing is answered yet."
        return result
    problem = _student_problem(answers.get("student"), student)
    if problem:
        result.sentence = problem
        return result
    numbers = question.numbers(student or answers["student"])
    if question.observe:
        numbers = numbers | question.observe(answers, numbers)
    result.items = [_judge_part(part, answers.get(part.key), numbers) for part in question.parts]
    result.total = len(result.items)
    result.passed = sum(item.outcome in (CORRECT, KEPT) for item in result.items)
    result.earned = sum(item.points for item in result.items if item.outcome == CORRECT)
    result.outcome = _overall([item.outcome for item in result.items])
    known = {"student", *question.settings, *(part.key for part in question.parts)}
    unknown = [key for key in answers if key not in known]
    if unknown:
        result.note = f"No part is called {', '.join(unknown[:4])}; do not change the names."
    result.after = _what_to_read(question, result, answers)
    return result


def _is_given(answer: Any) -> bool:
    return answer is not None and not (isinstance(answer, str) and not answer.strip())


def whose_answers(written: Any, student: str) -> tuple[bool, str]:
    """Whether answers that name `written` count for `student` who handed them in, and what a person should know.

    >>> whose_answers("Ada ", "ada"), whose_answers("ada lovelace", "a1b2")[0], whose_answers("example", "ada")[0]
    ((True, ''), True, False)
    """
    name = written.strip() if isinstance(written, str) else ""
    if not name or name.lower() == student.strip().lower():
        return True, ""
    if name.lower() == EXAMPLE_STUDENT:
        return False, f"the answers are the published ones, for the numbers of {name!r}: they earn nothing"
    return True, f"the answers are for the numbers of {name[:80]!r}"


def _student_problem(written: Any, known: str | None) -> str | None:
    if not isinstance(written, str) or not written.strip():
        return 'Fill in "student" first: your numbers depend on it.'
    if known is not None and written.strip().lower() != known.strip().lower():
        return f"These are answers for the numbers of {written!r}, and not of {known!r}."
    return None


def _judge_part(part: Any, answer: Any, numbers: Numbers) -> Item:
    if not _is_given(answer):
        return Item(part.key, NOT_ATTEMPTED, "no answer yet", 0 if isinstance(part, Prose) else part.points)
    return part.judge(answer, numbers)


def _overall(outcomes: list[str]) -> str:
    if INCORRECT in outcomes:
        return INCORRECT
    return UNFINISHED if NOT_ATTEMPTED in outcomes else CORRECT


def _what_to_read(question: Question, result: Result, answers: dict[str, Any]) -> str:
    """Each text beside its model answer; the explanation once all is right."""
    kept = {item.key for item in result.items if item.outcome == KEPT}
    texts = [question.explanation] if result.outcome == CORRECT else []
    for part in question.prose:
        if part.key in kept:
            lines = [
                f"{part.key}, in your words: {' '.join(answers[part.key].split())}",
                f"\nA model answer: {part.model_answer}",
                "\nCheck in your own text:",
            ]
            lines += [f"  {number}. {criterion}" for number, criterion in enumerate(part.rubric, 1)]
            ticks = ", ".join(["True"] * (len(part.rubric) - 1) + ["False"])
            lines.append(f'Rate yourself, for example: rate("{question.name}", "{part.key}", [{ticks}])')
            texts.append("\n".join(lines))
    return "\n\n".join(texts)
