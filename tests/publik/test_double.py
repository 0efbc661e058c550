"""The double is as strict, and as careless, as the facts say that a w.c.s. is."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.publik.rules import Access, Answer, Door
from tests.publik.site import Form, Formdata, Jump, Site

AT = datetime(2026, 3, 2, 9, 15, 5, tzinfo=UTC)
MOVE = "changement-d-adresse"
FIELDS: list[dict[str, Any]] = [
    {"type": "title", "label": "Vous"},
    {"id": "7", "type": "string", "varname": "reference_source", "label": "Référence"},
    {"type": "string", "varname": "nom", "label": "Nom"},
    {"type": "bool", "varname": "urgent", "label": "Urgent"},
    {"type": "date", "varname": "date_effet", "label": "Date d'effet"},
    {"type": "numeric", "varname": "montant", "label": "Montant"},
    {"type": "item", "varname": "occupation", "label": "Occupation", "items": ["Locataire", "Propriétaire"]},
    {"type": "item", "varname": "commune", "label": "Commune", "source": [{"id": "35238", "text": "Rennes"}]},
    {"type": "items", "varname": "services", "label": "Services", "items": ["Eau", "Gaz"]},
    {"type": "file", "varname": "piece", "label": "Pièce"},
    {"type": "map", "varname": "lieu", "label": "Lieu"},
    {
        "type": "block",
        "varname": "adresse",
        "label": "Adresse",
        "block_slug": "adresse",
        "schema": {"fields": [{"type": "string", "varname": "numero"}, {"type": "string", "varname": "voie"}]},
    },
]


def query(key: str, at: datetime = AT, /, **more: str) -> str:
    """A signed query, in words of this test's own."""
    told = {"algo": "sha256", "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}", **more}
    return signed_text(key, "&".join(f"{name}={quote(value, safe='')}" for name, value in told.items()), told["algo"])


def signed_text(key: str, base: str, algo: str = "sha256") -> str:
    """A query of exactly this text, signed; by SHA-256 where there is no such algorithm."""
    chosen = algo if algo in hashlib.algorithms_guaranteed else "sha256"
    return f"{base}&signature={quote(base64.b64encode(hmac.new(key.encode(), base.encode(), chosen).digest()))}"


def site() -> Site:
    door = Door(AT, [Access("pont", "cle"), Access("agents", "cle2", frozenset({"etat-civil"}))])
    door.users = {"3b0f": "lise@exemple.fr"}
    form = Form(MOVE, FIELDS, frozenset({"etat-civil"}), frozenset({"etat-civil"}))
    return Site(door, {MOVE: form})


def ask(site: Site, method: str, path: str, signed: str = "", body: Any = None, **headers: str) -> tuple[int, Any]:
    more = {"content-type": "application/json", "accept": "application/json"} | headers
    content = b"" if body is None else json.dumps(body).encode()
    status, _, told = site.answer(method, f"{path}?{signed}", more, content)
    return status, json.loads(told) if told[:1] in b"{[" else told


def basic(access: str, key: str) -> str:
    return "Basic " + base64.b64encode(f"{access}:{key}".encode()).decode()


