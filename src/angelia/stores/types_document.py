"""What a type's document says of retention, read without building the type."""

import json


def retention_of(document: str) -> int | None:
    """Days, or None where the type says nothing."""
    return json.loads(document).get("retention_days") if document else None
