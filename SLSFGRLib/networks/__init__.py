"""Networks. Those that register are called with (moving, fixed) and return fields from coarse to fine."""

from .brain_extraction import BrainExtractionNetwork
from .hu import CompositeNetwork, GlobalNetwork, LocalNetwork
from .li_fan import LiFanNetwork
from .sl_sfgr import SLSFGRNetwork

__all__ = [
    "BrainExtractionNetwork",
    "CompositeNetwork",
    "GlobalNetwork",
    "LiFanNetwork",
    "LocalNetwork",
    "SLSFGRNetwork",
]