def test_both_vectors_of_the_facts_are_signed_by_its_rule() -> None:
    door = Door(AT, [Access("pont-adresses", "cle-aller-demo"), Access("demarches.ville.example", "cle-retour-demo")])
    for told in (
        "orig=pont-adresses&algo=sha256&timestamp=2026-03-02T09%3A15%3A03Z&nonce=5f1c0a9be2d74c3688aa01d2e4f7b935"
        "&signature=vR3nKJn7YtWNlL9T9IzOd%2BDh658H1Xm6roGIeXip%2FFo%3D",
        "orig=demarches.ville.example&algo=sha256&timestamp=2026-03-02T09%3A15%3A05Z"
        "&nonce=c07e44d1a35b4f0e9d2286b1f3a95e70&signature=OXU6IvSUooNt%2BVnn75MChmgZAK2Iq1WL9iZdorMlXhY%3D",
    ):
        assert "signed" == door.caller(told, {}).way


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (query("cle"), "missing/multiple orig field"),
        (query("cle", orig="nobody"), "Invalid orig."),
        (query("cle", orig="pont", algo="crc32"), "Invalid algo."),
        (query("other", orig="pont"), "Invalid signature."),
        (query("cle", orig="pont", timestamp="yesterday"), "Invalid timestamp field; yesterday"),
        (query("cle", AT - timedelta(seconds=31), orig="pont"), "timestamp is more than 30 seconds in the past: 31.0"),
        (
            query("cle", AT + timedelta(seconds=31), orig="pont"),
            "timestamp is more than 30 seconds in the future: -31.0",
        ),
        (query("cle", orig="pont", nonce="n"), "Nonce already used."),
        (query("cle", orig="pont", NameID="x"), "Unknown NameID."),
        (query("cle", orig="pont", email="x@y"), "Unknown email."),
    ],
)
def test_a_signature_is_refused_in_this_order(told: str, text: str) -> None:
    here = site()
    here.door.caller(query("cle", orig="pont", nonce="n"), {})
    with pytest.raises(Answer) as refused:
        here.door.caller(told, {})
    assert (403, text) == (refused.value.status, refused.value.body["err_desc"])


def test_a_nonce_is_good_again_after_31_seconds_and_the_edge_is_in() -> None:
    here = site()
    here.door.caller(query("cle", AT - timedelta(seconds=30), orig="pont", nonce="n"), {})
    here.door.now += timedelta(seconds=31)
    assert "signed" == here.door.caller(query("cle", here.door.now, orig="pont", nonce="n"), {}).way


def test_what_is_appended_behind_the_signature_is_honoured() -> None:
    caller = site().door.caller(query("cle", orig="pont") + "&NameID=3b0f", {})
    assert "3b0f" == caller.user


ALONE, AGENTS, JSON = query("cle", orig="pont"), query("cle2", orig="agents"), "application/json"
VALUES = [
    ({"nom": "Bessière", "inconnu": 1}, {"nom": "Bessière"}),
    ({"7": "EV-1"}, {"reference_source": "EV-1"}),
    ({"nom": ["a"]}, {"nom": "['a']"}),
    ({"urgent": "false"}, {"urgent": True}),
    ({"date_effet": "15/03/2026"}, {"date_effet": None}),
    ({"date_effet": "2026-03-15"}, {"date_effet": "2026-03-15"}),
    ({"montant": "3,5"}, {"montant": "3.5"}),
    ({"montant": True}, {"montant": "0"}),
    ({"montant": "x"}, {"montant": None}),
    ({"occupation": "Locataire"}, {"occupation": "Locataire", "occupation_raw": "Locataire"}),
    ({"occupation": "Squatteur"}, {"occupation": None, "occupation_raw": None}),
    ({"commune": "Rennes"}, {"commune": None, "commune_raw": "Rennes"}),
    (
        {"commune": "35238"},
        {"commune": "Rennes", "commune_raw": "35238", "commune_structured": {"id": "35238", "text": "Rennes"}},
    ),
    ({"services": "Eau"}, {"services": []}),
    ({"services": ["Eau", "Vent"]}, {"services": ["Eau", "Vent"]}),
    ({"piece": {"filename": "a", "content": "%"}}, {"piece": {"filename": "a", "content_type": None, "content": ""}}),
    ({"adresse": "x"}, {"adresse": "", "adresse_raw": []}),
    (
        {"adresse": [{"voie": "rue", "étage": "2"}]},
        {"adresse": "{'voie': 'rue'}", "adresse_raw": [{"voie": "rue"}]},
    ),
    ({"lieu": "x"}, {"lieu": None}),
]


@pytest.mark.parametrize(("given", "kept"), VALUES)
def test_unknown_keys_are_dropped_and_bad_values_become_nothing(given: Mapping[str, Any], kept: object) -> None:
    here = site()
    told = {"authorization": basic("agents", "cle2")}
    assert 200 == ask(here, "POST", f"/api/formdefs/{MOVE}/submit", "", {"data": given}, **told)[0]
    status, read = ask(here, "GET", f"/api/forms/{MOVE}/1/", **told)
    assert (200, kept) == (status, read["fields"])


