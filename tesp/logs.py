"""What goes to standard error: plain lines for people, or JSON lines for machines."""

import json
import logging
import sys
from datetime import UTC, datetime

from tesp.settings import LoggingSettings


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(settings: LoggingSettings) -> None:
    """Send the log to standard error as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_JsonLines() if settings.output_json else plain)
    logging.basicConfig(level=settings.level, handlers=[handler], force=True)
    # The server tells of its start and end itself, once the whole service is ready.
    logging.getLogger("uvicorn").setLevel(
        max(logging.WARNING, logging.getLevelName(settings.level))
    )
