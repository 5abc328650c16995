"""The service's secret and the values derived from it: link signatures, webhook secrets, sealed credentials."""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken


class Seal:
    """Derives a key per purpose, so that a value made for one purpose is not valid for another."""

    def __init__(self, secret: bytes):
        self._secret = secret
        self._fernet = Fernet(base64.urlsafe_b64encode(self._mac("credentials")))

    @classmethod
    def load(cls, folder: Path) -> "Seal":
        """Reads the secret of a data folder; creates it at the first start, readable only by its owner."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "secret"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(path.read_bytes())
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        return cls(path.read_bytes())

    def sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._mac(purpose), text.encode(), hashlib.sha256).hexdigest()

    def matches(self, purpose: str, text: str, signature: str) -> bool:
        return hmac.compare_digest(self.sign(purpose, text).encode(), signature.encode())

    def webhook_secret(self, key_id: str) -> bytes:
        return self._mac(f"webhook {key_id}")

    def close(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypts a sealed text. Raises ValueError if it was sealed with another secret."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise ValueError(
                "This was sealed with another secret: is it the data folder of another service?"
            ) from error

    def _mac(self, purpose: str) -> bytes:
        return hmac.new(self._secret, purpose.encode(), hashlib.sha256).digest()


def printed_webhook_secret(secret: bytes) -> str:
    """Formats a secret for the libraries of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secret).decode()
