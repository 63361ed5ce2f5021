package grpc

// NewClient is grpc-go's since 1.63.
func NewClient(target string, options ...DialOption) (*ClientConn, error) {
	return Dial(target, options...)
}
