// A password reset with connect-node, over gRPC: node connect_node.mjs TARGET SANDBOX
//
// The folder gen beside it has the code that protoc-gen-es generates.
import assert from "node:assert";
import net from "node:net";
import { Code, createClient } from "@connectrpc/connect";
import { compressionGzip, createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { PasswordResetService } from "./gen/autoshares/passwordreset/v1/password_reset_pb.js";

const [target, sandbox] = process.argv.slice(2);
const socket = target.startsWith("unix:") && target.slice("unix:".length);

const client = createClient(
  PasswordResetService,
  createGrpcTransport({
    baseUrl: socket ? "http://localhost" : `http://${target}`,
    nodeOptions: socket ? { createConnection: () => net.connect(socket) } : {},
    sendCompression: compressionGzip,
    defaultTimeoutMs: 10_000,
  }),
);

async function mailedCode(user) {
  return (await (await fetch(`${sandbox}sandbox/mailbox/${user}`)).json()).code;
}

await assert.rejects(client.resetPassword({ user: "robert.zak" }), (error) => {
  assert.strictEqual(error.code, Code.FailedPrecondition);
  const [info] = error.findDetails(ErrorInfoSchema);
  assert.strictEqual(info.reason, "SECRET_QUESTION_ANSWER_REQUIRED");
  return true;
});

const { secretQuestion } = await client.getSecretQuestion({ username: "robert.zak" });
assert.match(secretQuestion, /^What street/);

await assert.rejects(client.getSecretQuestion({ username: "fault:hang" }, { timeoutMs: 300 }), {
  code: Code.DeadlineExceeded,
});

await client.resetPassword({ user: "robert.zak", secretQuestionAnswer: "Peterson" });

const { token } = await client.generateToken({ code: await mailedCode("robert.zak") });

// Long enough that connect compresses it: 1 KiB with the rest of the message.
await client.updatePassword({ token, password: "correct horse battery staple ".repeat(35) });

// The gateway is told to stop while it waits for the API, which takes three seconds.
const slow = client.resetPassword({ user: "fault:slow" });
console.log("waiting");
await slow;
