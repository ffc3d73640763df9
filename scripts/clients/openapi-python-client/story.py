"""The story by the client that openapi-python-client generates."""

from typing import TypeVar

from generated import AuthenticatedClient
from generated.api.communities import communities_list
from generated.api.integrations import communities_register_bulk
from generated.api.privacy import prospect_consents_list
from generated.api.prospects import prospect_create_knock, prospect_get
from generated.api.webhooks import webhook_create, webhook_test
from generated.api.writes import write_status_get
from generated.models import (
    CommunityRegister,
    DataNewBody,
    ErrorBody,
    ErrorDetails,
    Pet,
    ProspectCreateKnock,
    TestBody,
    Trigger,
    WebhookCreate,
    WriteOperationSuccessBody,
    WriteOutcome,
    WriteState,
    WriteStatus,
)
from generated.types import UNSET, Unset
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
    parsed,
    present,
    until,
    walk_name,
)

T = TypeVar("T")
CLIENT = AuthenticatedClient(base_url=BASE_URL, token=TOKEN)


def answered(answer: ErrorBody | T | None) -> T:
    """The answer, or an end of the story with what the server said."""
    if isinstance(answer, ErrorBody):
        raise AssertionError(str(answer.to_dict()))
    return present(answer, "an answer")


def prospect() -> ProspectCreateKnock:
    return ProspectCreateKnock(
        integration_id=INTEGRATION_ID, community_id=COMMUNITY_ID, attribution_id=ATTRIBUTION_ID
    )


def create_prospect(body: ProspectCreateKnock) -> WriteState:
    accepted = answered(prospect_create_knock.sync(client=CLIENT, body=body))
    check(accepted.result.email_1 == body.email_1, "the result is not the accepted body")

    def ended() -> WriteState | None:
        job_id = accepted.meta.job_id
        state = answered(write_status_get.sync(job_id, client=CLIENT, prefer="wait=10"))
        return None if state.write_status is WriteStatus.PENDING else state

    state = until("the write's outcome", ended)
    check(state.write_status is WriteStatus.SUCCESS, f"the write ended as {state.write_status}")
    check(state.outcome is WriteOutcome.CREATED, f"the write's outcome is {state.outcome}")
    return state


def create_and_read() -> None:
    body = prospect()
    body.email_1 = fresh_email()
    body.first_name = "Ada"
    record_id = present(create_prospect(body).created_record_id, "the record's id")
    record = answered(prospect_get.sync(record_id, client=CLIENT)).results
    check(record.email_1 == body.email_1, "the record has another email address")
    check(record.last_name is None, "the record has a last name that nobody gave")
    events = answered(prospect_consents_list.sync(record_id, client=CLIENT)).results
    check(len(events) == 1, f"there are {len(events)} consent events")
    check(not events[0].is_stated, "`subscribe` was never stated")


def walk() -> None:
    body = [
        CommunityRegister(x_id=name, name=name, timezone="America/New_York")
        for name in map(walk_name, range(WALK_COUNT))
    ]
    registered = communities_register_bulk.sync(INTEGRATION_ID, client=CLIENT, body=body)
    check(len(answered(registered).results) == WALK_COUNT, "not all are registered")
    vendor_ids: list[str | None] = []
    pages = 0
    cursor: str | Unset | None = UNSET
    while cursor is not None:
        page = answered(communities_list.sync(client=CLIENT, limit=PAGE_LIMIT, cursor=cursor))
        vendor_ids.extend(community.x_id for community in page.results)
        cursor = page.meta.next_cursor
        pages += 1
    check_walk(pages, vendor_ids)


Body = DataNewBody | TestBody | WriteOperationSuccessBody


def read_body(text: str) -> Body:
    """The generator has no function that reads a union by its `trigger`: this picks the class."""
    body = parsed(text)
    match body["trigger"]:
        case "DATA_NEW":
            return DataNewBody.from_dict(body)
        case "TEST":
            return TestBody.from_dict(body)
        case "WRITE_OPERATION_SUCCESS":
            return WriteOperationSuccessBody.from_dict(body)
    raise AssertionError(f"trigger {body['trigger']!r} was not asked for")


def subject(body: Body) -> str | None:
    """What the body is about."""
    match body:
        case DataNewBody():
            return body.data.record_id
        case TestBody():
            return body.data.webhook_id
        case WriteOperationSuccessBody():
            return body.data.created_record_id


def received(kind: type[Body], about: str) -> None:
    def arrived() -> Body | None:
        for delivery in deliveries():
            body = read_body(delivery.body)
            if isinstance(body, kind) and subject(body) == about:
                check(body.meta.event_id == delivery.headers["webhook-id"], "another event id")
                return body
        return None

    until(f"a delivery of {kind.__name__}", arrived)


def webhooks() -> None:
    triggers = [Trigger.WRITE_OPERATION_SUCCESS, Trigger.DATA_NEW]
    subscription = WebhookCreate(url=RECEIVER, active=True, triggers=triggers)
    webhook = answered(webhook_create.sync(client=CLIENT, body=subscription)).result
    body = prospect()
    body.email_1 = fresh_email()
    body.pets = [Pet.CAT]
    record_id = present(create_prospect(body).created_record_id, "the record's id")
    received(WriteOperationSuccessBody, record_id)
    received(DataNewBody, record_id)
    answered(webhook_test.sync(webhook.id, client=CLIENT))
    received(TestBody, webhook.id)


def refused() -> None:
    body = prospect()
    body.lease_term_in_months = 99
    answer = prospect_create_knock.sync_detailed(client=CLIENT, body=body)
    check(answer.status_code == 400, f"the status is {answer.status_code}")
    error = answer.parsed
    if not isinstance(error, ErrorBody):
        raise AssertionError(f"a refused body was answered with {error}")
    details = error.error.details
    if not isinstance(details, ErrorDetails) or isinstance(details.issues, Unset):
        raise AssertionError("there are no issues")
    check_places([issue.path for issue in details.issues])
    check(all(issue.message for issue in details.issues), "an issue has no message")


if __name__ == "__main__":
    create_and_read()
    walk()
    webhooks()
    refused()
