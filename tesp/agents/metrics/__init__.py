"""Metrics of nodes: each node measures itself and says so on the bus; one collector keeps what
they say, raises alarms, and tells of tasks that run for too long."""