def test_a_submission_is_never_the_same_one_and_a_nul_is_a_500() -> None:
    here = site()
    for number in (1, 2):
        told = ask(here, "POST", f"/api/formdefs/{MOVE}/submit", query("cle", orig="pont"), {"data": {"nom": "a"}})
        assert (200, str(number)) == (told[0], told[1]["data"]["id"])
    told = ask(here, "POST", f"/api/formdefs/{MOVE}/submit", query("cle", orig="pont"), {"data": {"nom": "\0"}})
    assert ((500, {"err": 1}), 2) == (told, len(here.forms[MOVE].data))


@pytest.mark.parametrize(
    ("change", "signed", "body", "content", "status", "code"),
    [
        ({}, "", {}, "application/json", 403, "access-denied"),
        ({}, query("cle", orig="pont"), {}, "text/plain", 400, "invalid-request"),
        ({}, query("cle", orig="pont"), [], "application/json", 400, "invalid-request"),
        ({}, query("cle", orig="pont"), {"data": []}, "application/json", 400, "invalid-request"),
        ({"disabled": True}, ALONE, {}, JSON, 403, "access-denied"),
        ({"submission": frozenset()}, AGENTS, {}, JSON, 403, "no-backoffice-submission-role"),
        ({"submission": frozenset({"x"})}, AGENTS, {}, JSON, 403, "user-not-allowed-backoffice-submission"),
    ],
)  # fmt: skip
def test_a_submission_is_refused_with_its_code(
    change: Mapping[str, Any], signed: str, body: object, content: str, status: int, code: str
) -> None:
    here = site()
    vars(here.forms[MOVE]).update(change)
    told = ask(here, "POST", f"/api/formdefs/{MOVE}/submit", signed, body, **{"content-type": content})
    assert (status, code, []) == (told[0], told[1]["err_code"], here.forms[MOVE].data)


def test_the_user_is_a_list_and_a_string_a_stranger_or_a_context_is_nobody() -> None:
    here = site()
    for given in (
        {"user": {"NameID": ["3b0f"]}},
        {"user": {"NameID": "3b0f"}},
        {"user": {"NameID": ["x"]}},
        {"user": {"NameID": ["3b0f"]}, "context": {"channel": "mail"}},
        {"user": {"NameID": ["3b0f"]}, "meta": {"backoffice-submission": True}},
    ):
        ask(here, "POST", f"/api/formdefs/{MOVE}/submit", query("cle", orig="pont"), given)
    assert ["3b0f", None, None, None, None] == [one.user for one in here.forms[MOVE].data]


def test_a_signature_alone_lists_and_does_not_read() -> None:
    here = site()
    ask(here, "POST", f"/api/formdefs/{MOVE}/submit", query("cle", orig="pont"), {"data": {"nom": "a"}})

    assert 1 == len(ask(here, "GET", f"/api/forms/{MOVE}/list", query("cle", orig="pont"))[1])
    told = ask(here, "GET", f"/api/forms/{MOVE}/1/", query("cle", orig="pont"))
    assert (403, "User not authenticated.") == (told[0], told[1]["err_desc"])
    assert 200 == ask(here, "GET", f"/api/forms/{MOVE}/1/", query("cle2", orig="agents"))[0]
    assert 404 == ask(here, "GET", f"/api/forms/{MOVE}/9/", query("cle2", orig="agents"))[0]
    assert 401 == ask(here, "GET", f"/api/forms/{MOVE}/list")[0]
    here.forms[MOVE].concerned = frozenset()
    assert 403 == ask(here, "GET", f"/api/forms/{MOVE}/list", query("cle2", orig="agents"))[0]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"filter-nom": "EV-7"}, ["2"]),
        ({"filter-nom": "7"}, ["1"]),  # digits alone are a number: 007
        ({"filter-nom": "EV-7|007"}, []),
        ({"filter-nom": "EV-7|x", "filter-nom-operator": "in"}, ["2"]),
        ({"limit": "1"}, ["1"]),
        ({"offset": "1"}, ["2"]),
        ({"filter-internal-id": "2"}, ["2"]),
    ],
)
def test_a_list_is_filtered(asked: Mapping[str, str], found: list[str]) -> None:
    here = site()
    for name in ("007", "EV-7"):
        ask(here, "POST", f"/api/formdefs/{MOVE}/submit", query("cle", orig="pont"), {"data": {"nom": name}})
    ask(here, "POST", f"/api/formdefs/{MOVE}/submit", query("cle", orig="pont"), {"meta": {"draft": True}})
    status, told = ask(here, "GET", f"/api/forms/{MOVE}/list", query("cle", orig="pont", **asked))
    assert (200, found) == (status, [one["id"] for one in told])
    assert 400 == ask(here, "GET", f"/api/forms/{MOVE}/list", query("cle", orig="pont", **{"filter-x": "1"}))[0]


