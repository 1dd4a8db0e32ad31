from __future__ import annotations

import ssl

from urllib3.exceptions import MaxRetryError, ReadTimeoutError, SSLError

from streamwarden.auth.users import _reason


def test_a_certificate_that_is_not_trusted_is_said_and_nothing_else_is_quoted() -> None:
    refused = ssl.SSLCertVerificationError(1, "a text")
    refused.verify_message = "unable to get local issuer certificate"
    assert "unable to get local issuer certificate" in _reason(SSLError(refused))
    assert _reason(MaxRetryError(None, "https://id.example/?secret")) == "MaxRetryError"  # type: ignore[arg-type]
    assert _reason(ReadTimeoutError(None, "", "secret")) == "ReadTimeoutError"  # type: ignore[arg-type]
