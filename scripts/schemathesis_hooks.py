"""What schemathesis cannot read out of the OpenAPI document, told to it here. Loaded by scripts/schemathesis.

A body made from the schema alone names an integration that does not exist, so almost every write would stop at the
reference check and nothing behind it would be tested. So most generated requests get the ids that the server has
seeded, and a phone number that can be one. The rest keep what was generated: refusing it well is tested too.

Nothing here is random: what a request gets depends on what was generated for it, so a run can be repeated.
"""

import atexit
import collections
import hashlib
import json
import os
import re
import unicodedata

import schemathesis
from schemathesis.core.parameters import ParameterLocation

SEEDED = json.loads(os.environ["PORTICO_SEEDED"])
COUNTS_FILE = os.environ["PORTICO_COUNTS"]

# Characters that are not seen: those that control or format, by their category, and fillers, selectors and marks.
UNSEEN_CATEGORIES = ("Cc", "Cf")
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0000-\U000e01ef]")

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

# What each kind of event requires beside what all do.
EVENT_NEEDS = {
    "SMS": ("agent_id", "event_datetime", "notes"),
    "CHAT": ("agent_id", "event_datetime", "notes"),
    "ACTIVITY": ("event_datetime", "notes"),
    "EMAIL": ("agent_id", "event_datetime", "email_subject", "email_body"),
    "CALL": ("agent_id", "attribution_id", "call_status", "time_from", "time_to"),
}

# How many requests got which status, by operation: scripts/schemathesis fails when an operation never succeeded.
counts = collections.Counter()


def number_of(value):
    """A number that depends on the value alone (Python's own hash changes from process to process)."""
    text = json.dumps(value, sort_keys=True, default=repr)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def pick(values, number):
    return values[number % len(values)]


