"""Who belongs with whom: co-clustering, point partitions, credible balls, and how sure each row's allocation is."""

from .allocations import sample_allocations as sample_allocations
from .ball import CredibleBall as CredibleBall
from .ball import credible_ball as credible_ball
from .coclustering import coclustering as coclustering
from .distances import binder as binder
from .distances import variation_of_information as variation_of_information
from .point import Partition as Partition
from .point import point_partition as point_partition
from .uncertainty import allocation_uncertainty as allocation_uncertainty
