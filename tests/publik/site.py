"""A w.c.s. in memory: forms, formdata, workflows, and the answers of its API, as `rules` and the facts have them.

Refuses: what w.c.s. refuses. Takes what it takes: unknown keys, empty submissions, the same submission twice.
Keeps: its clock is `site.door.now`, moved by the test; a formdata's times are naive and local, as they are there.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

from tests.publik.rules import Answer, Caller, Door, breaks, stored

Answered = tuple[int, dict[str, str], bytes]
FILTERED = frozenset({"string", "text", "email", "item", "items", "bool", "date", "numeric"})
KNOWN_FILTERS = frozenset({"start", "end", "start-mtime", "end-mtime", "number", "internal-id", "user-uuid"})


@dataclass(frozen=True)
class Jump:
    """A trigger of a status, or (without `status`) a global hook; `roles` None: without roles."""

    status: str | None
    target: str | None = None
    roles: frozenset[str] | None = None


@dataclass
class Formdata:
    """One submission."""

    number: int
    slug: str
    uuid: str
    received: datetime
    values: dict[str, Any]
    user: str | None = None
    channel: str = "web"
    draft: bool = False
    status: str = "new"
    changed: datetime | None = None
    busy: bool = False
    workflow_data: dict[str, Any] = field(default_factory=dict)
    evolution: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Form:
    """A form with its workflow. `concerned`: the roles that have a function in it."""

    slug: str
    fields: list[dict[str, Any]]
    submission: frozenset[str] = frozenset()
    concerned: frozenset[str] = frozenset()
    disabled: bool = False
    triggers: dict[str, Jump] = field(default_factory=dict)
    hooks: dict[str, Jump] = field(default_factory=dict)
    data: list[Formdata] = field(default_factory=list)

    @property
    def named(self) -> dict[str, dict[str, Any]]:
        return {one["varname"]: one for one in self.fields if "varname" in one}


@dataclass
class Site:
    """A whole site. `url` is told by the server that serves it."""

    door: Door
    forms: dict[str, Form] = field(default_factory=dict)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Europe/Brussels"))
    url: str = "https://demarches.ville.example"
    maintenance: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: status, headers, bytes."""
        path, _, query = target.partition("?")
        self.asked.append((method, path))
        if self.maintenance:
            return 503, {"content-type": "text/html"}, b"<h1>Maintenance</h1>"
        plain = {"content-type": "application/json"}
        try:
            told = self._routed(method, path, query, headers, body)
        except Answer as error:
            return error.status, plain | error.headers, json.dumps(error.body).encode()
        if told is None:
            return 302, {"location": self.url}, b""
        return 200, plain, json.dumps(told).encode()

    def _routed(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Any:
        caller = self.door.caller(query, headers)
        match path.strip("/").split("/"):
            case ["api", "formdefs"]:
                return self._formdefs(caller, query)
            case ["api", "formdefs", slug, "schema"]:
                return self._schema(self._form(slug), caller)
            case ["api", "formdefs", slug, "submit"]:
                return self._submit(self._form(slug), caller, method, headers, body)
            case ["api", "forms", slug, "list"]:
                return self._list(self._form(slug), caller, query)
            case ["api", "forms", slug, number, "hooks", name]:
                return self._hook(self._form(slug), number, name, caller, method, body)
            case ["api", "forms", slug, number, "jump", "trigger", name]:
                return self._trigger(self._form(slug), number, name, caller, method, headers, body)
            case ["api", "forms", slug, number]:
                return self._read(self._form(slug), number, caller)
            case [slug, number, "jump", "trigger", name]:
                return self._trigger(self._form(slug), number, name, caller, method, headers, body)
        raise Answer(404)

    def _form(self, slug: str) -> Form:
        if slug not in self.forms:
            raise Answer(404)
        return self.forms[slug]

    def _formdefs(self, caller: Caller, query: str) -> Any:
        if caller.way == "unsigned":
            raise Answer(403, "Unsigned API call.")
        shown = [one for one in self.forms.values() if not one.disabled]
        if "backoffice-submission=on" in query:
            shown = [one for one in shown if one.submission & caller.roles]
        return {
            "err": 0,
            "data": [{"slug": one.slug, "title": one.slug, "url": f"{self.url}/{one.slug}/"} for one in shown],
        }

    def _schema(self, form: Form, caller: Caller) -> Any:
        if caller.way == "unsigned":
            raise Answer(403, "Unsigned API call.")
        if caller.way == "basic" and not caller.roles & form.concerned:
            raise Answer(403, "User not allowed.")
        hidden = {"source"}
        fields = [{name: value for name, value in one.items() if name not in hidden} for one in form.fields]
        statuses = {jump.status or "new" for jump in form.triggers.values()} | {"new"}
        return {
            "name": form.slug,
            "url_name": form.slug,
            "disabled": form.disabled,
            "only_allow_one": False,
            "fields": fields,
            "workflow": {"name": "w", "statuses": [{"id": one, "name": one} for one in sorted(statuses)], "fields": []},
        }

    def _submit(self, form: Form, caller: Caller, method: str, headers: Mapping[str, str], body: bytes) -> Any:
        if method != "POST":
            raise Answer(405, None, None, Allow="POST")
        if caller.way == "unsigned":
            raise Answer(403, "Unsigned API call.")
        if headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Answer(400, "expected JSON but missing appropriate content-type")
        told = _object(body)
        values = told.get("data", told.get("fields", {}))
        if not isinstance(values, dict):
            raise Answer(400, '"data" is not a dict')
        meta, user = told.get("meta", {}), told.get("user", {})
        if not isinstance(user, dict):
            raise Answer(400, "unknown user")
        if breaks(told) or not isinstance(meta, dict) or not isinstance(told.get("context", {}), dict):
            raise Answer(500)
        if form.disabled:
            raise Answer(403, "Disabled form.")
        technical = caller.way == "basic" or bool(caller.roles)
        if technical and not form.submission:
            raise Answer(403, None, "no-backoffice-submission-role")
        if technical and not caller.roles & form.submission:
            raise Answer(403, None, "user-not-allowed-backoffice-submission")
        number = len(form.data) + 1
        kept = self._values(form, values)
        made = Formdata(number, form.slug, str(uuid.UUID(int=number)), self.door.now, kept)
        made.draft = meta.get("draft") is True
        backoffice, context = technical or meta.get("backoffice-submission") is True, told.get("context", {})
        named = user.get("NameID", [])
        if isinstance(named, list) and named and named[0] in self.door.users and not backoffice and not context:
            made.user = named[0]  # a string in place of the list, an unknown user, a context: nobody
        made.channel = context.get("channel", "web")
        made.evolution.append({"time": self._offset(), "status": made.status, "parts": []})
        form.data.append(made)
        return {"err": 0, "data": {"id": str(made.number), **self._urls(made)}}

    def _values(self, form: Form, told: Mapping[str, Any]) -> dict[str, Any]:
        kept = {}
        for name, kind in form.named.items():
            given = next((each for each in (name, kind.get("id"), f"{name}_raw") if each in told), None)
            if given is not None:
                kept[name] = stored(kind, told.get(given), told.get(f"{name}_raw"))
        return kept

    def _list(self, form: Form, caller: Caller, query: str) -> Any:
        if caller.way == "unsigned":
            raise Answer(401, "User not authenticated.", **{"WWW-Authenticate": "Basic"})
        if (caller.roles or caller.way == "basic") and not caller.roles & form.concerned:
            raise Answer(403, "Unsufficient roles.")
        told = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        wanted = [one for one in form.data if not one.draft]
        for name, value in told.items():
            if name.startswith("filter-") and not name.endswith(("-operator", "-value")):
                wanted = self._filtered(form, wanted, name.removeprefix("filter-"), value, told)
        start = int(told.get("offset", 0))
        wanted = wanted[start : start + int(told["limit"])] if "limit" in told else wanted[start:]
        shown = [self._entry(form, one, full=told.get("full") == "on") for one in wanted]
        return {"err": 0, "count": len(shown), "data": shown} if told.get("response_type") == "dict" else shown

    def _filtered(
        self, form: Form, data: list[Formdata], name: str, value: str, told: Mapping[str, str]
    ) -> list[Formdata]:
        if name in KNOWN_FILTERS:
            return [one for one in data if name != "internal-id" or str(one.number) == value]
        kind = form.named.get(name, {}).get("type")
        if kind not in FILTERED:
            raise Answer(400, f'Invalid filter "{name}"')
        operator = told.get(f"filter-{name}-operator", "eq")
        choices = value.split("|") if operator in {"in", "not_in"} else [value]
        return [
            one for one in data if (operator != "not_in") is any(_same(one.values.get(name), each) for each in choices)
        ]

    def _seen(self, form: Form, number: str, caller: Caller) -> Formdata:
        found = next((one for one in form.data if str(one.number) == number), None)
        if found is None:
            raise Answer(404)
        if caller.way != "basic" and not caller.roles and caller.user is None:
            raise Answer(403, "User not authenticated.")  # a signature alone lists, and does not read
        if not caller.roles & form.concerned and caller.user != found.user:
            raise Answer(403, "Unsufficient roles.")
        return found

    def _read(self, form: Form, number: str, caller: Caller) -> Any:
        found = self._seen(form, number, caller)
        return self._entry(form, found, full=True, content=True) | self._urls(found)

    def _trigger(
        self, form: Form, number: str, name: str, caller: Caller, method: str, headers: Mapping[str, str], body: bytes
    ) -> Any:
        found = next((one for one in form.data if str(one.number) == number), None)
        if found is None:
            raise Answer(404)
        if found.busy:
            raise Answer(403, "Formdata currently processing actions.")
        jump = form.triggers.get(name)
        if jump is None or jump.status != found.status:
            raise Answer(404)
        if method not in {"POST", "PUT"}:
            raise Answer(403, "Wrong HTTP method (must be POST or PUT).")
        if jump.roles is None and caller.way != "signed":
            raise Answer(403, "Unsigned API call.")
        if jump.roles is not None and not caller.roles:
            raise Answer(403, "User not authenticated.")
        if jump.roles is not None and not caller.roles & jump.roles:
            raise Answer(403, "Unsufficient roles.")
        if jump.target is None:
            raise Answer(400, "missing target")
        found.workflow_data.update(_object(body) if body else {})
        found.status, found.changed = jump.target, self.door.now
        found.evolution.append({"time": self._offset(), "status": found.status, "parts": []})
        return {"err": 0, "url": None} if "json" in headers.get("accept", "") else None

    def _hook(self, form: Form, number: str, name: str, caller: Caller, method: str, body: bytes) -> Any:
        found = next((one for one in form.data if str(one.number) == number), None)
        if found is None:
            raise Answer(404)
        if found.busy:
            raise Answer(403, "Formdata currently processing actions.")
        jump = form.hooks.get(name)
        if jump is None:
            raise Answer(404)
        if method != "POST":
            raise Answer(403, "Wrong HTTP method (must be POST).")
        if jump.roles is not None and not caller.roles & jump.roles:
            raise Answer(403, "Insufficient roles.")
        found.workflow_data[name] = _object(body) if body else {}
        found.evolution.append({"time": self._offset(), "parts": []})
        return {"err": 0}

    def _entry(self, form: Form, one: Formdata, *, full: bool, content: bool = False) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": str(one.number),
            "internal_id": one.number,
            "uuid": one.uuid,
            "display_id": f"1-{one.number}",
            "display_name": f"{form.slug} #1-{one.number}",
            "text": form.slug,
            "receipt_time": self._local(one.received),
            "last_update_time": self._local(one.changed or one.received),
            "url": self._urls(one)["url"],
        }
        if not full:
            return told
        status = {"id": one.status, "name": one.status, "endpoint": False}
        return told | {
            "fields": self._shown(form, one, content),
            "workflow": {"status": status, "real_status": status, "fields": {}, "data": one.workflow_data},
            "submission": {"backoffice": one.channel != "web", "channel": one.channel},
            "evolution": one.evolution,
        }

    def _shown(self, form: Form, one: Formdata, content: bool) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, value in one.values.items():
            kind = form.named[name]["type"]
            if kind == "item":
                shown |= {name: value and value["text"], f"{name}_raw": value and value["raw"]}
                if value and "structured" in value:
                    shown[f"{name}_structured"] = value["structured"]
            elif kind == "block":
                shown |= {name: ", ".join(str(row) for row in value or []), f"{name}_raw": value}
            elif kind == "file" and value:
                shown[name] = {key: each for key, each in value.items() if content or key != "content"}
            else:
                shown[name] = value
        return shown

    def _urls(self, one: Formdata) -> dict[str, str]:
        return {
            "url": f"{self.url}/{one.slug}/{one.number}/",
            "backoffice_url": f"{self.url}/backoffice/management/{one.slug}/{one.number}/",
            "api_url": f"{self.url}/api/forms/{one.slug}/{one.number}/",
        }

    def _local(self, at: datetime) -> str:
        return at.astimezone(self.zone).replace(tzinfo=None).isoformat(timespec="seconds")

    def _offset(self) -> str:
        return self.door.now.astimezone(self.zone).isoformat(timespec="seconds")


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Answer(400, "payload is not a dict")
    return told


def _same(held: Any, asked: str) -> bool:
    """A text of digits alone is compared as a number: `007` is `7`."""
    text = held["raw"] if isinstance(held, dict) else held
    if asked.isdigit():
        return isinstance(text, str) and text.isdigit() and int(text) == int(asked)
    return text == asked
