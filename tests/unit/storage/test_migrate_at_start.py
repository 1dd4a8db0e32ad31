from __future__ import annotations

import threading

import pytest

from streamwarden.errors import ConfigError, Unavailable
from streamwarden.storage import migrate as module
from streamwarden.storage.migrate import Migrating
from tests.fakes.manual_time import DEADLINE_S


class Postgres:
    """A database that may be away, or be none of ours; every attempt is noted."""

    def __init__(self) -> None:
        self.answers: list[Exception | None] = []
        self.attempts = threading.Semaphore(0)

    def migrate(self, url: str) -> list[object]:
        assert url == "postgresql://none"
        self.attempts.release()
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return []


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch) -> Postgres:
    postgres = Postgres()
    monkeypatch.setattr(module, "migrate", postgres.migrate)
    monkeypatch.setattr(module, "_AGAIN_S", 0.001)
    return postgres


@pytest.fixture
def failures() -> list[str]:
    return []


def migrating(failures: list[str]) -> Migrating:
    return Migrating("postgresql://none", on_failure=failures.append)


def joined(subject: Migrating) -> None:
    """Wait until nothing asks any more."""
    assert subject._thread is not None
    subject._thread.join(DEADLINE_S)
    assert not subject._thread.is_alive()


def test_a_database_that_is_there_is_brought_up_to_date_at_once(
    postgres: Postgres, failures: list[str]
) -> None:
    subject = migrating(failures)
    with pytest.raises(Unavailable):
        subject.check()
    subject.start()
    subject.check()
    subject.stop()
    assert postgres.attempts.acquire(blocking=False)


def test_a_database_that_comes_later_is_asked_until_it_is_there(
    postgres: Postgres, failures: list[str]
) -> None:
    postgres.answers = [Unavailable("away"), Unavailable("away"), None]
    subject = migrating(failures)
    subject.start()
    for _ in range(3):
        assert postgres.attempts.acquire(timeout=DEADLINE_S)
    joined(subject)
    subject.check()
    assert failures == []
    subject.stop()


def test_a_database_that_is_none_of_ours_fails_the_start(
    postgres: Postgres, failures: list[str]
) -> None:
    postgres.answers = [ConfigError("newer")]
    with pytest.raises(ConfigError):
        migrating(failures).start()


def test_one_that_turns_out_so_later_fails_the_role(
    postgres: Postgres, failures: list[str]
) -> None:
    postgres.answers = [Unavailable("away"), ConfigError("newer")]
    subject = migrating(failures)
    subject.start()
    joined(subject)
    assert failures == ["newer"]
    with pytest.raises(Unavailable):
        subject.check()


def test_a_stop_ends_the_asking(postgres: Postgres, failures: list[str]) -> None:
    postgres.answers = [Unavailable("away")] * 10_000
    subject = migrating(failures)
    subject.start()
    assert postgres.attempts.acquire(timeout=DEADLINE_S)
    subject.stop()
    joined(subject)
    assert failures == []
