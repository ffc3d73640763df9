// The story by the client that @hey-api/openapi-ts generates.

import {
  communitiesList,
  communitiesRegisterBulk,
  prospectConsentsList,
  prospectCreateKnock,
  prospectGet,
  webhookCreate,
  webhookTest,
  writeStatusGet,
} from "./generated/sdk.gen.ts";
import type {
  CommunityPage,
  CommunityRegister,
  ErrorBody,
  Issue,
  ProspectCreateKnock,
  WebhookBody,
  WriteState,
} from "./generated/types.gen.ts";
import { client } from "./generated/client.gen.ts";
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

client.setConfig({ baseUrl: started.base_url, auth: () => started.token });

/** The answer, or an end of the story with what the server said. */
function answered<T>(answer: { data?: T; error?: ErrorBody }): T {
  if (answer.error !== undefined) throw new Error(JSON.stringify(answer.error));
  return present(answer.data, "an answer");
}

async function createProspect(body: ProspectCreateKnock): Promise<WriteState> {
  const accepted = answered(await prospectCreateKnock({ body }));
  check(accepted.result.email_1 === body.email_1, "the result is not the accepted body");
  const state = await until("the write's outcome", async () => {
    const path = { root_job_id: accepted.meta.job_id };
    const state = answered(await writeStatusGet({ path, headers: { Prefer: "wait=10" } }));
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
  const prospect = answered(await prospectGet({ path: { id } })).results;
  check(prospect.email_1 === email, "the record has another email address");
  check(prospect.last_name === null, "the record has a last name that nobody gave");
  const events = answered(await prospectConsentsList({ path: { id } })).results;
  check(events.length === 1, `there are ${events.length} consent events`);
  check(!present(events[0], "the event").is_stated, "`subscribe` was never stated");
}

async function walk(): Promise<void> {
  const body: CommunityRegister[] = walkBody();
  const registered = await communitiesRegisterBulk({
    path: { id: started.integration_id },
    body,
  });
  check(answered(registered).results.length === WALK_COUNT, "not all are registered");
  const vendorIds: (string | null)[] = [];
  let pages = 0;
  let cursor: string | null = null;
  do {
    const query: { limit: number; cursor?: string } = { limit: PAGE_LIMIT };
    if (cursor !== null) query.cursor = cursor;
    const page: CommunityPage = answered(await communitiesList({ query }));
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
  const answer = await webhookCreate({
    body: {
      url: started.receiver,
      active: true,
      triggers: ["WRITE_OPERATION_SUCCESS", "DATA_NEW"],
    },
  });
  const webhook = answered(answer).result;
  const state = await createProspect({ ...source, email_1: freshEmail(), pets: ["CAT"] });
  const id = present(state.created_record_id, "the record's id");
  await received("WRITE_OPERATION_SUCCESS", id, subject);
  await received("DATA_NEW", id, subject);
  answered(await webhookTest({ path: { id: webhook.id } }));
  await received("TEST", webhook.id, subject);
}

async function refused(): Promise<void> {
  const body: ProspectCreateKnock = { ...source, lease_term_in_months: 99 };
  const answer = await prospectCreateKnock({ body });
  check(answer.response?.status === 400, `the status is ${answer.response?.status}`);
  const error: ErrorBody = present(answer.error, "the error");
  const issues: Issue[] = present(error.error.details?.issues, "the issues");
  checkIssues(issues);
}

await createAndRead();
await walk();
await webhooks();
await refused();
