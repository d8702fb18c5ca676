"""How chunks are made and moved. Sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from backup_agent.domain.manifest import Compression, Encryption
from backup_agent.domain.recipient import Recipient


@dataclass(frozen=True, slots=True)
class StreamSettings:
    chunk_size: int
    memory: int
    """Bound on the chunks in memory, raw and sealed together; at least (2 + threads) chunks."""
    threads: int
    transfers: int
    compression: Compression
    adaptive: bool = False
    """Whether the level of zstd may rise above that of `compression` while the store is slow."""
    nice: int = 10
    """CPU niceness of the threads that seal and store: they can wait, the server and the locked engine can't."""

    recipients: tuple[Recipient, ...] = ()
    """Whom chunks are encrypted for; without any, they are not encrypted."""

    @property
    def encryption(self) -> Encryption | None:
        """As the manifest tells of it."""
        if not self.recipients:
            return None
        return Encryption(scheme="age", recipients=tuple(recipient.fingerprint for recipient in self.recipients))

    @property
    def raw_buffers(self) -> int:
        """One that fills, and one for each thread that seals."""
        return 1 + self.threads

    @property
    def sealed_memory(self) -> int:
        """What is left for sealed chunks on their way to the store."""
        return self.memory - self.raw_buffers * self.chunk_size
