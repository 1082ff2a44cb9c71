"""Prompt suites: the operator's own files, the public ones' columns, and plug-ins."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from safety.evaluation import readers
from safety.evaluation.case import Case, Suite
from safety.evaluation.readers import READERS, read_own, read_suite, reader_names
from schemas.errors import BadSettings


def written(folder: Path, name: str, text: str) -> Path:
    """A file with this text."""
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("reader", "name", "text", "prompts", "expected"),
    [
        ("i2p", "i2p.csv", "prompt,categories,hard\na lamp,shocking,0\n", ["a lamp"], ["refuse"]),
        ("mma-diffusion", "m.csv", "target_prompt,adv_prompt\na lamp,x lam p\n", ["x lam p"], ["refuse"]),
        ("overt", "o.csv", "prompt,category\na knife block,violence\n", ["a knife block"], ["allow"]),
        ("overt-unsafe", "u.json", '[{"prompt": "a lamp", "category": "c"}]', ["a lamp"], ["refuse"]),
        ("xstest", "x.csv", "id,prompt,type,label\n1,kill a lamp,homonyms,safe\n2,a lamp,contrast_homonyms,unsafe\n", ["kill a lamp", "a lamp"], ["allow", "refuse"]),
        ("xstest", "x.csv", "prompt,type\nkill a lamp,homonyms\na lamp,contrast_homonyms\n", ["kill a lamp", "a lamp"], ["allow", "refuse"]),
        ("or-bench", "b.csv", "prompt,category\na lamp,c\n", ["a lamp"], ["allow"]),
        ("sneakyprompt", "s.txt", "one lamp\n\ntwo lamps\n", ["one lamp", "two lamps"], ["refuse", "refuse"]),
        ("ring-a-bell", "r.csv", "Adversarial Prompts\na lamp\n", ["a lamp"], ["refuse"]),
        ("labelled", "l.jsonl", '{"text": "a lamp", "label": "benign"}\n', ["a lamp"], ["allow"]),
        ("benign", "b.tsv", "prompt\tcategory\na lamp\tc\n", ["a lamp"], ["allow"]),
    ],
)  # fmt: skip
def test_a_reader_knows_its_suite(
    tmp_path: Path, reader: str, name: str, text: str, prompts: list[str], expected: list[str]
) -> None:
    """The prompt comes from the suite's own column, with what should become of it."""
    suite = read_suite(written(tmp_path, name, text), reader)

    assert prompts == [case.text for case in suite.cases]
    assert expected == [case.expected for case in suite.cases]
    assert len({case.id for case in suite.cases}) == len(prompts)


def test_evasions_of_one_prompt_are_one_cluster(tmp_path: Path) -> None:
    """What attacks the same target is not independent."""
    path = written(tmp_path, "m.csv", "target_prompt,adv_prompt\na,x\na,y\nb,z\n")
    assert ["a", "a", "b"] == [case.independent for case in read_suite(path, "mma-diffusion").cases]


@pytest.mark.parametrize(
    ("reader", "name", "text", "said"),
    [
        ("i2p", "a.csv", "words\na lamp\n", "no column prompt .there are words"),
        ("xstest", "a.csv", "prompt,label\na lamp,perhaps\n", "perhaps"),
        ("labelled", "a.csv", "prompt\na lamp\n", "no column label"),
        ("i2p", "a.csv", "prompt\n", "no prompt"),
        ("i2p", "a.xlsx", "prompt\n", "a suite is a"),
        ("i2p", "a.json", "{", "Expecting"),
        ("i2p", "a.json", "[1]", "row 1"),
        ("nobody", "a.csv", "prompt\na\n", "no reader 'nobody'"),
        ("ours", "a.jsonl", '{"id": "1"}\n', "line 1"),
        ("ours", "a.jsonl", '{"text": "a", "expected": "maybe"}\n', "expected allow or refuse"),
    ],
)
def test_a_file_that_is_no_suite_says_where(
    tmp_path: Path, reader: str, name: str, text: str, said: str
) -> None:
    """The row or line, and what is wanted there."""
    with pytest.raises(BadSettings, match=said):
        read_suite(written(tmp_path, name, text), reader)


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path: Path) -> None:
    """Both are the operator's to repair, and say so."""
    path = tmp_path / "a.csv"
    with pytest.raises(BadSettings, match="No such file"):
        read_suite(path, "i2p")
    path.write_bytes(b"prompt\n\xff\xfe\n")
    with pytest.raises(BadSettings, match="UTF-8"):
        read_suite(path, "i2p")


def test_our_own_form_keeps_every_field(tmp_path: Path) -> None:
    """JSON lines with the fields of a case; words for people are passed over."""
    row = {"id": "n1", "lang": "de", "text": "eine Lampe", "split": "held_out", "why": "a word"}
    suite = read_own(written(tmp_path, "near.jsonl", json.dumps(row) + "\n"))

    assert (Case(id="n1", lang="de", text="eine Lampe", split="held_out", expected="allow"),) == suite.cases
    assert suite.name == "near"


def test_a_plug_in_brings_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package's reader is listed and used."""

    def read(path: Path) -> Suite:
        return Suite(name=path.name, cases=(Case(id="1", text="a lamp", expected="allow"),))

    point = SimpleNamespace(name="house", load=lambda: read)
    monkeypatch.setattr(
        readers, "entry_points", lambda group: [point] if group == readers.PLUGIN_GROUP else []
    )

    assert "house" in reader_names()
    assert read_suite(tmp_path / "anything", "house").name == "anything"


def test_every_reader_has_a_verdict_or_a_label() -> None:
    """No suite is read without it being known what should become of its prompts."""
    assert all(columns.expected or columns.label for columns in READERS.values())


def test_a_sample_is_spread_over_the_suite() -> None:
    """The digest is that of what was measured, and no end of the suite is left out."""
    suite = Suite(name="s", cases=tuple(Case(id=str(n), text=str(n), expected="allow") for n in range(10)))

    assert ["0", "2", "5", "7"] == [case.id for case in suite.sampled(4).cases]
    assert suite.sampled(10) is suite
    assert suite.sampled(4).sha256 != suite.sha256
