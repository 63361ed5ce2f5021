// A password reset with gRPC for C++: cpp TARGET SANDBOX
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "autoshares/passwordreset/v1/password_reset.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

using namespace autoshares::passwordreset::v1;

// The context of a call with a deadline.
struct Context : grpc::ClientContext {
  explicit Context(std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
    set_deadline(std::chrono::system_clock::now() + timeout);
  }
};

void expect(bool is_so, const std::string& what, const grpc::Status& status = grpc::Status::OK) {
  if (is_so) return;
  std::cerr << what << ": " << status.error_code() << " " << status.error_message() << std::endl;
  std::exit(1);
}

// The reason in the error's ErrorInfo.
std::string reason(const grpc::Status& error) {
  google::rpc::Status status;
  status.ParseFromString(error.error_details());
  google::rpc::ErrorInfo info;
  for (const auto& detail : status.details())
    if (detail.UnpackTo(&info)) return info.reason();
  return "";
}

// The six digits in the mailbox.
std::string mailed_code(const std::string& sandbox) {
  FILE* curl = popen(("curl -fsS " + sandbox + "sandbox/mailbox/robert.zak").c_str(), "r");
  char code[7] = "";
  expect(curl && std::fscanf(curl, " {\"code\":\"%6[0-9]", code) == 1, "no code is mailed");
  pclose(curl);
  return code;
}

int main(int, char** arguments) {
  grpc::ChannelArguments options;
  options.SetCompressionAlgorithm(GRPC_COMPRESS_GZIP);
  auto channel = grpc::CreateCustomChannel(arguments[1], grpc::InsecureChannelCredentials(), options);
  auto service = PasswordResetService::NewStub(channel);

  ResetPasswordRequest reset;
  ResetPasswordResponse mailed;
  reset.set_user("robert.zak");
  Context first;
  auto status = service->ResetPassword(&first, reset, &mailed);
  expect(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION, "step 1", status);
  expect(reason(status) == "SECRET_QUESTION_ANSWER_REQUIRED", "its reason", status);

  GetSecretQuestionRequest whose;
  GetSecretQuestionResponse question;
  whose.set_username("robert.zak");
  Context second;
  status = service->GetSecretQuestion(&second, whose, &question);
  expect(status.ok() && question.secret_question().rfind("What street", 0) == 0, "step 2", status);

  whose.set_username("fault:hang");
  Context impatient(std::chrono::milliseconds(300));
  status = service->GetSecretQuestion(&impatient, whose, &question);
  expect(status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED, "the deadline", status);

  reset.set_secret_question_answer("Peterson");
  Context again;
  status = service->ResetPassword(&again, reset, &mailed);
  expect(status.ok(), "step 1 with the answer", status);

  GenerateTokenRequest code;
  GenerateTokenResponse generated;
  code.set_code(mailed_code(arguments[2]));
  Context third;
  status = service->GenerateToken(&third, code, &generated);
  expect(status.ok(), "step 3", status);

  UpdatePasswordRequest update;
  UpdatePasswordResponse updated;
  update.set_token(generated.token());
  update.set_password(std::string(500, 'x'));  // long enough that it is worth compressing
  Context fourth;
  status = service->UpdatePassword(&fourth, update, &updated);
  expect(status.ok(), "step 4", status);

  // The gateway is told to stop while it waits for the API, which takes three seconds.
  ResetPasswordRequest slow;
  slow.set_user("fault:slow");
  Context last;
  std::cout << "waiting" << std::endl;
  status = service->ResetPassword(&last, slow, &mailed);
  expect(status.ok(), "the slow call", status);
}
