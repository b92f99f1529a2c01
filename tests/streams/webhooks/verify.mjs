// The reference library of the Standard Webhooks specification in JavaScript, as a judge: reads {secret, headers, body}
// as JSON from standard input, a line each, and says for each "accepted" or what is wrong. The library's folder is argv[2].
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { Webhook } = createRequire(process.argv[2] + "/")("standardwebhooks");
for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  try {
    new Webhook(secret).verify(body, headers);
    console.log("accepted");
  } catch (error) {
    console.log(error.message);
  }
}
