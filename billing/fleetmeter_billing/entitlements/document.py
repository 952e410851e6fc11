"""What a gateway is told of one account: a small JSON document, the same bytes for the same entitlements."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from fleetmeter_schemas.timestamps import to_rfc3339

from fleetmeter_billing.entitlements.model_rules import UNSTATED, ModelRules
from fleetmeter_billing.entitlements.terms import EntitledPart


@dataclass(frozen=True, slots=True)
class Document:
    """`body` holds until `valid_until`: the moment at which the plan may change as it is known now."""

    body: bytes
    etag: str
    valid_until: datetime


def content_of(part: EntitledPart, rules: ModelRules) -> dict[str, Any]:
    """The document's content. With `stated` false the plan says nothing of entitlements, so that nothing is withheld;
    with `status` none no subscription holds, so that nothing is granted. A limit of null is no limit."""
    own = part.entitlements
    return {
        "account": part.account,
        "status": part.status,
        "card": part.card,
        "version": part.version,
        "plan": part.plan,
        "valid_from": to_rfc3339(part.start),
        "valid_until": to_rfc3339(part.end),
        "stated": part.plan is not None and own != UNSTATED,
        "model_tiers": list(own.model_tiers),
        "models": sorted({*own.models, *rules.downloadable()}),
        "fallback_models": list(own.fallback_models),
        "features": list(own.features),
        "limits": {
            "seats": own.seats,
            "devices": own.devices,
            "downloads": own.downloads,
        },
        "committed": {kind: part.committed.get(kind) for kind in ("seats", "devices")},
        "catalogue": rules.catalogue.version,
    }


def document_of(part: EntitledPart, rules: ModelRules) -> Document:
    """The document with its entity tag, a hash of its bytes (RFC 9110, strong)."""
    body = orjson.dumps(content_of(part, rules), option=orjson.OPT_SORT_KEYS)
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    return Document(body, f'"{digest}"', part.end)
