"""Ways to write right answers to a question of the chapter: all of them earn all points, and every text is read.

Each way is a list of cells. In them stands, for the question `full-against-lora` and the student ada: {answers} the
whole dict, {skeleton} the cell as it is handed out, {KEY} one answer, such as {trained}.
"""

SET_UP = (
    "import math\nfrom minilora.exercises import check, numbers, predict, experiment\n"
    'student = "ada"\nmine = numbers("full-against-lora", student)'
)
LETTERS = '"why-small": "c", "memory-share": "b", "in-use": "a", "compare": {compare}, "gap": {gap}'
FIGURES = (
    '"trained": {trained}, "full-gigabytes": {full-gigabytes}, "lora-gigabytes": {lora-gigabytes}, '
    '"adapter-megabytes": {adapter-megabytes}'
)
REST = f"{FIGURES}, {LETTERS}"
EACH = (
    "trained",
    "full-gigabytes",
    "lora-gigabytes",
    "adapter-megabytes",
    "why-small",
    "memory-share",
    "in-use",
    "compare",
    "gap",
)
ONE_BY_ONE = "\n".join(f'answers["{key}"] = {{{key}}}' for key in EACH)
ADAPTER = 'trained = mine["layers"] * mine["r"] * (3 * mine["hidden_size"] + mine["value_size"])'
SHORT = '"student": "ada", "trained": {trained}'

