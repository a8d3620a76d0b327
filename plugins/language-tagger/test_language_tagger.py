"""Letters in twenty languages, and what cannot be told."""

import time

import pytest
from language_tagger import LANGUAGES, LanguageGuess, LanguageTagger, guess_language, text_of
from pydantic import ValidationError

from mailpipe.testing import MessageBuilder, PipelineRunner, StageContract, StageRunner

LETTERS = {
    "ar": "مرحبا، الجداول جاهزة ويمكنك أن تجدها في الملف المرفق.",
    "da": "Kære Anna, tabellerne er færdige nu, og jeg har også sendt dem til de andre. Hvad skal vi gøre efter mødet?"
    " Jeg kan ikke komme, før vi har talt med nogle af dem, der blev.",
    "de": "Liebe Anna, die Tabellen sind fertig, und ich habe sie auch an die anderen geschickt. Wann sehen wir uns?",
    "el": "Αγαπητή Άννα, οι πίνακες είναι έτοιμοι και τους έστειλα σε όλους.",
    "en": "Dear Anna, the tables are ready, and I have sent them to the others as well. When will we meet?",
    "es": "Querida Ana: las tablas ya están listas y también se las he enviado a los otros. ¿Cuándo nos vemos?",
    "fi": "Hei Anna, taulukot ovat nyt valmiit ja olen lähettänyt ne myös muille. Mitä mieltä sinä olet, kun ne ovat jo siellä?",
    "fr": "Chère Anne, les tableaux sont prêts et je les ai aussi envoyés aux autres. Quand est-ce que nous nous voyons ?",
    "he": "שלום אנה, הטבלאות מוכנות ושלחתי אותן גם לאחרים.",
    "it": "Cara Anna, le tabelle sono pronte e le ho mandate anche agli altri. Quando ci vediamo per la riunione?",
    "ja": "アンナさん、表ができましたので、皆さんにも送りました。",
    "ko": "안녕하세요 안나님, 표가 준비되어 다른 분들께도 보냈습니다.",
    "nl": "Beste Anna, de tabellen zijn klaar en ik heb ze ook naar de anderen gestuurd. Wanneer zien wij elkaar?",
    "no": "Kjære Anna, tabellene er ferdige nå, og jeg har også sendt dem til de andre. Hva skal vi gjøre etter møtet?",
    "pl": "Droga Anno, tabele są już gotowe i wysłałem je także do innych. Kiedy się zobaczymy, czy może jutro przed obiadem?",
    "pt": "Querida Ana, as tabelas já estão prontas e também foram enviadas aos outros. Quando é que nos vemos? Obrigado.",
    "ru": "Дорогая Анна, таблицы готовы, и я отправил их остальным. Когда мы увидимся? Это было бы хорошо.",
    "sv": "Kära Anna, tabellerna är färdiga och jag har också skickat dem till de andra. Vad ska vi göra efter mötet?",
    "uk": "Дорога Анно, таблиці готові, і я надіслав їх іншим. Коли ми зустрінемося? Її відповідь є тут.",
    "zh": "亲爱的安娜，潮汐表已经准备好了，我也发给了其他人。",
}


class TestContract(StageContract):
    """What a pipeline takes for granted of every stage."""

    stage = LanguageTagger


class TestContractWithEveryGuess(StageContract):
    """The field is set, however little is known."""

    stage = LanguageTagger
    options = {"min_confidence": 0, "overwrite": True, "field": "X-Language"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_letter_is_told_by_its_language(
    language: str, build_message: MessageBuilder, run_stage: StageRunner
) -> None:
    result = run_stage(LanguageTagger, build_message(text=LETTERS[language]))
    (guess,) = (note for note in result.notes if isinstance(note, LanguageGuess))
    assert guess.language == language and guess.confidence >= 0.6, guess
    assert result.mail.message.header["Content-Language"] == language
    assert result.changes.fields == ("Content-Language",) and not result.changes.body


@pytest.mark.parametrize("text", ["", "12345 67890", "OK", "https://example.org/the/of/and", "ann@the.example", "qwrt zzxxk"])
def test_where_nothing_points_to_a_language_none_is_said(
    text: str, build_message: MessageBuilder, run_stage: StageRunner
) -> None:
    result = run_stage(LanguageTagger, build_message(text=text))
    result.assert_unchanged()
    assert result.notes[0].confidence < 0.6


def test_what_the_sender_said_stays_unless_it_is_asked_for(build_message: MessageBuilder, run_stage: StageRunner) -> None:
    message = build_message(text=LETTERS["de"], headers={"Content-Language": "fr"})
    run_stage(LanguageTagger, message).assert_unchanged()
    changed = run_stage(LanguageTagger, message, overwrite=True)
    assert changed.mail.message.header["Content-Language"] == "de"


def test_quotations_signatures_and_markup_do_not_count(build_message: MessageBuilder) -> None:
    quoted = "".join(f"> {line}\n" for line in [LETTERS["en"]] * 5)
    text = f"{quoted}\n{LETTERS['de']}\n-- \n{LETTERS['fr']}\n"
    assert guess_language(text_of(build_message(text=text))).language == "de"
    html = f"<html><style>the of and to in is</style><body class='the of and'>{LETTERS['it']}</body></html>"
    assert guess_language(text_of(build_message(html=html))).language == "it"


def test_fewer_languages_are_told_apart_better() -> None:
    text = "Jeg har sendt dem til de andre"
    assert guess_language(text).confidence < guess_language(text, ("da", "de", "en")).confidence
    assert guess_language(LETTERS["ja"], ("en", "de")).language is None


def test_a_language_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValidationError, match="tlh is not among"):
        LanguageTagger.Options(languages=("tlh",))


@pytest.mark.parametrize("text", ["<" * 200_000, "a" * 200_000, "<script>" * 30_000, "a@" * 100_000, "de " * 70_000, "ж" * 200_000])
def test_a_long_text_takes_no_longer_than_a_short_one(text: str, build_message: MessageBuilder) -> None:
    for message in (build_message(text=text), build_message(html=text)):
        begun = time.process_time()
        guess_language(text_of(message))
        assert time.process_time() - begun < 2


def test_it_runs_in_a_pipeline(run_pipeline: PipelineRunner, build_message: MessageBuilder) -> None:
    messages = [build_message(text=LETTERS[each]) for each in ("sv", "pl")]
    result = run_pipeline('[[stage]]\nuse = "language-tagger"\n', *messages, plugins=[LanguageTagger])
    assert [message.header["Content-Language"] for message in result.messages] == ["sv", "pl"]
