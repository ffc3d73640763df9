"""What the stories in Python share. Nothing of a generated client is in here."""

import json
import math
import os
import time
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

# What `scripts/clients/run` says of the server and of the receiver of webhooks.
_STARTED = json.loads(os.environ["PORTICO_STORY"])
BASE_URL: str = _STARTED["base_url"].rstrip("/")
TOKEN: str = _STARTED["token"]
INTEGRATION_ID: str = _STARTED["integration_id"]
RECEIVER: str = _STARTED["receiver"]
# A community and an attribution of the integration: where prospects go.
COMMUNITY_ID: str = _STARTED["communities"][0]["id"]
ATTRIBUTION_ID: str = _STARTED["attributions"][0]["id"]

# So many communities are registered, and a page has so many.
WALK_COUNT = 600
PAGE_LIMIT = 100

# A write must end within this time, and a webhook arrive.
PATIENCE_SECONDS = 60.0


@dataclass
class Delivery:
    headers: dict[str, str]
    body: str


def check(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def present(value: T | None, name: str) -> T:
    if value is None:
        raise AssertionError(f"{name} is missing")
    return value


def until(name: str, ask: Callable[[], T | None]) -> T:
    """Asks again until there is an answer."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        answer = ask()
        if answer is not None:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{name}: nothing after {PATIENCE_SECONDS} s")


def deliveries() -> list[Delivery]:
    """All that the receiver was sent so far."""
    with urllib.request.urlopen(RECEIVER, timeout=10) as answer:
        return [Delivery(**one) for one in json.load(answer)]


def fresh_email() -> str:
    return f"ada.{uuid.uuid4()}@example.com"


def walk_name(number: int) -> str:
    return f"walk-{number:04}"


def check_walk(pages: int, vendor_ids: Sequence[str | None]) -> None:
    """Each of the registered communities stands in the pages, and none twice."""
    walked = [one for one in vendor_ids if one is not None and one.startswith("walk-")]
    check(len(set(vendor_ids)) == len(vendor_ids), "the walk meets a community twice")
    check(len(walked) == WALK_COUNT, f"the walk meets {len(walked)} of {WALK_COUNT}")
    check(pages == math.ceil(len(vendor_ids) / PAGE_LIMIT), f"the walk has {pages} pages")


def check_places(places: Sequence[Sequence[object]]) -> None:
    """The places of the issues of the body that is refused."""
    named = sorted(".".join(str(step) for step in place) for place in places)
    check(named == ["email_1", "lease_term_in_months", "phone_1"], f"issues at {named}")


def parsed(text: str) -> Any:
    return json.loads(text)
