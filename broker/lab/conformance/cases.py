"""Cases: what can happen to a receiver, each played with people of its own. The order is that of the report.

Refuses: nothing; each case writes down what it finds.
Keeps: a case asks for one thing, told in its words (`words.toml`): what it proves, and what to do when it fails.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from broker.flow.answers import Answered, End, Partly, Rejection
from broker.lab.conformance.trial import MOVED, Told, Trial, name_of
from broker.lab.sandbox import people
from broker.lab.sandbox.door import ACK
from broker.lab.sandbox.mischief import MOST, Mischief
from broker.lab.sandbox.playground import SOURCE
from schemas.names import Instant, Reason, rfc3339

Case = Callable[[Trial], Awaitable[None]]
MINUTE: Final = 60_000
DAY_MS: Final = 86_400_000
OVERLAP_MS: Final = DAY_MS


async def ordinary(trial: Trial) -> None:
    """One event, from the source's signature into the agency's system."""
    word = trial.words.new()
    told = await trial.tell(await trial.person(), email=word)
    await trial.settle()
    seen = await trial.observe()
    await trial.once(seen, told)
    if not seen.shows(told.person, word):
        trial.count("value-missing", 1, 1)


async def duplicate(trial: Trial) -> None:
    """A delivery that was applied and acknowledged comes once more."""
    told = await trial.tell(await trial.person())
    await trial.settle()
    await trial.acknowledged(told)
    trial.sound()
    trial.play.mischiefs.set({Mischief.DUPLICATE.value: 1})
    await trial.settle()
    await trial.once(await trial.observe(), told)


async def out_of_order(trial: Trial) -> None:
    """The older of two events comes after the newer one, as it does when a dead letter is replayed."""
    person, old, new = await trial.person(), trial.words.new(), trial.words.new()
    news = [trial.news(person, street, None) for street in (old, new)]
    first, second = await trial.play.reversed(news[0], news[1])
    older, newer = await trial.sent(person, old, first), await trial.sent(person, new, second)
    await trial.settle()
    seen = await trial.observe()
    await trial.ended(older)
    if seen.shows(person, old) and not seen.shows(person, new):
        trial.found("older-won")
    else:
        await trial.once(seen, newer)


async def unknown_person(trial: Trial) -> None:
    """Nobody is known there by these data, until the person has added their number."""
    await _answered(trial, Answered(Reason.UNKNOWN_PERSON))


async def several_persons(trial: Trial) -> None:
    """Several are known by these data, until the person has added their number."""
    await _answered(trial, Answered(Reason.SEVERAL_PERSONS))


async def document_needed(trial: Trial) -> None:
    """Something is missing that the person brings."""
    await _answered(trial, Answered(Reason.DOCUMENT_NEEDED))


async def technical(trial: Trial) -> None:
    """The administration's own fault, which its operator mends and replays."""
    await _answered(trial, Rejection("technical", Reason.TECHNICAL))


async def _answered(trial: Trial, answer: End) -> None:
    """A delivery was answered so, the person's next one came at once, and then the first comes again."""
    older, newer = await _first_and_next(trial, answer)
    await trial.once(await trial.observe(), newer)
    trial.sound()
    await trial.play.try_again(older.declaration)
    await trial.settle()
    seen = await trial.observe()
    await trial.ended(older)
    if seen.shows(older.person, older.street) and not seen.shows(older.person, newer.street):
        trial.found("older-won")


async def awaiting_human(trial: Trial) -> None:
    """A colleague decides by a certain day: what comes meanwhile does not wait for that, and nothing comes twice."""
    until = rfc3339(Instant(trial.play.clock() + 10 * DAY_MS))[:10]
    waits, newer = await _first_and_next(trial, Answered(Reason.AWAITING_HUMAN, until))
    seen = await trial.observe()
    await trial.once(seen, newer)
    await trial.never(seen, waits)
    trial.sound()
    await trial.play.tell_end(waits.declaration, None)  # the colleague has done it, by hand
    after = await trial.tell(waits.person)
    await trial.settle()
    await trial.once(await trial.observe(), after)


