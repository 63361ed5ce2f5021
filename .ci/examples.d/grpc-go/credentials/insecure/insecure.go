// Package insecure is grpc-go's since 1.34.
package insecure

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"
)

type none struct{}

func NewCredentials() credentials.TransportCredentials { return none{} }

func (none) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, nil, nil
}
func (none) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) { return conn, nil, nil }
func (none) Info() credentials.ProtocolInfo                                        { return credentials.ProtocolInfo{} }
func (none) Clone() credentials.TransportCredentials                               { return none{} }
func (none) OverrideServerName(string) error                                       { return nil }
