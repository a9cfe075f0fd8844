"""Marks for submissions: the learner's code runs in a closed-off worker, and every decision is made outside of it.

    minilora grade alice.ipynb                      one submission, for a person to read
    minilora grade class/ --results marks/          a class: one submission for each entry of the folder

A submission is read as data (submission.py). Its cells run in a worker (worker.py, session.py) inside the strongest
sandbox that the machine has (sandbox.py), which holds no checks and no expected values. grade.py sends inputs that no
learner has seen, and compares what comes back. batch.py does it for a class; formats.py writes what other systems read.

Not here: the exercises and how an answer is judged, which are those of the notebooks (minilora/exercises).
"""
