"""How Sphinx builds these pages: ``make docs``."""

from __future__ import annotations

import sys
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import skecgattn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "skecgattn"
author = "The skecgattn developers"
copyright = f"2026, {author}"  # noqa: A001 (the name Sphinx looks for)
release = version = skecgattn.__version__

extensions = [
    "benchmark_tables",
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "start_page",
]
exclude_patterns = ["_build", "generated/start.md", "generated/benchmarks.md", "**/sg_execution_times.rst"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# --- the API reference -------------------------------------------------------------------------------

autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "none"  # numpydoc's sections say the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the template of classes lists the methods
numpydoc_class_members_toctree = False

# Links to other projects need their inventories. Where they cannot be had the pages are built without
# such links, and without a warning.
NEIGHBOURS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "pandas": "https://pandas.pydata.org/docs/",
    "joblib": "https://joblib.readthedocs.io/en/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "sklearn": "https://scikit-learn.org/stable/",
    "skorch": "https://skorch.readthedocs.io/en/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}


def _is_reachable(url: str) -> bool:
    request = urllib.request.Request(f"{url}objects.inv", method="HEAD", headers={"User-Agent": "Sphinx"})
    try:
        with urllib.request.urlopen(request, timeout=3):
            return True
    except OSError:
        return False


with ThreadPoolExecutor(len(NEIGHBOURS)) as pool:
    reachable = dict(zip(NEIGHBOURS, pool.map(_is_reachable, NEIGHBOURS.values())))
intersphinx_mapping = {name: (url, None) for name, url in NEIGHBOURS.items() if reachable[name]}
intersphinx_timeout = 10

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(['captum', 'sleepecg', 'tqdm', 'wfdb', *NEIGHBOURS])})(\..*)?"),
    ("py:(class|exc)", r"[A-Za-z]*(Error|Warning)"),  # of Python, where its inventory is missing
]

# --- the gallery -------------------------------------------------------------------------------------

# other code than these pages' own decides how its warnings look: the examples are to be read
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"[/\\]plot_",
    "ignore_pattern": r"[/\\]_",
    "subsection_order": [
        f"../examples/{topic}"
        for topic in ["getting_started", "evaluation", "maps", "building_blocks", "recordings"]
    ],
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("skecgattn",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"skecgattn": None},
    "reset_modules": ("matplotlib",),
    "matplotlib_animations": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1,
    "image_srcset": ["2x"],
}

# --- the look ----------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "skecgattn"
html_context = {"default_mode": "auto"}
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["skecgattn.css"]
html_js_files = ["names.js"]
html_favicon = "_static/icon.svg"
html_show_sourcelink = False
html_copy_source = False
ALONE = ["index", "how-good", "comparison", "glossary", "bibliography", "changelog"]
html_sidebars = {page: [] for page in ALONE}
html_theme_options = {
    "logo": {"text": "skecgattn", "image_light": "_static/icon.svg", "image_dark": "_static/icon.svg"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
