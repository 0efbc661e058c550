"""Examples: for each operation of the API what is sent and what comes back, as the OpenAPI document shows them.

Refuses: nothing.
Keeps: the tests send each of them to a running broker, and compare what comes back: the same members, of the same
types. Bytes are shortened to a word.
"""

from collections.abc import Mapping
from typing import Any, Final

DECLARATION: Final = "01a20de1-3e2b-7769-afa0-39ffb4a332d7"
DELIVERY: Final = "6d1c4f9e-0b7a-4a57-9c39-5f4be0a7d2c1"
SUBSCRIPTION: Final = "0c9f1c55-8a0e-4d0a-8a34-0d8f7a1f6f27"
REPRESENTATION: Final = "01a20de1-5d0c-7c11-8f5e-2f0d3b1c9a77"
WEBHOOK: Final = "5b0b5e6a-5a34-4f0a-9c58-27a0c8a1d9ee"
SCHEMA: Final = "b40cd2484f489c62691eb64be7fd7e6c2f60a80087d42ee8a1a036663008c268"
_AT: Final = "2026-11-24T14:06:35.061Z"
_DIGEST: Final = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"
_BYTES: Final = "TG9ja2Vk"
PUBLIC: Final = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
"""Of the first vector of RFC 8032."""

_SUBSCRIPTION: Final = {
    "id": SUBSCRIPTION,
    "event_type": "fr.unefois.address.changed.v1",
    "purpose": "family-benefits",
    "fields": ["new_address", "subject"],
    "territories": None,
    "status": "approved",
    "legal_reference": "CSS, art. L583-3",
    "approved_at": _AT,
    "ended_at": None,
    "least_assurance": "none",
    "least_quality": "declared",
    "paused_at": None,
}
_ACCEPTED: Final = {
    "declaration": DECLARATION,
    "manifest": _DIGEST,
    "received_at": _AT,
    "repeated": False,
    "receipt": {
        "payload": "e30=",
        "payloadType": "application/vnd.unefois.intake-receipt.v1+json",
        "signatures": [{"keyid": _DIGEST, "sig": _BYTES}],
    },
}
_PULLED: Final = {
    "deliveries": [{"id": DELIVERY, "attempts": 0, "locked": _BYTES}],
    "key_release": _BYTES,
    "withheld": [{"id": DELIVERY, "reason": "revoked"}],
    "lease_seconds": 60,
}
_WEBHOOK: Final = {
    "id": WEBHOOK,
    "url": "https://agency.example.fr/unefois",
    "status": "proving",
    "reason": None,
    "changed_at": _AT,
    "attempts": 0,
    "next_at": _AT,
    "mailed_at": None,
    "mail_code": None,
    "symmetric": False,
    "public_keys": ["whpk_TG9ja2Vk"],
}
_PERSON: Final = {
    "family_name": "Martin",
    "given_names": ["Élise"],
    "birthdate": "1985-04-12",
    "gender": "female",
    "birthplace": "44109",
    "birthcountry": "99100",
}
_REPRESENTATION: Final = {
    "id": REPRESENTATION,
    "measure": "guardianship",
    "proof": "TJ Rennes 25/01234",
    "capacity": "guardian",
    "event_types": None,
    "purposes": None,
    "begins_at": _AT,
    "ends_at": None,
    "given_by": "urn:unefois:town-hall",
    "recorded_at": _AT,
    "ended_at": None,
}
_RESULTS: Final = {"results": [{"delivery": DELIVERY, "ok": True}]}

