"""Builds the exercise notebooks: exercises/src/*.py -> exercises/*.ipynb and exercises/solutions/*.ipynb.

    python tools/build_exercises.py            builds both kinds of every page
    python tools/build_exercises.py 03 05      builds these two pages
    python tools/build_exercises.py --check    are notebooks, sources and registry in step? writes nothing
    python tools/build_exercises.py --run 03   runs them: is each solution right, each untouched stub "not attempted"?

A source (jupytext's percent format) holds the order and what connects the exercises. A cell that begins with
`# %% exercise="merge"` stands for that exercise, and all its text and code comes from minilora/exercises. The student's
notebook is what remains of the solution notebook without its marked regions. Cells carry nbgrader's metadata, so the
solution notebooks are also the sources of an nbgrader assignment (with exercises/nbgrader_config.py).

Not here: running notebooks of unknown people. `--run` is for our own.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from build_notebooks import KERNEL, chosen_sources, execute_apart, page_parser
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from minilora.exercises import registry
from minilora.exercises.exercise import BEGIN, END, Exercise, replace_solution
from minilora.exercises.question import EXAMPLE_STUDENT, Question
from minilora.exercises.question_parts import Choice

ROOT = Path(__file__).resolve().parents[1]
STUDENT = ROOT / "exercises"
SOLVED = STUDENT / "solutions"
SOURCES = STUDENT / "src"
PREDICT = "**Predict first.** Run the next cell and choose. A wrong prediction costs nothing."
FORM = (
    "**Answer.** Run the next cell, and a form appears below it. What you choose there is written into the cell, as "
    "plain data; that is what you hand in. You can also write into the cell yourself."
)
PAGE_SECONDS = 300  # a page that takes longer hangs


def main() -> int:
    parser = page_parser(__doc__)
    parser.add_argument("--run", action="store_true", help="run the built notebooks")
    options = parser.parse_args()
    if options.child:
        execute(*map(Path, options.child))
        return 0
    sources = chosen_sources(SOURCES, options.pages)
    if options.run:
        with ThreadPoolExecutor(max_workers=2) as pool:
            problems = [problem for found in pool.map(run_page, sources) for problem in found]
        print("\n".join(problems) or "every solution is right, every stub is not attempted")
    elif options.check:
        problems = [problem for source in sources for problem in differences(source)]
        if not options.pages:
            problems += unplaced(sources)
        print("\n".join(problems) or f"{len(sources)} pages are in step with their sources and the registry")
    else:
        problems = []
        for source in sources:
            for path, text in rendered(source).items():
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(text.encode("utf-8"))
            print(f"{source.stem}: built")
    return 1 if problems else 0


def rendered(source: Path) -> dict[Path, str]:
    """What the notebooks of a page should hold, by path: two, or one where there is nothing to solve."""
    name = f"{source.stem}.ipynb"
    solved = solution_notebook(source)
    student = {STUDENT / name: as_text(student_notebook(solved))}
    return {SOLVED / name: as_text(solved)} | student if exercises_of(source) else student


def as_text(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook, version=4) + "\n"


def differences(source: Path) -> list[str]:
    advice = f"run: python tools/build_exercises.py {source.stem[:2]}"
    return [
        f"{path.relative_to(ROOT).as_posix()} is not what its source gives; {advice}"
        for path, text in rendered(source).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def unplaced(sources: list[Path]) -> list[str]:
    """Exercises that no page has, or more than one; notebooks without a source."""
    placed = [name for source in sources for name in exercises_of(source)]
    problems = [
        f"{exercise.name} is on {placed.count(exercise.name)} pages; it belongs on one"
        for exercise in registry.EXERCISES
        if placed.count(exercise.name) != 1
    ]
    stems = {source.stem for source in sources}
    strays = [
        path for folder in (STUDENT, SOLVED) for path in folder.glob("*.ipynb") if path.stem not in stems
    ]
    return problems + [f"{path.relative_to(ROOT).as_posix()} has no source" for path in strays]


def exercises_of(source: Path) -> list[str]:
    cells = jupytext.read(source, fmt="py:percent").cells
    return [cell.metadata["exercise"] for cell in cells if "exercise" in cell.metadata]


# -- from sources to notebooks -------------------------------------------------------------------------------


def solution_notebook(source: Path) -> NotebookNode:
    """The page with every solution between nbgrader's marks."""
    notebook = jupytext.read(source, fmt="py:percent")
    cells = []
    for cell in notebook.cells:
        name = cell.metadata.get("exercise")
        cell.metadata = nbformat.from_dict({})
        cells += exercise_cells(registry.get(name)) if name else [cell]
    for number, cell in enumerate(cells):
        cell.id = f"ex{source.stem[:2]}-{number:02}"
    notebook.cells = cells
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def student_notebook(solved: NotebookNode) -> NotebookNode:
    """The same page with a stub in the place of each solution."""
    notebook = nbformat.from_dict(solved)
    notebook.cells = [nbformat.from_dict(cell) for cell in solved.cells]
    for cell in notebook.cells:
        if cell.cell_type == "code" and BEGIN in cell.source:
            # below an empty value to fill in, no further mark is needed
            stub = "# YOUR CODE HERE" if cell.source.startswith("def ") else ""
            cell.source = replace_solution(cell.source, stub).replace("\n\n\n", "\n").strip()
    return notebook


def exercise_cells(exercise: Question | Exercise) -> list[NotebookNode]:
    return question_cells(exercise) if isinstance(exercise, Question) else function_cells(exercise)


def function_cells(exercise: Exercise) -> list[NotebookNode]:
    return [
        text(f"{exercise.name}-statement", heading(exercise) + advice(exercise)),
        code(exercise.name, exercise.marked_source(), solution=True),
        check_cell(exercise, exercise.function_name),
    ]