async def partly(trial: Trial) -> None:
    """Only some fields were taken, which is an end; a correction of all of it comes, and is taken whole."""
    some, newer = await _first_and_next(trial, Partly(("new_address",)))
    await trial.once(await trial.observe(), newer)
    trial.sound()
    right = await trial.tell(some.person, corrects=newer.declaration)
    await trial.settle()
    seen = await trial.observe()
    if not seen.shows(some.person, right.street):
        trial.found("correction-ignored")
    await trial.acknowledged(right)


async def _first_and_next(trial: Trial, answer: End) -> tuple[Told, Told]:
    """A person's delivery, answered so in the receiver's name, and their next one, which it takes."""
    person, old, new = await trial.person(), trial.words.new(), trial.words.new()
    async with trial.play.door.held():
        (first,) = await trial.play.declare([trial.news(person, old, None)])
        older = await trial.sent(person, old, first)
        await trial.play.answer(first, answer)
        (second,) = await trial.play.declare([trial.news(person, new, None)])
        newer = await trial.sent(person, new, second)
    await trial.settle()
    return older, newer


async def revoked(trial: Trial) -> None:
    """A consent is withdrawn after the delivery was handed out and before its keys were given."""
    gone, kept = await _withheld(trial, await trial.person(), "revoke")
    seen = await trial.observe()
    await trial.never(seen, gone)
    await trial.once(seen, kept)


async def paused(trial: Trial) -> None:
    """A consent is paused, and later resumed: the same delivery comes then."""
    later, kept = await _withheld(trial, await trial.person(), "pause")
    seen = await trial.observe()
    await trial.never(seen, later)
    await trial.once(seen, kept)
    trial.sound()
    await trial.play.decide(later.person, "resume")
    await trial.settle()
    await trial.once(await trial.observe(), later)


async def expired(trial: Trial) -> None:
    """A consent ends by its date while a delivery is under way."""
    gone, kept = await _withheld(trial, await trial.person(lasts_ms=MINUTE), "expire")
    seen = await trial.observe()
    await trial.never(seen, gone)
    await trial.once(seen, kept)


async def _withheld(trial: Trial, person: str, how: str) -> tuple[Told, Told]:
    """A pull whose answer says that one delivery is withheld, and brings another one."""
    other = await trial.person()

    async def decides() -> None:
        if how == "expire":
            trial.play.clock.move(MINUTE + 1000)
        else:
            await trial.play.decide(person, how)

    async with trial.play.door.held():
        gone, kept = await trial.tell(person), await trial.tell(other)
        async with trial.under_way([gone, kept], decides):
            pass
    await trial.settle()
    trial.play.clock.set(0)
    return gone, kept


async def second_schema(trial: Trial) -> None:
    """The event type gets a second version of its schema, with a field more."""
    await _news(trial, second_schema=True)


async def new_symbol(trial: Trial) -> None:
    """A field has a value that its list did not have when the receiver was written."""
    await _news(trial, new_symbol=True)


async def _news(trial: Trial, *, second_schema: bool = False, new_symbol: bool = False) -> None:
    """What the receiver does not know yet must not stop what it knows, nor be half applied, nor stay without an end."""
    unknown = await trial.tell(await trial.person(), second_schema=second_schema, new_symbol=new_symbol)
    known = await trial.tell(await trial.person())
    await trial.settle()
    seen = await trial.observe()
    await trial.once(seen, known)
    await trial.ended(unknown)
    if seen.times(unknown.delivery):
        await trial.once(seen, unknown)
    else:
        await trial.never(seen, unknown)


