"""Each alert fires for what its page says, and is silent where all is well: by Prometheus' own trial of rules."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

RULES: Final = Path(__file__).parents[2] / "deploy/prometheus/alerts.yaml"

Series = Mapping[str, str]

WELL: Final[Series] = {
    'up{job="unefois"}': "1x{}",
    "unefois_up": "1x{}",
    'unefois_lag_records{partition="0"}': "0x{}",
    "unefois_undelivered_age_seconds": "80000x{}",
    "unefois_dead_letters": "0x{}",
    "unefois_ledger_waiting_age_seconds": "2x{}",
    'unefois_revocation_seconds_bucket{le="0.01"}': "0+1x{}",
    'unefois_revocation_seconds_bucket{le="1.0"}': "0+1x{}",
    'unefois_revocation_seconds_bucket{le="2.5"}': "0+1x{}",
    'unefois_revocation_seconds_bucket{le="+Inf"}': "0+1x{}",
    "unefois_routers": "2x{}",
    "unefois_unknown_keys": "0x{}",
    "unefois_clock_believed": "1x{}",
    "unefois_relay_age_seconds": "10x{}",
    "unefois_webhooks_disabled": "0x{}",
    'unefois_unheard_lines_total{instance="a"}': "4x{}",
    "unefois_inlet_lag_records": "0x{}",
    'unefois_webhooks{status="disabled"}': "0x{}",
    'unefois_webhook_attempts_total{outcome="heard"}': "0+5x{}",
    'unefois_webhook_attempts_total{outcome="failed"}': "0+1x{}",
    "unefois_fsck_findings": "0x{}",
    'unefois_fsck_age_seconds{instance="a"}': "80000x{}",
    "unefois_backup_age_seconds": "80000x{}",
    'unefois_disk_free_ratio{folder="home"}': "0.5x{}",
    'unefois_http_problems_total{code="api.rate"}': "7x{}",
    'unefois_http_problems_total{code="tracking.unknown"}': "0+60x{}",
}
"""A value each minute, in Prometheus' own notation; {}: until the trial ends."""

TROUBLE: Final[Mapping[str, tuple[Series, int]]] = {
    "UnefoisAway": ({"unefois_up": "0x60"}, 6),
    "UnefoisNotAnswering": ({'up{job="unefois"}': "0x60"}, 6),
    "UnefoisRoutingBehind": ({'unefois_lag_records{partition="0"}': "0+10x60"}, 20),
    "UnefoisAgencyAway": ({"unefois_undelivered_age_seconds": "90000x60"}, 1),
    "UnefoisDeadLetters": ({"unefois_dead_letters": "1x90"}, 61),
    "UnefoisExpiring": ({'unefois_expiring_seconds{what="token"}': "1000000x90"}, 61),
    "UnefoisLedgerStands": ({"unefois_ledger_waiting_age_seconds": "61x60"}, 6),
    "UnefoisRevocationSlow": (
        {
            'unefois_revocation_seconds_bucket{le="0.01"}': "0x60",
            'unefois_revocation_seconds_bucket{le="1.0"}': "0+9x60",
            'unefois_revocation_seconds_bucket{le="2.5"}': "0+10x60",
            'unefois_revocation_seconds_bucket{le="+Inf"}': "0+10x60",
        },
        40,
    ),
    "UnefoisUnknownKeys": ({"unefois_unknown_keys": "1x60"}, 6),
    "UnefoisClock": ({"unefois_clock_believed": "0x60"}, 3),
    "UnefoisNoRouter": ({"unefois_routers": "0x60"}, 6),
    "UnefoisRelayLate": ({"unefois_relay_age_seconds": "301x60"}, 11),
    "UnefoisMessagesLate": ({"unefois_message_age_seconds": "3601x60"}, 11),
    "UnefoisWebhookDisabled": ({"unefois_webhooks_disabled": "1x90"}, 61),
    "UnefoisUnheard": ({'unefois_unheard_lines_total{instance="a"}': "4+1x60"}, 20),
    "UnefoisInletBehind": ({"unefois_inlet_lag_records": "7x60"}, 30),
    "UnefoisWebhookGivenUp": ({'unefois_webhooks{status="disabled"}': "0x1440 1x60"}, 1450),
    "UnefoisWebhooksFail": ({'unefois_webhook_attempts_total{outcome="failed"}': "0+9x200"}, 130),
    "UnefoisFsck": ({'unefois_fsck_age_seconds{instance="a"}': "180000x60"}, 6),
    "UnefoisBackupOld": ({"unefois_backup_age_seconds": "180000x60"}, 6),
    "UnefoisDisk": ({'unefois_disk_free_ratio{folder="home"}': "0.09x60"}, 6),
    "UnefoisFlood": ({'unefois_http_problems_total{code="api.rate-declarations"}': "0+60x60"}, 20),
}
"""What is different when an alert must fire, and after how many minutes it does."""

YOUNG: Final[Mapping[str, tuple[Series, int]]] = {
    "UnefoisRoutingBehind": ({'unefois_lag_records{partition="0"}': "7x60"}, 20),
    "UnefoisWebhookGivenUp": ({'unefois_webhooks{status="disabled"}': "1x60"}, 10),
    "UnefoisWebhooksFail": ({'unefois_webhook_attempts_total{outcome="failed"}': "0+9x200"}, 130),
}
"""Where nothing else was told yet: no yesterday, and nobody who ever heard or routed anything since it began."""


def trial(series: Series, minute: int, firing: str | None) -> dict[str, Any]:
    """What is told, and the one alert that fires then; None: none does."""
    fired = [] if firing is None else [{"labels": f'{{alertname="{firing}"}}', "value": 1}]
    question = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": f"{minute}m"}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values.format(minute)} for name, values in series.items()],
        "promql_expr_test": [question | {"exp_samples": fired}],
    }


def test_every_alert_is_tried() -> None:
    assert set(TROUBLE) == {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}


@pytest.mark.proof
def test_each_fires_alone_for_its_trouble_and_none_where_all_is_well(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not there")
    trials = [trial(WELL, minute, None) for minute in (30, 200, 2900)]
    trials += [trial({**WELL, **series}, minute, alert) for alert, (series, minute) in TROUBLE.items()]
    trials += [trial(series, minute, alert) for alert, (series, minute) in YOUNG.items()]
    asked = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": trials}
    (tmp_path / "trials.yaml").write_text(json.dumps(asked))

    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "trials.yaml"], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr
