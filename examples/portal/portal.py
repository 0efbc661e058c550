"""A town's own portal, with Python's standard library alone: a household moves house, and takes its consent back.

It forwards what FranceConnect has signed, unchanged; shows texts as they are and sends back their SHA-256; ends the
session. Environment: BROKER, PORTAL_TOKEN; ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT as FranceConnect knows it.
"""

import json
import os
import secrets
import sys
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

ISSUER, CLIENT, SECRET, BACK = (os.environ[name] for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "REDIRECT"))
MOVED = "fr.unefois.address.changed.v1"


def ask(path, body=None, session="", method="POST"):
    headers = {"Authorization": f"Bearer {os.environ['PORTAL_TOKEN']}", "Content-Type": "application/json"}
    sent = None if body is None else json.dumps(body).encode()
    url, headers = f"{os.environ['BROKER']}/v1/citizens{path}", headers | {"Unefois-Session": session}
    try:
        return json.load(urlopen(Request(url, sent, headers, method=method), timeout=30))
    except HTTPError as problem:
        sys.exit(problem.read().decode())


def sign_in():
    nonce, state = ask("/nonces")["nonce"], secrets.token_urlsafe(24)
    asked = {"response_type": "code", "client_id": CLIENT, "redirect_uri": BACK, "scope": "openid identite_pivot"}
    asked |= {"acr_values": "eidas1", "state": state, "nonce": nonce}
    print("Sign in:", f"{ISSUER}/authorize?{urlencode(asked)}")
    came = parse_qs(urlsplit(input()).query)  # a real portal answers at REDIRECT itself
    if came["state"] != [state]:
        sys.exit("another browser's sign-in")
    proof = {"client_id": CLIENT, "client_secret": SECRET, "redirect_uri": BACK, "grant_type": "authorization_code"}
    tokens = json.load(urlopen(f"{ISSUER}/token", urlencode(proof | {"code": came["code"][0]}).encode(), timeout=30))
    asking = Request(f"{ISSUER}/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    userinfo = urlopen(asking, timeout=30).read().decode()
    return ask("/sessions", {"id_token": tokens["id_token"], "userinfo": userinfo, "nonce": nonce})["session_token"]


def move(form, session):
    offers = ask(f"/offers?event_type={MOVED}", session=session, method="GET")["offers"]
    offer = next(one for one in offers if one["recipient"]["party"] == form["recipient"])
    wish = {"recipient": offer["recipient"]["party"], "event_type": MOVED, "purpose": offer["purpose"]}
    wish["fields"] = [field["name"] for field in offer["fields"]]
    shown = ask("/consents:preview", wish, session)
    print(shown["text"])  # the citizen reads it and agrees
    agreed = {"until": shown["until"], "text_sha256": sha256(shown["text"].encode()).hexdigest()}
    grant = ask("/consents", wish | agreed, session)["grant"]
    told = {"event_type": MOVED, "record": form["record"]}
    for line in ask("/declarations:explain", told, session)["lines"]:
        print("+" if line["permitted"] else "-", line["sentence"]["fr"])
    household = {"form_id": ask("/forms", session=session)["form_id"], "others": form["others"]}
    kept = ask("/households", told | household, session)
    print(f"Déclarées : {len(kept['declarations'])} ; à confirmer : {len(kept['waiting'])}")
    print("Retiré :", ask(f"/consents/{grant['id']}:end", session=session)["next"]["fr"])


session_token = sign_in()
move(json.loads(Path(sys.argv[1]).read_text("utf-8")), session_token)
ask("/session:end", session=session_token)
