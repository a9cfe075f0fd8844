"""Ordinary accidents in notebooks: a right `merge` and a right `unmerge` that must keep their points, or say why not.

Each is a list of cells. In them stand {merge} and {unmerge}, the two right functions; {formula} is the right value.
"""

HELPER = "def scaled(A, B, alpha):\n    return alpha / A.shape[0] * (B @ A)"
BY_HELPER = "def merge(W, A, B, alpha):\n    return W + scaled(A, B, alpha)"
UNMERGE_BY_HELPER = "def unmerge(W, A, B, alpha):\n    return W - scaled(A, B, alpha)"

KEEP = {
    "an import that is not there, at the top of the answer's cell": [
        "import einops_that_is_not_there\n{merge}",
        "{unmerge}",
    ],
    "from an import that is not there": ["from numba_that_is_not_there import njit\n{merge}", "{unmerge}"],
    "scipy": ["import scipy\n{merge}", "{unmerge}"],
    "sklearn": ["import sklearn.linear_model\n{merge}", "{unmerge}"],
    "a picture in the answer's cell": [
        "import matplotlib.pyplot as plt\n{merge}\nfig, ax = plt.subplots(1, 2)\nax[0].plot([1, 2])\nplt.show()",
        "{unmerge}",
    ],
    "a picture above the function": [
        "import matplotlib.pyplot as plt\nfig, (a, b) = plt.subplots(1, 2)\n{merge}",
        "{unmerge}",
    ],
    "a table": [
        "import pandas as pd\ndf = pd.DataFrame({{'a': [1, 2]}})\nprint(df['a'].mean() + 1)\n{merge}",
        "{unmerge}",
    ],
    "seaborn and plotly": [
        "import seaborn as sns, plotly.express as px\nsns.set_theme()\npx.line([1]).show()\n{merge}",
        "{unmerge}",
    ],
    "widgets": ["from ipywidgets import interact\ninteract(lambda x: x, x=3)\n{merge}", "{unmerge}"],
    "numbers() used at once": [
        "from minilora.exercises import numbers\nn = numbers('full-against-lora', 'ada')['r'] * 2\n{merge}",
        "{unmerge}",
    ],
    "a demonstration that fails": ["{merge}\nprint(merge(1, 2, 3))", "{unmerge}"],
    "an assertion that fails": ["{merge}\nassert merge is None", "{unmerge}"],
    "a demonstration before the function": ["print(merge(np.ones((2, 2)), 1, 1, 1))\n{merge}", "{unmerge}"],
    "a check in the answer's cell": [
        "{merge}\ncheck('merge', merge)",
        "{unmerge}\ncheck('unmerge', unmerge).outcome",
    ],
    "%%writefile": ["%%writefile merge_file.py\n{merge}", "from merge_file import merge", "{unmerge}"],
    "%%writefile alone": ["%%writefile answer.py\n{merge}", "{unmerge}"],
    "%run": ["%%writefile helper.py\n" + HELPER, "%run helper.py\n" + BY_HELPER, "{unmerge}"],
    "a byte-order mark in a cell": ["\ufeff{merge}", "{unmerge}"],
    "a space without width": ["\u200b{merge}", "{unmerge}"],
    "torch.compile": ["import torch\nwarm = torch.compile(lambda x: x)\n{merge}", "{unmerge}"],
    "a helper in a cell that raises later": [HELPER + "\n1 / 0", BY_HELPER, "{unmerge}"],
    "a helper in a cell that raises before": ["1 / 0\n" + HELPER, BY_HELPER, "{unmerge}"],
    "a helper after an error in a loop": ["for i in range(3):\n    1 / i\n" + HELPER, BY_HELPER, "{unmerge}"],
    "a helper below a cell that ends the process": ["import os\nos._exit(3)", HELPER, BY_HELPER, "{unmerge}"],
    "a helper in a cell that ends the process": [
        HELPER + "\nimport os\nos._exit(3)\nx = 1",
        BY_HELPER,
        "{unmerge}",
    ],
    "a helper that is a lambda": [
        "scaled = lambda A, B, alpha: alpha / A.shape[0] * (B @ A)",
        BY_HELPER,
        "{unmerge}",
    ],
    "a table that a loop fills": [
        "table = {{}}\nfor k in range(3):\n    table[k] = k",
        "{merge}",
        "{unmerge}",
    ],
    "a class with a helper": [
        "class Tools:\n    scale = staticmethod(lambda a, r: a / r)",
        "{merge}",
        "{unmerge}",
    ],
    "annotations from the future": [
        "from __future__ import annotations\ndef f(x: NoSuch): ...\n{merge}",
        "def g(x: NoSuch): ...\n{unmerge}",
    ],
    "a broken later version": ["{merge}", "{unmerge}", "def merge(W, A, B, alpha)\n    return 3"],
    "a later version with another error": [
        "{merge}",
        "{unmerge}",
        "@no_such_decorator\ndef merge(W, A, B, alpha):\n    return 3",
    ],
    "another function of that name": [
        "{merge}",
        "{unmerge}",
        "def merge(left, right):\n    return left + right",
    ],
    "the name is deleted": ["{merge}", "{unmerge}", "del merge, unmerge"],
    "the namespace is reset": ["{merge}", "{unmerge}", "%reset -f\nglobals().clear()"],
    "the name is a picture later": [
        "{merge}",
        "{unmerge}",
        "import matplotlib.pyplot as plt\nmerge = plt.figure()",
    ],
    "%time before a statement": ["{merge}", "%time result = 1 + 1\n{unmerge}"],
    "%timeit": ["{merge}", "%timeit merge(1, 2, 3, 4)\n{unmerge}"],
    "%%timeit": ["{merge}", "%%timeit\nx = 1", "{unmerge}"],
    "%%capture": ["%%capture out\n{merge}", "{unmerge}"],
    "%%html and %%javascript": ["%%html\n<b>1</b>", "%%javascript\nalert(1)", "{merge}", "{unmerge}"],
    "a shell command with output": ["files = !ls\n!pip install numpy\n{merge}", "{unmerge}"],
    "help": ["{merge}\nmerge?\nnp.sum??", "{unmerge}"],
    "tabs": ["def merge(W, A, B, alpha):\n\treturn {formula}", "{unmerge}"],
    "a semicolon at the end": ["{merge};", "{unmerge}"],
    "comments only": ["# nothing here", "{merge}", "{unmerge}", "#"],
    "a docstring with magics": [
        'def merge(W, A, B, alpha):\n    """\n    %matplotlib is nice\n    !ls\n    """\n    return {formula}',
        "{unmerge}",
    ],
    "a decorator": [
        "import functools\n@functools.lru_cache(maxsize=None)\ndef unused(x): return x\n{merge}",
        "{unmerge}",
    ],
    "keywords": ["def merge(W, A, B, alpha=1.0, **more):\n    return {formula}", "{unmerge}"],
    "a partial": [
        "import functools\ndef base(sign, W, A, B, alpha):\n    return W + sign * (alpha / A.shape[0]) * (B @ A)\n"
        "merge = functools.partial(base, 1)\nunmerge = functools.partial(base, -1)"
    ],
    "a static method": [
        "class S:\n    @staticmethod\n    def merge(W, A, B, alpha):\n        return {formula}\nmerge = S.merge",
        "{unmerge}",
    ],
    "a bound method": [
        "class S:\n    def merge(self, W, A, B, alpha):\n        return {formula}\nmerge = S().merge",
        "{unmerge}",
    ],
    "under if": ["if True:\n    def merge(W, A, B, alpha):\n        return {formula}", "{unmerge}"],
    "under try": [
        "try:\n    def merge(W, A, B, alpha):\n        return {formula}\nfinally:\n    pass",
        "{unmerge}",
    ],
    "exec": ["exec('def merge(W, A, B, alpha):\\n    return {formula}')", "{unmerge}"],
    "globals": ["globals()['merge'] = lambda W, A, B, alpha: {formula}", "{unmerge}"],
    "two in one cell": ["{merge}\n{unmerge}"],
    "a loop that asks": ["while True:\n    x = input()\n{merge}", "{unmerge}"],
    "exit()": ["exit()\n{merge}", "quit()\n{unmerge}"],
    "raise SystemExit in the answer's cell": ["{merge}\nraise SystemExit", "{unmerge}"],
    "a progress bar": ["from tqdm.auto import tqdm\nfor i in tqdm(range(3)): pass\n{merge}", "{unmerge}"],
    "a warning as an error": ["import warnings\nwarnings.simplefilter('error')\n{merge}", "{unmerge}"],
    "another folder": ["import os\nos.chdir('/')\n{merge}", "{unmerge}"],
    "logging": ["import logging\nlogging.basicConfig(level=0)\nlogging.info('x')\n{merge}", "{unmerge}"],
    "a thread that works on": [
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n{merge}",
        "{unmerge}",
    ],
    "many statements": ["\n".join(f"x{n} = {n}" for n in range(600)) + "\n{merge}", "{unmerge}"],
    "emoji and umlauts": ["größe = '🦙'\n{merge}", "{unmerge}"],
    "print with the wrong encoding": [
        "import sys\nsys.stdout.reconfigure(encoding='ascii')\nprint('ü', end='')\n{merge}",
        "{unmerge}",
    ],
}

