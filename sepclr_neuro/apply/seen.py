"""Participants that a model has seen, as hashes by which they are recognised and not named.

A participant is recognised by the id, or by the volume under another id. Ids are few and guessable, so that each costs
scrypt's time to try; a volume's checksum cannot be guessed by who has not got the volume.

Source: scrypt is RFC 7914, https://www.rfc-editor.org/rfc/rfc7914, at its cost for interactive use.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["NEW", "SIDES", "Seen"]

SIDES = {"train": "trained on", "probe": "probes were fitted on", "test": "held out in the run"}
"""By the side of the split, what a participant was in the run."""

NEW = "no"
"""What everybody else is."""


@dataclass(frozen=True)
class Seen:
    """The participants of a run, by side of the exported fold.

    Attributes:
        salt: random, of this export, so that hashes of two exports cannot be joined.
        people: the side of each hashed participant id.
        volumes: the side of each hashed volume.
    """

    salt: str
    people: Mapping[str, str]
    volumes: Mapping[str, str]

    @classmethod
    def of(cls, people: Mapping[str, str], volumes: Mapping[str, str], salt: str | None = None) -> Seen:
        """Hashes participants.

        Args:
            people: the side of each participant id.
            volumes: the side of each checksum of a volume's voxels (``voxels_sha256``).
            salt: by default random.
        """
        salt = secrets.token_hex(16) if salt is None else salt
        return cls(
            salt,
            {_of_person(salt, name): side for name, side in people.items()},
            {_of_volume(salt, checksum): side for checksum, side in volumes.items()},
        )

    def side_of_person(self, participant_id: str) -> str | None:
        """A key of :data:`SIDES`; None for somebody new. ``sub-`` in front of the id does not count."""
        return self.people.get(_of_person(self.salt, participant_id))

    def side_of_volume(self, checksum: str) -> str | None:
        """Likewise, of a volume whose voxels on the grid have this checksum."""
        return self.volumes.get(_of_volume(self.salt, checksum))

    def to_json(self) -> dict[str, Any]:
        """Sorted, so that the order of hashes tells nothing about which volume is whose."""
        return {"salt": self.salt} | {
            name: dict(sorted(hashes.items())) for name, hashes in (("people", self.people), ("volumes", self.volumes))
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Seen:
        return cls(content["salt"], content["people"], content["volumes"])


def _of_person(salt: str, participant_id: str) -> str:
    name = participant_id.removeprefix("sub-").encode()
    return hashlib.scrypt(name, salt=salt.encode(), n=2**14, r=8, p=1, dklen=16).hex()


def _of_volume(salt: str, checksum: str) -> str:
    return hmac.new(salt.encode(), checksum.encode(), "sha256").hexdigest()[:32]
