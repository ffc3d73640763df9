"""The story by plain httpx: datamodel-code-generator's models read every answer and webhook."""

import json
import os
import pathlib
from typing import Any, TypeVar

import httpx
import standardwebhooks
from models import (
    CommunityPage,
    CommunityRegister,
    ConsentEventPage,
    DataNewBody,
    DataUpdateBody,
    ErrorBody,
    Pet,
    ProspectAnswer,
    ProspectCreateKnock,
    ProspectCreateKnockAccepted,
    RegisteredAll,
    TestAnswer,
    TestBody,
    WebhookAnswer,
    WebhookBody,
    WebhookCreate,
    WriteOperationFailureBody,
    WriteOperationSuccessBody,
    WriteOutcome,
    WriteState,
    WriteStatus,
)
from pydantic import BaseModel
from support import (
    ATTRIBUTION_ID,
    BASE_URL,
    COMMUNITY_ID,
    INTEGRATION_ID,
    PAGE_LIMIT,
    RECEIVER,
    TOKEN,
    WALK_COUNT,
    check,
    check_places,
    check_walk,
    deliveries,
    fresh_email,
    present,
    until,
    walk_name,
)

Model = TypeVar("Model", bound=BaseModel)

DOCUMENT = json.loads(pathlib.Path(os.environ["PORTICO_DOCUMENT"]).read_text(encoding="utf-8"))
# `wait=10` holds an answer for so long.
CLIENT = httpx.Client(
    base_url=BASE_URL, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30, trust_env=False
)


