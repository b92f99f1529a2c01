"""Signatures: independent verifiers accept ours, and refuse what is forged, stale or altered."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook as Reference

from streams.webhooks.message import headers_of, message_of, new_key_pair, new_secret
from streams.webhooks.receiver import verify
from tests.streams.webhooks.hooks_world import OTHER_SECRET, SECRET, make_alert, webhook

MESSAGE = message_of("case-tool", "internal", 17, [make_alert(17)])
PACKAGE = "standardwebhooks@1.0.0"
Judge = Callable[[str, dict[str, str], bytes], str]


def by_python(secret: str, headers: dict[str, str], body: bytes) -> str:
    try:
        Reference(secret).verify(body, headers)
    except Exception as error:
        return str(error)
    return "accepted"


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the reference library; $SEKISHO_STANDARDWEBHOOKS_JS names one that is there already.

    Without Node.js and npm it cannot judge: skipped, unless SEKISHO_REQUIRE_JAVASCRIPT=1.
    """
    if given := os.environ.get("SEKISHO_STANDARDWEBHOOKS_JS"):
        return Path(given)
    folder = tmp_path_factory.mktemp("js")
    lacking = "" if shutil.which("node") and shutil.which("npm") else "no node and npm on the PATH: install Node.js"
    if not lacking:
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        lacking = f"npm cannot fetch {PACKAGE}: {done.stderr[-200:]}" if done.returncode else ""
    if lacking and os.environ.get("SEKISHO_REQUIRE_JAVASCRIPT") == "1":
        pytest.fail(lacking)
    if lacking:
        pytest.skip(lacking)
    return folder


@pytest.fixture(params=["Python", "JavaScript"])
def judge(request: pytest.FixtureRequest) -> Judge:
    """Says "accepted", or why not."""
    if request.param == "Python":
        return by_python
    folder = request.getfixturevalue("javascript")

    def by_javascript(secret: str, headers: dict[str, str], body: bytes) -> str:
        line = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
        command = ["node", str(Path(__file__).with_name("verify.mjs")), str(folder)]
        done = subprocess.run(command, input=line, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    return by_javascript


def test_the_reference_libraries_accept_ours_and_refuse_the_rest(judge: Judge) -> None:
    """Accepted with either live secret; refused when stale, early, altered, or signed by a stranger."""
    now = time.time()
    hook = webhook(secrets=(SECRET, OTHER_SECRET), ed25519=new_key_pair()[0])
    headers = headers_of(hook, MESSAGE.id, MESSAGE.body, now)
    for secret in (SECRET, OTHER_SECRET):
        assert judge(secret, headers, MESSAGE.body) == "accepted"
    assert judge(new_secret(), headers, MESSAGE.body) == "No matching signature found"
    assert judge(SECRET, headers, MESSAGE.body.replace(b"decline", b"approve")) == "No matching signature found"
    assert judge(SECRET, headers | {"webhook-id": "another"}, MESSAGE.body) == "No matching signature found"
    later = headers | {"webhook-timestamp": str(int(now) + 1)}
    assert judge(SECRET, later, MESSAGE.body) == "No matching signature found"
    forged = headers | {"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()}
    assert judge(SECRET, forged, MESSAGE.body) == "No matching signature found"
    for away, told in ((-301, "too old"), (+310, "too new")):
        assert told in judge(SECRET, headers_of(hook, MESSAGE.id, MESSAGE.body, now + away), MESSAGE.body)
    assert judge(SECRET, {k: v for k, v in headers.items() if k != "webhook-id"}, MESSAGE.body) != "accepted"


def test_ed25519_signs_the_same_text() -> None:
    """v1a over id.timestamp.body, verified with the public key alone; the receiver of this project agrees."""
    private, public = new_key_pair()
    headers = headers_of(webhook(ed25519=private), MESSAGE.id, MESSAGE.body, 1_790_000_000.9)
    (signature,) = [part[4:] for part in headers["webhook-signature"].split() if part.startswith("v1a,")]
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    key.verify(base64.b64decode(signature), f"{MESSAGE.id}.1790000000.".encode() + MESSAGE.body)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature), f"{MESSAGE.id}.1790000001.".encode() + MESSAGE.body)
    fresh = headers_of(webhook(ed25519=private), MESSAGE.id, MESSAGE.body, time.time())
    assert verify(fresh, MESSAGE.body, (), public)["sequence"] == 17
    for wrong in (headers, fresh | {"webhook-id": "another"}):
        with pytest.raises(Exception, match=r"too old|No matching"):
            verify(wrong, MESSAGE.body, (), public)


def test_secrets_are_never_shown() -> None:
    """Neither a subscriber nor its settings print a secret."""
    hook = webhook(ed25519=new_key_pair()[0], catch_up_token="a-token-of-some-length")
    assert SECRET not in repr(hook) and "whsk_" not in repr(hook) and "a-token" not in repr(hook)
