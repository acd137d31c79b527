"""The report of a registration: pictures, and one page that shows them with the figures."""

from .html import html_report
from .pictures import overview

__all__ = ["html_report", "overview"]
