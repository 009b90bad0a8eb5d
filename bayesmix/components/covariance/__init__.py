"""Structures of the covariance matrices of `MvNormal`, by mclust's letters."""

from .base import Structure as Structure
from .diag import Diagonal
from .full import Full
from .letters import Lettered
from .spherical import Spherical
from .tied import Tied

_OWN = {structure.letters: structure for structure in (Full(), Diagonal(), Tied(), Spherical())}
LETTERS = ("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV")
STRUCTURES: dict[str, Structure] = {letters: _OWN.get(letters) or Lettered(letters) for letters in LETTERS}
ALIASES = {"full": "VVV", "diag": "VVI", "tied": "EEE", "spherical": "VII"}
ONE_COLUMN = {"E": "EEE", "V": "VVV"}
