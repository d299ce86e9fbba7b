# SPDX-License-Identifier: BSD-3-Clause
"""A small share of each part of fuzz.py, and that no end of a case is lost there."""

import json

import fuzz
import pytest
from fuzzing import HIDDEN, PARTS, ends

# So many that each part takes two or three seconds.
FEW = {
    "networks": 300,
    "reference": 40,
    "gaussian": 300,
    "mpmath": 12,
    "sampled": 60,
    "calls": 60,
    "files": 50,
    "graphs": 60,
    "graph_reference": 30,
    "graph_samples": 30,
}


@pytest.mark.parametrize("name", PARTS)
def test_random_cases_obey_the_laws(name):
    run = fuzz.run_part(PARTS[name], seed=1, indices=range(FEW[name]), jobs=1)
    assert [fuzz.expression(failure, name, run.seed) for failure in run.failures] == []


def test_every_end_of_a_case_is_told_with_its_number_and_input():
    part, indices = HIDDEN["ends"], range(11)
    inputs = [part.draw(fuzz.random_of(2678, part.name, index)) for index in indices]
    assert set(inputs) == {*ends.ENDS}
    run = fuzz.run_part(part, seed=2678, indices=indices, jobs=2)
    assert run.done == len(indices)
    result = {index: [] for index in indices}
    for failure in run.failures:
        assert failure["input"] == inputs[failure["index"]]
        result[failure["index"]].append(failure["got"])
    words = {
        "signal": "SIGSEGV",
        "exit": "exit status 3",
        "endless": "no answer within",
        "memory": "MemoryError",
        "warning": "UserWarning: a word",
        "wrong": "wrong",
        "standard error": "lanes.hpp:85: runtime error",
        "closed": "1 closed",
    }
    for index, text in enumerate(inputs):
        assert len(result[index]) == (text in words), text
        assert all(words[text] in got for got in result[index])
    assert [each["index"] for each in run.skipped] == [i for i, text in enumerate(inputs) if text == "skipped"]


def test_a_case_runs_again_by_its_number_alone(capsys):
    assert fuzz.main(["--only", "networks:5"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == PARTS["networks"].draw(fuzz.random_of(0, "networks", 5))
    assert printed[-1] == "1 passed, 0 failed"


def test_another_seed_or_number_is_another_case():
    draw = PARTS["networks"].draw
    texts = {draw(fuzz.random_of(seed, "networks", index)) for seed in range(3) for index in range(20)}
    assert len(texts) == 60
    assert json.loads(json.dumps(sorted(texts))) == sorted(texts)
