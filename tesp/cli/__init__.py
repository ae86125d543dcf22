"""The command line: one module a command group. All but serve, doctor, bus and
agent speak HTTP only."""


def main() -> None:
    """The `tesp` program; ends the process with one of the codes in tesp.cli.codes."""
    from tesp.cli.program import run

    raise SystemExit(run())