# These take a statement's deadline each.
SLOW = {
    "an endless loop in merge costs unmerge nothing": [
        "def merge(W, A, B, alpha):\n    while True: pass",
        HELPER + "\n1 / 0",
        UNMERGE_BY_HELPER,
    ],
    "an endless demonstration": ["{merge}\nwhile True: pass", "{unmerge}"],
    "training above the answer": [HELPER + "\nimport time\ntime.sleep(1000)\n" + BY_HELPER, "{unmerge}"],
    "training in a cell above": ["import time\ntime.sleep(1000)\n" + HELPER, BY_HELPER, "{unmerge}"],
}
SLOW_EARN = {"an endless loop in merge costs unmerge nothing": [0, 1]}

# A cell that does not run is a crash with its line, and never "nothing handed in". The words are in the sentence.
CRASH = {
    "a colon is missing": ("def merge(W, A, B, alpha)\n    return {formula}", "SyntaxError", 1),
    "the indentation is wrong": ("def merge(W, A, B, alpha):\nreturn {formula}", "IndentationError", 2),
    "an open bracket": ("def merge(W, A, B, alpha):\n    return (W + (B @ A)\n", "SyntaxError", 2),
    "Python 2": ("def merge(W, A, B, alpha):\n    print W\n    return {formula}", "SyntaxError", 2),
    "an unfinished text": (
        "def merge(W, A, B, alpha):\n    x = 'abc\n    return {formula}",
        "SyntaxError",
        2,
    ),
    "two indentations": (
        "def merge(W, A, B, alpha):\n    x = 1\n      y = 2\n    return {formula}",
        "IndentationError",
        3,
    ),
    "assignment for comparison": (
        "def merge(W, A, B, alpha):\n    if alpha = 1:\n        pass\n    return {formula}",
        "SyntaxError",
        2,
    ),
    "a keyword for a name": ("def merge(W, A, B, lambda):\n    return W", "SyntaxError", 1),
    "an import that fails for the whole function": (
        "from no_such_package import merge",
        "ModuleNotFoundError",
        1,
    ),
    "a name that is not defined": ("merge = merge_of(1)", "NameError", 1),
    "a decorator that is not defined": (
        "@njit\ndef merge(W, A, B, alpha):\n    return {formula}",
        "NameError",
        1,
    ),
    "a default that is not defined": (
        "def merge(W, A, B, alpha=ALPHA):\n    return {formula}",
        "NameError",
        1,
    ),
    "a cell that is too long": (
        "def merge(W, A, B, alpha): return 1\nx = [" + "0," * 600_000 + "]",
        "ValueError",
        0,
    ),
}
