"""Pure drawing: numbers in, a picture and its sentence out. SVG strings for explorables, Matplotlib for charts.

One module for each explorable, each with `draw(...) -> (svg, sentence)`; `charts` for the pictures in the prose;
`colors` for the one color language. Nothing here knows widgets, models or files.
"""
