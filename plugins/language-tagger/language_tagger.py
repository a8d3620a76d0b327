"""A stage that guesses: in which language the text of a message is written, said in a header field and a typed note.

    [[stage]]
    use            = "language-tagger"
    min_confidence = 0.6

Twenty languages, known without any other package: those with a script of their own by their letters, those that are
written in Latin letters by their small words ("and", "und", "och"), which a text can hardly do without.

Copy this file into the folder `plugins/` beside a pipeline file, or install the folder that it came in.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, field_validator

import mailpipe
from mailpipe import Access, Changed, Mail, Message

LONGEST = 20_000
"""LIMIT: characters that are looked at; a language shows itself sooner."""
ENOUGH = 3.0
"""The evidence from which on more of it makes nothing surer: about so many small words of one language alone."""

SMALL_WORDS = {
    "da": "og i at det er en til på som de med han af for ikke der var mig sig men et har om vi min havde ham"
    " hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal selv her alle vil blev kunne"
    " ind når være dog noget ville jo deres efter ned skulle denne dette også under have anden meget nogle"
    " uden jeg kan venlig hilsen",
    "de": "und der die das in zu den nicht von sie ist des sich mit dem dass er es ein ich auf so eine auch als"
    " an nach wie im für man aber aus durch wenn nur war noch werden bei hat wir was wird sein einen"
    " welche sind oder zur um haben einer mir über ihm diese einem ihr uns da zum kann doch vor dieser"
    " mich ihn du hatte seine mehr am denn nun unter sehr selbst schon hier bis ihre wurde keine bitte"
    " vielen dank freundlichen grüßen",
    "en": "the of and to in is you that it he was for on are as with his they i at be this have from or one had"
    " by but not what all were we when your can said there an each which she do how their if will up other"
    " about out many then them these so some her would him into has more could now than been who its did"
    " get may our please thanks regards",
    "es": "de la que el en y a los del se las por un para con no una su al lo como más pero sus le ya o este sí"
    " porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos"
    " uno les ni contra otros ese eso ante ellos e esto antes algunos qué unos yo otro otras otra él tanto"
    " esa estos mucho usted gracias",
    "fi": "ja on ei se että hän oli en ovat mutta kuin niin joka tai myös kun sen jos mitä siitä voi ole sitä"
    " hänen olen minä nyt vain kanssa vielä jo mukaan sekä siis olla ne mikä tämä tämän kaikki minun sinun"
    " meidän teidän koska jotta ennen jälkeen hyvä kiitos terveisin ollut olisi tulee pitää saa missä"
    " tässä kautta eli sinä te me he",
    "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec"
    " ou son aux cette ont ses mais comme on tout nous sa fait été aussi leur bien peut ces y vous elle"
    " entre deux même être sans très je lui c d l j qu n s était si où encore notre votre merci"
    " cordialement bonjour afin chez donc",
    "it": "di e il la che in a per un è del non una i si le da con sono dei come al lo della più nel alla ha"
    " delle anche ma gli ci se o questo mi io era due suo dal ed degli quando cui mio molto nella su"
    " essere dopo loro noi fra sua stato tra sul chi già quella quello hanno senza dove così perché ogni"
    " tutti grazie saluti buongiorno vi",
    "nl": "de van een het en in is dat op te zijn met voor niet aan er om ook als dan maar bij nog uit wordt"
    " door naar heeft hij ik ze tot je worden of kan meer al over wat deze hebben was had u zich wel zo"
    " geen dit hun die mijn onze jullie wij ons moet zou toch onder veel daar hier alle waar graag groeten"
    " vriendelijke bedankt hoe",
    "no": "og i det er på som en til at av for med de ikke den har jeg om et men var seg han ut så fra vi hun"
    " du kan ble eller da skal etter meg når sin være noe nå hva hadde opp mot andre ved her noen mye uten"
    " også kunne enn bare dem hvor over bli oss deg min mitt ditt vår deres vil hvis dette vennlig hilsen"
    " selv bedre før må gjør litt",
    "pl": "i w na z do nie się że to jest o jak a po co tak za od przez dla ale tylko czy był już są go jego"
    " jej ich przy być oraz które który która może jako tego tym nas pan bez pod sobie ten ma te gdy było"
    " więc też nawet bardzo jeszcze nam mnie mi gdzie kiedy ponieważ dziękuję proszę pozdrawiam mam lub"
    " przed między będzie można",
    "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem"
    " à seu sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era depois"
    " sem mesmo aos ter seus quem nas me esse eles estão você tinha foram essa num nem suas meu às minha"
    " têm numa pelos obrigado cumprimentos",
    "sv": "och i att det som en på är av för med till den har de inte om ett han men var jag sig från vi så kan"
    " när år under också efter eller nu sin där vid mot ska skulle kommer ut får finns vara hade alla"
    " andra mycket än här då sedan över bara in upp oss vad mer dem blir min mig hon någon något utan hur"
    " du hälsningar tack vänliga mellan",
}
"""Language (RFC 5646) → words that nearly every text in it has, in lower case."""

SCRIPTS = (
    ("el", "\u0370", "\u03ff"), ("cyrillic", "\u0400", "\u052f"), ("he", "\u0590", "\u05ff"),
    ("ar", "\u0600", "\u06ff"),
    ("ko", "\u1100", "\u11ff"), ("el", "\u1f00", "\u1fff"), ("ja", "\u3040", "\u30ff"), ("han", "\u3400", "\u9fff"),
    ("ko", "\uac00", "\ud7a3"),
)  # fmt: skip
"""Language or script → the first and the last letter of a block of Unicode."""
LANGUAGES = tuple(sorted({*SMALL_WORDS, "el", "he", "ar", "ja", "ko", "zh", "ru", "uk"}))

_OWNERS: dict[str, tuple[str, ...]] = {}
for _language, _words in SMALL_WORDS.items():
    for _word in set(_words.split()):
        _OWNERS[_word] = (*_OWNERS.get(_word, ()), _language)

_WORD = re.compile(r"[^\W\d_]+")
_RUN = re.compile(r"\S+")
_TAG = re.compile(r"<[^<>]*+>")
_HIDDEN = re.compile(r"<(?:style|script)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LanguageGuess:
    """A note: in which language the text is.

    Attributes:
        language: "de" (RFC 5646); None where nothing points to one.
        confidence: from 0 to 1.
        words: how many words were looked at.
    """

    language: str | None
    confidence: float
    words: int


class LanguageTaggerOptions(mailpipe.Options):
    """What is said, where, and from when on."""

    field: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,75}$")] = "Content-Language"
    """The header field that gets the language (RFC 3282), such as "X-Language" where senders shall keep theirs."""

    overwrite: bool = False
    """Whether a field of that name that is there already is replaced."""

    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.6
    """From which confidence on the field is set; the note is left in any case."""

    languages: tuple[str, ...] = LANGUAGES
    """Which languages come into question; fewer are told apart better."""

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(languages) - set(LANGUAGES)):
            raise ValueError(f"{', '.join(unknown)} is not among {', '.join(LANGUAGES)}")
        return languages


class LanguageTagger(mailpipe.Stage[LanguageTaggerOptions]):
    """Guesses the language of the text, and says it in a header field and a note."""

    name = "language-tagger"
    Options = LanguageTaggerOptions
    decides = ()

    @classmethod
    def accesses(cls, options: LanguageTaggerOptions) -> tuple[Access, Access]:
        """The field is the options' choice."""
        own = (options.field,)
        return Access(fields=own, body=True), Access(fields=own, notes=(LanguageGuess,))

    def process(self, mail: Mail) -> Mail:
        """Guess; set the field where the guess is good enough."""
        options, message = self.options, mail.message
        guess = guess_language(text_of(message), options.languages)
        mail = mail.with_note(guess)
        is_there = options.field in message.header
        if guess.language is None or guess.confidence < options.min_confidence or (is_there and not options.overwrite):
            return mail
        changed = message.with_header(options.field, guess.language)
        return mail.with_message(changed).with_note(Changed(self.name, f"{options.field}: {guess.language}"))


