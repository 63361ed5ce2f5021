// A password reset with grpc-js: node grpc_js.js TARGET SANDBOX
//
// PROTO_PATH lists the folders that the contract and google/rpc are in.
const assert = require("node:assert");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const definition = protoLoader.loadSync(
  ["autoshares/passwordreset/v1/password_reset.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"],
  { includeDirs: process.env.PROTO_PATH.split(":") },
);
const { PasswordResetService } = grpc.loadPackageDefinition(definition).autoshares.passwordreset.v1;

// The reason in the error's ErrorInfo.
function reason(error) {
  const [status] = error.metadata.get("grpc-status-details-bin");
  const { details } = definition["google.rpc.Status"].deserialize(status);
  const info = details.find((detail) => detail.type_url.endsWith("/google.rpc.ErrorInfo"));
  return definition["google.rpc.ErrorInfo"].deserialize(info.value).reason;
}

async function mailedCode(sandbox, user) {
  return (await (await fetch(`${sandbox}sandbox/mailbox/${user}`)).json()).code;
}

async function main(target, sandbox) {
  const client = new PasswordResetService(target, grpc.credentials.createInsecure(), {
    "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip,
  });
  const call = (method, request, milliseconds = 10_000) =>
    new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + milliseconds };
      client[method](request, options, (error, response) => (error ? reject(error) : resolve(response)));
    });

  await assert.rejects(call("resetPassword", { user: "robert.zak" }), (error) => {
    assert.strictEqual(error.code, grpc.status.FAILED_PRECONDITION);
    assert.strictEqual(reason(error), "SECRET_QUESTION_ANSWER_REQUIRED");
    return true;
  });

  const { secretQuestion } = await call("getSecretQuestion", { username: "robert.zak" });
  assert.match(secretQuestion, /^What street/);

  await assert.rejects(call("getSecretQuestion", { username: "fault:hang" }, 300), {
    code: grpc.status.DEADLINE_EXCEEDED,
  });

  await call("resetPassword", { user: "robert.zak", secretQuestionAnswer: "Peterson" });

  const { token } = await call("generateToken", { code: await mailedCode(sandbox, "robert.zak") });

  // Long enough that it is worth compressing.
  await call("updatePassword", { token, password: "correct horse battery staple ".repeat(20) });

  // The gateway is told to stop while it waits for the API, which takes three seconds.
  const slow = call("resetPassword", { user: "fault:slow" });
  console.log("waiting");
  await slow;
  client.close();
}

main(...process.argv.slice(2));
