import os
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chicory.config import ChicoryConfig, RedisBrokerConfig, WorkerConfig
from chicory.dotenv import dotenv
from chicory.errors import ConfigurationError
from chicory.masking import mask


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:secret@host", "redis://***@host"),
        ("redis://u:sec/ret@host/0", "redis://***@host/0"),
        ("redis://u:sec@ret@host/0", "redis://***@host/0"),
        ("redis://u:sec#ret?x@host/0", "redis://***@host/0"),
        ("nats://u:secret@a:1,nats://v:secret@b:2", "nats://***@b:2"),
        ("redis://host/0?password=secret&x=1", "redis://host/0?password=***&x=1"),
        ("redis://host/0?db=1&SSL_PASSWORD=secret", "redis://host/0?db=1&SSL_PASSWORD=***"),
        ("user:secret@host", "***@host"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("sqlite:///a/b.db?synchronous=full", "sqlite:///a/b.db?synchronous=full"),
        ("sqlite:////home/me@work/b.db", "sqlite:////home/me@work/b.db"),
        ("chicory.db", "chicory.db"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    assert mask(url) == shown


@given(st.text("abc:/@#?&%= \n", max_size=12))
def test_no_password_is_shown_however_badly_it_is_escaped(noise):
    assert "hunter2" not in mask(f"redis://u:{noise}hunter2{noise}@host:1/0")


def test_a_secret_is_in_no_picture_of_a_setting():
    config = ChicoryConfig()
    config.broker.redis.password = "hunter2"
    config.broker.redis.url = "redis://u:hunter2@host"
    config.broker.url = "redis://u:hunter2@host"

    for shown in (repr(config), str(config), f"{config}", repr(config.__rich_repr__())):
        assert "hunter2" not in shown
    assert "host" in repr(config)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CHICORY_WORKER_CONCURRENCY", "redis://u:hunter2@h"),
        ("CHICORY_BROKER_REDIS_PORT", "u:hunter2@h"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_in_the_error(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError) as caught:
        ChicoryConfig()

    assert "hunter2" not in str(caught.value)
    assert variable in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RedisBrokerConfig(password=b"hunter2"),
        lambda: RedisBrokerConfig(password={"hunter2": 1}),
        lambda: RedisBrokerConfig(host=["hunter2"]),
        lambda: RedisBrokerConfig(port="redis://u:hunter2@h"),
        lambda: ChicoryConfig(broker={"redis": {"password": "hunter2", "port": 0}}),
    ],
)
def test_a_wrong_value_of_a_program_is_refused_without_its_secret(make):
    with pytest.raises(ConfigurationError) as caught:
        make()

    assert "hunter2" not in str(caught.value)


def test_dotenv_is_read_from_the_current_folder(tmp_path):
    (tmp_path / ".env").write_text('CHICORY_WORKER_QUEUE="mail"\nexport OTHER=1\n# note\nALONE\n')

    assert dotenv() == {"CHICORY_WORKER_QUEUE": "mail", "OTHER": "1"}


def test_a_changed_dotenv_is_read_again(tmp_path):
    file = tmp_path / ".env"
    file.write_text("CHICORY_WORKER_QUEUE=a")
    assert WorkerConfig().queue == "a"

    file.write_text("CHICORY_WORKER_QUEUE=b")
    os.utime(file, (time.time() + 5, time.time() + 5))

    assert WorkerConfig().queue == "b"
    file.unlink()
    assert WorkerConfig().queue == "default"


def test_another_folder_has_another_dotenv(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("CHICORY_WORKER_QUEUE=a")
    assert WorkerConfig().queue == "a"
    (tmp_path / "deeper").mkdir()

    monkeypatch.chdir(tmp_path / "deeper")

    assert WorkerConfig().queue == "default"


def test_a_folder_named_dotenv_is_no_dotenv(tmp_path):
    (tmp_path / ".env").mkdir()

    assert dotenv() == {}


def test_a_dotenv_that_is_no_text_is_a_configuration_error(tmp_path):
    (tmp_path / ".env").write_bytes(b"CHICORY_WORKER_QUEUE=\xff\xfe")

    with pytest.raises(ConfigurationError, match=r"\.env cannot be read: .*utf-8"):
        WorkerConfig()


def test_a_current_folder_that_is_gone_is_no_error(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert WorkerConfig().queue == "default"


def test_a_section_is_a_struct_like_others():
    config = WorkerConfig(concurrency=3)

    assert msgspec.structs.replace(config, queue="mail") == WorkerConfig(
        concurrency=3, queue="mail"
    )


def test_a_file_may_hold_the_value(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("hush\n")
    monkeypatch.setenv("CHICORY_BROKER_REDIS_PASSWORD_FILE", str(tmp_path / "secret"))

    assert RedisBrokerConfig().password == "hush"


def test_a_file_named_in_the_environment_wins_over_the_dotenv(monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("from the file")
    (tmp_path / ".env").write_text("CHICORY_BROKER_REDIS_PASSWORD=from-dotenv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHICORY_BROKER_REDIS_PASSWORD_FILE", str(tmp_path / "secret"))

    assert RedisBrokerConfig().password == "from the file"


def test_a_file_that_cannot_be_read_is_named(monkeypatch):
    monkeypatch.setenv("CHICORY_LEASE_FILE", "/nowhere/lease")

    with pytest.raises(ConfigurationError, match=r"CHICORY_LEASE_FILE='/nowhere/lease': the file"):
        ChicoryConfig()


def test_a_value_and_a_file_at_once_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("CHICORY_LEASE", "5")
    monkeypatch.setenv("CHICORY_LEASE_FILE", str(tmp_path / "lease"))

    with pytest.raises(ConfigurationError, match="CHICORY_LEASE and CHICORY_LEASE_FILE are both"):
        ChicoryConfig()


def test_what_a_file_holds_is_checked_and_a_secret_is_not_shown(monkeypatch, tmp_path):
    (tmp_path / "port").write_text("many")
    monkeypatch.setenv("CHICORY_BROKER_REDIS_PORT_FILE", str(tmp_path / "port"))

    with pytest.raises(ConfigurationError, match="must be a whole number from 1 to 65535"):
        RedisBrokerConfig()
