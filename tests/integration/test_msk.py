"""Amazon's signer makes the tokens for MSK, in a process of its own: its packages are not among the tests'.

AWS was never asked: the token is checked by the published rules of its signature (version 4), and a broker
that is not Amazon's refuses it.
"""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from pydantic import SecretStr

from service.errors import ConfigError
from service.kafka.client.cluster import ClusterConfig, unreachable
from service.kafka.client.probe import why_unreachable
from service.kafka.login.credentials import Credentials
from service.kafka.login.tls_files import TlsFiles
from service.kafka.login.token_sources import MskSigner
from service.kafka.login.tokens import Token, Tokens
from tests.msk import folder
from tests.secured import Secured

REGION, KEY_ID, SECRET = "eu-central-1", "AKIAEXAMPLEEXAMPLE", "secret-of-the-example"
KEYS = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
PROGRAM = """
import asyncio, json
from service.kafka.login.token_sources import MskSigner
from service.kafka.login.tokens import NoToken

async def main():
    try:
        token = await MskSigner("eu-central-1").fetch()
    except NoToken as error:
        return {"error": str(error)}
    return {"token": token.value.get_secret_value(), "life_seconds": token.life_seconds}

print(json.dumps(asyncio.run(main())))
"""


def signed(**environ: str) -> dict[str, str | float]:
    """What the signer gives a process with these variables."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    alone = {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": f"{folder()}:.", "HOME": "/nonexistent"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**own, **alone, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, str | float] = json.loads(run.stdout)
    return found


def test_the_extra_is_named_where_it_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"install scribe-speech\[msk\]"):
        MskSigner(REGION)


@pytest.mark.needs_msk
def test_a_process_without_aws_credentials_hears_what_to_give_it() -> None:
    words = str(signed()["error"])
    assert words.startswith("AWS gives no credentials (none are found)")
    assert "give the process a role" in words


@pytest.mark.needs_msk
def test_a_token_is_an_address_of_amazon_with_a_signature_that_holds() -> None:
    found = signed(**KEYS)
    assert 800 < float(found["life_seconds"]) <= 900
    text = str(found["token"])
    url = urlsplit(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    query = dict(parse_qsl(url.query))
    assert (url.scheme, url.netloc, url.path) == ("https", f"kafka.{REGION}.amazonaws.com", "/")
    assert query["Action"] == "kafka-cluster:Connect"
    assert query["X-Amz-Expires"] == "900"
    assert query["X-Amz-Credential"].startswith(f"{KEY_ID}/")
    assert query["X-Amz-Signature"] == signature(url.netloc, query)


def signature(host: str, query: dict[str, str]) -> str:
    """AWS's signature, version 4, of a GET of this address."""
    _, day, region, service, last = query["X-Amz-Credential"].split("/")
    # What names the client is added to the address after it is signed.
    signed = {name: value for name, value in query.items() if name not in ("X-Amz-Signature", "User-Agent")}
    pairs = "&".join(f"{quote(name, '')}={quote(value, '')}" for name, value in sorted(signed.items()))
    request = f"GET\n/\n{pairs}\nhost:{host}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    scope = f"{day}/{region}/{service}/{last}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{digest}"
    key = f"AWS4{SECRET}".encode()
    for part in (day, region, service, last):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


@pytest.mark.needs_msk
@pytest.mark.needs_java
async def test_a_broker_reads_the_token_and_its_refusal_says_what_to_check(secured: Secured) -> None:
    """It is Apache's, and takes none but JSON Web Tokens."""
    text = str(signed(**KEYS)["token"])

    class Signed:
        async def fetch(self) -> Token:
            return Token(SecretStr(text), 900.0)

    cluster = ClusterConfig(
        secured.cluster.secure_bootstrap("SASL_SSL"),
        security_protocol="SASL_SSL",
        sasl_mechanism="AWS_MSK_IAM",
        credentials=Credentials(files=TlsFiles(secured.ca_file), tokens=Tokens(Signed())),
    )
    error = await why_unreachable(cluster.connection())
    assert error is not None
    assert "invalid_token" in str(error)
    words = unreachable(cluster, error)
    assert words.endswith("refuses our token; check the role's policy and SCRIBE_KAFKA__AWS_REGION")
    assert text not in words
