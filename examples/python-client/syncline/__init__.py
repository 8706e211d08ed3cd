"""A client of Syncline in the standard library of Python, written from the specification of the protocol alone."""

from .client import Client, Lock, Map
from .engine import Rejection
from .polling import Poller
from .queries import LiveQuery
from .values import SynclineError, Value

__all__ = ["Client", "LiveQuery", "Lock", "Map", "Poller", "Rejection", "SynclineError", "Value"]
