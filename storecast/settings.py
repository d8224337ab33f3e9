"""The settings: STORECAST_* variables over a YAML file over defaults, and where each value came from.

The YAML file is storecast.yaml in the current folder, or the one that STORECAST_CONFIG names.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from storecast.configs import explain
from storecast.errors import ConfigError
from storecast.store import keyring
from storecast.store import uri as uris

PREFIX = "STORECAST_"
FILE_VARIABLE = "STORECAST_CONFIG"
LOCAL_SERVICE = "http://127.0.0.1:3000"
"""Where the local stack's service of forecasts is, unless `storecast up` was told otherwise."""


class Settings(BaseSettings):
    """What an installation can set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    home: Path = Field(
        default=Path(".storecast"),
        description="Folder of everything that is kept: data sets, releases, databases.",
    )
    workspace: str = Field(
        default="",
        description="URI of data sets and releases, such as s3://bucket/prefix; empty: the home folder.",
    )
    s3_encryption: Literal["", "AES256", "aws:kms"] = Field(
        default="",
        description="How S3 encrypts what is written: AES256, aws:kms; empty: as the bucket says.",
    )
    s3_kms_key: str = Field(
        default="", description="Id or ARN of the key for aws:kms; empty: the account's default one."
    )
    store_key_file: Path | None = Field(
        default=None,
        description="File of the keys that Parquet files are encrypted with, the newest first; "
        "none: they are plain.",
    )
    tracking_uri: str = Field(
        default="",
        description="MLflow tracking and registry URI; empty: SQLite and files in the home folder.",
    )
    tracking_page: str = Field(
        default="",
        description="Address at which people see MLflow, for links; empty: the tracking URI.",
    )
    tracking_token: SecretStr = Field(
        default=SecretStr(""), description="Bearer token for the MLflow server, where it asks for one."
    )
    prefect_api_url: str = Field(
        default="",
        description="Prefect API, such as http://host:4200/api; empty: in process, SQLite in home.",
    )
    prefect_auth: SecretStr = Field(
        default=SecretStr(""), description="user:password of the Prefect API, where it asks for one."
    )
    tuning_storage: SecretStr = Field(
        default=SecretStr(""),
        description="SQLAlchemy URL of the studies of `storecast tune`; empty: SQLite in the home folder.",
    )
    cores: int = Field(
        default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        ge=1,
        description="Cores a run may use: processes for local models, threads for global ones.",
    )

    actuals_inbox: str = Field(
        default="",
        description="Folder or URI into which new raw files are put, in one folder for each data set; "
        "empty: `inbox` in the workspace.",
    )

    serving_dataset: str = Field(
        default="",
        description="Data set whose releases are served; empty: the only one, or the one served already.",
    )
    serving_workers: int = Field(default=2, ge=1, description="Processes that answer requests.")
    serving_folder: Path | None = Field(
        default=None, description="Local copies of releases; none: `serving` in the home folder."
    )
    serving_keys: Path | None = Field(
        default=None, description="File of the API keys' hashes; none: `keys.json` in the folder above."
    )
    serving_platform_keys: Path | None = Field(
        default=None,
        description="A second such file, which is only read and whose ids win: the platform's own keys.",
    )
    serving_open: bool = Field(
        default=False, description="Answer without API keys; admin endpoints stay closed."
    )
    serving_rate_per_key: str = Field(
        default="600000/minute", description="Requests of one key, as N/second, N/minute, N/hour."
    )
    serving_rate_per_address: str = Field(
        default="600000/minute", description="Requests of one address, keys or none."
    )
    serving_rate_store: SecretStr = Field(
        default=SecretStr(""),
        description="redis:// URI that all replicas count in; empty: each process counts for itself.",
    )
    serving_body_bytes: int = Field(default=1_048_576, ge=1024, description="Longest request body.")
    serving_max_keys: int = Field(default=2_000, ge=1, description="Most series in one POST.")
    serving_timeout: float = Field(default=30.0, gt=0, description="Seconds a request may take.")
    serving_what_if: bool = Field(
        default=True, description="Run the release's model in a process of its own, for what-if."
    )
    serving_certificate: Path | None = Field(
        default=None, description="TLS certificate (PEM); none: plain HTTP, TLS at the ingress."
    )
    serving_certificate_key: Path | None = Field(default=None, description="The certificate's key (PEM).")

    dashboard_users: Path | None = Field(
        default=None, description="Password file of the dashboard; none: `dashboard/users.json` in home."
    )
    dashboard_operators: str = Field(
        default="",
        description="With OIDC: e-mail addresses, separated by commas, of those who may act; others look.",
    )
    serving_url: str = Field(
        default="",
        description="Address of the service, for the loop and the dashboard; empty: the local stack's.",
    )
    serving_key: SecretStr = Field(
        default=SecretStr(""),
        description="API key to ask the service with: scope read, for the dashboard's what-if also what-if.",
    )
    notify_urls: tuple[SecretStr, ...] = Field(
        default=(),
        description="Apprise URLs (mailto://..., slack://...) that are told of breaches and releases.",
    )

    @property
    def serving_home(self) -> Path:
        """Folder of the local copies of releases and of the API keys."""
        return (self.serving_folder or self.home / "serving").absolute()

    @property
    def run_folder(self) -> Path:
        """Folder of what lives no longer than a process of this machine: ids, logs and locks."""
        return self.home.absolute() / "run"

    @property
    def service_url(self) -> str:
        """Where the service of forecasts is: as set, or the local stack's usual place."""
        return self.serving_url.rstrip("/") or LOCAL_SERVICE

    @property
    def root(self) -> str:
        """URI under which data sets and releases lie."""
        return self.workspace or str(self.home.absolute())

    def inbox(self, dataset: str) -> str:
        """URI of the folder into which the raw files of a data set are put."""
        return "/".join([(self.actuals_inbox or f"{self.root.rstrip('/')}/inbox").rstrip("/"), dataset])

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables first, then what the YAML file gave (passed as arguments)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def load_settings() -> Settings:
    """The settings in force.

    Raises:
        ConfigError: a key or variable is unknown (with the nearest valid one) or has a wrong value, or the
            file of the store's keys cannot be read.
    """
    _refuse_unknown_variables()
    values, where = _from_file()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise explain(error, where=where or f"{PREFIX}* variables", model=Settings) from error
    uris.encrypt_s3(settings.s3_encryption, settings.s3_kms_key)  # storage knows no settings
    keyring.use(settings.store_key_file)
    return settings