def question_cells(question: Question) -> list[NotebookNode]:
    name, prediction = question.name, question.prediction
    cells = [
        text(f"{name}-statement", heading(question) + advice(question)),
        code(f"{name}-numbers", fill_in("student", '""', f'"{EXAMPLE_STUDENT}"', "your name or number, as your course "
             "knows you") + f'\nnumbers("{name}", student)', solution=True),
        text(f"{name}-predict", f"{PREDICT}\n\n" + folded(f"{prediction.prompt}\n\n{options(prediction.lettered())}")),
        code(f"{name}-prediction", f'{BEGIN}\nexpect("{name}", "{prediction.comes_true}")\n{END}\n'
             f'expect("{name}")', solution=True),
    ]  # fmt: skip
    if question.program:
        cells += [
            code(f"{name}-program", question.program_source(solved=True), solution=True),
            code(f"{name}-run", f"{question.program.__name__}()"),
        ]
    return [
        *cells,
        code(f"{name}-experiment", f'experiment("{name}")  # {prediction.duration}'),
        text(f"{name}-parts", parts_text(question)),
        code(
            f"{name}-answers",
            f'{question.marked_source()}\nform("{name}", answers)',
            solution=True,
            points=question.prose_points,
        ),
        check_cell(question, "answers"),
    ]


def heading(exercise: Question | Exercise) -> str:
    points = f"{exercise.points} point" + ("s" if exercise.points > 1 else "")
    if isinstance(exercise, Question):
        points += f", and {exercise.prose_points} for your texts, which a person reads"
    return f"## {exercise.title}\n\n*{exercise.minutes} minutes · {points}*\n\n{exercise.statement.strip()}\n"


def advice(exercise: Question | Exercise) -> str:
    pitfalls = "\n".join(f"- {pitfall}" for pitfall in exercise.pitfalls)
    return (
        f"\n**Common pitfalls:**\n\n{pitfalls}\n\n"
        f'**Stuck?** `hint("{exercise.name}")`, and after an attempt `solution("{exercise.name}")`.'
    )


def parts_text(question: Question) -> str:
    lines = []
    for part in question.parts:
        lines.append(f"**{part.key}.** {part.prompt}")
        if isinstance(part, Choice):
            lines += ["", options([(letter, option.text) for letter, option in part.lettered()])]
        lines.append("")
    return f"{FORM}\n\n" + folded("\n".join(lines).rstrip())


def folded(words: str) -> str:
    """For readers of the file, where no cell has run."""
    return f"<details><summary>The same as text</summary>\n\n{words}\n\n</details>"


def options(lettered: list[tuple[str, str]]) -> str:
    return "\n".join(f"- **{letter})** {words}" for letter, words in lettered)


def fill_in(name: str, empty: str, solved: str, remark: str) -> str:
    return f"{name} = {empty}  # {remark}\n{BEGIN}\n{name} = {solved}\n{END}"


# -- cells with nbgrader's metadata --------------------------------------------------------------------------


def text(grade_id: str, source: str) -> NotebookNode:
    return with_metadata(new_markdown_cell(source), grade_id, locked=True)


def code(grade_id: str, source: str, solution: bool = False, points: int = 0) -> NotebookNode:
    """A code cell; with points as well as a solution it is one that a person marks."""
    return with_metadata(
        new_code_cell(source), grade_id, solution=solution, points=points, locked=not solution
    )


def check_cell(exercise: Question | Exercise, answer: str) -> NotebookNode:
    """Its last value is the points that the answer earned, where nbgrader runs it."""
    cell = new_code_cell(f'check("{exercise.name}", {answer})')
    return with_metadata(cell, f"{exercise.name}-check", points=exercise.points, locked=True)


def with_metadata(
    cell: NotebookNode, grade_id: str, locked: bool, solution: bool = False, points: int = 0
) -> NotebookNode:
    metadata = {
        "cell_type": cell.cell_type,
        "grade": points > 0,
        "grade_id": grade_id,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    cell.metadata["nbgrader"] = metadata | ({"points": points} if points else {})
    return cell


# -- running them --------------------------------------------------------------------------------------------


def run_page(source: Path) -> list[str]:
    """Executes both notebooks of a page, each in a folder of its own, and reads what every check says."""
    problems = []
    for notebook in rendered(source):
        sign = "✓" if notebook.parent == SOLVED else "○"
        start = time.perf_counter()
        executed = run_apart(notebook)
        found = verdicts(executed)
        place = notebook.relative_to(ROOT).as_posix()
        print(f"{time.perf_counter() - start:6.1f} s  {place} ({len(found)} checks)", flush=True)
        if len(found) != len(exercises_of(source)):
            problems.append(f"{place}: {len(found)} verdicts on {len(exercises_of(source))} exercises")
        problems += [f"{place}: {verdict}" for verdict in found if not verdict.startswith(sign)]
    return problems


def run_apart(notebook: Path) -> NotebookNode:
    """A process and a folder of its own, so that no progress of another run counts."""
    with tempfile.TemporaryDirectory() as work:
        result = Path(work) / "result.ipynb"
        execute_apart(__file__, notebook, result, PAGE_SECONDS, MINILORA_HOME=work)
        return nbformat.read(result, as_version=4)


def execute(path: Path, result: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(result.parent)}}
    NotebookClient(notebook, timeout=PAGE_SECONDS, kernel_name="python3", resources=resources).execute()
    nbformat.write(notebook, result)


def verdicts(notebook: NotebookNode) -> list[str]:
    """The first line that each check shows."""
    return [
        output.data["text/plain"].split("\n")[0]
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade_id", "").endswith("-check")
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]


if __name__ == "__main__":
    sys.exit(main())
