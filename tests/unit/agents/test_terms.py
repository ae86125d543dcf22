"""Terms are read out of files, and texts are held against them."""

from pathlib import Path

import pytest

from tesp.agents.vocabulary import breaches, terms
from tesp.errors import SettingsError
from tesp.settings import TermRule

PROJECTS = """
namespace = "site"
[collections.project]
label = "Projects"
terms = [
  { name = "genomes", label = "Genome assembly", synonyms = ["genome"] },
  { name = "run", pattern = "run-[0-9]+" },
]
"""
SPECIES = '{"namespace": "site", "collections": {"species": {"terms": [{"name": "E. coli"}]}}}'


@pytest.fixture
def vocabulary(tmp_path: Path) -> terms.Vocabulary:
    (tmp_path / "projects.toml").write_text(PROJECTS)
    (tmp_path / "species.json").write_text(SPECIES)
    (tmp_path / "README.md").write_text("no terms")
    return terms.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "name", "nearest"),
    [
        ("genomes", "genomes", "genomes"),
        ("genome", "genomes", "genomes"),
        ("Genomes", None, "genomes"),
        ("genoms", None, "genomes"),
        ("genome assembli", None, "genomes"),
        ("run-17", "run", None),
        ("x run-17", None, None),
        ("run-17\n", None, "run"),
        ("", None, None),
        ("z" * 500_000, None, None),
    ],
)
def test_a_text_is_a_term_by_name_synonym_or_pattern_or_is_near_one(
    vocabulary: terms.Vocabulary, text: str, name: str | None, nearest: str | None
) -> None:
    projects = vocabulary.collections["site:project"]
    found = projects.find(text)
    assert (found and found.name) == name
    if name is None or name == nearest:
        assert projects.nearest(text) == nearest


def test_a_message_breaks_the_rules_whose_fields_are_no_terms(
    vocabulary: terms.Vocabulary,
) -> None:
    rules = [
        TermRule(topic="#", field="project", collection="site:project", required=True),
        TermRule(topic="#", field="species", collection="site:species"),
    ]
    told = breaches.breaches(vocabulary, rules, {"project": "genom", "species": 17})
    assert [one.sentence for one in told] == [
        "project = 'genom' is no term of site:project; did you mean genomes?",
        "species = '17' is no term of site:species",
    ]
    (missing,) = breaches.breaches(vocabulary, rules, {"species": "E. coli"})
    assert missing.sentence == "project is missing; it must be a term of site:project"
    assert breaches.breaches(vocabulary, rules, {"project": "run-1", "species": None}) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "cannot be read"),
        ("a.json", "[]", "no table of namespace"),
        ("a.json", "[" * 100_000, "cannot be read"),
        ("a.toml", "namespace = 'x'", "collections: this key must be set"),
        ("a.toml", PROJECTS.replace("label", "lable"), "did you mean label?"),
        ("a.toml", PROJECTS.replace('"run"', '"genome"'), "'genome' would be two terms"),
        ("a.toml", PROJECTS.replace("run-[0-9]+", "("), "is no pattern"),
        ("a.json", SPECIES, "site:species is in another file, too"),
        ("a.txt", "", "has no file of terms"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    if text is SPECIES:
        (tmp_path / "b.json").write_text(text)
    with pytest.raises(SettingsError, match=said.replace("?", r"\?")):
        terms.read(tmp_path)


def test_a_rule_about_a_collection_that_is_not_there_is_refused(
    vocabulary: terms.Vocabulary,
) -> None:
    rule = TermRule(topic="#", field="project", collection="site:projects")
    with pytest.raises(SettingsError, match="no site:projects; there are: site:project, site:spec"):
        breaches.check(vocabulary, [rule])
