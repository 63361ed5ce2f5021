// A password reset: reset.js TARGET [TLS]
//
//     npm install --prefix examples/node
//     node examples/node/reset.js 127.0.0.1:50051
const fs = require("node:fs");
const path = require("node:path");
const { randomUUID } = require("node:crypto");
const { promisify } = require("node:util");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");
const { getProtoPath } = require("google-proto-files");

const MAILBOX = "http://127.0.0.1:8080/sandbox/mailbox/robert.zak";
const SERVICE_CONFIG = fs.readFileSync("deploy/grpc/retry-with-request-id.json", "utf8");
const TIMEOUT = 12_000; // milliseconds, a little more than the gateway's own

const definition = protoLoader.loadSync(
  ["autoshares/passwordreset/v1/password_reset.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"],
  { includeDirs: ["proto", getProtoPath("..")] },
);
const { PasswordResetService } = grpc.loadPackageDefinition(definition).autoshares.passwordreset.v1;

function connect(target, tls) {
  const read = (name) => fs.readFileSync(path.join(tls, name));
  const credentials = tls
    ? grpc.credentials.createSsl(read("ca.pem"), read("client-key.pem"), read("client.pem"))
    : grpc.credentials.createInsecure();
  return new PasswordResetService(target, credentials, { "grpc.service_config": SERVICE_CONFIG });
}

// Nothing: a library or a proxy made the status.
function errorInfo(error) {
  const [status] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = status ? definition["google.rpc.Status"].deserialize(status).details : [];
  const info = details.find((detail) => detail.type_url.endsWith("/google.rpc.ErrorInfo"));
  return info && definition["google.rpc.ErrorInfo"].deserialize(info.value);
}

async function mailedCode() {
  return (await (await fetch(MAILBOX)).json()).code;
}

async function main(target, tls) {
  const client = connect(target, tls);
  const call = (method, request) => promisify(client[method].bind(client))(request, { deadline: Date.now() + TIMEOUT });

  try {
    await call("resetPassword", { user: "robert.zak", requestId: randomUUID() });
  } catch (error) {
    const info = errorInfo(error);
    if (info?.reason !== "SECRET_QUESTION_ANSWER_REQUIRED") throw error;
    console.log(`${info.reason}, outcome: ${info.metadata.outcome}`);
    console.log((await call("getSecretQuestion", { username: "robert.zak" })).secretQuestion);
    const request = { user: "robert.zak", secretQuestionAnswer: "Peterson", requestId: randomUUID() };
    await call("resetPassword", request);
  }

  const { token } = await call("generateToken", { code: await mailedCode(), requestId: randomUUID() });
  await call("updatePassword", { token, password: "correct horse", requestId: randomUUID() });
  console.log("the password is set");
  client.close();
}

main(...process.argv.slice(2));
