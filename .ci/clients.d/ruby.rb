# A password reset with gRPC for Ruby: ruby ruby.rb TARGET SANDBOX
require "grpc"
require "json"
require "net/http"
require "google/protobuf/well_known_types"
require "google/rpc/error_details_pb"
require "google/rpc/status_pb"
require "autoshares/passwordreset/v1/password_reset_services_pb"

include AutoShares::PasswordReset::V1

# The reason in the error's ErrorInfo.
def reason(error)
  details = error.to_rpc_status.details
  details.find { |detail| detail.is(Google::Rpc::ErrorInfo) }.unpack(Google::Rpc::ErrorInfo).reason
end

def mailed_code(sandbox, user)
  JSON.parse(Net::HTTP.get(URI("#{sandbox}sandbox/mailbox/#{user}")))["code"]
end

def check(is_so, what)
  raise what unless is_so
end

target, sandbox = ARGV
gzip = GRPC::Core::CompressionOptions.new(default_algorithm: :gzip).to_channel_arg_hash
service = PasswordResetService::Stub.new(target, :this_channel_is_insecure, channel_args: gzip, timeout: 10)

begin
  service.reset_password(ResetPasswordRequest.new(user: "robert.zak"))
  raise "the secret question was not asked"
rescue GRPC::FailedPrecondition => error
  check(reason(error) == "SECRET_QUESTION_ANSWER_REQUIRED", error)
end

question = service.get_secret_question(GetSecretQuestionRequest.new(username: "robert.zak")).secret_question
check(question.start_with?("What street"), question)

begin
  service.get_secret_question(GetSecretQuestionRequest.new(username: "fault:hang"), deadline: Time.now + 0.3)
  raise "the deadline did not pass"
rescue GRPC::DeadlineExceeded
end

service.reset_password(ResetPasswordRequest.new(user: "robert.zak", secret_question_answer: "Peterson"))

code = mailed_code(sandbox, "robert.zak")
token = service.generate_token(GenerateTokenRequest.new(code: code)).token

# Long enough that it is worth compressing.
password = "correct horse battery staple " * 20
service.update_password(UpdatePasswordRequest.new(token: token, password: password))

# The gateway is told to stop while it waits for the API, which takes three seconds.
puts "waiting"
$stdout.flush
service.reset_password(ResetPasswordRequest.new(user: "fault:slow"))
