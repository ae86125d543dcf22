"""Where a job's side fetches its inputs and sends its outputs, and the keys that allow it. Pure.

A key is good for one path of one attempt: that of an input, or that of its outputs, below which
Pulsar itself names the file. Who is asked looks whether the attempt is current, and whether the
task declares such an output.
"""

import hashlib
import hmac
from urllib.parse import urlencode

OUTPUTS = "outputs"


class Keys:
    """Makes URLs with keys, and checks keys. `public_url` is where nodes reach the API."""

    def __init__(self, secret: bytes, public_url: str) -> None:
        self._secret = secret
        self._base = f"{public_url.rstrip('/')}/files"

    def input_url(self, task_id: str, number: int, index: int, name: str = "") -> str:
        """Where one input is fetched, or the file `name` of one that is a directory."""
        key = self.key(task_id, number, input_path(index, name))
        query = urlencode({"name": name, "key": key} if name else {"key": key})
        return f"{self._base}/{task_id}/{number}/inputs/{index}?{query}"

    def send_url(self, task_id: str, number: int) -> str:
        """Where all outputs are sent."""
        query = urlencode({"key": self.key(task_id, number, OUTPUTS)})
        return f"{self._base}/{task_id}/{number}/{OUTPUTS}?{query}"

    def key(self, task_id: str, number: int, path: str) -> str:
        """The key of one path of one attempt."""
        text = f"{task_id}\n{number}\n{path}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()

    def is_valid(self, task_id: str, number: int, path: str, key: str) -> bool:
        """Whether a key is this path's."""
        good = self.key(task_id, number, path)
        return hmac.compare_digest(good.encode(), key.encode(errors="replace"))


def input_path(index: int, name: str = "") -> str:
    """The path that an input's key is for."""
    return f"inputs/{index}/{name}" if name else f"inputs/{index}"