async def withheld_or_null(trial: Trial) -> None:
    """A field that is not disclosed says nothing; one that is null says that there is none any more."""
    person, word = await trial.person(), trial.words.new()
    first = await trial.tell(person, email=word)
    await trial.settle()
    seen = await trial.observe()
    await trial.once(seen, first)
    if not seen.shows(person, people.email(word)):
        trial.count("value-missing", 1, 1)
    trial.sound()
    fields = trial.play.wanted.asked(MOVED) - {"email"}
    await trial.play.decide(person, "narrow", fields)
    second = await trial.tell(person, email=trial.words.new())
    await trial.settle()
    seen = await trial.observe()
    await trial.once(seen, second)
    if not seen.shows(person, people.email(word)):
        trial.found("withheld-erased")
    trial.sound()
    await trial.play.decide(person, "revoke")
    await trial.play.allow(person, MOVED)
    third = await trial.tell(person, email=None)
    await trial.settle()
    seen = await trial.observe()
    await trial.once(seen, third)
    if seen.shows(person, people.email(word)):
        trial.found("null-kept")


async def correction(trial: Trial) -> None:
    """The source corrects what it declared."""
    person = await trial.person()
    wrong = await trial.tell(person)
    await trial.settle()
    await trial.acknowledged(wrong)
    trial.sound()
    right = await trial.tell(person, corrects=wrong.declaration)
    await trial.settle()
    seen = await trial.observe()
    if seen.times(wrong.delivery) and not seen.shows(person, right.street):
        trial.found("correction-ignored")
    await trial.acknowledged(right)


async def key_rotation(trial: Trial) -> None:
    """The source and the broker sign with new keys, which the directory lists."""
    before = await trial.tell(await trial.person())
    await trial.settle()
    await trial.acknowledged(before)
    trial.sound()
    for whose in (SOURCE, trial.play.home.party):
        await trial.play.rotate(whose, OVERLAP_MS)
    after = await trial.tell(await trial.person())
    await trial.settle()
    await trial.once(await trial.observe(), before, after)


async def bad_signature(trial: Trial) -> None:
    """Somebody changed what the source signed."""
    await _tampered(trial, Mischief.BAD_SIGNATURE)


async def wrong_statement(trial: Trial) -> None:
    """The broker's statement is for somebody else, or somebody else's."""
    await _tampered(trial, Mischief.WRONG_STATEMENT, Mischief.FORGED_STATEMENT)


async def _tampered(trial: Trial, *how: Mischief) -> None:
    bad = []
    for mischief in how:
        person = await trial.person()
        async with trial.play.door.held():
            told = await trial.tell(person)
            async with trial.under_way([told], _nothing) as answer:
                trial.play.mischiefs.set({mischief.value: 1})
                answer.update(await trial.play.tampered(dict(answer)))
        bad.append(told)
        await trial.settle()
        await trial.never(await trial.observe(), *bad, key="applied-tampered")
        trial.sound()
    good = await trial.tell(await trial.person())
    await trial.settle()
    seen = await trial.observe()
    await trial.never(seen, *bad, key="applied-tampered")
    await trial.once(seen, good)


async def _nothing() -> None:
    return


async def forged_directory(trial: Trial) -> None:
    """The source signs with a new key, and the directory that lists it is not signed by the ledger's key.

    Who refuses it may put the delivery off, reject it, or end; afterwards the true directory is there. It is started
    anew for each, so that who looks only now and then looks.
    """
    tried = trial.tried
    before = await trial.tell(await trial.person())
    await trial.settle()
    await trial.acknowledged(before)
    trial.sound()
    trial.play.mischiefs.set({Mischief.FORGED_DIRECTORY.value: MOST})
    await trial.play.rotate(SOURCE, OVERLAP_MS)
    await trial.restart()
    told = await trial.tell(await trial.person())
    await trial.settle(may_end=True)
    if not tried.sees_itself or await tried.ended() is None:
        await trial.never(await trial.observe(), told, key="believed-forged-directory")
    trial.play.mischiefs.set({Mischief.FORGED_DIRECTORY.value: 0})
    trial.sound()
    await trial.restart()
    await trial.again()
    await trial.ended(told)


