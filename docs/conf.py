"""Sphinx: ``make docs`` builds the pages into build/docs, warnings being errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for extension.py

from rewardshift import __version__

project = "rewardshift"
author = "The rewardshift authors"
copyright = author  # noqa: A001 - Sphinx's name
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "extension"]
exclude_patterns = ["plots"]

html_theme = "furo"
html_title = f"rewardshift {version}"
html_static_path = ["static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#1f6f8b",
        "color-brand-content": "#1f6f8b",
        "color-api-name": "#1f6f8b",
        "color-api-pre-name": "#4b5563",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7fc4dd",
        "color-brand-content": "#7fc4dd",
        "color-api-name": "#7fc4dd",
        "color-api-pre-name": "#b6bcc6",
    },
}
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_heading_anchors = 3

autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_attr_annotations = True
napoleon_numpy_docstring = False
napoleon_use_ivar = False
napoleon_use_rtype = False
python_display_short_literal_types = True
python_maximum_signature_line_length = 72
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True

# Documented elsewhere, or private on purpose; no inventory is fetched over the network.
nitpick_ignore = [
    *(("py:class", name) for name in ("Mapping", "Path", "Self", "Sequence", "Unpack")),
    *(("py:class", f"collections.abc.{name}") for name in ("Mapping", "Sequence", "Set")),
    ("py:class", "collections.abc.Callable"),
    ("py:class", "rewardshift.chat.messages.TextPart"),
    ("py:class", "rewardshift.methods.question.Sampling"),
    *(("py:class", name) for name in ("Engine", "Exchange", "Role", "np.ndarray", "numpy.ndarray")),
    *(("py:class", name) for name in ("os.PathLike", "pathlib.Path", "StrPath", "TracebackType")),
]
nitpick_ignore_regex = [("py:class", r"_core\..*|rewardshift\._core\..*")]
