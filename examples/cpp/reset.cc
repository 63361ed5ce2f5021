/* A password reset: reset TARGET [TLS]
 *
 * google/rpc comes from https://github.com/googleapis/googleapis, here in the folder googleapis.
 *
 *     F="autoshares/passwordreset/v1/password_reset.proto google/rpc/status.proto google/rpc/error_details.proto"
 *     protoc -I proto -I googleapis --cpp_out=examples/cpp --grpc_out=examples/cpp \
 *         --plugin=protoc-gen-grpc=$(command -v grpc_cpp_plugin) $F
 *     c++ -std=c++17 -I examples/cpp -o reset $(find examples/cpp -name '*.cc') $(pkg-config --cflags --libs grpc++ protobuf)
 *     ./reset 127.0.0.1:50051
 */
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

#include "autoshares/passwordreset/v1/password_reset.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

using namespace autoshares::passwordreset::v1;

constexpr char kMailbox[] = "curl -fsS http://127.0.0.1:8080/sandbox/mailbox/robert.zak";
constexpr char kServiceConfig[] = "deploy/grpc/retry-with-request-id.json";
constexpr std::chrono::seconds kTimeout(12);  // a little more than the gateway's own

// The context of one call: the deadline counts from here.
struct Context : grpc::ClientContext {
  Context() { set_deadline(std::chrono::system_clock::now() + kTimeout); }
};

void check(const grpc::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.error_message());
}

std::string read(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string new_id() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/uuid") >> id;
  return id;
}

std::string mailed_code() {
  std::unique_ptr<FILE, int (*)(FILE*)> curl(popen(kMailbox, "r"), pclose);
  char code[7] = "";
  if (!curl || std::fscanf(curl.get(), " {\"code\":\"%6[0-9]", code) != 1) throw std::runtime_error("no code is mailed");
  return code;
}

std::shared_ptr<grpc::Channel> connect(int count, char** arguments) {
  auto credentials = grpc::InsecureChannelCredentials();
  if (count > 2) {
    const auto folder = std::string(arguments[2]) + "/";
    credentials = grpc::SslCredentials({read(folder + "ca.pem"), read(folder + "client-key.pem"), read(folder + "client.pem")});
  }
  grpc::ChannelArguments options;
  options.SetServiceConfigJSON(read(kServiceConfig));
  return grpc::CreateCustomChannel(arguments[1], credentials, options);
}

// Empty: a library or a proxy made the status.
google::rpc::ErrorInfo error_info(const grpc::Status& error) {
  google::rpc::Status status;
  status.ParseFromString(error.error_details());
  google::rpc::ErrorInfo info;
  for (const auto& detail : status.details())
    if (detail.UnpackTo(&info)) return info;
  return {};
}

void answer_the_question(PasswordResetService::Stub& service) {
  GetSecretQuestionRequest whose;
  whose.set_username("robert.zak");
  GetSecretQuestionResponse question;
  Context asking;
  check(service.GetSecretQuestion(&asking, whose, &question));
  std::cout << question.secret_question() << std::endl;

  ResetPasswordRequest request;
  request.set_user("robert.zak");
  request.set_secret_question_answer("Peterson");
  request.set_request_id(new_id());
  ResetPasswordResponse mailed;
  Context resetting;
  check(service.ResetPassword(&resetting, request, &mailed));
}

void set_password(PasswordResetService::Stub& service, const std::string& code) {
  GenerateTokenRequest mailed;
  mailed.set_code(code);
  mailed.set_request_id(new_id());
  GenerateTokenResponse generated;
  Context generating;
  check(service.GenerateToken(&generating, mailed, &generated));

  UpdatePasswordRequest update;
  update.set_token(generated.token());
  update.set_password("correct horse");
  update.set_request_id(new_id());
  UpdatePasswordResponse updated;
  Context updating;
  check(service.UpdatePassword(&updating, update, &updated));
  std::cout << "the password is set" << std::endl;
}

int main(int count, char** arguments) {
  auto service = PasswordResetService::NewStub(connect(count, arguments));
  ResetPasswordRequest request;
  request.set_user("robert.zak");
  request.set_request_id(new_id());
  ResetPasswordResponse mailed;
  Context trying;
  const auto error = service->ResetPassword(&trying, request, &mailed);
  const auto info = error_info(error);
  if (info.reason() == "SECRET_QUESTION_ANSWER_REQUIRED") {
    std::cout << info.reason() << ", outcome: " << info.metadata().at("outcome") << std::endl;
    answer_the_question(*service);
  } else {
    check(error);
  }
  set_password(*service, mailed_code());
}
