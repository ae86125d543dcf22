"""Pulsar: the runner as jobs of another service, which starts them on its machine or cluster."""

from tesp.backends.pulsar.rest_backend import RestPulsar

__all__ = ["RestPulsar"]
