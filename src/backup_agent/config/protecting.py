"""What protects backups from those who hold the store: encryption and signatures."""

from __future__ import annotations

from pydantic import field_validator

from backup_agent.config.section import Section, Text
from backup_agent.domain.recipient import Recipient, parse


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
