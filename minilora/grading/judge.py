"""One notebook of a submission: what each exercise earns in it.

Not here: which of several notebooks counts (choosing.py), and how it runs (session.py).
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from minilora.exercises import feedback, judging, registry
from minilora.exercises.exercise import Exercise
from minilora.exercises.judging import CORRECT, CRASHED, INCORRECT, KEPT, NOT_ATTEMPTED, Result
from minilora.exercises.question import Question, judge_answers, whose_answers
from minilora.exercises.question_parts import Prose
from minilora.grading import adapters, shown
from minilora.grading.marks import UNDECIDED, Course, QuestionGrade
from minilora.grading.sandbox import Sandbox
from minilora.grading.session import Cell, Problem, Session, Wanted, as_cells
from minilora.grading.submission import NotebookCell, Submission

ROUNDS = 2  # draws of inputs for each exercise


class Judge:
    """A notebook with its session, begun when it is needed; used in a `with` block. end: when all must be over."""

    def __init__(
        self,
        name: str,
        cells: list[NotebookCell],
        submission: Submission,
        course: Course,
        sandbox: Sandbox,
        end: float,
    ):
        self.name, self.submission, self.course = name, submission, course
        self.session = Session(sandbox, as_cells(cells), self._wanted(), course.deadlines, end)
        self.answers: dict[str, Any] | None = None
        self.flags: list[str] = []

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *error: object) -> None:
        self.session.__exit__(*error)

    def _wanted(self) -> Wanted:
        functions = [e for e in self.course.exercises if isinstance(e, Exercise)]
        questions = [e for e in self.course.exercises if isinstance(e, Question)]
        return Wanted(
            {e.function_name: len(inspect.signature(e.solution).parameters) for e in functions},
            {e.name: e.function_name for e in functions},
            {q.name: ["student", *q.settings, *(part.key for part in q.parts)] for q in questions},
            self.submission.student,
            numbers_for_a_notebook,
        )

    def mentions(self, exercise: Question | Exercise) -> bool:
        """Whether anything in it may be an answer; a notebook of another page need not run."""
        words = [exercise.name]
        words += (
            [part.key for part in exercise.parts]
            if isinstance(exercise, Question)
            else [exercise.function_name]
        )
        return any(
            any(word in cell.source for word in words) or any(i.startswith(exercise.name) for i in cell.ids)
            for cell in self.session.cells
        )

    def question(self, exercise: Question | Exercise) -> QuestionGrade:
        self.session.open()
        if isinstance(exercise, Question):
            return self._answers(exercise)
        result = self._function(exercise)
        grade = as_grade(exercise, result)
        grade.passed, grade.cases = result.passed, result.total
        cells = [cell for cell in self.session.cells if exercise.function_name in cell.defined]
        grade.answer = shown.definition(cells[-1].source, exercise.function_name) if cells else ""
        return grade

    # -- functions -------------------------------------------------------------------------------------------------

    def _function(self, exercise: Exercise) -> Result:
        name = exercise.function_name
        result = not_attempted_result(exercise)
        if any(name in cell.defined for cell in self.session.cells):
            result = self._judge(exercise)
        if result.outcome == NOT_ATTEMPTED:
            return self._broken(exercise, name, (f"def {name}",)) or result
        return result

    def _judge(self, exercise: Exercise) -> Result:
        run = functools.partial(
            self.session.call, exercise.function_name, takes=exercise.takes, gives=exercise.gives
        )
        for number in range(ROUNDS):
            work = (
                self.submission.digest if number else ""
            )  # the first draw stays, however often one hands in
            seed = self.course.seed(self.submission.student, exercise.name, work, str(number))
            result = judging.judge(exercise, run, seed)
            if result.outcome != CORRECT:
                break
        return result

    def _broken(self, exercise: Question | Exercise, name: str, words: tuple[str, ...]) -> Result | None:
        """The answer's cell does not run: a crash, with its error. None where no such cell is broken."""
        ids = {exercise.name, f"{exercise.name}-answers"}
        for cell in reversed(self.session.cells):
            own = bool(ids & set(cell.ids)) or any(word in cell.source for word in words)
            problem = _problem_of(cell)
            if own and problem and name not in cell.defined:
                result = Result(exercise.name, exercise.title, CRASHED, points=exercise.points)
                result.sentence = f"The cell of your answer does not run: {problem}"
                lines = cell.source.split("\n")
                if 0 < problem.line <= len(lines):
                    result.lines = [(problem.line, lines[problem.line - 1][:200])]
                return result
        return None

    # -- questions -------------------------------------------------------------------------------------------------

    def _answers(self, question: Question) -> QuestionGrade:
        if self.answers is None:
            self.answers = self.session.answers()
        answers, unreadable = _of_question(self.answers, question)
        given = [part for part in question.parts if part.key in answers or part.key in unreadable]
        if not given:
            broken = self._broken(question, "", ("answers",) if question.name in self._ids() else ())
            return as_grade(question, broken or not_attempted_result(question))
        if "student" not in unreadable:
            counts, answers["student"] = self._student(question, answers.get("student"))
            if not counts:
                return as_grade(question, _not_their_own(question))
        result = judge_answers(adapters.from_submission(question, self.submission, self.flags), answers)
        grade = as_grade(question, result)
        grade.chosen = {
            item.mistake: f"{item.key}: {str(answers.get(item.key))[:200]}"
            for item in result.items
            if item.mistake
        }
        grade.written = [
            _written(part, answers[part.key]) for part in question.prose if _is_text(answers, part)
        ]
        return _undecided(grade, unreadable) if unreadable else grade

    def _ids(self) -> set[str]:
        return {name.removesuffix("-answers") for cell in self.session.cells for name in cell.ids}

    def _student(self, question: Question, written: Any) -> tuple[bool, str]:
        """Whether the answers count, and whose numbers they are for; who wrote no name has their own."""
        known = self.submission.student.strip()
        if not isinstance(written, str) or not written.strip():
            self.flags.append(f"{question.name}: no student is named; the numbers of {known[:80]!r} count")
            return True, known
        counts, remark = whose_answers(written, known)
        if remark:
            self.flags.append(f"{question.name}: {remark}")
        return counts, written

    # -- what a person should know ---------------------------------------------------------------------------------

    def remarks(self) -> list[str]:
        """Statements that did not survive, cells for which there was no time, packages that are not here."""
        found = [f"{cell.name}: {why}" for cell in self.session.cells for why in cell.skip.values()]
        late = [cell.name for cell in self.session.cells if cell.too_late]
        if late:
            found.append(f"{late[0]} and those below: no time was left for more than their definitions")
        if self.session.missing:
            names = ", ".join(sorted(self.session.missing)[:10])
            found.append(f"it imports {names}, not installed where submissions are graded")
        return [*found[:20], *self.flags]


