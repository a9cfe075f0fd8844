"""Pure drawing: numbers in, a picture and its sentence out. SVG strings.

One module for each explorable, each with `draw(...) -> (svg, sentence)`; `charts` for what pages have measured;
`colors` for the one color language. Nothing here knows widgets, models or files.
"""
