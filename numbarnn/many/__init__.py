"""Many nets that are trained together: ensembles, and a net for each group of samples."""

from numbarnn.many.ensemble import Ensemble
from numbarnn.many.group_by import GroupBy

__all__ = ["Ensemble", "GroupBy"]
