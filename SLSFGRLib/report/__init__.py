"""The report of a registration: pictures, and one page that shows them with the figures."""

from .pictures import overview

__all__ = ["overview"]
