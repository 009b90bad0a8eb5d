"""Mixture models by maximum likelihood and by Bayes, side by side.

One specification, `Mixture`, is fitted by `em`, `nuts` or `advi`; `compare` puts the results next to each other.
Names are loaded when they are first used: importing the package is quick, and EM never imports PyMC.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
