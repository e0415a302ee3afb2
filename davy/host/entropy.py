"""The operating system's randomness, as `davy.protocol.ports.Entropy`."""

from __future__ import annotations

import secrets


class OsEntropy:
    """Fit for keys, salts and nonces."""

    def bytes(self, n: int) -> bytes:
        return secrets.token_bytes(n)
