"""Settings: what can be set (`schema`), and how it is read (`loading`).

The names load what they need when they are first used: a command's `--help` needs `choices` only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qa_system.config.loading import (
        Override as Override,
    )
    from qa_system.config.loading import (
        Overrides as Overrides,
    )
    from qa_system.config.loading import (
        apply_overrides as apply_overrides,
    )
    from qa_system.config.loading import (
        changed as changed,
    )
    from qa_system.config.loading import (
        describe as describe,
    )
    from qa_system.config.loading import (
        described_errors as described_errors,
    )
    from qa_system.config.loading import (
        load_settings as load_settings,
    )
    from qa_system.config.loading import (
        read_yaml as read_yaml,
    )
    from qa_system.config.schema import (
        AnswersSettings as AnswersSettings,
    )
    from qa_system.config.schema import (
        Device as Device,
    )
    from qa_system.config.schema import (
        EncoderSettings as EncoderSettings,
    )
    from qa_system.config.schema import (
        GeneratorSettings as GeneratorSettings,
    )
    from qa_system.config.schema import (
        IndexingSettings as IndexingSettings,
    )
    from qa_system.config.schema import (
        JudgeSettings as JudgeSettings,
    )
    from qa_system.config.schema import (
        PassageSettings as PassageSettings,
    )
    from qa_system.config.schema import (
        RankerSettings as RankerSettings,
    )
    from qa_system.config.schema import (
        ReaderSettings as ReaderSettings,
    )
    from qa_system.config.schema import (
        RetrieverSettings as RetrieverSettings,
    )
    from qa_system.config.schema import (
        Settings as Settings,
    )
    from qa_system.config.serving_schema import (
        AskedSettings as AskedSettings,
    )
    from qa_system.config.serving_schema import (
        AuditSettings as AuditSettings,
    )
    from qa_system.config.serving_schema import (
        KeySettings as KeySettings,
    )
    from qa_system.config.serving_schema import (
        ServingSettings as ServingSettings,
    )
    from qa_system.config.store_schema import (
        AnyStoreSettings as AnyStoreSettings,
    )
    from qa_system.config.store_schema import (
        BulkWriteSettings as BulkWriteSettings,
    )
    from qa_system.config.store_schema import (
        ElasticsearchSettings as ElasticsearchSettings,
    )
    from qa_system.config.store_schema import (
        Positive as Positive,
    )
    from qa_system.config.store_schema import (
        StoreSettings as StoreSettings,
    )
    from qa_system.config.store_schema import (
        Strict as Strict,
    )

_HOMES = {
    "loading": (
        "Override",
        "Overrides",
        "apply_overrides",
        "changed",
        "describe",
        "described_errors",
        "load_settings",
        "read_yaml",
    ),
    "schema": (
        "AnswersSettings",
        "Device",
        "EncoderSettings",
        "GeneratorSettings",
        "IndexingSettings",
        "JudgeSettings",
        "PassageSettings",
        "RankerSettings",
        "ReaderSettings",
        "RetrieverSettings",
        "Settings",
    ),
    "serving_schema": (
        "AskedSettings",
        "AuditSettings",
        "KeySettings",
        "ServingSettings",
    ),
    "store_schema": (
        "AnyStoreSettings",
        "BulkWriteSettings",
        "ElasticsearchSettings",
        "Positive",
        "StoreSettings",
        "Strict",
    ),
}


if not TYPE_CHECKING:  # a type checker would take it for a home of any name

    def __getattr__(name: str) -> Any:
        for module, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