def test_a_time_is_naive_and_local_and_that_of_the_evolution_has_its_offset() -> None:
    here = site()
    ask(here, "POST", f"/api/formdefs/{MOVE}/submit", query("cle", orig="pont"), {})
    (told,) = ask(here, "GET", f"/api/forms/{MOVE}/list", query("cle", orig="pont", full="on"))[1]
    assert ("2026-03-02T10:15:05", "2026-03-02T10:15:05+01:00") == (told["receipt_time"], told["evolution"][0]["time"])


def test_a_trigger_is_gone_once_it_was_pulled_and_a_hook_is_not() -> None:
    here = site()
    form = here.forms[MOVE]
    form.triggers = {"fait": Jump("new", "done"), "role": Jump("done", "end", frozenset({"etat-civil"}))}
    form.hooks = {"note": Jump(None, None, frozenset({"etat-civil"})), "libre": Jump(None)}
    form.data.append(Formdata(1, MOVE, "u", AT, {}))
    signed, agents = lambda: query("cle", orig="pont"), lambda: query("cle2", orig="agents")
    trigger, hook = f"/api/forms/{MOVE}/1/jump/trigger", f"/api/forms/{MOVE}/1/hooks"

    form.data[0].busy = True
    assert 403 == ask(here, "POST", f"{trigger}/fait", signed(), {})[0]
    form.data[0].busy = False
    assert 403 == ask(here, "GET", f"{trigger}/fait", signed())[0]
    assert 403 == ask(here, "POST", f"{trigger}/fait", "", {}, authorization=basic("agents", "cle2"))[0]
    assert (200, {"err": 0, "url": None}) == ask(here, "POST", f"/{MOVE}/1/jump/trigger/fait", signed(), {"a": 1})
    assert 404 == ask(here, "POST", f"{trigger}/fait", signed(), {})[0]
    assert 404 == ask(here, "GET", f"{trigger}/fait", signed())[0]
    assert 403 == ask(here, "POST", f"{trigger}/role", signed(), {})[0]
    assert 302 == here.answer("POST", f"{trigger}/role?{agents()}", {}, b"")[0]
    assert 403 == ask(here, "POST", f"{hook}/note", signed(), {})[0]
    assert (200, {"err": 0}) == ask(here, "POST", f"{hook}/note", agents(), {"b": 2})
    assert (200, 404) == (ask(here, "POST", f"{hook}/libre", "", {})[0], ask(here, "POST", f"{hook}/x", signed())[0])
    assert ({"a": 1, "note": {"b": 2}, "libre": {}}, "end") == (form.data[0].workflow_data, form.data[0].status)


def test_a_site_under_maintenance_answers_no_json() -> None:
    here = site()
    here.maintenance = True
    assert (503, b"<h1>Maintenance</h1>") == ask(here, "GET", "/api/formdefs/", query("cle", orig="pont"))


def test_every_algorithm_that_python_guarantees_is_taken() -> None:
    here = site()
    for algo in sorted(one for one in hashlib.algorithms_guaranteed if not one.startswith("shake")):
        base = f"orig=pont&algo={algo}&timestamp=2026-03-02T09%3A15%3A05Z"
        made = base64.b64encode(hmac.new(b"cle", base.encode(), algo).digest()).decode()
        assert "signed" == here.door.caller(f"{base}&signature={quote(made)}", {}).way
