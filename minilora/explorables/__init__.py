"""What an explorable is without a front end: its controls, and a function from their values to a picture.

Pure Python without ipywidgets, NumPy or PyTorch, so that the web site runs the same files in the reader's browser.
Not here: the front end in Jupyter (minilora/widgets), and any drawing (minilora/figures).
"""
