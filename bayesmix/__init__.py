"""Mixture models by maximum likelihood and by Bayes, side by side.

One specification, `Mixture`, is fitted by `em`, `nuts` or `advi`; `compare` puts the results next to each other.
Names are loaded when they are first used: importing the package is quick, and EM never imports PyMC.
"""

from importlib.util import find_spec

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if find_spec("sklearn") is None:  # optional: neither `import *` nor a listing of the members must ask for it
    __all__.remove("sklearn")  # pyright: ignore[reportUnsupportedDunderAll]
    __dir__ = __all__.copy
