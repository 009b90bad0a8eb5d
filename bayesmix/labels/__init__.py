"""Labels of components: relabelling algorithms, and the verdict on a posterior that label switching cannot spoil."""

from bayesmix.labels.assignment import agreement as agreement
from bayesmix.labels.assignment import apply_permutation as apply_permutation
from bayesmix.labels.assignment import best_assignment as best_assignment
from bayesmix.labels.assignment import compose as compose
from bayesmix.labels.assignment import invert as invert
from bayesmix.labels.assignment import relabel_allocations as relabel_allocations
from bayesmix.labels.base import Relabelling as Relabelling
from bayesmix.labels.data_based import data_based as data_based
from bayesmix.labels.ecr import ecr as ecr
from bayesmix.labels.ordering import ordering as ordering
from bayesmix.labels.pivot import pivot as pivot
from bayesmix.labels.stephens import stephens as stephens
from bayesmix.labels.verdict import Verdict as Verdict
from bayesmix.labels.verdict import invariants as invariants
from bayesmix.labels.verdict import judge as judge
