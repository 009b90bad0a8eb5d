"""Structures of the covariance matrices of `MvNormal`, one per file."""

from .base import Structure as Structure
from .diag import Diagonal
from .full import Full
from .spherical import Spherical
from .tied import Tied

STRUCTURES = {structure.name: structure for structure in (Full(), Diagonal(), Tied(), Spherical())}