WAYS = {
    "the dict as it is handed out": ["answers = {answers}"],
    "below the skeleton, one by one": ["{skeleton}", 'answers["student"] = "ada"\n' + ONE_BY_ONE],
    "below the skeleton, in its cell": ["{skeleton}\nanswers['student'] = 'ada'\n" + ONE_BY_ONE],
    "update with a dict": ["{skeleton}", "answers.update({answers})"],
    "update with keywords": ["{skeleton}", "answers.update({answers})\nanswers.update(student='ada')"],
    "|=": ["{skeleton}", "answers |= {answers}"],
    "a union": ["{skeleton}", "answers = answers | {answers}"],
    "stars": ["{skeleton}", "answers = {{**answers, **{answers}}}"],
    "an annotation": ["answers: dict = {answers}"],
    "an annotation with types": ["from typing import Any\nanswers: dict[str, Any] = {answers}"],
    "dict(...)": ["answers = dict({answers})"],
    "dict of pairs": ["answers = dict(list({answers}.items()))"],
    "under if": ["if True:\n    answers = {answers}"],
    "under with": ["import warnings\nwith warnings.catch_warnings():\n    answers = {answers}"],
    "under try": ["try:\n    answers = {answers}\nexcept NameError:\n    pass"],
    "in a loop": ["{skeleton}", "for key, value in {answers}.items():\n    answers[key] = value"],
    "from a function": ["def mine_are():\n    return {answers}", "answers = mine_are()"],
    "a comprehension": ["answers = {{key: value for key, value in {answers}.items()}}"],
    "setdefault": ["answers = {{}}", "for k, v in {answers}.items(): answers.setdefault(k, v)"],
    "another name": ["my_answers = {answers}"],
    "two names": ["a = answers = {answers}"],
    "unpacked": ["answers, note = {answers}, 'done'"],
    "the variable that the notebook sets": [SET_UP, 'answers = {{"student": student, ' + REST + "}}"],
    "a variable with spaces": [SET_UP, 'answers = {{"student": student.strip(), ' + REST + "}}"],
    "from numbers()": [
        SET_UP,
        ADAPTER + '\nanswers = {{"student": student, "trained": trained, "full-gigabytes": {full-gigabytes}, '
        '"lora-gigabytes": {lora-gigabytes}, "adapter-megabytes": round(4 * trained / 1e6, 5), '
        + LETTERS
        + "}}",
    ],
    "from numbers() without a name": [
        'mine = numbers("full-against-lora", student="ada")',
        'again = numbers("full-against-lora")\n' + ADAPTER.replace("mine", "again"),
        'answers = {{"student": "ada", "trained": trained, "full-gigabytes": 16 * again["weights"] / 10**9, '
        '"lora-gigabytes": {lora-gigabytes}, "adapter-megabytes": {adapter-megabytes}, ' + LETTERS + "}}",
    ],
    "ceil and floor": [
        SET_UP,
        'answers = {{"student": student, ' + REST + '}}\nanswers["trained"] = math.ceil({trained} - 0.5)',
    ],
    "-(-a // b)": ["answers = {answers}", 'answers["trained"] = -(-2 * {trained} // 2)'],
    "remainders": ["answers = {answers}", 'answers["trained"] = {trained} % 10**12'],
    "NumPy's numbers": [
        'import numpy as np\nanswers = {answers}\nanswers["trained"] = np.int64({trained})\n'
        'answers["full-gigabytes"] = np.float32({full-gigabytes})\n'
        'answers["lora-gigabytes"] = np.array({lora-gigabytes})'
    ],
    "a tensor": ['import torch\nanswers = {answers}\nanswers["trained"] = torch.tensor({trained})'],
    "half of the keys in a second dict": [
        'first = {{"student": "ada", ' + FIGURES + "}}",
        "second = {{" + LETTERS + "}}",
    ],
    "half of the keys under the same name": [
        'answers = {{"student": "ada", ' + FIGURES + "}}",
        'answers = {{"student": "ada", ' + LETTERS + "}}",
    ],
    "a copy of the skeleton below": ["answers = {answers}", "{skeleton}"],
    "the skeleton of another question below, under the same name": [
        "answers = {answers}",
        'answers = {{"student": "", "what-happens": None, "another-base": None, "one-batch": None, "gap": ""}}',
    ],
    "wrong first, right later": ['answers = {{"student": "ada", "trained": 1}}', "answers = {answers}"],
    "texts with +": ["answers = {answers}", 'answers["compare"] = {compare} + " " + "And more."'],
    "texts in three quotes": [
        "answers = {answers}",
        'answers["compare"] = """\n  """ + {compare}\nanswers["compare"] = answers["compare"].strip()',
    ],
    "texts formatted": ["answers = {answers}", 'answers["compare"] = f"{{1 + 1}} " + {compare}'],
    "texts in a variable": ["text = {compare}", "answers = {answers}\nanswers['compare'] = text"],
    "texts joined": ["answers = {answers}", 'answers["gap"] = " ".join({gap}.split(" "))'],
    "a cell turned into Markdown": [("markdown", "```python\nanswers = {answers}\n```")],
    "a cell turned into raw text": [("raw", "answers = {answers}")],
    "in a cell with an error below": ["answers = {answers}\n1 / 0"],
    "in a cell with an error above": ["1 / 0\nanswers = {answers}"],
    "with a magic above": ["%time\nanswers = {answers}"],
    "with %%time": ["%%time\nanswers = {answers}"],
    "with a byte-order mark": ["\ufeffanswers = {answers}"],
    "checked in its cell": [SET_UP, 'answers = {answers}\ncheck("full-against-lora", answers)'],
    "asserted in its cell": [SET_UP, 'assert check("full-against-lora", {answers})\nanswers = {answers}'],
    "after a cell that ends the process": ["import os\nos._exit(0)", "answers = {answers}"],
    "before a cell that ends the process": ["answers = {answers}", "import os\nos._exit(0)"],
    "in a cell that ends the process": ["answers = {answers}\nimport os\nos._exit(0)"],
    "numbers of a library that is not there": [
        "import no_such_library",
        "answers = {answers}\nprint(no_such_library.version)",
    ],
}

# What cannot be read is for a person to decide: no mark, and never a zero. The keys that it concerns.
UNREADABLE = {
    "a function": (["answers = {answers}", 'answers["trained"] = max'], ["trained"]),
    "a name that is not defined": (
        ['answers = {{"student": "ada", ' + LETTERS + ', "trained": trained_by_hand}}'],
        ["trained"],
    ),
    "what only the learner's machine has": (
        [
            "from minilora import GPT\nmodel = GPT.from_pretrained('tiny-gpt')",
            'answers = {answers}\nanswers["trained"] = model.count()',
        ],
        ["trained"],
    ),
    "a student who cannot be read": (["answers = {answers}", 'answers["student"] = print'], ["student"]),
    "a text that cannot be read": (["answers = {answers}", 'answers["gap"] = open'], ["gap"]),
}
