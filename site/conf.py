"""Sphinx's settings. tools/build_site.py calls it on a folder of prepared pages; nothing here asks another host."""

import os

project = "minilora"
author = "the minilora authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["jupyter_execute", "**.ipynb_checkpoints"]

html_theme = "furo"
html_title = "minilora"
html_static_path = [os.environ["MINILORA_SITE_STATIC"]]
html_css_files = ["site.css", "answer_form.css", "exercise.css"]
html_js_files = [("page.js", {"type": "module"})]
html_favicon = os.environ["MINILORA_SITE_STATIC"] + "/icon.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_permalinks_icon = "#"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#8a5300", "color-brand-content": "#8a5300"},
    "dark_css_variables": {"color-brand-primary": "#f0a43a", "color-brand-content": "#f0a43a"},
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

nb_execution_mode = "off"  # tools/build_site.py has executed the pages
nb_merge_streams = True
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]  # pages may go from ## to ####

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
napoleon_use_rtype = False
python_use_unqualified_type_names = True
