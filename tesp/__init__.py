"""tesp: a GA4GH Task Execution Service."""

__version__ = "0.1.0"
