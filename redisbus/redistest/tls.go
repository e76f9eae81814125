package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Authority is a certificate authority of one test.
type Authority struct {
	File string // its own certificate, in PEM
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority with a new key and a self-signed certificate.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{dir: t.TempDir(), key: key, cert: certificate("test authority")}
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	a.File = a.sign(t, "ca", a.cert, &key.PublicKey)
	return a
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// Issue makes a certificate for 127.0.0.1 and returns the paths of the certificate and of
// its key.
func (a *Authority) Issue(t testing.TB, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return a.sign(t, name, certificate(name), &private.PublicKey), a.write(t, name+".key", "PRIVATE KEY", der)
}

func (a *Authority) sign(t testing.TB, name string, cert *x509.Certificate, public *ecdsa.PublicKey) string {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return a.write(t, name+".crt", "CERTIFICATE", der)
}

func (a *Authority) write(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// StartTLS starts a redis-server that accepts only TLS and only clients with a certificate
// of the authority. The returned configuration has such a certificate.
func StartTLS(t testing.TB, a *Authority) link.Config {
	t.Helper()
	serverCert, serverKey := a.Issue(t, "server")
	cert, key := a.Issue(t, "client")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	port := freePort(t)
	s.network, s.address = "tcp", net.JoinHostPort("127.0.0.1", port)
	roots := x509.NewCertPool()
	roots.AddCert(mustParse(t, a.File))
	s.tls = &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12}
	s.args = []string{
		"--bind", "127.0.0.1", "--port", "0", "--tls-port", port, "--dir", s.dir, "--save", "", "--appendonly", "no",
		"--tls-cert-file", serverCert, "--tls-key-file", serverKey, "--tls-ca-cert-file", a.File, "--loglevel", "warning",
	}
	s.mustRun(t)
	return link.Config{URL: "rediss://" + s.address, TLS: link.TLSFiles{CA: a.File, Cert: cert, Key: key}}
}

func mustParse(t testing.TB, file string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
