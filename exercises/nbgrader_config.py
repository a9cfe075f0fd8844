"""For nbgrader: leaves the same stub in a student's notebook as our own builder does.

To make an nbgrader assignment: put this file into the course's folder, copy exercises/solutions/*.ipynb to
source/<assignment>/, then run `nbgrader generate_assignment <assignment>`.

nbgrader runs a student's code in the process that gives the marks, so it belongs where one trusts one's students.
"""

c = get_config()  # noqa: F821  nbgrader puts it there

c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE"}
c.ExecutePreprocessor.timeout = 300
# Trying out the sources leaves these beside them: they hold answers, and must not travel to the students.
c.CourseDirectory.ignore = [
    ".ipynb_checkpoints",
    "*.pyc",
    "__pycache__",
    ".pytest_cache",
    "minilora-progress*.json",
    "my-run",
]
