"""Two hundred pages whose parts move give no alert under the default rules; sixty ways to deface them give one each."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cloudeye.models import SEVERITIES
from cloudeye.services.tamper.compare import compare
from tests.unit.cloudeye.tamper.corpus import PAGES, VISITS, Sample, samples
from tests.unit.cloudeye.tamper.defacements import DEFACEMENTS, Defacement
from tests.unit.cloudeye.tamper.later import LATER
from tests.unit.cloudeye.tamper.latest import LATEST
from tests.unit.cloudeye.tamper.moving import LANGUAGES, Moving, Template
from tests.unit.cloudeye.tamper.seen import page_of
from tests.unit.cloudeye.tamper.sentences import NAMES, SENTENCES

SAMPLES = samples()
NEWER = (*LATER, *LATEST)


def test_the_corpus_is_what_it_says() -> None:
    assert len(SAMPLES) == PAGES == 200
    assert len({(sample.kind, sample.language) for sample in SAMPLES}) == PAGES
    assert len({sample.kind for sample in SAMPLES}) >= 16
    assert len({sample.language for sample in SAMPLES}) >= 17
    for sample in SAMPLES:
        assert len({sample.at(visit) for visit in range(VISITS)}) == VISITS, "nothing moves"
        assert sample.at(1) == sample.at(1)
    assert len(DEFACEMENTS) == len({defacement.name for defacement in DEFACEMENTS}) >= 50


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.kind}-{sample.language}")
def test_a_page_whose_parts_move_gives_no_alert(sample: Sample) -> None:
    baseline = page_of(sample.at(0), url=sample.url)
    assert baseline.blocks or baseline.items
    for visit in range(1, VISITS):
        page = page_of(sample.at(visit), url=sample.url)
        assert compare(baseline, page).changes == (), f"visit {visit}"
        assert page.digest == baseline.digest


@pytest.mark.parametrize("defacement", DEFACEMENTS, ids=lambda defacement: defacement.name)
def test_a_defaced_page_gives_an_alert_of_its_severity(defacement: Defacement) -> None:
    said: Counter[str] = Counter()
    for sample in SAMPLES:
        if sample.kind != defacement.kind:
            continue
        moved = sample.at(3)
        baseline, page = page_of(sample.at(0), url=sample.url), page_of(moved, url=sample.url)
        assert not compare(baseline, page).alerts, "it is the defacement that is to be seen"
        defaced = page_of(defacement.change(moved), url=defacement.url or sample.url)
        comparison = compare(baseline, defaced)
        assert comparison.alerts, sample
        assert SEVERITIES.index(comparison.severity) >= SEVERITIES.index(defacement.severity), comparison
        assert comparison.changes[0].severity == comparison.severity
        said[comparison.severity] += 1
    assert sum(said.values()) >= 12


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", NEWER, ids=lambda template: template.__name__)
def test_a_page_of_a_kind_that_came_later_gives_no_alert(template: Template, language: str) -> None:
    number = 1000 + 100 * NEWER.index(template) + LANGUAGES.index(language)

    def at(visit: int) -> str:
        return template(random.Random(f"still {number}"), Moving(number, visit), language)

    baseline = page_of(at(0))
    for visit in range(1, VISITS):
        assert compare(baseline, page_of(at(visit))).changes == (), f"visit {visit}"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.kind}-{sample.language}")
def test_one_other_word_in_any_sentence_is_seen_between_moving_parts(sample: Sample) -> None:
    rng = random.Random(sample.number)
    baseline, moved = page_of(sample.at(0), url=sample.url), sample.at(3)
    texts = [*SENTENCES[sample.language].split("|"), *NAMES[sample.language].split("|")]
    there = [text for text in texts if f">{text}<" in moved]
    for text in there:
        words = [text] if sample.language in ("zh", "ja") else text.split()
        words[rng.randrange(len(words))] = rng.choice(["evil", "Зло", "恶意", "gratis"])
        changed = moved.replace(f">{text}<", f">{' '.join(words)}<", 1)
        assert compare(baseline, page_of(changed, url=sample.url)).alerts, text
