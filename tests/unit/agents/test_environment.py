"""What a command sees of a message."""

import pytest

from tesp.agents.environment import Exports
from tesp.bus import Message, Value
from tesp.errors import SettingsError


def message(**payload: Value) -> Message:
    return Message("a/status", payload, "an id", 1.0, "a cause", 2)


def without_own(variables: dict[str, str]) -> dict[str, str]:
    own = ("TAEL_MESSAGE_ID", "TAEL_CORRELATION_ID", "TAEL_HOPS")
    return {k: v for k, v in variables.items() if k not in own}


def test_every_key_is_exported_under_a_name_of_our_own() -> None:
    sent = message(date="d", code=3, PATH="/", **{"a-b c": "x", "\u00e9": "e"})
    assert without_own(Exports().variables(sent)) == {
        "TAEL_DATE": "d",
        "TAEL_CODE": "3",
        "TAEL_PATH": "/",
        "TAEL_A_B_C": "x",
        "TAEL__": "e",
    }


def test_nothing_of_an_earlier_message_is_left() -> None:
    environ = {"TAEL_OLD": "o", "TAEL_A": "o", "PATH": "/bin"}
    put = Exports().put_over(environ, message(a="n"))
    assert without_own(put) == {"TAEL_A": "n", "PATH": "/bin"}


def test_what_a_message_says_of_itself_is_hidden_by_no_key() -> None:
    sent = message(Message_Id="forged", hops=99, correlation_id="forged")
    assert Exports().variables(sent) == {
        "TAEL_MESSAGE_ID": "an id",
        "TAEL_CORRELATION_ID": "a cause",
        "TAEL_HOPS": "2",
    }


def test_only_required_keys_have_their_bare_names() -> None:
    exports = Exports(prefix="P", required=("Date",)).checked()
    assert without_own(exports.variables(message(date="d", other="o"))) == {
        "DATE": "d",
        "TAEL_DATE": "d",
        "TAEL_OTHER": "o",
        "P_DATE": "d",
        "P_OTHER": "o",
        "P_MESSAGE_ID": "an id",
        "P_CORRELATION_ID": "a cause",
        "P_HOPS": "2",
    }


def test_a_required_key_that_cannot_be_exported_is_missing() -> None:
    exports = Exports(required=("date", "run"))
    assert exports.missing(message(date="a\0b", other=1)) == ["date", "run"]
    assert exports.missing(message(DATE="d", run=None)) == []


def test_values_too_long_for_a_variable_are_left_out() -> None:
    assert without_own(Exports().variables(message(a="x" * 200_000, b="y"))) == {"TAEL_B": "y"}


def test_keys_and_variables_are_passed_on_as_they_came() -> None:
    exports = Exports(prefix="P", passed=("p_code", "date", "nothing"))
    assert exports.passed_on(message(code=3, date="d")) == {"P_CODE": 3, "DATE": "d"}


@pytest.mark.parametrize("name", ["PATH", "path", "LD_PRELOAD", "BASH_ENV", "PYTHONPATH", "a b"])
def test_no_message_may_set_what_rules_programs(name: str) -> None:
    with pytest.raises(SettingsError, match="--envreq"):
        Exports(required=(name,)).checked()


@pytest.mark.parametrize("prefix", ["LD", "ld", "BASH", "R", "GIT", "1a", "a-b", ""])
def test_prefixes_that_make_such_names_are_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="--envprefix"):
        Exports(prefix=prefix).checked()


@pytest.mark.parametrize("prefix", ["COGUK", "elan", "TAEL"])
def test_other_prefixes_are_taken(prefix: str) -> None:
    assert Exports(prefix=prefix, required=("user", "date")).checked().prefix == prefix
