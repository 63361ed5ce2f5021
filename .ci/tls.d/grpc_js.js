// Makes one call for each line of standard input, {"target", "ca", "cert", "key"} with files' paths, and prints a line of
// JSON for each: null if it is answered, else the error.
//
// PROTO_PATH lists the folders that the contract is in.
const { readFileSync } = require("node:fs");
const readline = require("node:readline");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const definition = protoLoader.loadSync("autoshares/passwordreset/v1/password_reset.proto", {
  includeDirs: process.env.PROTO_PATH.split(":"),
});
const { PasswordResetService } = grpc.loadPackageDefinition(definition).autoshares.passwordreset.v1;

function call({ target, ca, cert, key }) {
  return new Promise((resolve, reject) => {
    const credentials = cert
      ? grpc.credentials.createSsl(readFileSync(ca), readFileSync(key), readFileSync(cert))
      : grpc.credentials.createSsl(readFileSync(ca));
    const client = new PasswordResetService(target, credentials, {
      "grpc.use_local_subchannel_pool": 1,
      // So that it does not connect again, even when it is closed.
      "grpc.initial_reconnect_backoff_ms": 600_000,
      "grpc.max_reconnect_backoff_ms": 600_000,
    });
    const options = { deadline: Date.now() + 10_000 };
    client.getSecretQuestion({ username: "robert.zak" }, options, (error) => {
      client.close();
      error ? reject(error) : resolve(null);
    });
  });
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const result = await call(JSON.parse(line)).catch((error) => error.message);
    console.log(JSON.stringify(result));
  }
}

main();
