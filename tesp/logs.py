"""What goes to standard error: plain lines for people, or JSON lines for machines."""

import json
import logging
import sys
from datetime import UTC, datetime

from tesp.settings import LoggingSettings

# Libraries that write out whole URLs, headers and documents, with the secrets in them; and
# uvicorn, for the service tells of its start and end itself, once the whole of it is ready.
_QUIET = ("httpx", "httpcore", "pymongo", "aio_pika", "uvicorn")


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
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(settings.level)))
    # Its errors are raised too, and told once by who meets them.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