EXAMPLES: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("POST", "/v1/subjects:resolve"): {
        "request": {
            "subject": {
                "family_name": "Martin",
                "given_names": ["Élise"],
                "birthdate": "1985-04-12",
                "gender": "female",
                "birthplace": "44109",
                "birthcountry": "99100",
            }
        },
        "response": {"subject_token": _BYTES, "expires_at": _AT},
    },
    ("POST", "/v1/declarations"): {"response": _ACCEPTED},
    ("POST", "/v1/declarations:batch"): {
        "request": {"declarations": [_BYTES]},
        "response": {"results": [{"ok": True, **_ACCEPTED}]},
    },
    ("POST", "/v1/households"): {
        "request": {"members": [{"declaration": _BYTES}, {"subject_token": _BYTES}]},
        "response": {
            "household": DECLARATION,
            "declarations": [_ACCEPTED],
            "waiting": [{"member": 1, "code": "QK7VX2M4RTB5WA6D", "expires_at": _AT}],
        },
    },
    ("POST", "/v1/households/{household}:confirm"): {
        "path": {"household": DECLARATION},
        "request": {"code": "QK7VX2M4RTB5WA6D", "declaration": _BYTES},
        "response": _ACCEPTED,
    },
    ("POST", "/v1/households/{household}:refuse"): {
        "path": {"household": DECLARATION},
        "request": {"code": "QK7VX2M4RTB5WA6D"},
        "response": {"household": DECLARATION, "confirmed": False},
    },
    ("POST", "/v1/representations"): {
        "request": {
            "representative": _PERSON,
            "subject": _PERSON | {"given_names": ["Yann"], "gender": "male"},
            "measure": "guardianship",
            "proof": "TJ Rennes 25/01234",
        },
        "response": _REPRESENTATION,
    },
    ("POST", "/v1/representations/{represented}:end"): {
        "path": {"represented": REPRESENTATION},
        "response": _REPRESENTATION | {"ended_at": _AT},
    },
    ("POST", "/v1/declarations/{declaration}:link"): {
        "path": {"declaration": DECLARATION},
        "request": {"old": _PERSON, "new": _PERSON | {"family_name": "Moreau", "given_names": ["Élise"]}},
        "response": {"declaration": DECLARATION},
    },
    ("GET", "/v1/declarations/{declaration}"): {
        "path": {"declaration": DECLARATION},
        "response": {
            "declaration": DECLARATION,
            "event_type": "fr.unefois.address.changed.v1",
            "corrects": None,
            "received_at": _AT,
            "routed_at": _AT,
            "deliveries": {
                "sent": 1,
                "received": 0,
                "in-progress": 0,
                "done": 2,
                "refused": 0,
                "to-complete": 0,
                "technical": 0,
            },
        },
    },
    ("GET", "/v1/declarations/{declaration}/receipt"): {"path": {"declaration": DECLARATION}},
    ("GET", "/v1/deliveries/{delivery}/receipt"): {"path": {"delivery": DELIVERY}},
    ("POST", "/v1/deliveries:pull"): {"request": {"max": 10, "wait": 0}, "response": _PULLED},
    ("POST", "/v1/deliveries:release"): {"request": {"deliveries": [DELIVERY]}, "response": _PULLED},
    ("POST", "/v1/deliveries:ack"): {
        "request": {"acknowledgements": [{"delivery": DELIVERY, "outcome": "applied"}]},
        "response": _RESULTS,
    },
    ("POST", "/v1/deliveries:replay"): {
        "request": {"since": "2026-11-24T00:00:00Z"},
        "response": {"results": [{"delivery": DELIVERY, "ok": True, "withheld": None}]},
    },
    ("GET", "/v1/dead-letters"): {
        "response": {
            "dead_letters": [
                {
                    "delivery": DELIVERY,
                    "event_type": "fr.unefois.address.changed.v1",
                    "reason": "system-refused",
                    "code": "crm.closed",
                    "attempts": 1,
                    "at": _AT,
                }
            ]
        }
    },
    ("GET", "/v1/status"): {
        "response": {
            "party": "urn:fr:siret:21350238800019",
            "waiting": 3,
            "handed": 0,
            "oldest_at": _AT,
            "dead_letters": 0,
            "webhooks": [{"id": WEBHOOK, "status": "active", "reason": None}],
            "at": _AT,
        }
    },
    ("GET", "/v1/directory"): {},
    ("GET", "/v1/directory:signed"): {},
    ("GET", "/v1/directory/notes"): {"response": {"notes": [{"version": 41, "note": "unefois-directory/v1\n…"}]}},
    ("GET", "/v1/directory/jwks"): {},
    ("GET", "/v1/law:signed"): {},
    ("GET", "/v1/law/notes"): {"response": {"notes": [{"version": 41, "note": "unefois-law/v1\n…"}]}},
    ("GET", "/v1/schemas"): {
        "response": {
            "schemas": [
                {
                    "event_type": "fr.unefois.address.changed.v1",
                    "schema": SCHEMA,
                    "label": {"fr": "Changement d'adresse", "en": "Change of address"},
                    "deprecated_at": None,
                    "sunset_at": None,
                    "successor": None,
                }
            ]
        }
    },
    ("GET", "/v1/schemas/{schema}"): {"path": {"schema": SCHEMA}},
    ("GET", "/v1/subscriptions"): {"response": {"subscriptions": [_SUBSCRIPTION]}},
    ("GET", "/v1/subscriptions/{subscription}"): {"path": {"subscription": SUBSCRIPTION}, "response": _SUBSCRIPTION},
    ("POST", "/v1/subscriptions"): {
        "request": {
            "event_type": "fr.unefois.bank-account.changed.v1",
            "purpose": "health-insurance",
            "fields": ["subject", "iban"],
        },
        "response": {**_SUBSCRIPTION, "status": "asked", "legal_reference": None, "approved_at": None},
    },
    **{
        ("POST", f"/v1/subscriptions/{{subscription}}:{what}"): {
            "path": {"subscription": SUBSCRIPTION},
            "response": _SUBSCRIPTION | changed,
        }
        for what, changed in (
            ("pause", {"paused_at": _AT}),
            ("resume", {}),
            ("end", {"status": "ended", "ended_at": _AT}),
        )
    },
    ("POST", "/v1/keys:challenge"): {
        "request": {"use": "signing", "kind": 1, "public": PUBLIC},
        "response": {"challenge": _BYTES, "sealed": None, "expires_at": _AT},
    },
    ("POST", "/v1/keys"): {
        "request": {
            "use": "signing",
            "kind": 1,
            "public": PUBLIC,
            "challenge": _BYTES,
            "proof": _BYTES,
            "present": _DIGEST,
            "authorisation": _BYTES,
            "others": [],
            "overlap_hours": 720,
        },
        "response": {"kid": _DIGEST, "valid_from": _AT},
    },
    ("POST", "/v1/webhooks"): {"request": {"url": "https://agency.example.fr/unefois"}, "response": _WEBHOOK},
    ("GET", "/v1/webhooks"): {"response": {"webhooks": [_WEBHOOK]}},
    ("GET", "/v1/webhooks/{webhook}"): {"path": {"webhook": WEBHOOK}, "response": _WEBHOOK},
    ("GET", "/v1/webhooks/{webhook}/attempts"): {
        "path": {"webhook": WEBHOOK},
        "response": {
            "attempts": [
                {"message": DELIVERY, "type": "ready", "at": _AT, "duration_ms": 41, "status": 200, "code": None}
            ]
        },
    },
    ("POST", "/v1/webhooks/{webhook}:prove"): {"path": {"webhook": WEBHOOK}, "response": _WEBHOOK},
    ("POST", "/v1/webhooks/{webhook}:rotate"): {
        "path": {"webhook": WEBHOOK},
        "request": {"overlap_hours": 24},
        "response": _WEBHOOK,
    },
    ("POST", "/v1/webhooks/{webhook}:end"): {
        "path": {"webhook": WEBHOOK},
        "response": _WEBHOOK | {"status": "ended", "next_at": None},
    },
}
