"""Networks: each is called with (moving, fixed) and gives fields from coarse to fine."""

from .free_fields import FreeFields
from .hu import CompositeNetwork, GlobalNetwork, LocalNetwork
from .li_fan import LiFanNetwork
from .sl_sfgr import SLSFGRNetwork

__all__ = ["CompositeNetwork", "FreeFields", "GlobalNetwork", "LiFanNetwork", "LocalNetwork", "SLSFGRNetwork"]
