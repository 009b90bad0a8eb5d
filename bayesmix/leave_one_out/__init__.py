"""Leave-one-out cross-validation: its value, which rows it fails for and why, and two repairs.

`bayesmix.leave_one_out.result`, which puts them together, is apart because it imports ArviZ.
"""

from .influence import influential_rows as influential_rows
from .moment_matching import Matched as Matched
from .moment_matching import match_moments as match_moments
from .psis import leave_one_out as leave_one_out
