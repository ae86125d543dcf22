"""A secret that messages say in their fields. Pure."""

import hmac


def is_right(said: object, secret: str) -> bool:
    """Whether that is the secret; how long it takes tells nothing of it."""
    return isinstance(said, str) and hmac.compare_digest(
        said.encode(errors="replace"), secret.encode()
    )