def text_of(message: Message) -> str:
    r"""What the writer wrote: without quotations, signature, addresses and markup.

    >>> text_of(mailpipe.parse(b"Subject: x\n\nHello\n> quoted\n-- \nAnn"))
    'Hello'
    """
    text = message.body_text
    if text is None:
        text = _without_markup((message.body_html or "")[: 4 * LONGEST])
    lines = []
    for line in text[: 2 * LONGEST].splitlines():
        if line.rstrip("\r") == "-- ":  # what follows is a signature (RFC 3676 section 4.3)
            break
        if not line.startswith(">"):
            lines.append(line)
    return _RUN.sub(_prose, "\n".join(lines)[:LONGEST])


def _prose(run: re.Match[str]) -> str:
    """Nothing in the place of an address or a link."""
    return " " if "@" in run[0] or "://" in run[0] else run[0]


def _without_markup(html: str) -> str:
    pieces, at = [], 0
    while (found := _HIDDEN.search(html, at)) is not None:
        pieces.append(html[at : found.start()])
        end = html.find("</", found.end())
        at = len(html) if end < 0 else end
    return _TAG.sub(" ", "".join([*pieces, html[at:]])).replace("&nbsp;", " ")


def guess_language(text: str, languages: tuple[str, ...] = LANGUAGES) -> LanguageGuess:
    """The language of a text, among those that come into question.

    >>> guess_language("Die Tabelle ist fertig, und das Wasser ist um zwölf am höchsten.").language
    'de'
    """
    words = _WORD.findall(text.lower())
    letters = Counter(script for word in words for script in map(_script_of, word))
    total = sum(letters.values())
    script, count = letters.most_common(1)[0] if letters else ("latin", 0)
    if letters["ja"] * 10 > total:  # a Japanese text is mostly Han, and never without kana
        script, count = "ja", letters["ja"] + letters["han"]
    if not words:
        return LanguageGuess(None, 0.0, 0)
    if script == "latin":
        return _by_small_words(words, languages)
    language = {"han": "zh", "cyrillic": _cyrillic(text.lower())}.get(script, script)
    if language not in languages:
        return LanguageGuess(None, 0.0, len(words))
    return LanguageGuess(language, round(count / total * min(1.0, total / 10), 2), len(words))


