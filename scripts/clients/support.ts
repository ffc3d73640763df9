// What the stories in TypeScript share. Nothing of a generated client is in here.

/** What `scripts/clients/run` says of the server and of the receiver of webhooks. */
export interface Started {
  base_url: string;
  token: string;
  integration_id: string;
  communities: { id: string }[];
  attributions: { id: string }[];
  receiver: string;
}

export interface Delivery {
  headers: Record<string, string>;
  body: string;
}

export const started: Started = JSON.parse(process.env["PORTICO_STORY"] ?? "{}");

/** So many communities are registered, and a page has so many. */
export const WALK_COUNT = 600;
export const PAGE_LIMIT = 100;

/** A write must end within this time, and a webhook arrive. */
const PATIENCE_MS = 60_000;

export function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

export function present<T>(value: T | null | undefined, name: string): T {
  check(value !== null && value !== undefined, `${name} is missing`);
  return value;
}

/** Asks again until there is an answer. */
export async function until<T>(name: string, ask: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`${name}: nothing after ${PATIENCE_MS / 1000} s`);
}

/** All that the receiver was sent so far. */
export async function deliveries(): Promise<Delivery[]> {
  return JSON.parse(await (await fetch(started.receiver)).text());
}

export const freshEmail = () => `ada.${crypto.randomUUID()}@example.com`;

export const walkName = (number: number) => `walk-${String(number).padStart(4, "0")}`;

/** Each of the registered communities stands in the pages, and none twice. */
export function checkWalk(pages: number, vendorIds: (string | null)[]): void {
  const walked = vendorIds.filter((id) => id?.startsWith("walk-"));
  check(new Set(vendorIds).size === vendorIds.length, "the walk meets a community twice");
  check(walked.length === WALK_COUNT, `the walk meets ${walked.length} of ${WALK_COUNT}`);
  check(pages === Math.ceil(vendorIds.length / PAGE_LIMIT), `the walk has ${pages} pages`);
}

/** A community and an attribution of the integration: where prospects go. */
export const source = {
  integration_id: started.integration_id,
  community_id: present(started.communities[0], "a community").id,
  attribution_id: present(started.attributions[0], "an attribution").id,
};

/** The communities of the walk, as a body that registers them. */
export const walkBody = () =>
  Array.from({ length: WALK_COUNT }, (_, number) => {
    const name = walkName(number);
    return { x_id: name, name, timezone: "America/New_York" };
  });

/** The body of an event, as far as all events have it alike. */
interface EventBody {
  trigger: string;
  meta: { event_id: string };
}

/** Waits for an event of `trigger` that is about the thing with this id. */
export async function received<Body extends EventBody>(
  trigger: Body["trigger"],
  about: string,
  subject: (body: Body) => string | null,
): Promise<void> {
  await until(`a delivery of ${trigger}`, async () => {
    for (const delivery of await deliveries()) {
      const body: Body = JSON.parse(delivery.body);
      if (body.trigger === trigger && subject(body) === about) {
        check(body.meta.event_id === delivery.headers["webhook-id"], "another event id");
        return body;
      }
    }
    return undefined;
  });
}

/** The issues of the body that has no contact and too long a lease. */
export function checkIssues(issues: { path: (string | number)[]; message: string }[]): void {
  const places = issues.map((issue) => issue.path.join(".")).sort();
  check(places.join() === "email_1,lease_term_in_months,phone_1", `issues at ${places}`);
  check(issues.every((issue) => issue.message.length > 0), "an issue has no message");
}
