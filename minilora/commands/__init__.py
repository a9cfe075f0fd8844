"""One module for each command: what it does (its docstring), EXAMPLES, Settings (its options), and `run`.

Each imports what is heavy inside `run`, so that --help answers at once and without PyTorch.
"""