def _script_of(letter: str) -> str:
    if letter < "\u0370":
        return "latin"
    return next((script for script, first, last in SCRIPTS if first <= letter <= last), "other")


def _cyrillic(text: str) -> str:
    """Russian or Ukrainian, by the letters that only one of them has."""
    return "uk" if sum(map(text.count, "іїєґ")) > sum(map(text.count, "ыэъё")) else "ru"


def _by_small_words(words: list[str], languages: tuple[str, ...]) -> LanguageGuess:
    scores = dict.fromkeys((each for each in SMALL_WORDS if each in languages), 0.0)
    for word in words:
        owners = [each for each in _OWNERS.get(word, ()) if each in scores]
        for owner in owners:
            scores[owner] += 1 / len(owners) ** 2  # a word of many languages points to none of them
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    if not ranked or ranked[0][1] == 0:
        return LanguageGuess(None, 0.0, len(words))
    best, score = ranked[0]
    second = ranked[1][1] if len(ranked) > 1 else 0.0
    confidence = score / (score + second) * min(1.0, score / ENOUGH)
    return LanguageGuess(best, round(confidence, 2), len(words))


def register(registry: mailpipe.Registry) -> None:
    """Enter the stage; called by mailpipe."""
    registry.add_stage(LanguageTagger)
