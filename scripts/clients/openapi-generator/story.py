"""The story by the client that openapi-generator generates."""

import importlib
import pkgutil
import sys

# The generated package names itself by its own name.
sys.path.insert(0, "generated")

import openapi_client
from openapi_client import (
    CommunityRegister,
    DataNewBody,
    ErrorBody,
    Pet,
    ProspectCreateKnock,
    TestBody,
    Trigger,
    WebhookBody,
    WebhookCreate,
    WriteOperationSuccessBody,
    WriteOutcome,
    WriteState,
    WriteStatus,
)
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

CLIENT = openapi_client.ApiClient(
    openapi_client.Configuration(host=BASE_URL, access_token=TOKEN, ignore_operation_servers=True)
)
COMMUNITIES = openapi_client.CommunitiesApi(CLIENT)
INTEGRATIONS = openapi_client.IntegrationsApi(CLIENT)
PRIVACY = openapi_client.PrivacyApi(CLIENT)
PROSPECTS = openapi_client.ProspectsApi(CLIENT)
WEBHOOKS = openapi_client.WebhooksApi(CLIENT)
WRITES = openapi_client.WritesApi(CLIENT)


def import_all() -> None:
    """Python reads every module, also those that the story does not use."""
    for module in pkgutil.walk_packages(openapi_client.__path__, "openapi_client."):
        importlib.import_module(module.name)


def prospect() -> ProspectCreateKnock:
    return ProspectCreateKnock(
        integration_id=INTEGRATION_ID, community_id=COMMUNITY_ID, attribution_id=ATTRIBUTION_ID
    )


def create_prospect(body: ProspectCreateKnock) -> WriteState:
    accepted = PROSPECTS.prospect_create_knock(body)
    check(accepted.result.email_1 == body.email_1, "the result is not the accepted body")

    def ended() -> WriteState | None:
        state = WRITES.write_status_get(accepted.meta.job_id, prefer="wait=10")
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
    record = PROSPECTS.prospect_get(record_id).results
    check(record.email_1 == body.email_1, "the record has another email address")
    check(record.last_name is None, "the record has a last name that nobody gave")
    events = PRIVACY.prospect_consents_list(record_id).results
    check(len(events) == 1, f"there are {len(events)} consent events")
    check(not events[0].is_stated, "`subscribe` was never stated")


def walk() -> None:
    body = [
        CommunityRegister(x_id=name, name=name, timezone="America/New_York")
        for name in map(walk_name, range(WALK_COUNT))
    ]
    registered = INTEGRATIONS.communities_register_bulk(INTEGRATION_ID, body)
    check(len(registered.results) == WALK_COUNT, "not all are registered")
    vendor_ids: list[str | None] = []
    pages = 0
    cursor: str | None = None
    while pages == 0 or cursor is not None:
        page = COMMUNITIES.communities_list(limit=PAGE_LIMIT, cursor=cursor)
        vendor_ids.extend(community.x_id for community in page.results)
        cursor = page.meta.next_cursor
        pages += 1
    check_walk(pages, vendor_ids)


def subject(body: WebhookBody) -> str | None:
    """What the body is about, told by its class, which its trigger chose."""
    match body.actual_instance:
        case DataNewBody() as told:
            return told.data.record_id
        case WriteOperationSuccessBody() as told:
            return told.data.created_record_id
        case TestBody() as told:
            return told.data.webhook_id
        case _:
            return None


def received(kind: type[DataNewBody | WriteOperationSuccessBody | TestBody], about: str) -> None:
    def arrived() -> WebhookBody | None:
        for delivery in deliveries():
            body = WebhookBody.from_json(delivery.body)
            if isinstance(body.actual_instance, kind) and subject(body) == about:
                same = body.actual_instance.meta.event_id == delivery.headers["webhook-id"]
                check(same, "another event id")
                return body
        return None

    until(f"a delivery of {kind.__name__}", arrived)


def webhooks() -> None:
    triggers = [Trigger.WRITE_OPERATION_SUCCESS, Trigger.DATA_NEW]
    subscription = WebhookCreate(url=RECEIVER, active=True, triggers=triggers)
    webhook = WEBHOOKS.webhook_create(subscription).result
    body = prospect()
    body.email_1 = fresh_email()
    body.pets = [Pet.CAT]
    record_id = present(create_prospect(body).created_record_id, "the record's id")
    received(WriteOperationSuccessBody, record_id)
    received(DataNewBody, record_id)
    WEBHOOKS.webhook_test(webhook.id)
    received(TestBody, webhook.id)


def refused() -> None:
    # The model would refuse it as well: this one is made without a check.
    body = prospect().model_copy(update={"lease_term_in_months": 99})
    try:
        PROSPECTS.prospect_create_knock(body)
    except openapi_client.exceptions.BadRequestException as refusal:
        error = refusal.data
    else:
        raise AssertionError("a body that is not valid was accepted")
    if not isinstance(error, ErrorBody):
        raise AssertionError(f"a refused body was answered with {error}")
    issues = present(present(error.error.details, "the details").issues, "the issues")
    check_places([[step.actual_instance for step in issue.path] for issue in issues])
    check(all(issue.message for issue in issues), "an issue has no message")


if __name__ == "__main__":
    import_all()
    create_and_read()
    walk()
    webhooks()
    refused()