def numbers_for_a_notebook(name: str, student: str) -> dict[str, Any]:
    """What `numbers` gives in a notebook: the numbers that a student is shown, and nothing that follows from them."""
    question = registry.BY_NAME.get(name)
    if not isinstance(question, Question):
        return {}
    mine = question.numbers(student)
    return {key: mine[key] for key in question.given}


def _not_their_own(question: Question) -> Result:
    sentence = (
        "These are the published answers. Write your own name under student: your numbers follow from it."
    )
    return Result(question.name, question.title, INCORRECT, sentence, points=question.points)


def not_attempted_result(exercise: Question | Exercise) -> Result:
    sentence = "Nothing is handed in for this."
    return Result(exercise.name, exercise.title, NOT_ATTEMPTED, sentence, points=exercise.points)


def not_attempted(exercise: Question | Exercise) -> QuestionGrade:
    return as_grade(exercise, not_attempted_result(exercise))


def as_grade(exercise: Question | Exercise, result: Result) -> QuestionGrade:
    mistakes = [result.mistake, *(item.mistake for item in result.items)]
    return QuestionGrade(
        exercise.name,
        exercise.title,
        exercise.points,
        result.earned,
        result.outcome,
        [mistake for mistake in mistakes if mistake],
        result.sentence or "; ".join(i.sentence for i in result.items if i.outcome in (INCORRECT, CRASHED)),
        "" if result.outcome == NOT_ATTEMPTED else feedback.as_text(result),
    )


def _undecided(grade: QuestionGrade, unreadable: dict[str, str]) -> QuestionGrade:
    """A person must read what the grader could not; the rest has earned what it has."""
    told = "; ".join(f"{key} ({why})" for key, why in sorted(unreadable.items()))
    grade.sentence = f"{grade.earned} of {grade.points} points without what could not be read: {told}"
    grade.earned, grade.outcome = None, UNDECIDED
    return grade


def _of_question(found: dict[str, Any], question: Question) -> tuple[dict[str, Any], dict[str, str]]:
    """The answers, and why others cannot be read, out of what the worker says; it may say anything."""
    told = []
    for kind in ("answers", "unreadable"):
        by_name = found.get(kind)
        mine = by_name.get(question.name) if isinstance(by_name, dict) else None
        told.append(mine if isinstance(mine, dict) else {})
    answers, unreadable = told
    return dict(answers), {key: str(why)[:200] for key, why in unreadable.items() if key not in answers}


def _problem_of(cell: Cell) -> Problem | None:
    if cell.problems:
        return cell.problems[0]
    return Problem(0, "the process ended", next(iter(cell.skip.values()))) if cell.skip else None


def _is_text(answers: dict[str, Any], part: Prose) -> bool:
    text = answers.get(part.key)
    return isinstance(text, str) and part.judge(text, {}).outcome == KEPT


def _written(part: Prose, text: str) -> dict[str, Any]:
    return {"key": part.key, "text": text[:20_000], "points": part.points, "rubric": list(part.rubric)}
