"""Networks: each is called with (moving, fixed) and returns fields from coarse to fine."""

from .hu import CompositeNetwork, GlobalNetwork, LocalNetwork
from .li_fan import LiFanNetwork
from .sl_sfgr import SLSFGRNetwork

__all__ = ["CompositeNetwork", "GlobalNetwork", "LiFanNetwork", "LocalNetwork", "SLSFGRNetwork"]