async def slow_acknowledge(trial: Trial) -> None:
    """The lease runs out before the broker has taken the acknowledgement."""
    trial.play.mischiefs.set({Mischief.EXPIRED_LEASE.value: 1})
    told = await trial.tell(await trial.person())
    await trial.settle()
    if trial.play.mischiefs.wanted(Mischief.EXPIRED_LEASE):
        trial.found("no-acknowledgement")
        return
    await trial.once(await trial.observe(), told)


async def crash(trial: Trial) -> None:
    """The receiver is killed at the moment at which it acknowledges."""
    door, tried = trial.play.door, trial.tried

    async def kill() -> bool:
        del door.before[ACK]
        await tried.kill()
        return False

    door.before[ACK] = kill
    told = await trial.tell(await trial.person())
    if not tried.forever:
        await tried.start()

    before = door.idle_pulls

    async def killed() -> bool:
        return ACK not in door.before or await tried.ended() is not None

    async def came() -> bool:
        return door.idle_pulls > before or await killed()

    await door.until(came, trial.seconds)
    await door.until(killed, trial.grace)
    if ACK in door.before:
        trial.found("no-acknowledgement")
        return
    async with door.held():
        if tried.sees_itself:
            await tried.start()
        seen = await trial.observe()
    if not seen.times(told.delivery):
        trial.found("acknowledged-before-writing")
    if tried.forever:
        await tried.start()
    await trial.again()
    await trial.once(await trial.observe(), told)


async def huge_batch(trial: Trial) -> None:
    """Everything that a weekend brings, at once."""
    people_of = [await trial.person() for _ in range(trial.batch)]
    streets = [trial.words.new() for _ in people_of]
    news = [trial.news(person, street, None) for person, street in zip(people_of, streets, strict=True)]
    ids = await trial.play.declare(news)
    mail = {one.declaration_id: one for one in await trial.play.of(ids)}
    told = [
        Told(person, street, declaration, name_of(mail[declaration]))
        for person, street, declaration in zip(people_of, streets, ids, strict=True)
    ]
    await trial.settle(trial.seconds + trial.batch / 5)
    await trial.once(await trial.observe(), *told)


async def clock_skew(trial: Trial) -> None:
    """The source's clock is ahead: by four minutes, which everybody allows, and by ten, which nobody does."""
    trial.play.clock.set(4 * MINUTE)
    near = await trial.tell(await trial.person())
    await trial.settle()
    seen = await trial.observe()
    if not seen.times(near.delivery):
        trial.found("refused-near-future")
    else:
        await trial.acknowledged(near)
    trial.sound()
    trial.play.clock.set(10 * MINUTE)
    far = await trial.tell(await trial.person())
    await trial.settle()
    await trial.never(await trial.observe(), far, key="believed-far-future")


CASES: Final[Mapping[str, Case]] = {
    "ordinary": ordinary,
    "duplicate": duplicate,
    "out-of-order": out_of_order,
    "unknown-person": unknown_person,
    "several-persons": several_persons,
    "document-needed": document_needed,
    "awaiting-human": awaiting_human,
    "partly": partly,
    "technical": technical,
    "revoked-in-flight": revoked,
    "pause": paused,
    "expired": expired,
    "new-schema": second_schema,
    "unknown-enum": new_symbol,
    "withheld-or-null": withheld_or_null,
    "correction": correction,
    "bad-signature": bad_signature,
    "wrong-statement": wrong_statement,
    "slow-acknowledge": slow_acknowledge,
    "crash": crash,
    "huge-batch": huge_batch,
    "clock-skew": clock_skew,
    # The last ones: who does not know the new keys can do nothing after them.
    "key-rotation": key_rotation,
    "forged-directory": forged_directory,
}
