"""What is deployed is what there is: commands, settings and packages exist, and no process may more than it needs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from broker.ports import KeyKind
from broker.settings.choices import Settings
from broker.settings.sources import PREFIX, SECRETS
from broker.setup.roles import ProcessRole, secrets_of
from broker.web.agencies import app as agencies
from broker.web.citizen import rendering
from broker.web.portals import app as portals
from tests.services.processes import free_port

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
OURS: Final = [name for name, told in SERVICES.items() if "build" in told]


@pytest.mark.parametrize("mistake", [None, pytest.param(("healthcheck", "health_check"), marks=pytest.mark.proof)])
def test_the_compose_file_is_one_by_the_specification(tmp_path: Path, mistake: tuple[str, str] | None) -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    (tmp_path / "compose.yaml").write_text(text if mistake is None else text.replace(*mistake))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]

    told = subprocess.run([*command, tmp_path / "compose.yaml"], capture_output=True, text=True, check=False)

    assert (mistake is None) == (told.returncode == 0), told.stdout + told.stderr


def test_the_roles_that_are_started_are_those_that_there_are() -> None:
    started = [told["command"] for name, told in SERVICES.items() if name in OURS and name not in {"init", "topics"}]

    assert ["init"] == SERVICES["init"]["command"]
    assert {"serve"} == {command[0] for command in started}
    assert {role.value for role in ProcessRole} - {"all"} == {command[2] for command in started}


def test_every_setting_that_is_given_exists() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS}
    given = {name for service in OURS for name in SERVICES[service]["environment"]}
    given |= set(re.findall(rf"Environment=({PREFIX}\w+)=", (DEPLOY / "systemd/unefois@.service").read_text()))

    assert set() == given - known


def test_the_api_believes_the_gateway_that_the_proxys_connections_come_from() -> None:
    (outside,) = COMPOSE["networks"]["outside"]["ipam"]["config"]
    told = SERVICES["api"]["environment"]

    assert f"${{UNEFOIS_TRUSTED_PROXIES:-{outside['gateway']}}}" == told["UNEFOIS_TRUSTED_PROXIES"]
    assert ["127.0.0.1:8470:8470"] == SERVICES["api"]["ports"]
    assert told == SERVICES["gate"]["environment"] == SERVICES["portal"]["environment"]


@pytest.mark.parametrize("role", [role for role in ProcessRole if role is not ProcessRole.ALL])
def test_no_process_sees_the_folder_of_another_roles_keys(role: ProcessRole) -> None:
    hidden = {f"/var/lib/unefois/keys/{kind.value}" for kind in KeyKind if kind not in secrets_of(role)}

    assert {"/tmp", *hidden} == set(SERVICES[role.value]["tmpfs"])


@pytest.mark.parametrize("role", [role for role in ProcessRole if role is not ProcessRole.ALL])
def test_no_unit_sees_the_folder_of_another_roles_keys(role: ProcessRole) -> None:
    told = (DEPLOY / f"systemd/unefois@{role.value}.service.d/keys.conf").read_text()
    hidden = {f"-/var/lib/unefois-keys/{kind.value}" for kind in KeyKind if kind not in secrets_of(role)}

    assert "[Service]" in told.splitlines()
    assert hidden == set(re.findall(r"^InaccessiblePaths=(\S+)$", told, re.MULTILINE))
    assert 'keys_folder = "/var/lib/unefois-keys"' in (ROOT / "docs/install.md").read_text()


def test_the_proxy_sends_to_the_gate_what_the_gate_answers_and_nothing_else() -> None:
    text = (DEPLOY / "nginx/unefois.conf").read_text()
    rules = re.findall(r"location (= )?(/v1\S+) \{ proxy_pass http://unefois_gate; \}", text)

    def gated(path: str) -> bool:
        return any(path == where if exact else path.startswith(where) for exact, where in rules)

    for routes in agencies.ROUTES:
        for one in routes.routes:
            path = f"{agencies.PREFIX}{one.path}"  # type: ignore[attr-defined]
            assert (routes in agencies.RELEASING) == gated(path), path


def test_the_proxy_sends_citizens_to_the_portal_and_nobody_else() -> None:
    text = (DEPLOY / "nginx/unefois.conf").read_text()
    sent = set(re.findall(r"location (/\S+) \{ proxy_pass http://unefois_portal; \}", text))

    assert {rendering.PREFIX, portals.PREFIX} == sent
    for routes in agencies.ROUTES:
        for one in routes.routes:
            assert not f"{agencies.PREFIX}{one.path}".startswith(tuple(sent))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SERVICES)
def test_no_process_is_root_or_keeps_a_capability(name: str) -> None:
    told = SERVICES[name]

    assert ["ALL"] == told["cap_drop"]
    assert name in OURS or told["user"] not in {"root", "0"}


@pytest.mark.parametrize("name", OURS)
def test_ours_write_into_their_home_only(name: str) -> None:
    told = SERVICES[name]

    assert told["read_only"] is True
    assert ["no-new-privileges:true"] == told["security_opt"]
    assert ["home:/var/lib/unefois"] == told["volumes"]


def test_no_secret_is_written_into_the_file() -> None:
    assert {"database-url", "keys-passphrase", "postgres-password"} == set(COMPOSE["secrets"])
    assert all(list(told) == ["file"] for told in COMPOSE["secrets"].values())
    for told in SERVICES.values():
        for name, value in (told.get("environment") or {}).items():
            assert ("PASS" not in name and "URL" not in name) or str(value).startswith("/run/secrets/")


def test_only_what_answers_is_reached_from_outside_and_from_the_machine_itself_only() -> None:
    assert ["api", "gate", "portal"] == [name for name, told in SERVICES.items() if "ports" in told]
    assert all(port.startswith("127.0.0.1:") for name in ("api", "gate", "portal") for port in SERVICES[name]["ports"])
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_images_of_others_have_a_version() -> None:
    images = [told["image"] for name, told in SERVICES.items() if name not in OURS]
    bases = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)

    assert all(re.fullmatch(r"[a-z/]+:[0-9][0-9.a-z-]*", image) for image in images + bases)


def test_topics_are_made_by_the_plan_before_anything_serves() -> None:
    assert ["topics", "apply"] == SERVICES["topics"]["command"]
    assert {"init": {"condition": "service_completed_successfully"}} == SERVICES["topics"]["depends_on"]
    serving = [told for name, told in SERVICES.items() if name in OURS and told["command"][0] == "serve"]
    assert all("topics" in told["depends_on"] for told in serving)


def test_the_image_is_made_of_what_there_is_and_ends_as_nobody() -> None:
    steps = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [word for step in steps if step.startswith("COPY ") for word in step.split()[1:-1] if "=" not in word]
    kept = (ROOT / ".dockerignore").read_text()

    assert [] == [path for path in copied if not path.startswith("/") and not (ROOT / path).exists()]
    assert [] == [path for path in copied if not path.startswith("/") and f"!{path}\n" not in kept]
    assert steps.index("USER unefois") < steps.index('ENTRYPOINT ["unefois"]')
    assert any("--require-hashes -r requirements/server.txt" in step for step in steps)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not there")
    unit = (DEPLOY / "systemd/unefois@.service").read_text()
    (tmp_path / "unefois@.service").write_text(unit.replace("/opt/unefois/bin/unefois", "/bin/true"))
    shutil.copytree(DEPLOY / "systemd/unefois@router.service.d", tmp_path / "unefois@router.service.d")
    verify = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "unefois@router.service")]

    told = subprocess.run(verify, capture_output=True, text=True, check=False)

    ours = [line for line in told.stderr.splitlines() if "unefois" in line]
    assert (0, []) == (told.returncode, ours)


def test_nginx_understands_its_part(tmp_path: Path) -> None:
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx is None:
        pytest.skip("nginx is not there")
    (tmp_path / "tls").mkdir()
    key, certificate = tmp_path / "tls/privkey.pem", tmp_path / "tls/fullchain.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ed25519",
        "-nodes",
        "-subj",
        "/CN=x",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run(made, check=True, capture_output=True)
    shutil.copy(certificate, tmp_path / "tls/administrations-ca.pem")
    part = re.sub(r"/etc/unefois/(tls/[^;]+)", rf'"{tmp_path}/\1"', (DEPLOY / "nginx/unefois.conf").read_text())
    assert part.count("listen 443 ssl;") == 1
    # To test it is to open its door, which only root may at that number.
    (tmp_path / "part.conf").write_text(part.replace("listen 443 ssl;", f"listen 127.0.0.1:{free_port()} ssl;"))
    temporary = "".join(
        f'{kind}_temp_path "{tmp_path}/{kind}";' for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    include = f'include "{tmp_path}/part.conf";'
    whole = f'pid "{tmp_path}/pid"; error_log stderr; events {{}} http {{ access_log off; {temporary} {include} }}'
    (tmp_path / "nginx.conf").write_text(whole)

    command = [nginx, "-e", "stderr", "-t", "-c", tmp_path / "nginx.conf"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, []) == (told.returncode, re.findall(r"\[(?:warn|emerg|error)\].*", told.stderr))


ALERTS: Final = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD: Final = json.loads((DEPLOY / "grafana/unefois.json").read_text())


def told() -> set[str]:
    """Every name of a metric that the code has, as Prometheus stores it."""
    broker = "".join(path.read_text() for path in (ROOT / "broker").rglob("*.py"))
    found = set(re.findall(r'"(unefois_[a-z_]+)"', broker))
    return found | {f"{name}{end}" for name in found for end in ("_total", "_bucket")}


def asked(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    return set(re.findall(r"\bunefois_[a-z_]+", expression))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_asks_for_metrics_that_there_are_and_has_its_page(alert: dict[str, Any]) -> None:
    page, _, place = alert["annotations"]["runbook"].partition("#")

    assert set() == asked(alert["expr"]) - told()
    assert alert["alert"].lower() == place
    assert f"\n## {alert['alert']}\n" in (ROOT / page).read_text()


def test_a_page_is_there_for_no_other_alert() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)

    assert [alert["alert"] for alert in ALERTS] == headings


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

    assert all(asked(expression) for expression in expressions)
    assert set() == {name for expression in expressions for name in asked(expression)} - told()


def test_promtool_understands_alerts_and_scraping() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not there")
    for check, file in (("rules", "alerts.yaml"), ("config", "prometheus.yaml")):
        done = subprocess.run(
            [promtool, "check", check, DEPLOY / "prometheus" / file], capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, done.stdout + done.stderr


def test_the_page_tells_which_keys_a_role_has() -> None:
    page = (ROOT / "docs/operate.md").read_text().partition("### Which keys a role has")[2].partition("### ")[0]
    rows = re.findall(r"^\| (\S+|every one) \|([^|]*)\|([^|]*)\|$", page, re.MULTILINE)
    told = {role.strip("`"): (_words(folders), _words(files)) for role, folders, files in rows if "-" not in role}
    folders, files = told.pop("every one")

    assert {role.value for role in ProcessRole} - {"all"} == set(told)
    for name, (more, alone) in told.items():
        secrets = secrets_of(ProcessRole(name))
        assert {kind.value for kind in secrets} == folders | more, name
        limited = {f"{kind.value}/{each}" for kind, names in secrets.items() for each in names or ()}
        assert limited == files | alone, name


def _words(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))
