"""How strictly a peer's certificate is checked when the operator names the authority that signed it."""

import ssl


def allow_old_extensions(context: ssl.SSLContext) -> None:
    """Check certificates as Python did before 3.13: many companies' and clusters' authorities need that.

    They leave out extensions that the strict check asks for. Names, signatures and dates are checked as ever.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
