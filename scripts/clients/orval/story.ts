// The story by the client that orval generates: plain functions over fetch.

import type {
  CommunityPage,
  CommunityRegister,
  ErrorBody,
  Issue,
  ProspectCreateKnock,
  WebhookBody,
  WriteState,
} from "./generated/client.ts";
import {
  communitiesList,
  communitiesRegisterBulk,
  prospectConsentsList,
  prospectCreateKnock,
  prospectGet,
  webhookCreate,
  webhookTest,
  writeStatusGet,
} from "./generated/client.ts";
import {
  PAGE_LIMIT,
  WALK_COUNT,
  check,
  checkIssues,
  checkWalk,
  freshEmail,
  present,
  received,
  source,
  started,
  until,
  walkBody,
} from "./support.ts";

const headers = { Authorization: `Bearer ${started.token}` };
const options = { headers };

interface Answer {
  status: number;
  data: unknown;
}

/** An answer is one of several, and its status tells which. */
function isSuccess<A extends Answer>(answer: A): answer is Extract<A, { status: 200 }> {
  return answer.status === 200;
}

function answered<A extends Answer>(answer: A): Extract<A, { status: 200 }>["data"] {
  if (!isSuccess(answer)) throw new Error(`${answer.status}: ${JSON.stringify(answer.data)}`);
  return answer.data;
}

async function createProspect(body: ProspectCreateKnock): Promise<WriteState> {
  const accepted = answered(await prospectCreateKnock(body, undefined, options));
  check(accepted.result.email_1 === body.email_1, "the result is not the accepted body");
  const state = await until("the write's outcome", async () => {
    const waiting = { headers: { ...headers, Prefer: "wait=10" } };
    const state = answered(await writeStatusGet(accepted.meta.job_id, waiting));
    return state.write_status === "PENDING" ? undefined : state;
  });
  check(state.write_status === "SUCCESS", `the write ended as ${state.write_status}`);
  check(state.outcome === "CREATED", `the write ended with outcome ${state.outcome}`);
  return state;
}

async function createAndRead(): Promise<void> {
  const email = freshEmail();
  const state = await createProspect({ ...source, email_1: email, first_name: "Ada" });
  const id = present(state.created_record_id, "the record's id");
  const prospect = answered(await prospectGet(id, options)).results;
  check(prospect.email_1 === email, "the record has another email address");
  check(prospect.last_name === null, "the record has a last name that nobody gave");
  const events = answered(await prospectConsentsList(id, undefined, options)).results;
  check(events.length === 1, `there are ${events.length} consent events`);
  check(!present(events[0], "the event").is_stated, "`subscribe` was never stated");
}

async function walk(): Promise<void> {
  const body: CommunityRegister[] = walkBody();
  const registered = await communitiesRegisterBulk(
    started.integration_id,
    body,
    undefined,
    options,
  );
  check(answered(registered).results.length === WALK_COUNT, "not all are registered");
  const vendorIds: (string | null)[] = [];
  let pages = 0;
  let cursor: string | null = null;
  do {
    const query: { limit: number; cursor?: string } = { limit: PAGE_LIMIT };
    if (cursor !== null) query.cursor = cursor;
    const page: CommunityPage = answered(await communitiesList(query, options));
    vendorIds.push(...page.results.map((community) => community.x_id));
    cursor = page.meta.nextCursor;
    pages += 1;
  } while (cursor !== null);
  checkWalk(pages, vendorIds);
}

/** What the body is about, told by its trigger alone. */
function subject(body: WebhookBody): string | null {
  switch (body.trigger) {
    case "DATA_NEW":
    case "DATA_UPDATE":
      return body.data.record_id;
    case "WRITE_OPERATION_SUCCESS":
    case "WRITE_OPERATION_FAILURE":
      return body.data.created_record_id;
    case "TEST":
      return body.data.webhook_id;
    case "SYNC_COMPLETE":
    case "FIRST_SYNC_COMPLETE":
    case "JOB_SUCCESS":
    case "JOB_FAILURE":
      return null;
    default:
      return body satisfies never;
  }
}

async function webhooks(): Promise<void> {
  const answer = await webhookCreate(
    {
      url: started.receiver,
      active: true,
      triggers: ["WRITE_OPERATION_SUCCESS", "DATA_NEW"],
    },
    undefined,
    options,
  );
  const webhook = answered(answer).result;
  const state = await createProspect({ ...source, email_1: freshEmail(), pets: ["CAT"] });
  const id = present(state.created_record_id, "the record's id");
  await received("WRITE_OPERATION_SUCCESS", id, subject);
  await received("DATA_NEW", id, subject);
  answered(await webhookTest(webhook.id, options));
  await received("TEST", webhook.id, subject);
}

async function refused(): Promise<void> {
  const body: ProspectCreateKnock = { ...source, lease_term_in_months: 99 };
  const answer = await prospectCreateKnock(body, undefined, options);
  check(answer.status === 400, `the status is ${answer.status}`);
  const error: ErrorBody = answer.data;
  const issues: Issue[] = present(error.error.details?.issues, "the issues");
  checkIssues(issues);
}

await createAndRead();
await walk();
await webhooks();
await refused();
