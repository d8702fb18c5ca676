"""What protects backups from those who hold the store: encryption and signatures."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator, model_validator

from backup_agent.config.section import Section, Text
from backup_agent.domain.recipient import Recipient, parse
from backup_agent.domain.signature import VerifyKey, parse_verify_key


class EncryptionConfig(Section):
    """Backups that only the holders of a secret key can read; this host has none, and can't read its own."""

    recipients: tuple[Text, ...] = ()
    """age recipients (`age1...`, as `age-keygen` prints them), each of whom can restore. Without any, backups are not
    encrypted. Keep the identities elsewhere: what is encrypted for a lost one is lost."""

    @field_validator("recipients")
    @classmethod
    def _parsed(cls, recipients: tuple[str, ...]) -> tuple[str, ...]:
        for number, text in enumerate(recipients, 1):
            try:
                parse(text)
            except ValueError as error:
                msg = f"number {number}: {error}"
                raise ValueError(msg) from None
        if len(set(recipients)) < len(recipients):
            msg = "the same recipient is given twice"
            raise ValueError(msg)
        return recipients

    def parsed(self) -> tuple[Recipient, ...]:
        return tuple(parse(text) for text in self.recipients)


class SigningConfig(Section):
    """Signatures of manifests, by which a backup that somebody else put into the store is told from one of ours."""

    key_file: Path | None = None
    """The secret key this host signs its backups with (`backup-agent keys generate`); such as a systemd credential."""
    verify_keys: tuple[Text, ...] = ()
    """The public keys of those whose backups are trusted, as `backup-agent keys generate` prints them; the one of
    key_file need not be named. A signature by any other key is refused."""
    required: bool = False
    """Refuse backups that are not signed. Without it, whoever can write to the store can leave a signature out."""

    @field_validator("verify_keys")
    @classmethod
    def _parsed(cls, verify_keys: tuple[str, ...]) -> tuple[str, ...]:
        for number, text in enumerate(verify_keys, 1):
            try:
                parse_verify_key(text)
            except ValueError as error:
                msg = f"number {number}: {error}"
                raise ValueError(msg) from None
        return verify_keys

    @model_validator(mode="after")
    def _can_be_required(self) -> SigningConfig:
        if self.required and self.key_file is None and not self.verify_keys:
            msg = "required needs verify_keys, or key_file: no signature could be verified"
            raise ValueError(msg)
        return self

    def parsed(self) -> tuple[VerifyKey, ...]:
        return tuple(parse_verify_key(text) for text in self.verify_keys)
