"""What protects backups from those who hold the store, as the configuration wants it."""

from __future__ import annotations

from pathlib import Path

from backup_agent.config.protecting import EncryptionConfig, SigningConfig
from backup_agent.journal.reading import JournalReader
from backup_agent.operations.trust import Signatures, Signer, Trust, memory_of

# operations.signatures is imported where keys are configured: its library takes a twentieth of a second to load.


def trust(signing: SigningConfig, journal: Path) -> Trust:
    """`journal` is its file, which need not be there. Raises ConfigError (`signing_key_unusable`)."""
    return Trust(_signatures(signing), memory_of(JournalReader(journal)))


def signer(signing: SigningConfig) -> Signer | None:
    """Raises ConfigError (`signing_key_unusable`)."""
    if signing.key_file is None:
        return None
    from backup_agent.operations.signatures import read_signing_key  # noqa: PLC0415 - see above

    return read_signing_key(signing.key_file)


def _signatures(signing: SigningConfig) -> Signatures | None:
    if signing.key_file is None and not signing.verify_keys:
        return None
    from backup_agent.operations.signatures import Ed25519Signatures, read_signing_key  # noqa: PLC0415 - see above

    own = [] if signing.key_file is None else [read_signing_key(signing.key_file).public]
    return Ed25519Signatures([*signing.parsed(), *own], required=signing.required)


def describe(encryption: EncryptionConfig, signing: SigningConfig) -> str:
    """What protects the backups of this host, for people. Raises ConfigError (`signing_key_unusable`)."""
    names = [recipient.fingerprint for recipient in encryption.parsed()]
    encrypted = f"encrypted for {', '.join(names)}" if names else "not encrypted"
    signed = "not signed"
    if signing.key_file is not None:
        from backup_agent.operations.signatures import read_signing_key  # noqa: PLC0415 - see above

        key = read_signing_key(signing.key_file).public
        signed = f"signed with key {key.key_id} (verify_keys of readers: {key.text})"
    return f"backups are {encrypted}, and {signed}; unsigned ones are {'refused' if signing.required else 'accepted'}"
