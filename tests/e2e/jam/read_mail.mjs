// Reads and flags mail with jmap-jam as it is published, and prints what it got as JSON: read_mail.mjs SESSION_URL.
// The Bearer token is in POSTERN_TOKEN.
import { JamClient } from "jmap-jam";

const jam = new JamClient({ sessionUrl: process.argv[2], bearerToken: process.env.POSTERN_TOKEN });
const accountId = await jam.getPrimaryAccount();

const [mailboxes] = await jam.api.Mailbox.get({ accountId });
const inbox = mailboxes.list.find((mailbox) => mailbox.role === "inbox");

const [page] = await jam.requestMany((call) => {
  const query = call.Email.query({
    accountId,
    filter: { inMailbox: inbox.id },
    sort: [{ property: "receivedAt", isAscending: false }],
    limit: 5,
  });
  const emails = call.Email.get({
    accountId,
    ids: query.$ref("/ids"),
    properties: ["id", "blobId", "subject", "size", "keywords"],
  });
  return { query, emails };
});
const newest = page.emails.list.find((email) => email.id === page.query.ids[0]);

const [changed] = await jam.api.Email.set({
  accountId,
  update: { [newest.id]: { "keywords/$flagged": true } },
});
const [again] = await jam.api.Email.get({ accountId, ids: [newest.id], properties: ["keywords"] });

const download = await jam.downloadBlob({
  accountId,
  blobId: newest.blobId,
  mimeType: "message/rfc822",
  fileName: "message.eml",
});
const octets = (await download.arrayBuffer()).byteLength;

let refused = null;
try {
  await jam.api.Email.get({ accountId, ids: [newest.id], properties: ["nothing"] });
} catch (error) {
  refused = error;
}

console.log(JSON.stringify({
  accountId,
  session: await jam.session,
  inboxTotal: inbox.totalEmails,
  subjects: page.query.ids.map((id) => page.emails.list.find((email) => email.id === id).subject),
  updated: changed.updated,
  keywords: again.list[0].keywords,
  size: newest.size,
  octets,
  refused,
}));
