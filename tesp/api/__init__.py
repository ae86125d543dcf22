"""The HTTP side: the TES API under two prefixes, its document, and its errors."""

from tesp.api.application import build_api as build_api
from tesp.api.parts import FileParts as FileParts
from tesp.api.parts import Parts as Parts
from tesp.api.waiting import Waiting as Waiting