def explain_settings() -> list[tuple[str, str, str]]:
    """(name, value, where it came from) of every setting; secrets are masked."""
    settings = load_settings()
    values, where = _from_file()
    rows = []
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        source = variable if variable in os.environ else where if name in values else "default"
        value = str(getattr(settings, name))
        if name == "store_key_file" and (keys := keyring.in_force()):
            value += f" ({keys.told})"
        rows.append((name, value, source))
    return rows


def _from_file() -> tuple[dict[str, Any], str]:
    named = os.environ.get(FILE_VARIABLE)
    path = Path(named or "storecast.yaml")
    if not path.is_file():
        if named:
            raise ConfigError("there is no such file", where=f"{FILE_VARIABLE}={named}")
        return {}, ""
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError("this is not YAML", where=str(path), found=str(error)) from error
    if not isinstance(content, dict):
        raise ConfigError(
            "not a mapping of settings", where=str(path), expected="lines of the form key: value"
        )
    return content, str(path)


def _refuse_unknown_variables() -> None:
    valid = [PREFIX + name.upper() for name in Settings.model_fields] + [FILE_VARIABLE]
    for name in os.environ:
        if name.startswith(PREFIX) and name not in valid:
            near = difflib.get_close_matches(name, valid, n=1)
            raise ConfigError(
                f"unknown setting {name}",
                where="environment",
                expected=f"one of {', '.join(valid)}",
                cure=f"did you mean {near[0]}?" if near else f"unset {name}",
            )
