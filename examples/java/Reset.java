// A password reset: Reset TARGET [TLS]
//
// Artifacts: io.grpc:grpc-netty-shaded, grpc-protobuf and grpc-stub, com.google.api.grpc:proto-google-common-protos and
// com.google.code.gson:gson, with their dependencies in the folder lib.
//
//     F=autoshares/passwordreset/v1/password_reset.proto
//     protoc -I proto --java_out=examples/java --grpc-java_out=examples/java $F
//     javac -cp "lib/*" -d classes examples/java/Reset.java $(find examples/java/dev -name '*.java')
//     java -cp "classes:lib/*" Reset 127.0.0.1:50051
import com.google.gson.Gson;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import dev.autoshares.passwordreset.v1.GenerateTokenRequest;
import dev.autoshares.passwordreset.v1.GetSecretQuestionRequest;
import dev.autoshares.passwordreset.v1.PasswordResetServiceGrpc;
import dev.autoshares.passwordreset.v1.PasswordResetServiceGrpc.PasswordResetServiceBlockingStub;
import dev.autoshares.passwordreset.v1.ResetPasswordRequest;
import dev.autoshares.passwordreset.v1.UpdatePasswordRequest;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

public class Reset {
  static final URI MAILBOX = URI.create("http://127.0.0.1:8080/sandbox/mailbox/robert.zak");
  static final Path SERVICE_CONFIG = Path.of("deploy/grpc/retry-with-request-id.json");
  static final int TIMEOUT = 12; // seconds, a little more than the gateway's own

  final PasswordResetServiceBlockingStub stub;

  Reset(ManagedChannel channel) {
    stub = PasswordResetServiceGrpc.newBlockingStub(channel);
  }

  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel = connect(arguments);
    try {
      new Reset(channel).run();
    } finally {
      channel.shutdownNow().awaitTermination(TIMEOUT, TimeUnit.SECONDS);
    }
  }

  static ManagedChannel connect(String[] arguments) throws IOException {
    ChannelCredentials credentials =
        arguments.length > 1 ? mutualTls(Path.of(arguments[1])) : InsecureChannelCredentials.create();
    Map<String, ?> config = new Gson().fromJson(Files.readString(SERVICE_CONFIG), Map.class);
    return Grpc.newChannelBuilder(arguments[0], credentials).defaultServiceConfig(config).enableRetry().build();
  }

  static ChannelCredentials mutualTls(Path folder) throws IOException {
    return TlsChannelCredentials.newBuilder()
        .trustManager(folder.resolve("ca.pem").toFile())
        .keyManager(folder.resolve("client.pem").toFile(), folder.resolve("client-key.pem").toFile())
        .build();
  }

  void run() throws Exception {
    try {
      service().resetPassword(ResetPasswordRequest.newBuilder().setUser("robert.zak").setRequestId(newId()).build());
    } catch (StatusRuntimeException error) {
      ErrorInfo info = errorInfo(error);
      if (info == null || !info.getReason().equals("SECRET_QUESTION_ANSWER_REQUIRED")) {
        throw error;
      }
      System.out.println(info.getReason() + ", outcome: " + info.getMetadataMap().get("outcome"));
      answerTheQuestion();
    }

    String token = service()
        .generateToken(GenerateTokenRequest.newBuilder().setCode(mailedCode()).setRequestId(newId()).build())
        .getToken();
    service().updatePassword(UpdatePasswordRequest.newBuilder()
        .setToken(token).setPassword("correct horse").setRequestId(newId()).build());
    System.out.println("the password is set");
  }

  void answerTheQuestion() {
    GetSecretQuestionRequest whose = GetSecretQuestionRequest.newBuilder().setUsername("robert.zak").build();
    System.out.println(service().getSecretQuestion(whose).getSecretQuestion());
    service().resetPassword(ResetPasswordRequest.newBuilder()
        .setUser("robert.zak").setSecretQuestionAnswer("Peterson").setRequestId(newId()).build());
  }

  /** The stub for one call: the deadline counts from here. */
  PasswordResetServiceBlockingStub service() {
    return stub.withDeadlineAfter(TIMEOUT, TimeUnit.SECONDS);
  }

  /** Null: a library or a proxy made the status. */
  static ErrorInfo errorInfo(StatusRuntimeException error) throws InvalidProtocolBufferException {
    for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        return detail.unpack(ErrorInfo.class);
      }
    }
    return null;
  }

  static String newId() {
    return UUID.randomUUID().toString();
  }

  static String mailedCode() throws IOException, InterruptedException {
    String mail = HttpClient.newHttpClient().send(HttpRequest.newBuilder(MAILBOX).build(), BodyHandlers.ofString()).body();
    return (String) new Gson().fromJson(mail, Map.class).get("code");
  }
}
