from . import datasets as datasets
from . import sklearn as sklearn
from .comparison import Comparison as Comparison
from .comparison import compare as compare
from .components.base import Component as Component
from .components.mvnormal import MvNormal as MvNormal
from .components.normal import Normal as Normal
from .components.poisson import Poisson as Poisson
from .engines.advi import advi as advi
from .engines.em import em as em
from .engines.gibbs import gibbs as gibbs
from .engines.nuts import nuts as nuts
from .engines.online import online_em as online_em
from .finite_mixtures import MFM as MFM
from .finite_mixtures import BetaNegativeBinomial as BetaNegativeBinomial
from .fit import Fit as Fit
from .mixture import Mixture as Mixture
from .priors import LKJ as LKJ
from .priors import HierarchicalGamma as HierarchicalGamma
from .priors import HierarchicalInverseGamma as HierarchicalInverseGamma
from .priors import InverseWishart as InverseWishart
from .priors import ScaledInverseChiSquared as ScaledInverseChiSquared
from .relabelling import relabel as relabel
from .stick_breaking import StickBreaking as StickBreaking
from .storage import load as load
from .weight_priors import Dirichlet as Dirichlet

__version__: str