def resolved(part: Any) -> Any:
    """The part itself, where it stands in `components`."""
    while "$ref" in part:
        found = DOCUMENT
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def undeclared(sent: Any, kept: Any, place: str = "") -> list[str]:
    """Members that the document does not list. A model drops them, unless it is open."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        found = [f"{place}.{name}" for name in sent if name not in kept]
        for name in kept.keys() & sent.keys():
            found += undeclared(sent[name], kept[name], f"{place}.{name}")
        return found
    if isinstance(sent, list) and isinstance(kept, list):
        return [one for pair in zip(sent, kept) for one in undeclared(*pair, f"{place}[]")]
    return []


def read(model: type[Model], text: str) -> Model:
    """The text as a value of the model, which must have a place for each of its members."""
    value = model.model_validate_json(text)
    unknown = undeclared(json.loads(text), value.model_dump(mode="json", by_alias=True))
    check(not unknown, f"{model.__name__} does not list {sorted(set(unknown))}")
    return value


def call(
    model: type[Model],
    method: str,
    path: str,
    status: int = 200,
    body: BaseModel | list[CommunityRegister] | None = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    **places: str,
) -> Model:
    """Calls an operation. The model must be the one that the document names for the status."""
    answer = resolved(DOCUMENT["paths"][path][method.lower()]["responses"][str(status)])
    named = answer["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
    check(named == model.__name__, f"{method} {path} answers with {named}, not {model.__name__}")
    sent: Any = None
    if isinstance(body, list):
        sent = [one.model_dump(mode="json", exclude_unset=True) for one in body]
    elif body is not None:
        sent = body.model_dump(mode="json", exclude_unset=True)
    url = path.format(**places)
    got = CLIENT.request(method, url, json=sent, params=query, headers=headers)
    check(got.status_code == status, f"{method} {path} answered {got.status_code}: {got.text}")
    return read(model, got.text)


def prospect(**members: Any) -> ProspectCreateKnock:
    return ProspectCreateKnock(
        integration_id=INTEGRATION_ID,
        community_id=COMMUNITY_ID,
        attribution_id=ATTRIBUTION_ID,
        **members,
    )


def create_prospect(body: ProspectCreateKnock) -> WriteState:
    path = "/crm/v1/prospects/knock"
    accepted = call(ProspectCreateKnockAccepted, "POST", path, body=body)
    check(accepted.result.email_1 == body.email_1, "the result is not the accepted body")

    def ended() -> WriteState | None:
        state = call(
            WriteState,
            "GET",
            "/v1/admin/write-status/{root_job_id}",
            headers={"Prefer": "wait=10"},
            root_job_id=accepted.meta.job_id,
        )
        return None if state.write_status is WriteStatus.PENDING else state

    state = until("the write's outcome", ended)
    check(state.write_status is WriteStatus.SUCCESS, f"the write ended as {state.write_status}")
    check(state.outcome is WriteOutcome.CREATED, f"the write's outcome is {state.outcome}")
    return state


def create_and_read() -> None:
    email = fresh_email()
    state = create_prospect(prospect(email_1=email, first_name="Ada"))
    record_id = present(state.created_record_id, "the record's id")
    record = call(ProspectAnswer, "GET", "/crm/v1/prospects/{id}", id=record_id).results
    check(record.email_1 == email, "the record has another email address")
    check(record.last_name is None, "the record has a last name that nobody gave")
    path = "/v1/admin/prospects/{id}/consents"
    events = call(ConsentEventPage, "GET", path, id=record_id).results
    check(len(events) == 1, f"there are {len(events)} consent events")
    check(not events[0].is_stated, "`subscribe` was never stated")


def walk() -> None:
    body = [
        CommunityRegister(x_id=name, name=name, timezone="America/New_York")
        for name in map(walk_name, range(WALK_COUNT))
    ]
    path = "/v1/admin/integrations/{id}/communities/bulk"
    registered = call(RegisteredAll, "POST", path, body=body, id=INTEGRATION_ID)
    check(len(registered.results) == WALK_COUNT, "not all are registered")
    vendor_ids: list[str | None] = []
    pages = 0
    query = {"limit": str(PAGE_LIMIT)}
    while True:
        page = call(CommunityPage, "GET", "/crm/v1/communities", query=query)
        vendor_ids.extend(community.x_id for community in page.results)
        pages += 1
        if page.meta.nextCursor is None:
            break
        query["cursor"] = page.meta.nextCursor
    check_walk(pages, vendor_ids)


def subject(body: WebhookBody) -> str | None:
    """What the body is about, told by its class, which its trigger chose."""
    match body.root:
        case DataNewBody() | DataUpdateBody() as told:
            return told.data.record_id
        case WriteOperationSuccessBody() | WriteOperationFailureBody() as told:
            return told.data.created_record_id
        case TestBody() as told:
            return told.data.webhook_id
        case _:
            return None


def received(secret: str, trigger: str, about: str) -> None:
    verifier = standardwebhooks.Webhook(secret)

    def arrived() -> WebhookBody | None:
        for delivery in deliveries():
            verifier.verify(delivery.body, delivery.headers)
            body = read(WebhookBody, delivery.body)
            if body.root.trigger == trigger and subject(body) == about:
                same = body.root.meta.event_id == delivery.headers["webhook-id"]
                check(same, "another event id")
                return body
        return None

    until(f"a delivery of {trigger}", arrived)


def webhooks() -> None:
    subscription = WebhookCreate.model_validate(
        {"url": RECEIVER, "active": True, "triggers": ["WRITE_OPERATION_SUCCESS", "DATA_NEW"]}
    )
    webhook = call(WebhookAnswer, "POST", "/v1/webhooks", body=subscription).result
    secret = present(webhook.secret, "the secret")
    state = create_prospect(prospect(email_1=fresh_email(), pets=[Pet.CAT]))
    record_id = present(state.created_record_id, "the record's id")
    received(secret, "WRITE_OPERATION_SUCCESS", record_id)
    received(secret, "DATA_NEW", record_id)
    call(TestAnswer, "POST", "/v1/webhooks/{id}/test", id=webhook.id)
    received(secret, "TEST", webhook.id)


def refused() -> None:
    # The model would refuse it as well: this one is made without a check.
    body = prospect().model_copy(update={"lease_term_in_months": 99})
    error = call(ErrorBody, "POST", "/crm/v1/prospects/knock", status=400, body=body).error
    issues = present(present(error.details, "the details").issues, "the issues")
    check_places([issue.model_dump()["path"] for issue in issues])
    check(all(issue.message for issue in issues), "an issue has no message")


if __name__ == "__main__":
    create_and_read()
    walk()
    webhooks()
    refused()
