"""Participants are recognised by hashes that name nobody."""

from __future__ import annotations

import json

from sepclr_neuro.apply.seen import Seen

PEOPLE = {"sub-01": "train", "02": "probe", "sub-03": "test"}
VOLUMES = {"a" * 64: "train", "b" * 64: "test"}


def test_people_and_volumes_are_recognised_after_saving() -> None:
    seen = Seen.from_json(json.loads(json.dumps(Seen.of(PEOPLE, VOLUMES).to_json())))
    assert [seen.side_of_person(name) for name in ("sub-01", "01", "02", "sub-02", "03", "sub-04")] == [
        "train",
        "train",
        "probe",
        "probe",
        "test",
        None,
    ]
    assert [seen.side_of_volume(digit * 64) for digit in "abc"] == ["train", "test", None]


def test_no_id_is_in_the_file_and_two_exports_share_no_hash() -> None:
    one, other = (Seen.of(PEOPLE, VOLUMES) for _ in range(2))
    assert one.salt != other.salt
    assert not set(one.people) & set(other.people)
    assert not set(one.volumes) & set(other.volumes)
    text = json.dumps(one.to_json())
    assert not any(name in text for name in ("sub-", "a" * 64))
    assert list(one.to_json()["people"]) == sorted(one.people)
