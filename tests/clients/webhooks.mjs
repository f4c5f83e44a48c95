// Verifies recorded deliveries in JavaScript; the same input and output as
// webhooks.py. Polis's own documentation verifies `JSON.stringify(body)` of the
// body that a framework has parsed, so that must be the text that came.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createInterface } from "node:readline";

import * as standardwebhooks from "standardwebhooks";
import * as svix from "svix";

const WRONG = { standard: "whsec_" + "d3Jvbmc".repeat(6), polis: "not the secret at all" };

const accepts = (webhook, refusal) => (headers, body) => {
  try {
    webhook.verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof refusal) return false;
    throw error;
  }
};

const polis = (secret) => (headers, body) => {
  const [t, s] = headers["boxyhq-signature"].split(",");
  const [at, signature] = [t.split("=")[1], s.split("=")[1]];
  const verify = (text) => {
    const expected = createHmac("sha256", secret).update(`${at}.${text}`).digest("hex");
    return timingSafeEqual(Buffer.from(expected), Buffer.from(signature));
  };
  // A trailing space is no change to whoever parses first.
  const parsed = JSON.stringify(JSON.parse(body));
  return verify(body) && (parsed === body || complain(`not JavaScript's text: ${body}`));
};

const verifiers = {
  standard: (secret) => [
    accepts(new standardwebhooks.Webhook(secret), standardwebhooks.WebhookVerificationError),
    accepts(new svix.Webhook(secret), svix.WebhookVerificationError),
  ],
  polis: (secret) => [polis(secret)],
};

function complain(what) {
  console.error(what);
  process.exit(1);
}

let count = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { format, headers, body, secrets } = JSON.parse(line);
  const cases = secrets.flatMap((secret) => [
    [secret, body, true],
    [secret, body + " ", false],
  ]);
  cases.push([WRONG[format], body, false]);
  for (const [secret, content, expected] of cases) {
    for (const verify of verifiers[format](secret)) {
      if (verify(headers, content) !== expected) {
        complain(`${format}: verified should be ${expected}: ${JSON.stringify(headers)} ${content}`);
      }
      count += 1;
    }
  }
}
console.log(JSON.stringify({ right: count }));
