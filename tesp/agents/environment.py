"""What a command may see of a message: variables with safe names. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tesp.bus import Message, Value
from tesp.errors import SettingsError

OWN_PREFIX = "TAEL"
CORRELATION, HOPS = f"{OWN_PREFIX}_CORRELATION_ID", f"{OWN_PREFIX}_HOPS"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_SIGN_OF_A_NAME = re.compile(r"[^A-Z0-9_]")
# One variable may have 128 KiB on Linux, its name among them.
_LONGEST_BYTES = 100_000
# They say which programs run, or what these do: whoever sends a message must not.
_POWERFUL = frozenset(
    [
        "PATH",
        "IFS",
        "ENV",
        "SHELL",
        "SHELLOPTS",
        "PS4",
        "PROMPT_COMMAND",
        "HOME",
        "TMPDIR",
        "CDPATH",
        "GLOBIGNORE",
        "HOSTALIASES",
        "LOCPATH",
        "NLSPATH",
        "TERMINFO",
        "TERMCAP",
        "EDITOR",
        "VISUAL",
        "PAGER",
        "MANPAGER",
        "LESSOPEN",
        "LESSCLOSE",
        "CLASSPATH",
        "R_PROFILE",
        "R_ENVIRON",
        "MAKEFLAGS",
        "TAR_OPTIONS",
        "SSH_ASKPASS",
    ]
)
_POWERFUL_BEGINNINGS = [
    "LD_",
    "DYLD_",
    "BASH",
    "PYTHON",
    "PERL",
    "RUBY",
    "NODE_",
    "GIT_",
    "JAVA_",
    "_JAVA",
    "JDK_",
    "GCONV_",
    "GLIBC_",
    "MALLOC_",
    "CONDA_",
    "R_LIBS",
    "NXF_",
    "SSL_",
    "CURL_",
    "OPENSSL_",
    "TESP_",
    "XDG_",
    "TAEL",
]


@dataclass(frozen=True, slots=True)
class Exports:
    """Which names the fields of a message get. TAEL_<KEY> for each; `prefix` gives each a second
    one; those `required` get their bare name, and no command starts without them. `passed` are
    the names of variables that go on into our own announcements."""

    prefix: str | None = None
    required: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()

    def checked(self) -> "Exports":
        """Itself; raises SettingsError for names that would give senders power over us."""
        for name in self.required:
            if not _NAME.fullmatch(name) or _is_powerful(name.upper()):
                raise SettingsError(
                    f"--envreq {name}: no message may set this; with --envprefix every key gets "
                    "a name of its own"
                )
        if self.prefix is not None and not _is_harmless_prefix(self.prefix):
            raise SettingsError(
                f"--envprefix {self.prefix}: letters, digits and _, and none whose variables have "
                "a meaning to programs"
            )
        return self

    def missing(self, message: Message) -> list[str]:
        """The required keys that it does not have, or not so that they can be exported."""
        there = self.variables(message)
        return [name for name in self.required if name.upper() not in there]

    def variables(self, message: Message) -> dict[str, str]:
        """What to put into the environment; values that cannot stand there are left out."""
        texts = {name: str(value) for name, value in self._values(message).items()}
        return {name: text for name, text in texts.items() if _can_be_exported(text)}

    def put_over(self, environ: Mapping[str, str], message: Message) -> dict[str, str]:
        """An environment with the variables of this message, and of no earlier one."""
        others = {k: v for k, v in environ.items() if not k.startswith(f"{OWN_PREFIX}_")}
        return others | self.variables(message)

    def passed_on(self, message: Message) -> dict[str, Value]:
        """What our announcements say of it: keys, or names of variables, in upper case."""
        keys = {key.upper(): value for key, value in _fields(message).items()}
        values = {**keys, **self._values(message)}
        there = [name.upper() for name in self.passed if name.upper() in values]
        return {name: values[name] for name in there}

    def _values(self, message: Message) -> dict[str, Value]:
        required = {name.upper() for name in self.required}
        values: dict[str, Value] = {}
        for key, value in _fields(message).items():
            safe = _NO_SIGN_OF_A_NAME.sub("_", key.upper())
            values[f"{OWN_PREFIX}_{safe}"] = value
            if self.prefix is not None:
                values[f"{self.prefix}_{safe}"] = value
            if key.upper() in required:
                values[key.upper()] = value
        return values


def _fields(message: Message) -> Mapping[str, Value]:
    """All that a message says, what it says of itself last: no key of a payload hides it."""
    own: dict[str, Value] = {
        "message_id": message.id,
        "correlation_id": message.correlation,
        "hops": message.hops,
    }
    return {**{k: v for k, v in message.payload.items() if k not in own}, **own}


def _can_be_exported(text: str) -> bool:
    return "\0" not in text and len(text.encode(errors="replace")) <= _LONGEST_BYTES


def _is_powerful(name: str) -> bool:
    return name in _POWERFUL or name.startswith(tuple(_POWERFUL_BEGINNINGS))


def _is_harmless_prefix(prefix: str) -> bool:
    begins = f"{prefix.upper()}_"
    others = [name for name in _POWERFUL_BEGINNINGS if name != OWN_PREFIX]
    powerful = any(begins.startswith(name) or name.startswith(begins) for name in others)
    return bool(_NAME.fullmatch(prefix)) and not (
        powerful or any(name.startswith(begins) for name in _POWERFUL)
    )
