# ruff: noqa: E501, RUF001  a notebook in a line, and letters that only look like others
"""Hostile notebooks: what stands in `merge`, or before it, to be told right, to stop the grader, or to reach outside.

Each is a list of cells; a right `unmerge` follows. `merge` earns nothing in any of them, and `unmerge` at most its point.
In the cells stand {merge} and {unmerge}, the right functions; {formula}, the right value; {ours}, a function that finds
a module of ours in the worker. An in-place merge is wrong, and would earn points if the worker were believed.
"""

IN_PLACE = "def merge(W, A, B, alpha):\n    W += alpha / A.shape[0] * (B @ A)\n    return W"
WRONG = "def merge(W, A, B, alpha):\n    return W"

NEW = {
    # told right
    "nothing changed, says the comparison": ["{ours}\nours('learner_side').same = lambda *a: True", IN_PLACE],
    "nothing changed, says the list of changes": [
        "{ours}\nours('learner_side').changes = lambda *a: {{}}",
        IN_PLACE,
    ],
    "a reply without what came after": [
        "{ours}\nside = ours('learner_side')\nold = side.call\ndef call(*a):\n    r = old(*a)\n    r.after = {{}}\n    return r\nside.call = call",
        IN_PLACE,
    ],
    "a reply that says right": [
        "{ours}\nw = ours('worker')\nold = w.Worker._write\n"
        "w.Worker._write = lambda self, answer: old(self, answer | {{'earned': 2, 'outcome': 'correct', 'points': 2}})",
        WRONG,
    ],
    "a problem list that is none": [
        "{ours}\nl = ours('learner')\nold = l.Learner.cell\n"
        "l.Learner.cell = lambda *a: old(*a) | {{'problems': 7, 'defined': 'merge', 'missing': {{'a': 1}}}}",
        WRONG,
    ],
    "answers that are no dict": [
        "{ours}\nl = ours('answers')\nl.AnswerBook.as_dict = lambda self: {{'answers': [1], 'unreadable': 'x'}}",
        WRONG,
    ],
    "claims to stand at a statement for ever": [
        "{ours}\nimport gc\nw = next(o for o in gc.get_objects() if type(o).__name__ == 'Worker')\n"
        "for n in range(30_000): w._write({{'at': n}})",
        WRONG,
    ],
    "wants numbers for ever": ["for n in range(30_000): numbers('full-against-lora', str(n))", WRONG],
    "wants what is no question": [
        "numbers('merge'); numbers('../../etc/passwd', 'x' * 1000); numbers(None, 3)",
        WRONG,
    ],
    "another class for arrays": [
        "class Array(np.ndarray):\n    def astype(self, *a, **k): return np.zeros(3)\n    def tobytes(self): return b''\nnp.array = lambda *a, **k: Array(1)",
        WRONG,
    ],
    "__array_interface__": [
        "class X:\n    __array_interface__ = {{'shape': (2, 2), 'typestr': '<f8', 'data': (1, False), 'version': 3}}\ndef merge(W, A, B, alpha):\n    return np.asarray(X())"
    ],
    "a text that claims to be an array": [
        "class S(str):\n    shape = (2, 2)\n    dtype = float\ndef merge(W, A, B, alpha): return S('1')"
    ],
    "a dict with a key of megabytes": ["def merge(W, A, B, alpha): return {{'k' * 9_000_000: 1}}"],
    "a million empty lists": ["def merge(W, A, B, alpha): return [[] for _ in range(400_000)]"],
    "huge and empty": ["def merge(W, A, B, alpha): return np.zeros((0, 10**15))"],
    "a shape of many axes": ["def merge(W, A, B, alpha): return np.zeros((1,) * 32)"],
    "numbers on the way to infinity": ["def merge(W, A, B, alpha): return 10 ** 4000"],
    "the name in full width": ["def ｍｅｒｇｅ(W, A, B, alpha): return W"],
    "a signature that lies": [
        "class M:\n    __signature__ = None\n    @property\n    def __code__(self): raise SystemExit\n    def __call__(self, *a): return a[0]\nmerge = M()"
    ],
    "a bool that is everything": [
        "class B:\n    def __bool__(self): return True\n    def __len__(self): return 2\n    def __iter__(self): return iter([1])\ndef merge(W, A, B_, alpha): return B()"
    ],
    # stops the grader
    "ends its process in a decorator": [
        "def die(f):\n    import os; os._exit(0)\n@die\ndef merge(W, A, B, alpha): pass"
    ],
    "ends its process when it is looked at": [
        "class M:\n    def __getattribute__(self, name):\n        import os; os._exit(0)\n    def __call__(self): pass\nmerge = M()"
    ],
    "a dict that ends its process": [
        "class D(dict):\n    def __len__(self):\n        import os; os._exit(0)\n    items = __iter__ = __len__\nanswers = D()",
        WRONG,
    ],
    "an exception that ends its process": [
        "class E(Exception):\n    def __str__(self):\n        import os; os._exit(0)\ndef merge(W, A, B, alpha): raise E"
    ],
    "closes the pipes": [
        "import os\nfor fd in range(3, 50):\n    try: os.close(fd)\n    except OSError: pass",
        WRONG,
    ],
    "half a message": [
        "import os\nfor fd in range(3, 50):\n    try: os.write(fd, b'\\0\\0\\1\\0half')\n    except OSError: pass",
        WRONG,
    ],
    "a message of four gigabytes": [
        "import os\nfor fd in range(3, 50):\n    try: os.write(fd, b'\\xff' * 8)\n    except OSError: pass",
        WRONG,
    ],
    "stops every process that it sees": [
        "import os, signal\nfor pid in range(2, 3000):\n    try: os.kill(pid, signal.SIGSTOP)\n    except OSError: pass",
        WRONG,
    ],
    "a finalizer that never ends": [
        "class F:\n    def __del__(self):\n        while True: pass\ndef merge(W, A, B, alpha):\n    F()\n    return W"
    ],
    "threads that print": [
        "import threading\ndef p():\n    while True: print('x' * 1000)\nfor _ in range(4): threading.Thread(target=p, daemon=True).start()",
        WRONG,
    ],
    "twenty children that wait": [
        "import os, time\nfor _ in range(20):\n    if not os.fork(): time.sleep(1000)",
        WRONG,
    ],
    "deep brackets": ["x = " + "(" * 5000 + ")" * 5000, WRONG],
    "deep code": ["x = " + "-" * 100_000 + "1", WRONG],
    "a file that is never read": ["import os\nos.mkfifo('pipe')\nopen('pipe').read()", WRONG],
    "ignores what ends it": [
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass",
        WRONG,
    ],
    # reaches outside
    "another user": ["import os\nos.setresuid(0, 0, 0)\nos.setgroups([])", WRONG],
    "a child that survives": ["import os\nif not os.fork():\n    os.setsid()\n    while True: pass", WRONG],
    "modules that are waiting": [
        "import os\nfor n in ('numpy', 'json', 'ast', 'sitecustomize'):\n    open(n + '.py', 'w').write('raise SystemExit')",
        WRONG,
    ],
    "limits raised again": [
        "import resource\nfor r in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):\n    resource.setrlimit(r, (resource.RLIM_INFINITY,) * 2)",
        WRONG,
    ],
    "out of memory last": ["open('/proc/self/oom_score_adj', 'w').write('-1000')", WRONG],
}