def ids_that_belong_together(number):
    """A prospect, and an attribution and an agent that are valid for its community."""
    prospect = pick(SEEDED["prospects"], number)
    community = prospect["community_id"]

    def of_community(records):
        # An empty or missing list of communities means all of them.
        fitting = [r["id"] for r in records if community in (r.get("community_ids") or [community])]
        return pick(fitting, number // 7) if fitting else None

    return {
        "integration_id": SEEDED["integration_id"],
        "community_id": community,
        "prospect_id": prospect["id"],
        "attribution_id": of_community(SEEDED["attributions"]),
        "agent_id": of_community(SEEDED["agents"]),
    }


def use_real_ids(body, number, broken):
    """Real ids where the body has ids. Also in a body that is broken elsewhere: then it is the broken part, and not
    an unknown id, that the server has to refuse. What is missing or of another type stays so, and in a broken body
    also what is empty or too long, since just that may be what is broken."""
    for name, real in ids_that_belong_together(number).items():
        value = body.get(name)
        if real is not None and isinstance(value, str) and not (broken and not 0 < len(value) <= 64):
            body[name] = real


def ids_known(path):
    """Ids of what a path asks for."""
    if "/webhooks/" in path:
        return SEEDED["webhooks"]
    if "/admin/events/" in path:
        return SEEDED["happened"]
    for plural in ("communities", "attributions", "agents", "prospects", "events", "appointments", "listings"):
        if f"/{plural}/" in path:
            return [record["id"] for record in SEEDED[plural]]
    return [SEEDED["integration_id"]] if "/integrations/" in path else SEEDED["jobs"]


def is_change_of_administration(case):
    """Whether it changes an integration, a key or a webhook: what the rest of the run works with is not for that."""
    is_of_these = any(f"{path}/{{" in case.path for path in ("/admin/integrations", "/admin/keys", "/v1/webhooks"))
    return is_of_these and case.method != "GET"


def ask_for_what_exists(case, number):
    if "{model}" in case.path:
        model, field = pick([("crm_prospects", "pets"), ("crm_events", "call_status"), ("crm_appointments", "tour_type")], number)
        case.path_parameters.update(model=model, field=field)
        return
    own = str(case.path_parameters.get("id", ""))
    if case.method == "DELETE" and own.startswith("whk_") and own not in SEEDED["webhooks"]:
        # What a step before has made is removed itself.
        return
    known = ids_known(case.path)
    if "/keys/" in case.path:
        known = SEEDED["spare_keys"]
    elif "/webhooks/" in case.path:
        # The last of them is for removing.
        known = SEEDED["webhooks"][-1:] if case.method == "DELETE" else SEEDED["webhooks"][:-1]
    elif is_change_of_administration(case):
        # The last of them is for archiving.
        known = SEEDED["spare_integrations"][-1:] if case.method == "DELETE" else SEEDED["spare_integrations"][:-1]
    if case.path.endswith("/erase"):
        known = [record["id"] for record in SEEDED["forgettable"]]
    for name in case.path_parameters:
        case.path_parameters[name] = pick(SEEDED["happened"] if name == "event_id" else known, number)


def make_sense(path, body, number):
    """The rules between and inside fields that JSON Schema cannot state, for a body that follows the schema."""
    # Reserved for fiction: 555-01xx. Nobody is called, but nobody could be either.
    phone = f"+1206555{100 + number % 100:04}"
    if isinstance(body.get("phone_1"), str):
        body["phone_1"] = phone
    takes_contacts = "/prospects" in path or "/appointments" in path
    if isinstance(body.get("phone_1_extension"), str):
        # An extension needs its number.
        body["phone_1"], body["phone_1_extension"] = phone, str(number)
    # A change of a prospect needs no contact, and may not change both.
    is_change = "/prospects/{" in path or path.endswith("/knock/{prospect_id}")
    if is_change:
        body.pop("email_1", None)
        body.setdefault("last_name", "Byron")
    elif takes_contacts and not isinstance(body.get("phone_1"), str) and not isinstance(body.get("email_1"), str):
        body["phone_1"] = phone
    for name in ("last_name", "title"):
        if is_blank(body.get(name)):
            body[name] = "Byron"
    if isinstance(body.get("appointment_date"), str):
        # Times that every seeded community offers, in UTC.
        body["appointment_date"] = f"2027-{number % 6 + 3:02}-{number % 28 + 1:02}"
        body["appointment_time"] = f"{17 + number % 4}:{pick(['00', '30'], number)}:00"
    if "/events" in path:
        make_event(body, number)
    if isinstance(body.get("move_in_date"), str) and not DATE.match(body["move_in_date"]):
        body["move_in_date"] = f"2027-{number % 12 + 1:02}-{number % 28 + 1:02}"
    low, high = body.get("rent_minimum_in_cents"), body.get("rent_maximum_in_cents")
    if isinstance(low, int) and isinstance(high, int) and high < low:
        body["rent_minimum_in_cents"], body["rent_maximum_in_cents"] = high, low


def make_event(body, number):
    """What its kind requires, and an end that is not before the beginning."""
    real = {
        **ids_that_belong_together(number),
        "call_status": "ANSWERED",
        "event_datetime": "2026-11-24T14:30:00Z",
        "time_from": "2026-11-24T14:30:00Z",
        "time_to": "2026-11-24T14:35:00-05:00",
    }
    for name in EVENT_NEEDS.get(body.get("event_name"), ()):
        if not isinstance(body.get(name), str) or is_blank(body[name]) or name.startswith("time_"):
            body[name] = real.get(name) or "Seen"
    if body.get("event_name") != "CALL":
        body.pop("time_from", None)


@schemathesis.hook
def map_case(context, case):
    meta = case.meta
    negative = {
        location: meta is not None and meta.is_negative_at(location)
        for location in (ParameterLocation.PATH, ParameterLocation.QUERY, ParameterLocation.HEADER, ParameterLocation.BODY)
    }
    number = number_of([case.method, case.path, case.path_parameters, case.query, dict(case.headers or {}), case.body])

    # Asked to ignore unknown keys, the server is right to take a body whose only fault is one.
    if case.query and negative[ParameterLocation.BODY]:
        case.query.pop("ignore_unknown_fields", None)

    # Three of four requests ask for something that exists; the fourth finds out how a 404 looks.
    if case.path_parameters and not negative[ParameterLocation.PATH] and number % 4:
        ask_for_what_exists(case, number // 4)

    # What the rest of the run needs is not forgotten, nor changed, whoever thought of its id.
    needed = is_change_of_administration(case) or case.path.endswith("/erase")
    if needed and case.path_parameters.get("id") in ids_known(case.path) + [SEEDED["own_key"]]:
        ask_for_what_exists(case, number)

    # Whatever is generated, no call leaves this machine: the vendor is the sandbox.
    if case.path.endswith(("/admin/integrations", "/admin/integrations/{id}")) and isinstance(case.body, dict):
        case.body = {**case.body, "base_url": SEEDED["sandbox_url"]}
    # A receiver is where nobody listens. What is no url at all stays so: the server has to refuse it.
    if case.path.startswith("/v1/webhooks") and isinstance(case.body, dict) and isinstance(case.body.get("url"), str):
        if 0 < len(case.body["url"]) <= 2000:
            case.body = {**case.body, "url": SEEDED["receiver"]}

    if "/admin/integrations/{" in case.path and not negative[ParameterLocation.BODY]:
        # What is registered names communities of the integration in the path.
        for place, item in enumerate(case.body if isinstance(case.body, list) else [case.body]):
            if isinstance(item, dict) and isinstance(item.get("community_ids"), list) and number % 8:
                item["community_ids"] = [SEEDED["spare_communities"].get(case.path_parameters.get("id"), "com_0")]
            if isinstance(item, dict) and isinstance(item.get("timezone"), str) and number % 8:
                item["timezone"] = "America/New_York"
            if isinstance(item, dict) and isinstance(item.get("x_id"), str) and number % 8 and "/bulk" in case.path:
                item["x_id"] = f"{number % 10_000}-{place}"
            for name in ("name", "x_id"):
                if isinstance(item, dict) and isinstance(item.get(name), str) and number % 8:
                    item[name] = re.sub(r"[^!-~]", "x", item[name])[:50] or "x"

    # Of an integration whose credentials the run has spoilt, the vendor answers no question: a 503, and right.
    asks_a_vendor = "appointment-availability" in case.path
    if isinstance(case.body, dict) and (number % 8 or asks_a_vendor):
        body = dict(case.body)
        use_real_ids(body, number, negative[ParameterLocation.BODY])
        if not negative[ParameterLocation.BODY]:
            make_sense(case.path, body, number)
        if body != case.body:
            case.body = body

    if case.query and not negative[ParameterLocation.QUERY]:
        # A cursor is opaque: only one that the server gave out can be right, and only in the list that it is of.
        if "cursor" in case.query:
            if case.path.rstrip("/") == "/v1/admin/events" or case.path.endswith("/deliveries"):
                case.query["cursor"] = pick(SEEDED["happened"], number)
            elif SEEDED["cursor"] is None or case.path.rstrip("/") != "/crm/v1/prospects":
                del case.query["cursor"]
            else:
                case.query.clear()
                case.query["cursor"] = SEEDED["cursor"]
        # A vendor's id means something only within an integration.
        if any(name.startswith("x_") for name in case.query):
            case.query["integration_id"] = SEEDED["integration_id"]
        if isinstance(case.query.get("integration_id"), str) and number % 4:
            case.query["integration_id"] = SEEDED["integration_id"]
        if isinstance(case.query.get("community_id"), str) and number % 4:
            case.query["community_id"] = pick(SEEDED["communities"], number)["id"]

    if case.headers and not negative[ParameterLocation.HEADER]:
        # One key for two bodies is a 422 by design, and short generated keys repeat all the time.
        key = case.headers.get("Idempotency-Key")
        if isinstance(key, str):
            unique = f"{number:016x}"
            case.headers["Idempotency-Key"] = f'"{unique}"' if key.startswith('"') else unique
        # A held answer is right, and would use up the time of the run.
        if isinstance(case.headers.get("Prefer"), str):
            case.headers["Prefer"] = f"wait={number % 2}"
    return case


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Let one thing pass beside what stays to be read after it was put away: a request that follows the schema may be refused when each of its problems is one that
    JSON Schema cannot say: an id that does not exist or does not belong (custom), a number that is no phone number, an
    address that is a placeholder, a maximum below the minimum, what a kind of event requires. A 400 for anything that
    the schema could have said (a type, a length, an enum member, an unknown key) is a wrong document, and stays a failure.
    """
    # What is archived or revoked is told as such, and not as if it had never been.
    if type(failure).__name__ == "UseAfterFree":
        return "/admin/integrations" not in case.path and "/admin/keys" not in case.path
    # An optional field that is blank is absent, so a body whose only fault is one is right.
    if type(failure).__name__ == "AcceptedNegativeData":
        return not has_blank(case.body)
    # A vendor that has no such operation says so to every request.
    if type(failure).__name__ == "RejectedPositiveData" and response.status_code == 405:
        return "has no such operation" not in response.text
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 400:
        return True
    try:
        issues = response.json()["error"]["details"]["issues"]
        is_generic = "/knock" not in case.path
        return not (issues and all(is_beyond_the_schema(issue, case.body, is_generic) for issue in issues))
    except (ValueError, KeyError, TypeError):
        return True


# Fields that the schema calls no more than strings, or dates and times, of which it knows only the form.
FORMS = {
    "email_1", "phone_1", "phone_1_extension", "move_in_date", "appointment_date", "event_datetime", "time_from", "time_to",
    "publish_date", "since",
}


def is_beyond_the_schema(issue, body, is_generic):
    if issue["code"] == "custom":
        return True
    # What finds the vendor is all that a generic body requires; what the vendor requires, it says itself.
    if is_generic and issue.get("received") == "undefined":
        return True
    # A required field that is blank is absent, of any kind.
    if issue.get("received") == "undefined" and is_blank(found_at(body, issue["path"])):
        return True
    if issue["code"] in ("invalid_type", "too_small"):
        # What a kind of event requires, and was not given or is blank.
        needs = EVENT_NEEDS.get(body.get("event_name"), ()) if isinstance(body, dict) else ()
        return issue["path"][0] in needs and is_blank(body.get(issue["path"][0]) or "")
    # Zod calls a string of the wrong form invalid_string.
    return issue["code"] == "invalid_string" and issue["path"][0] in FORMS and issue.get("validation") != "regex"


def has_blank(value):
    """True if a text in it is blank: the server takes that for absent (see the document's introduction), which JSON
    Schema cannot say."""
    if isinstance(value, dict):
        return any(has_blank(one) for one in value.values())
    if isinstance(value, list):
        return any(has_blank(one) for one in value)
    return is_blank(value)


def is_blank(value):
    """True if it is text with nothing in it that anybody could see: blanks, and characters that steer, which the
    server removes."""
    return isinstance(value, str) and all(
        one.isspace() or unicodedata.category(one) in UNSEEN_CATEGORIES or UNSEEN.match(one) for one in value
    )


def found_at(body, path):
    """What stands in a body at the path of an issue; None where nothing does."""
    for step in path:
        try:
            body = body[step]
        except (KeyError, IndexError, TypeError):
            return None
    return body


@schemathesis.hook
def after_call(context, case, response):
    counts[f"{case.method} {case.path}", response.status_code] += 1


@atexit.register
def write_counts():
    rows = [[operation, status, count] for (operation, status), count in sorted(counts.items())]
    with open(COUNTS_FILE, "w", encoding="utf-8") as out:
        json.dump(rows, out)
