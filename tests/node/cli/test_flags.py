"""The flag grammar: spellings, places, errors, and the environment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli import flags
from node.cli.errors import UsageError

KNOWN = (
    flags.text("path", "", aliases=("p",), env="PATH_VARIABLE"),
    flags.switch("force", "", aliases=("f",), env="FORCE_VARIABLE"),
    flags.switch("renewable", "", True),
    flags.number("key-shares", "", 5, aliases=("n",)),
    flags.duration("ttl", ""),
    flags.items("policy", ""),
    flags.choice("type", "", ("service", "batch"), "service"),
)
WORDS = st.text(min_size=1).filter(lambda word: not word.startswith("-"))


def parse(*words: str, **environ: str) -> tuple[flags.Values, list[str]]:
    return flags.parse(KNOWN, words, environ)


@given(value=st.text(), dashes=st.sampled_from(["-", "--"]), apart=st.booleans(), before=WORDS, after=WORDS)
def test_every_spelling_gives_the_same(value: str, dashes: str, apart: bool, before: str, after: str) -> None:
    """`-x=v`, `-x v`, `--x=v` and `--x v` are the same, before, between and after arguments."""
    spelled = [f"{dashes}path", value] if apart else [f"{dashes}path={value}"]
    for words in ([*spelled, before, after], [before, *spelled, after], [before, after, *spelled]):
        values, arguments = parse(*words)
        assert values.text("path") == value
        assert arguments == [before, after]


@given(words=st.lists(st.text()))
def test_nothing_after_the_double_dash_is_a_flag(words: list[str]) -> None:
    """`--` ends the flags for good."""
    assert parse("--", *words)[1] == words


@given(words=st.lists(st.text(max_size=8), max_size=6))
def test_any_words_parse_or_are_refused(words: list[str]) -> None:
    """No input ends in anything but values or a UsageError."""
    try:
        parse(*words)
    except UsageError:
        return


@pytest.mark.parametrize(
    ("words", "force"),
    [((), False), (("-force",), True), (("-f",), True), (("-force=false",), False), (("--force=1",), True)],
)
def test_switches(words: tuple[str, ...], force: bool) -> None:
    """A switch stands alone or carries its value behind =, never as the next word."""
    values, arguments = parse(*words, "PATH")
    assert values.switch("force") is force
    assert arguments == ["PATH"]


def test_defaults_and_given() -> None:
    """A default is not the same as a value that was given."""
    values, _ = parse("-n=7")
    assert (values.number("key-shares"), values.given("key-shares")) == (7, True)
    assert (values.switch("renewable"), values.given("renewable")) == (True, False)
    assert values.text("type") == "service"


def test_repeated_flags_collect() -> None:
    """A repeatable flag keeps every value in order; another one keeps the last."""
    values, _ = parse("-policy=a", "-policy", "b", "-path=1", "-path=2")
    assert values.items("policy") == ("a", "b")
    assert values.text("path") == "2"


def test_a_lone_dash_is_an_argument() -> None:
    """`-` means standard input."""
    assert parse("x", "-")[1] == ["x", "-"]


def test_environment_stands_in() -> None:
    """A flag beats its variable, the variable beats the default, an empty variable is none."""
    assert parse(PATH_VARIABLE="v")[0].text("path") == "v"
    assert parse("-path=flag", PATH_VARIABLE="v")[0].text("path") == "flag"
    assert parse(PATH_VARIABLE="")[0].given("path") is False
    assert parse(FORCE_VARIABLE="true")[0].switch("force") is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-nope",), "flag provided but not defined: -nope"),
        (("--nope=1",), "flag provided but not defined: -nope"),
        (("-path",), "flag needs an argument: -path"),
        (("---path=1",), "bad flag syntax: ---path"),
        (("-=x",), "bad flag syntax: -"),
    ],
)
def test_errors_have_the_texts_scripts_know(words: tuple[str, ...], message: str) -> None:
    """The texts are those of the documented command line."""
    with pytest.raises(UsageError, match=f"^{message}$"):
        parse(*words)


@pytest.mark.parametrize("word", ["-key-shares=s3cret", "-force=s3cret", "-ttl=s3cret", "-type=s3cret"])
def test_a_value_that_does_not_fit_is_not_repeated(word: str) -> None:
    """A secret behind the wrong flag does not end up on stderr."""
    with pytest.raises(UsageError, match=r"^invalid value for flag -") as refused:
        parse(word)
    assert "s3cret" not in str(refused.value)


def test_pairs_need_an_equals_sign() -> None:
    """K=V flags split at the first =."""
    values, _ = parse("-policy=a=b=c")
    assert values.pairs("policy") == {"a": "b=c"}
    values, _ = parse("-policy=a")
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        values.pairs("policy")
