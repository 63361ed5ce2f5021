// A password reset: reset TARGET [TLS]
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@latest google.golang.org/grpc/cmd/protoc-gen-go-grpc@latest
//	F=autoshares/passwordreset/v1/password_reset.proto M=M$F=example.com/reset/passwordresetv1
//	protoc -I proto --go_out=examples/go --go_opt=module=example.com/reset,$M \
//		--go-grpc_out=examples/go --go-grpc_opt=module=example.com/reset,$M $F
//	(cd examples/go && go mod init example.com/reset && go mod tidy && go build)
//	examples/go/reset 127.0.0.1:50051
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"example.com/reset/passwordresetv1"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	mailbox       = "http://127.0.0.1:8080/sandbox/mailbox/robert.zak"
	serviceConfig = "deploy/grpc/retry-with-request-id.json"
	timeout       = 12 * time.Second // a little more than the gateway's own
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(arguments []string) error {
	conn, err := connect(arguments)
	if err != nil {
		return err
	}
	defer conn.Close()
	service := passwordresetv1.NewPasswordResetServiceClient(conn)

	err = reset(service, &passwordresetv1.ResetPasswordRequest{User: "robert.zak", RequestId: newID()})
	if info := errorInfo(err); info != nil && info.Reason == "SECRET_QUESTION_ANSWER_REQUIRED" {
		fmt.Printf("%s, outcome: %s\n", info.Reason, info.Metadata["outcome"])
		err = answerTheQuestion(service)
	}
	if err != nil {
		return err
	}
	code, err := mailedCode()
	if err != nil {
		return err
	}
	return setPassword(service, code)
}

func connect(arguments []string) (*grpc.ClientConn, error) {
	config, err := os.ReadFile(serviceConfig)
	if err != nil {
		return nil, err
	}
	security := insecure.NewCredentials()
	if len(arguments) > 1 {
		if security, err = mutualTLS(arguments[1]); err != nil {
			return nil, err
		}
	}
	return grpc.NewClient(arguments[0],
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultServiceConfig(string(config)))
}

func mutualTLS(folder string) (credentials.TransportCredentials, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "client.pem"), filepath.Join(folder, "client-key.pem"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}), nil
}

func answerTheQuestion(service passwordresetv1.PasswordResetServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	question, err := service.GetSecretQuestion(ctx, &passwordresetv1.GetSecretQuestionRequest{Username: "robert.zak"})
	if err != nil {
		return err
	}
	fmt.Println(question.GetSecretQuestion())
	answer := "Peterson"
	return reset(service, &passwordresetv1.ResetPasswordRequest{
		User: "robert.zak", SecretQuestionAnswer: &answer, RequestId: newID(),
	})
}

func reset(service passwordresetv1.PasswordResetServiceClient, request *passwordresetv1.ResetPasswordRequest) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := service.ResetPassword(ctx, request)
	return err
}

func setPassword(service passwordresetv1.PasswordResetServiceClient, code string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout) // two calls
	defer cancel()
	generated, err := service.GenerateToken(ctx, &passwordresetv1.GenerateTokenRequest{Code: code, RequestId: newID()})
	if err != nil {
		return err
	}
	_, err = service.UpdatePassword(ctx, &passwordresetv1.UpdatePasswordRequest{
		Token: generated.Token, Password: "correct horse", RequestId: newID(),
	})
	if err == nil {
		fmt.Println("the password is set")
	}
	return err
}

// errorInfo returns nil if a library or a proxy made the status.
func errorInfo(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}

func newID() *string {
	id := uuid.NewString()
	return &id
}

func mailedCode() (string, error) {
	response, err := http.Get(mailbox)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var mail struct{ Code string }
	err = json.NewDecoder(response.Body).Decode(&mail)
	return mail.Code, err
}
