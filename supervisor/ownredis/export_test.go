package ownredis

import "time"

// EndAfterSilenceOf sets how long the server may give no answer. It is called before that matters.
func (s *Server) EndAfterSilenceOf(d time.Duration) { s.hang.Store(int64(d)) }
